//! The inspector of a switch that nobody is flipping: why it is as it is, and where to look next.

use egui::Ui;
use fuseboard_api::TimeRange;
use fuseboard_api::identity::Deed;
use fuseboard_api::trace::TraceQuery;

use super::switches::{Look, Switch, look};
use super::{card, words};
use crate::command::{Command, Commands};
use crate::model::{Model, View};
use crate::views::{clock, names};
use crate::widgets::breaker::{Glyph, fleet_words};
use crate::widgets::pill;
use crate::widgets::{Tone, button, format, rule, space, text, tokens};

/// Transitions that are listed.
const LISTED: usize = 6;

/// Paints the inspector.
pub(super) fn show(ui: &mut Ui, model: &Model, commands: &mut Commands, switch: &Switch<'_>) {
    let t = tokens(ui);
    let b = switch.lead;
    text::row(
        ui,
        22.0,
        |ui| text::inspector_title(ui, &names::edge_name(switch.key)),
        |ui| {
            let tone = match Glyph::new(b.state, b.mode).tone() {
                Tone::Neutral => Tone::AtRisk,
                tone => tone,
            };
            let closed = (switch.instances.len() - switch.open - switch.half_open) as u32;
            let word = match look(b) {
                Look::Open | Look::HalfOpen | Look::Closed => {
                    fleet_words(closed, switch.half_open as u32, switch.open as u32)
                }
                other => words::state_word(other).to_owned(),
            };
            pill::status(ui, &word, tone);
        },
    );
    text::styled(ui, &switch.key.operation, text::mono_font(11.5), t.text_soft).on_hover_text(&switch.key.operation);
    ui.add_space(12.0);
    if let Some(edge) = switch.edge {
        let stats = &edge.stats;
        let errors = stats.error_ratio();
        text::figures(
            ui,
            &[
                ("rate", format::rate(stats.rate()), None),
                ("errors", format::percent(errors), (errors > 0.01).then_some(Tone::Failed)),
                ("p95", stats.quantile(0.95).map_or("–".into(), format::latency), None),
                ("refused", format::count(words::refused(switch)), None),
            ],
        );
    }
    rule(ui);
    text::section(ui, "Why it is as it is");
    ui.add_space(4.0);
    let now = clock::instant(model);
    text::body(ui, words::state_sentence(switch, now, &|at| model.zone.time(at)));
    if !b.cause.is_empty() {
        let last = if look(b) == Look::Closed { "Last trip: " } else { "" };
        text::note(ui, format!("{last}{}", b.cause));
    }
    text::note(ui, if b.rule.is_empty() { "No rule is set.".to_owned() } else { format!("Rule: {}", b.rule) });
    if switch.rate().is_some_and(|r| r > 0.0) && b.min_calls > 0 && b.calls < b.min_calls {
        text::note(ui, format!("{} of the {} calls that a ratio needs.", b.calls, b.min_calls));
    }
    if let Some(breach) = switch.breach {
        text::wrapped(ui, words::trip_sentence(breach, now), text::secondary_font(), t.at_risk);
    }
    transitions(ui, model, commands, switch);
    rule(ui);
    links(ui, model, commands, switch);
}

fn transitions(ui: &mut Ui, model: &Model, commands: &mut Commands, switch: &Switch<'_>) {
    let Some(all) = model.slots.breakers.get() else { return };
    let list: Vec<_> = all.transitions.iter().filter(|x| x.key == *switch.key).take(LISTED).collect();
    if list.is_empty() {
        return;
    }
    let t = tokens(ui);
    ui.add_space(16.0);
    text::section(ui, "Lately");
    ui.add_space(4.0);
    for x in list {
        ui.horizontal(|ui| {
            ui.set_height(22.0);
            let time = model.zone.time(x.at);
            if button::link(ui, &time).on_hover_text("Show this instant").clicked() {
                commands.push(Command::Seek(x.at));
            }
            let to = fuseboard_api::breaker::Breaker { state: x.to, ..Default::default() };
            let tone = card::tone(&to);
            let color = if tone == Tone::Neutral { t.well } else { t.tone(tone) };
            text::styled(ui, words::state_word(look(&to)), text::medium(11.5), color);
            let cause = if x.by_mode && x.cause.is_empty() { "set by hand" } else { x.cause.as_str() };
            let words = if cause.is_empty() { x.instance.clone() } else { format!("{} · {cause}", x.instance) };
            text::secondary(ui, &words).on_hover_text(&words);
        });
    }
}

fn links(ui: &mut Ui, model: &Model, commands: &mut Commands, switch: &Switch<'_>) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 16.0;
        if button::link(ui, "Traces").clicked() {
            let query = TraceQuery {
                edge: Some((switch.key.caller.clone(), switch.key.callee.clone())),
                range: TimeRange::default(),
                ..TraceQuery::default()
            };
            commands.push(Command::FilterTraces(query));
            commands.push(Command::Go(View::Traces));
        }
        if button::link(ui, &format!("Policy r{}", switch.lead.revision)).clicked() {
            commands.push(Command::SelectEdge(Some(switch.key.clone())));
            commands.push(Command::Go(View::Policies));
        }
        if button::link(ui, "On the board").clicked() {
            commands.push(Command::SelectEdge(Some(switch.key.clone())));
            commands.push(Command::Go(View::Board));
        }
    });
    if let Some(why) = model.barred(Deed::Override) {
        ui.add_space(space::NEAR);
        text::note(ui, why);
    }
}
