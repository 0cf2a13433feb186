//! The attempt timeout as a thumb on the latencies: what it would cut, and whether the caller's deadline still fits.

use std::time::Duration;

use egui::Ui;
use fuseboard_api::change::{OverrideAction, OverrideSpec, Selector};
use fuseboard_api::command::Action;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::identity::Deed;
use fuseboard_api::policy::EffectiveEdge;

use crate::command::{Command, Commands};
use crate::model::{Model, View};
use crate::widgets::button::{Button, Kind};
use crate::widgets::histogram::Histogram;
use crate::widgets::{Tone, format, text, tokens};

/// After so long a timeout moved here goes back by itself.
const TTL: Duration = Duration::from_secs(600);

/// Where the thumb stands.
#[derive(Debug, Default)]
pub(crate) struct State {
    thumb: Option<(EdgeKey, u64)>,
}

fn effective<'a>(model: &'a Model, key: &EdgeKey) -> Option<&'a EffectiveEdge> {
    model.slots.policies.get()?.edges.iter().find(|e| e.key == *key)
}

fn attempt_ms(edge: &EffectiveEdge) -> Option<u64> {
    edge.settings.timeout.as_ref().and_then(|t| t.attempt_ms)
}

/// Whether there is anything to show.
pub(crate) fn known(model: &Model, key: &EdgeKey) -> bool {
    effective(model, key).is_some_and(|e| e.attempts.count() > 0)
}

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, key: &EdgeKey, state: &mut State, commands: &mut Commands) {
    let Some(edge) = effective(model, key) else { return };
    let in_force = attempt_ms(edge);
    let Some(now) = in_force else {
        text::section_with(ui, "Attempt timeout", |ui| {
            text::mono_soft(ui, "none");
        });
        Histogram::new(&edge.attempts, "latency of attempts").show_still(ui);
        text::note(ui, "Nothing limits a single attempt here.");
        return;
    };
    if state.thumb.as_ref().is_none_or(|(k, _)| k != key) {
        state.thumb = Some((key.clone(), now));
    }
    let mut wanted = state.thumb.as_ref().map_or(now, |(_, ms)| *ms);
    let moved = wanted != now;
    text::section_with(ui, "Attempt timeout", |ui| {
        let words = if moved {
            format!("{} → {}", format::count(now), format::millis(wanted as f64))
        } else {
            format::millis(now as f64)
        };
        let t = tokens(ui);
        text::styled(ui, words, text::mono_medium(13.0), if moved { t.accent } else { t.text });
    });
    Histogram::new(&edge.attempts, "attempt timeout").now(Some(now)).show(ui, &mut wanted);
    state.thumb = Some((key.clone(), wanted));
    sentences(ui, edge, now, wanted);
    ui.add_space(4.0);
    apply(ui, model, edge, now, wanted, state, commands);
}

fn sentences(ui: &mut Ui, edge: &EffectiveEdge, now: u64, wanted: u64) {
    let attempts = edge.attempts.count().max(edge.stats.attempts).max(edge.cut).max(1) as f64;
    let cut_now = edge.cut as f64 / attempts;
    // Attempts that are cut count at the time of their cut: beyond the present limit nothing was ever seen.
    let above = edge.attempts.share_above(Duration::from_millis(wanted));
    if wanted < now {
        text::body(
            ui,
            format!(
                "would cut {} of attempts instead of {}",
                format::percent(above.max(cut_now)),
                format::percent(cut_now)
            ),
        );
    } else if wanted > now {
        text::body(
            ui,
            format!(
                "would cut at most {} of attempts, as now: how long those would have taken was never seen",
                format::percent(cut_now.max(above))
            ),
        );
    } else {
        text::body(ui, format!("cuts {} of attempts", format::percent(cut_now.max(above))));
    }
    if let Some(left) = edge.deadline_left_ms {
        // A deadline as long as the timeout has lost a few milliseconds when the call begins.
        let fits = left >= wanted as f64 * 0.98;
        let words = format!(
            "the caller's deadline leaves {} · {}",
            format::millis(left),
            if fits { "fits" } else { "does not fit" }
        );
        let t = tokens(ui);
        text::styled(ui, words, text::secondary_font(), if fits { t.text_soft } else { t.tone(Tone::AtRisk) });
    }
}

fn apply(
    ui: &mut Ui,
    model: &Model,
    edge: &EffectiveEdge,
    now: u64,
    wanted: u64,
    state: &mut State,
    commands: &mut Commands,
) {
    if !edge.steered {
        text::note(ui, "The caller runs no agent: its timeout can be seen, not moved.");
        return;
    }
    let callers = format::plural(u64::from(edge.instances), "caller");
    ui.horizontal(|ui| {
        if Button::new("Edit the policy").show(ui).clicked() {
            commands.push(Command::Go(View::Policies));
        }
        let words = if wanted == now {
            "Move the thumb to change it".to_owned()
        } else {
            format!("Apply to {callers}, revert in 10 min")
        };
        let able = wanted != now && edge.instances > 0;
        if Button::new(&words)
            .kind(Kind::Primary)
            .enabled(able)
            .barred(model.barred(Deed::Override))
            .wide()
            .show(ui)
            .clicked()
        {
            let key = &edge.key;
            let selector = Selector {
                caller: Some(key.caller.clone()),
                service: Some(key.callee.clone()),
                operation: Some(key.operation.clone()),
                instance: None,
            };
            let action = OverrideAction::Timeout { attempt_ms: Some(wanted), overall_ms: None };
            let reason = format!("attempt timeout {now} → {wanted} ms, tried from the board");
            let action =
                Action::SetOverride { spec: OverrideSpec { selector, action }, ttl_ms: TTL.as_millis() as u64 };
            commands.push(Command::Act { action, reason, undo: None });
            state.thumb = None;
        }
    });
    if wanted != now && ui.input(|i| i.key_pressed(egui::Key::Escape)) {
        state.thumb = None;
    }
}
