//! A change on its way by stages, for tests and pictures.

use std::time::Duration;

use fuseboard_api::change::{Change, ChangeState, Changes};
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::rollout::{
    Against, Delivery, Group, Guard, Measure, Reading, Rollout, RolloutState, Stage, Verdict,
};

use super::{NOW, ago, people};

/// The shop's changes, and r42 in this state.
pub(super) fn changes(state: RolloutState) -> Changes {
    let mut changes = people::changes();
    let rollout = rollout(state);
    changes.revisions.insert(
        0,
        Change {
            id: 42,
            state: if state == RolloutState::Reverted { ChangeState::Reverted } else { ChangeState::Rolling },
            actor: "mira".to_owned(),
            reason: "orders may wait less for payments: INC-4411".to_owned(),
            summary: "payments/shop.Payments/Charge timeout.attempt_ms 800 → 400".to_owned(),
            at: ago(190.0),
            targeted: 13,
            applied: 3,
            rollout: Some(rollout),
            ..Change::default()
        },
    );
    changes
}

fn rollout(state: RolloutState) -> Rollout {
    let failed = state == RolloutState::Reverted;
    let stage = |share| Stage { share, bake_ms: 120_000 };
    let names = |service: &str, from: usize, to: usize| (from..=to).map(|i| format!("{service}-{i}")).collect();
    let group = |service: &str, all: usize, changed: usize, running: usize| Group {
        service: service.to_owned(),
        changed: names(service, 1, changed),
        running: names(service, 1, running),
        others: names(service, changed + 1, all),
    };
    let errors = if failed { 0.124 } else { 0.011 };
    let why = if failed { "errors 12.4 % of 480 calls, the others 0.9 % of 4,310 (at most 1.9 %)" } else { "" };
    Rollout {
        revision: 42,
        base: 41,
        delivery: Delivery {
            stages: vec![stage(0.01), stage(0.1), stage(0.5), stage(1.0)],
            confirm_within_ms: Some(1_800_000),
            ..Delivery::default()
        },
        stage: 1,
        state,
        why: why.to_owned(),
        since: ago(48.0),
        next_at: (!failed).then(|| NOW + Duration::from_secs(72)),
        groups: vec![group("gateway", 2, 1, 1), group("orders", 24, 3, 2), group("payments", 3, 1, 1)],
        readings: vec![
            reading(Measure::Errors, errors, 0.009, if failed { Verdict::Fails } else { Verdict::Passes }),
            reading(Measure::P99, 412.0, 795.0, Verdict::Passes),
            reading(Measure::Refused, 0.0, 0.0, Verdict::TooFew),
        ],
        looked: ago(1.0),
        waived: false,
        confirm_by: Some(NOW + Duration::from_secs(1610)),
        confirmed: None,
    }
}

fn reading(measure: Measure, changed: f64, control: f64, verdict: Verdict) -> Reading {
    let guard = Guard::usual().into_iter().find(|g| g.measure == measure).unwrap_or_default();
    let few = verdict == Verdict::TooFew;
    Reading {
        guard,
        edge: (!few).then(|| EdgeKey::new("orders", "payments", "shop.Payments/Charge")),
        against: Against::Others,
        changed,
        control,
        limit: guard.limit(control),
        changed_calls: if few { 61 } else { 480 },
        control_calls: 4310,
        verdict,
        text: format!("{changed} beside {control}"),
    }
}
