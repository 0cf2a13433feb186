//! Searching on: a page that ended before it was full is asked for again with a longer reach, until somebody stops it.

use egui::Ui;
use fuseboard_api::trace::{TraceList, TraceQuery};

use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::button::Button;
use crate::widgets::{format, space, text};

/// The longest reach that is asked for: a thousand million spans.
const FAR: u32 = 1024;

/// What is remembered of a search.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The search that was stopped, without its reach.
    stopped: Option<TraceQuery>,
}

/// Whether the page ended before it was full and before everything was searched.
pub(crate) fn is_short(list: &TraceList) -> bool {
    list.more && list.searched.segments > 0
}

/// Paints how far the search came, if it goes on, and lets it; true while it does.
pub(crate) fn show(ui: &mut Ui, model: &Model, list: &TraceList, state: &mut State, commands: &mut Commands) -> bool {
    let query = &model.filters.traces;
    let plain = TraceQuery { reach: 0, ..query.clone() };
    if !is_short(list) {
        return false;
    }
    let stopped = state.stopped.as_ref() == Some(&plain) || query.reach >= FAR;
    let searched = &list.searched;
    let words = format!(
        "{} back to {}, {} of {}",
        if stopped { "Searched" } else { "Searching: it came" },
        model.zone.time(searched.range.from),
        format::count(u64::from(searched.segments_examined)),
        format::plural(u64::from(searched.segments), "segment"),
    );
    text::row(
        ui,
        26.0,
        |ui| text::secondary(ui, words),
        |ui| {
            let verb = if stopped { "Search on" } else { "Stop" };
            if query.reach < FAR && Button::new(verb).small().show(ui).clicked() {
                state.stopped = (!stopped).then(|| plain.clone());
            }
        },
    );
    ui.add_space(space::NEAR);
    let answers = model.slots.traces.answers.as_ref().map(|(question, _)| question);
    let answered = match answers {
        Some(fuseboard_api::ask::Question::Traces(answered)) => answered.reach == query.reach,
        _ => false,
    };
    if !stopped && answered && state.stopped.as_ref() != Some(&plain) {
        commands.push(Command::FilterTraces(TraceQuery { reach: query.reach.max(1).saturating_mul(4), ..plain }));
    }
    !stopped
}
