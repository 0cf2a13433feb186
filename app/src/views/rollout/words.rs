//! What a rollout is said to be.

use fuseboard_api::UnixNanos;
use fuseboard_api::rollout::{Measure, Rollout, RolloutState, Verdict};

use crate::widgets::format;

/// A state in a word or two.
pub(crate) fn state(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Baking => "baking",
        RolloutState::Holding => "holding",
        RolloutState::Paused => "paused",
        RolloutState::Confirming => "to be confirmed",
        RolloutState::Done => "done",
        RolloutState::Reverted => "taken back by a guard",
        RolloutState::Aborted => "aborted",
        RolloutState::Lapsed => "lapsed unconfirmed",
    }
}

/// A measure.
pub(crate) fn measure(measure: Measure) -> &'static str {
    match measure {
        Measure::Errors => "errors",
        Measure::P99 => "p99",
        Measure::Refused => "refused",
    }
}

/// A value in a measure's unit.
pub(crate) fn value(measure: Measure, value: f64) -> String {
    match measure {
        Measure::Errors | Measure::Refused => format::percent(value),
        Measure::P99 => format::millis(value),
    }
}

/// A share of instances: `1%`.
pub(crate) fn share(share: f64) -> String {
    let percent = share * 100.0;
    if (percent - percent.round()).abs() < 1e-6 { format!("{percent:.0}%") } else { format::percent(share) }
}

/// (instances that run it, instances that are given it, all instances).
pub(crate) fn counts(rollout: &Rollout) -> (usize, usize, usize) {
    rollout.groups.iter().fold((0, 0, 0), |(running, changed, all), g| {
        (running + g.running.len(), changed + g.changed.len(), all + g.changed.len() + g.others.len())
    })
}

/// What comes next, and when.
pub(crate) fn next(rollout: &Rollout, now: UnixNanos) -> String {
    let stages = &rollout.delivery.stages;
    let after = stages.get(rollout.stage as usize + 1).map(|s| share(s.share));
    match (rollout.state, rollout.next_at, after) {
        (RolloutState::Baking, Some(at), Some(after)) => {
            format!("{after} in {}", format::countdown(at.since(now)))
        }
        (RolloutState::Baking, Some(at), None) => format!("done in {}", format::countdown(at.since(now))),
        (RolloutState::Holding, ..) => "waits for more calls".to_owned(),
        (RolloutState::Paused, ..) => "stopped by hand".to_owned(),
        (RolloutState::Confirming, ..) => "everyone has it".to_owned(),
        _ => String::new(),
    }
}

/// The rollout in one line: `r42 at 10%: 2 of 9 instances · errors 0.4% beside 0.3% · 50% in 1:12 · confirm by 4:10`.
pub(crate) fn line(rollout: &Rollout, now: UnixNanos) -> String {
    if rollout.state.is_over() {
        return format!("r{} {}: {}", rollout.revision, state(rollout.state), rollout.why);
    }
    let (running, _, all) = counts(rollout);
    let stage = rollout.delivery.stages.get(rollout.stage as usize).map(|s| format!(" at {}", share(s.share)));
    let mut parts = vec![format!("r{}{}: {running} of {all} have it", rollout.revision, stage.unwrap_or_default())];
    let worst = rollout.readings.iter().filter(|r| r.verdict != Verdict::TooFew).max_by(|a, b| {
        let over = |r: &fuseboard_api::rollout::Reading| if r.limit > 0.0 { r.changed / r.limit } else { 0.0 };
        (a.verdict, over(a)).partial_cmp(&(b.verdict, over(b))).unwrap_or(std::cmp::Ordering::Equal)
    });
    if let Some(r) = worst {
        let m = r.guard.measure;
        parts.push(format!("{} {} beside {}", measure(m), value(m, r.changed), value(m, r.control)));
    }
    if matches!(rollout.state, RolloutState::Holding | RolloutState::Paused) {
        parts.push(state(rollout.state).to_owned());
    }
    let next = next(rollout, now);
    if !next.is_empty() {
        parts.push(next);
    }
    if let Some(by) = rollout.confirm_by.filter(|_| rollout.confirmed.is_none()) {
        parts.push(format!("{} left to confirm", format::countdown(by.since(now))));
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_api::rollout::{Delivery, Group, Guard, Reading, Stage};

    fn rollout() -> Rollout {
        let stage = |share| Stage { share, bake_ms: 120_000 };
        let guard = Guard::usual()[0];
        Rollout {
            revision: 42,
            base: 41,
            delivery: Delivery { stages: vec![stage(0.1), stage(1.0)], ..Delivery::default() },
            next_at: Some(UnixNanos(72_000_000_000)),
            confirm_by: Some(UnixNanos(250_000_000_000)),
            groups: vec![Group {
                service: "orders".into(),
                changed: vec!["o-1".into()],
                running: vec!["o-1".into()],
                others: vec!["o-2".into(), "o-3".into()],
            }],
            readings: vec![Reading {
                guard,
                changed: 0.004,
                control: 0.003,
                limit: 0.013,
                verdict: Verdict::Passes,
                ..Reading::default()
            }],
            ..Rollout::default()
        }
    }

    #[test]
    fn one_line_says_who_has_it_what_was_seen_and_what_comes() {
        assert_eq!(
            line(&rollout(), UnixNanos(0)),
            "r42 at 10%: 1 of 3 have it · errors 0.4% beside 0.3% · 100% in 1:12 · 4:10 left to confirm"
        );
        let back = Rollout { state: RolloutState::Reverted, why: "errors 12% of 480 calls".into(), ..rollout() };
        assert_eq!(line(&back, UnixNanos(0)), "r42 taken back by a guard: errors 12% of 480 calls");
    }
}
