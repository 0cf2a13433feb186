//! Beside the board: the chosen edge. Its figures, its breaker, its timeout as a thumb on the latencies, what is forecast, and
//! where to go from here.

mod forecast;
mod switch;
mod timeout;

use egui::Ui;
use fuseboard_api::graph::{Board, Edge, EdgeKey};
use fuseboard_api::stats::Stats;
use fuseboard_api::trace::TraceQuery;
use fuseboard_policy::names;

use crate::command::{Command, Commands};
use crate::model::{Model, View};
use crate::views::findings;
use crate::widgets::button::link;
use crate::widgets::{Tone, format, rule, space, text, tokens};

/// What the inspector keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    timeout: timeout::State,
}

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, key: &EdgeKey, state: &mut State, commands: &mut Commands) {
    let board = model.slots.board.get();
    let siblings: Vec<&Edge> = board.map(|b| siblings(b, key)).unwrap_or_default();
    head(ui, key, &siblings, commands);
    let edge = siblings.iter().find(|e| e.key == *key);
    let Some(edge) = edge else {
        text::note(ui, "No call over this edge in the range shown.");
        return links(ui, model, key, None, commands);
    };
    figures(ui, edge);
    if edge.breaker.is_some() {
        rule(ui);
        switch::show(ui, model, edge, commands);
    }
    if timeout::known(model, key) {
        rule(ui);
        timeout::show(ui, model, key, &mut state.timeout, commands);
    }
    if forecast::of(model, key).is_some() {
        rule(ui);
        forecast::show(ui, model, key);
    }
    let found = findings::of(model, key);
    if !found.is_empty() {
        rule(ui);
        findings::beside(ui, &found, commands);
    }
    rule(ui);
    links(ui, model, key, Some(&edge.stats), commands);
}

/// The edges between the same two services, the busiest first.
fn siblings<'a>(board: &'a Board, key: &EdgeKey) -> Vec<&'a Edge> {
    let mut all: Vec<&Edge> =
        board.edges.iter().filter(|e| e.key.caller == key.caller && e.key.callee == key.callee).collect();
    all.sort_by_key(|e| std::cmp::Reverse(e.stats.calls));
    all
}

fn head(ui: &mut Ui, key: &EdgeKey, siblings: &[&Edge], commands: &mut Commands) {
    text::inspector_title(ui, &format!("{} → {}", key.caller, key.callee));
    if siblings.len() < 2 {
        text::mono_soft(ui, &key.operation).on_hover_text(&key.operation);
    } else {
        let t = tokens(ui);
        egui::ComboBox::from_id_salt("operation of the edge")
            .selected_text(egui::RichText::new(&key.operation).font(text::mono_font(11.0)).color(t.text_soft))
            .width(ui.available_width() - 8.0)
            .truncate()
            .show_ui(ui, |ui| {
                for edge in siblings {
                    let words = format!("{}  {}", edge.key.operation, format::rate(edge.stats.rate()));
                    if ui.selectable_label(edge.key == *key, words).clicked() {
                        commands.push(Command::SelectEdge(Some(edge.key.clone())));
                    }
                }
            })
            .response
            .on_hover_text(format!("{} operations between these two", siblings.len()));
    }
    ui.add_space(space::NEAR);
}

fn figures(ui: &mut Ui, edge: &Edge) {
    let stats = &edge.stats;
    let ratio = stats.error_ratio();
    let errors = if ratio >= 0.1 {
        Some(Tone::Failed)
    } else if ratio >= 0.01 {
        Some(Tone::AtRisk)
    } else {
        None
    };
    let p95 = stats.quantile(0.95);
    let limit = edge.attempt_timeout_ms.or(edge.overall_timeout_ms);
    let near = matches!((p95, limit), (Some(p), Some(l)) if p.as_secs_f64() * 1000.0 >= 0.9 * l as f64);
    let attempts = stats.attempts_per_call();
    let many = attempts.is_some_and(|a| a >= 1.5);
    text::figures(
        ui,
        &[
            ("rate", format::rate(stats.rate()), None),
            ("errors", format::percent(ratio), errors),
            ("p95", p95.map_or_else(|| "–".to_owned(), format::latency), near.then_some(Tone::Failed)),
            ("attempts", attempts.map_or_else(|| "–".to_owned(), |a| format!("{a:.1}×")), many.then_some(Tone::AtRisk)),
        ],
    );
}

/// Where to go from here.
fn links(ui: &mut Ui, model: &Model, key: &EdgeKey, stats: Option<&Stats>, commands: &mut Commands) {
    let edge = Some((key.caller.clone(), key.callee.clone()));
    ui.spacing_mut().item_spacing.x = 16.0;
    ui.horizontal_wrapped(|ui| {
        let calls = stats.map(|s| format!("Traces {}", format::count(s.calls)));
        if link(ui, calls.as_deref().unwrap_or("Traces")).clicked() {
            super::open_traces(key, commands);
        }
        let refused = stats.map_or(0, |s| s.refused);
        if refused > 0 && link(ui, &format!("Calls refused {}", format::count(refused))).clicked() {
            let attributes = vec![(names::OUTCOME.to_owned(), "refused".to_owned())];
            commands.push(Command::FilterTraces(TraceQuery {
                edge: edge.clone(),
                attributes,
                ..TraceQuery::default()
            }));
            commands.push(Command::Go(View::Traces));
        }
        if link(ui, "History").clicked() {
            commands.push(Command::FilterAudit(Some(key.callee.clone())));
            commands.push(Command::Go(View::Audit));
        }
        let revision = model.slots.policies.get().map(|p| p.revision.number);
        if link(ui, &revision.map_or_else(|| "Policy".to_owned(), |r| format!("Policy r{r}"))).clicked() {
            commands.push(Command::Go(View::Policies));
        }
    });
}
