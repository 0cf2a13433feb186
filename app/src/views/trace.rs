//! One trace: a waterfall that stays smooth at a million spans, with the critical path, every attempt, every refused call,
//! and what the deadline left at each hop; the same as a flame graph and as a table.
//!
//! A trace is made ready once ([`built`]); a frame touches only the lines in sight.

mod built;
mod critical;
mod detail;
mod ending;
mod facts;
mod find;
mod flame;
mod head;
mod maker;
mod palette;
mod row;
mod skew;
mod strips;
mod summary;
mod table;
mod tree;
mod waterfall;

use std::collections::HashSet;
use std::sync::Arc;

use egui::Ui;
use fuseboard_api::{SpanId, TraceId};

use crate::command::{Command, Commands};
use crate::model::{Model, View};
use crate::widgets::{banner, button};
use built::Built;

/// How the trace is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tab {
    /// A line for each span.
    #[default]
    Waterfall,
    /// A box for each span, children under their parents.
    Flame,
    /// A row for each span.
    Table,
}

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    maker: maker::Maker,
    tab: Tab,
    /// The trace that the rest is about.
    of: Option<TraceId>,
    /// Spans whose subtrees are folded.
    folded: HashSet<u32>,
    /// Lines in sight after folding, and what they were made for.
    lines: Vec<u32>,
    lines_for: Option<(u64, usize)>,
    folds: usize,
    /// The stretch of time shown, in nanoseconds from the trace's begin; `None` shows all.
    stretch: Option<(i64, i64)>,
    /// First line shown, with its fraction.
    scroll: f64,
    /// A line to bring into sight.
    reveal: Option<u32>,
    hide_path: bool,
    through_queues: bool,
    names_width: f32,
    find: find::Find,
    chosen: Option<(SpanId, u32)>,
    flame: flame::State,
    table: table::State,
}

impl State {
    /// Begins anew when another trace is shown.
    fn turn_to(&mut self, built: &Built) {
        let id = built.trace.trace_id;
        if self.of != Some(id) {
            *self = Self {
                maker: std::mem::take(&mut self.maker),
                tab: self.tab,
                names_width: self.names_width,
                of: Some(id),
                ..Self::default()
            };
        }
    }

    /// The lines that folding leaves, made anew when that changed.
    fn fold_lines(&mut self, built: &Built) {
        let made_for = (built.version, self.folds);
        if self.lines_for == Some(made_for) {
            return;
        }
        self.lines_for = Some(made_for);
        self.lines.clear();
        let mut i = 0;
        while let Some(line) = built.lines.get(i) {
            self.lines.push(i as u32);
            let folded = line.what == built::What::Span && self.folded.contains(&line.span);
            i = if folded { line.after as usize } else { i + 1 };
        }
    }

    /// The chosen span's index.
    fn chosen(&mut self, model: &Model, built: &Built) -> Option<u32> {
        let id = model.selection.span?;
        match self.chosen {
            Some((known, i)) if known == id && built.span(i).is_some_and(|s| s.span_id == id) => Some(i),
            _ => {
                let i = built.trace.spans.iter().position(|s| s.span_id == id)? as u32;
                self.chosen = Some((id, i));
                Some(i)
            }
        }
    }

    /// Unfolds what hides a span and brings its line into sight.
    fn go_to(&mut self, built: &Built, span: u32, commands: &mut Commands) {
        let mut above = built.tree.parent(span);
        while let Some(p) = above {
            if self.folded.remove(&p) {
                self.folds += 1;
            }
            above = built.tree.parent(p);
        }
        self.reveal = built.line_of.get(span as usize).copied();
        // A span with an id that occurs twice is chosen by its index.
        if let Some(s) = built.span(span) {
            self.chosen = Some((s.span_id, span));
            commands.push(Command::SelectSpan(Some(s.span_id)));
        }
    }

    fn toggle_fold(&mut self, span: u32) {
        if !self.folded.remove(&span) {
            self.folded.insert(span);
        }
        self.folds += 1;
    }
}

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    crate::widgets::view(ui, |ui| {
        let Some(built) = ready(ui, model, state, commands) else { return };
        let fresh = state.of != Some(built.trace.trace_id);
        state.turn_to(&built);
        if let Some(culprit) = built.summary.culprit
            && fresh
            && model.selection.span.is_none_or(|id| !built.trace.spans.iter().any(|s| s.span_id == id))
        {
            state.go_to(&built, culprit, commands);
        }
        state.fold_lines(&built);
        head::show(ui, model, &built, state, commands);
        match state.tab {
            Tab::Waterfall => waterfall::show(ui, model, &built, state, commands),
            Tab::Flame => flame::show(ui, model, &built, state, commands),
            Tab::Table => table::show(ui, model, &built, state, commands),
        }
    });
}

/// The trace made ready, or words in its place.
fn ready(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) -> Option<Arc<Built>> {
    let back = |ui: &mut Ui, commands: &mut Commands| {
        if button::button(ui, "Go to Traces").clicked() {
            commands.push(Command::Go(View::Traces));
        }
    };
    let Some(id) = model.selection.trace else {
        banner::empty(ui, "No trace is open", "Choose one from the list of traces.", |ui| back(ui, commands));
        return None;
    };
    let slot = &model.slots.trace;
    match (&slot.value, &slot.error) {
        (Some(opened), _) => match &opened.0 {
            Some(trace) if trace.trace_id == id => {
                let built = state.maker.built(ui.ctx(), slot.version, trace);
                if built.is_none() {
                    banner::empty(ui, "Opening the trace", "It is large: its tree is being built.", |_| {});
                }
                built.filter(|b| b.trace.trace_id == id)
            }
            Some(_) => {
                banner::empty(ui, "Opening the trace", &id.to_string(), |_| {});
                None
            }
            None => {
                let words = format!("Nothing of {id} is stored at this instant.");
                banner::empty(ui, "No such trace", &words, |ui| back(ui, commands));
                None
            }
        },
        (None, Some(error)) => {
            banner::empty(ui, "The trace did not come", error, |ui| back(ui, commands));
            None
        }
        (None, None) => {
            banner::empty(ui, "Opening the trace", &id.to_string(), |_| {});
            None
        }
    }
}

/// Paints what stands beside it.
pub(crate) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let Some(built) = state.maker.last().filter(|b| Some(b.trace.trace_id) == model.selection.trace) else { return };
    if let Some(span) = state.chosen(model, &built) {
        detail::show(ui, model, &built, span, commands);
    }
}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(model: &Model, state: &State) -> bool {
    model.selection.span.is_some()
        && state.maker.last().is_some_and(|b| Some(b.trace.trace_id) == model.selection.trace)
}
