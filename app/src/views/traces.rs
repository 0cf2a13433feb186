//! The list of traces: what is wanted, where they lie in time and duration, and one line each.

mod filter;
mod list;
mod scatter;
mod search;

use egui::Ui;
use fuseboard_api::TraceId;
use fuseboard_api::trace::TraceRow;

use crate::command::{Command, Commands};
use crate::model::{Connection, Model};
use crate::widgets::{banner, button, format, text, view_head};

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    filter: filter::State,
    search: search::State,
    /// What a brush on the scatter holds.
    brush: Option<scatter::Brush>,
    chosen: Option<TraceId>,
    sort: Option<(usize, bool)>,
}

/// Rows of the answer that one more page asks for.
const PAGE: u32 = 500;

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    crate::widgets::view(ui, |ui| {
        let range = model.time.listed();
        let aside = match model.time.chosen {
            Some(_) => format!("{} – {}", model.zone.time(range.from), model.zone.time(range.to)),
            None => format!("last {}", format::duration(range.length())),
        };
        view_head(ui, "Traces", &aside, |ui| summary(ui, model));
        filter::show(ui, model, &mut state.filter, commands);
        let slot = &model.slots.traces;
        let Some(answer) = slot.get() else { return absent(ui, model) };
        let searching = search::show(ui, model, answer, &mut state.search, commands);
        if slot.stale && !searching || slot.error.is_some() {
            banner::stale(ui, slot.error.as_deref());
        }
        if answer.rows.is_empty() && searching {
            return;
        }
        if answer.rows.is_empty() {
            return none(ui, model, state, commands);
        }
        if ui.available_height() > 330.0 {
            scatter::show(ui, model, &answer.rows, &mut state.brush, &mut state.chosen, commands);
        }
        let brush = state.brush;
        let mut rows: Vec<&TraceRow> = answer.rows.iter().filter(|r| brush.is_none_or(|b| b.holds(r))).collect();
        if brush.is_some() {
            ui.horizontal(|ui| {
                text::secondary(ui, format!("{} in the brush", format::plural(rows.len() as u64, "trace")));
                if button::link(ui, "clear").clicked() {
                    state.brush = None;
                }
            });
        }
        let full = answer.more && !search::is_short(answer);
        let foot = if full { 34.0 } else { 0.0 };
        let area = ui.available_rect_before_wrap();
        let body = area.with_max_y(area.bottom() - foot);
        ui.scope_builder(egui::UiBuilder::new().max_rect(body), |ui| {
            list::show(ui, model, &mut rows, &mut state.chosen, &mut state.sort, commands);
        });
        if full {
            let rect = area.with_min_y(body.bottom() + 6.0);
            ui.scope_builder(egui::UiBuilder::new().max_rect(rect), |ui| more(ui, model, answer.rows.len(), commands));
        }
    });
}

fn summary(ui: &mut Ui, model: &Model) {
    let Some(list) = model.slots.traces.get() else { return };
    let failed = list.rows.iter().filter(|r| r.errors > 0).count() as u64;
    let more = if list.more { " and more" } else { "" };
    text::secondary(
        ui,
        format!("{}{more}, {} with errors", format::plural(list.rows.len() as u64, "trace"), format::count(failed)),
    );
}

fn more(ui: &mut Ui, model: &Model, shown: usize, commands: &mut Commands) {
    text::row(
        ui,
        26.0,
        |ui| text::secondary(ui, format!("the newest {} are shown", format::count(shown as u64))),
        |ui| {
            if button::Button::new("Show more").small().show(ui).clicked() {
                let mut query = model.filters.traces.clone();
                query.limit = shown as u32 + PAGE;
                query.reach = 0;
                commands.push(Command::FilterTraces(query));
            }
        },
    );
}

fn absent(ui: &mut Ui, model: &Model) {
    match (&model.connection, &model.slots.traces.error) {
        (Connection::Lost { why, .. }, _) => banner::empty(ui, "The collector does not answer", why, |_| {}),
        (Connection::Unknown { head, why }, _) => {
            banner::empty(ui, head, why, |_| {});
        }
        (_, Some(error)) => banner::empty(ui, "The traces did not come", error, |_| {}),
        _ => banner::empty(ui, "Asking for traces", "The first answer is on its way.", |_| {}),
    }
}

fn none(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let narrowed = filter::narrowed(&model.filters.traces);
    let (head, words) = if narrowed {
        ("No trace fits", "Nothing in this range fits all conditions.")
    } else {
        ("No traces in this range", "Choose a longer range on the time strip, or follow the newest.")
    };
    banner::empty(ui, head, words, |ui| {
        if narrowed && button::button(ui, "Clear the conditions").clicked() {
            state.filter = filter::State::default();
            state.brush = None;
            commands.push(Command::FilterTraces(Default::default()));
        }
    });
}

/// Paints what stands beside it.
pub(crate) fn inspector(_ui: &mut Ui, _model: &Model, _state: &mut State, _commands: &mut Commands) {}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(_model: &Model, _state: &State) -> bool {
    false
}
