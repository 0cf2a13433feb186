//! The breaker of the chosen edge: its state with the countdown, why it opened, its window call by call, and its mode.

use std::time::Duration;

use egui::{Stroke, Ui};
use fuseboard_api::breaker::{Breaker, BreakerMode, BreakerState};
use fuseboard_api::graph::{Edge, EdgeKey};
use fuseboard_api::identity::Deed;

use super::super::requested;
use super::super::switches::mode_words;
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::breaker::{Glyph, fleet_words, window_cells};
use crate::widgets::button::{Button, Kind};
use crate::widgets::{Tone, format, pill, text, tokens};

/// Modes to choose from, in the order of the buttons.
const MODES: [BreakerMode; 4] =
    [BreakerMode::Auto, BreakerMode::ForcedOpen, BreakerMode::ForcedClosed, BreakerMode::Shadow];

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, edge: &Edge, commands: &mut Commands) {
    let Some(fleet) = &edge.breaker else { return };
    let told = worst(model, &edge.key);
    let glyph = Glyph::new(fleet.state, fleet.mode);
    let now = model.time.position();
    text::section_with(ui, "Circuit breaker", |ui| {
        let left = told.and_then(|b| b.probe_at).filter(|_| glyph.tone() == Tone::Failed).map(|at| at.since(now));
        let words = match left {
            Some(left) if left > Duration::ZERO && !glyph.overridden() => {
                // A cursor that stands counts nothing down, and one that plays brings its own frames.
                if model.time.cursor.is_following() {
                    ui.request_repaint_after(Duration::from_millis(100));
                }
                format!("{} · probes in {}", glyph.words(), format::countdown(left))
            }
            _ => glyph.words().to_owned(),
        };
        pill::status(ui, &words, glyph.tone());
    });
    text::note(ui, sentence(model, edge, told));
    if let Some(breaker) = told {
        ui.add_space(4.0);
        let name = format!("window of {}", breaker.instance);
        let needed = usize::try_from(breaker.min_calls).unwrap_or(0).min(20);
        if let Some(call) = window_cells(ui, &breaker.window, needed, &name)
            && let Some(id) = breaker.window.get(call).and_then(|c| c.trace_id)
        {
            commands.push(Command::OpenTrace(id));
        }
        text::row(
            ui,
            16.0,
            |ui| text::label(ui, "oldest"),
            |ui| {
                let words = if breaker.state == BreakerState::Open { "the call that tripped it ↑" } else { "newest" };
                text::label(ui, words);
            },
        );
    }
    ui.add_space(4.0);
    modes(ui, model, &edge.key, fleet.mode, commands);
}

/// The breaker to speak of: the chosen instance's, or the worst.
fn worst<'a>(model: &'a Model, key: &EdgeKey) -> Option<&'a Breaker> {
    let all = model.slots.breakers.get()?.breakers.iter().filter(|b| b.key == *key);
    let chosen = |b: &&Breaker| model.selection.instance.as_deref() == Some(b.instance.as_str());
    all.clone()
        .find(chosen)
        .or_else(|| all.max_by_key(|b| (b.state, b.failures, std::cmp::Reverse(b.instance.clone()))))
}

fn sentence(model: &Model, edge: &Edge, told: Option<&Breaker>) -> String {
    let Some(fleet) = &edge.breaker else { return String::new() };
    let since = model.zone.time(fleet.since);
    let cause = told.map(|b| b.cause.as_str()).unwrap_or_default();
    let instances = fleet.closed + fleet.half_open + fleet.open;
    let differ = [fleet.closed, fleet.half_open, fleet.open].iter().filter(|n| **n > 0).count() > 1;
    let share = if differ {
        format!(" {} instances: {}.", instances, fleet_words(fleet.closed, fleet.half_open, fleet.open))
    } else {
        String::new()
    };
    let words = match (fleet.mode, fleet.state) {
        (BreakerMode::ForcedOpen, _) => format!("Forced open since {since}: every call is refused."),
        (BreakerMode::ForcedClosed, _) => format!("Forced closed since {since}: every call is let through."),
        (BreakerMode::Disabled, _) => format!("Disabled since {since}: it lets everything through and counts nothing."),
        (BreakerMode::Shadow, _) => "In shadow: it reports what it would do and refuses nothing.".to_owned(),
        (BreakerMode::Auto, BreakerState::Closed) => {
            told.map_or_else(|| "Calls flow.".to_owned(), |b| format!("Calls flow. Trips when {}.", b.rule))
        }
        (BreakerMode::Auto, _) if !cause.is_empty() => format!("Tripped {since}: {cause}."),
        (BreakerMode::Auto, BreakerState::HalfOpen) => format!("Probing since {since}."),
        (BreakerMode::Auto, BreakerState::Open) => format!("Open since {since}."),
    };
    let probes = told.filter(|b| b.state == BreakerState::HalfOpen).and_then(|b| b.probes);
    let probes = probes.map(|(good, of)| format!(" {good} of {of} good probes.")).unwrap_or_default();
    format!("{words}{probes}{share}")
}

/// The mode: what the data says is chosen, what was asked for is drawn as requested until every instance has it.
fn modes(ui: &mut Ui, model: &Model, key: &EdgeKey, now: BreakerMode, commands: &mut Commands) {
    let asked = requested(model, key).filter(|m| *m != now);
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        ui.horizontal_wrapped(|ui| {
            for mode in MODES {
                let kind = if mode == now { Kind::Chosen } else { Kind::Quiet };
                let response = Button::new(mode_words(mode)).kind(kind).barred(model.barred(Deed::Override)).show(ui);
                if asked == Some(mode) {
                    let r = response.rect.expand(1.0);
                    let around = [r.left_top(), r.right_top(), r.right_bottom(), r.left_bottom(), r.left_top()];
                    let stroke = Stroke::new(1.5, tokens(ui).accent);
                    ui.painter().extend(egui::Shape::dashed_line(&around, stroke, 4.0, 3.0));
                }
                if response.clicked() && mode != now {
                    commands.push(Command::Flip { edge: key.clone(), instance: None, mode });
                }
            }
        });
    });
    if let Some(mode) = asked {
        text::styled(
            ui,
            format!("{} requested; waiting for the instances", mode_words(mode)),
            text::secondary_font(),
            tokens(ui).accent,
        );
    } else if let Some(why) = model.barred(Deed::Override) {
        text::note(ui, why);
    }
}
