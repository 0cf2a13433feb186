//! What is looked for: one line in the language of filters.

mod offers;

use egui::text::{CCursor, CharIndex};
use egui::{Key, Margin, RectAlign, Stroke, TextEdit, Ui, vec2};
use fuseboard_api::filter::{self, Hint, Mistake};
use fuseboard_api::trace::TraceQuery;

use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::button::{link, toggle};
use crate::widgets::{space, text, tokens};

/// Room right of the line for the buttons.
const BUTTONS: f32 = 190.0;

/// What is typed, before it is asked.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The query that the line was filled from.
    from: Option<TraceQuery>,
    text: String,
    errors_only: bool,
    /// What is wrong with the line as it was last settled or shortened.
    mistake: Option<Mistake>,
    hints: Vec<Hint>,
}

/// Whether a query leaves anything out.
pub(crate) fn narrowed(query: &TraceQuery) -> bool {
    let bare = TraceQuery { range: Default::default(), limit: 0, before: None, reach: 0, ..query.clone() };
    bare != TraceQuery::default()
}

/// All conditions of a query but `errors_only`, as one line.
fn line_of(query: &TraceQuery) -> String {
    let only_filter = TraceQuery { filter: query.filter.clone(), ..TraceQuery::default() };
    let asked =
        TraceQuery { errors_only: false, range: Default::default(), limit: 0, reach: 0, before: None, ..query.clone() };
    if asked == only_filter {
        // As it was typed.
        return query.filter.clone();
    }
    asked.condition().map_or_else(|_| query.filter.clone(), |parsed| parsed.expr.to_string())
}

impl State {
    fn fill(&mut self, query: &TraceQuery) {
        if self.from.as_ref() == Some(query) {
            return;
        }
        let same = self.from.as_ref().is_some_and(|from| line_of(from) == line_of(query));
        if !same {
            self.text = line_of(query);
            self.check();
        }
        self.errors_only = query.errors_only;
        self.from = Some(query.clone());
    }

    /// The query that the line says.
    fn query(&self) -> TraceQuery {
        TraceQuery {
            filter: self.text.trim().to_owned(),
            errors_only: self.errors_only,
            limit: self.from.as_ref().map_or(0, |from| from.limit),
            ..TraceQuery::default()
        }
    }

    fn check(&mut self) {
        match filter::parse(&self.text) {
            Ok(parsed) => (self.mistake, self.hints) = (None, parsed.hints),
            Err(mistake) => (self.mistake, self.hints) = (Some(mistake), Vec::new()),
        }
    }

    /// What is wrong while one still types: what is merely not there yet is no mistake yet.
    fn check_typing(&mut self) {
        self.check();
        self.hints.clear();
        let end = self.text.trim_end().len();
        if self.mistake.as_ref().is_some_and(|m| m.to >= end) {
            self.mistake = None;
        }
    }
}

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    state.fill(&model.filters.traces);
    let mut settled = false;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing = vec2(8.0, 6.0);
        let width = (ui.available_width() - BUTTONS).max(160.0);
        settled |= line(ui, model, state, width);
        settled |= toggle(ui, "errors only", &mut state.errors_only);
        if narrowed(&model.filters.traces) && link(ui, "clear").clicked() {
            commands.push(Command::FilterTraces(TraceQuery::default()));
        }
    });
    words(ui, state);
    if settled {
        state.check();
        let query = state.query();
        let known = &model.filters.traces;
        let other = line_of(known) != query.filter || known.errors_only != query.errors_only;
        if state.mistake.is_none() && other {
            commands.push(Command::FilterTraces(query));
        }
    }
    ui.add_space(space::NEAR);
}

/// The line itself; true when it was settled: by Enter, or by leaving it.
fn line(ui: &mut Ui, model: &Model, state: &mut State, width: f32) -> bool {
    let t = tokens(ui);
    let before = state.text.clone();
    let frame = egui::Frame::new()
        .fill(t.window)
        .stroke(Stroke::new(1.0, if state.mistake.is_some() { t.failed } else { t.line_strong }))
        .corner_radius(space::RADIUS)
        .inner_margin(Margin { left: 10, right: 10, top: 5, bottom: 5 });
    let hint = "service=orders status=error duration>250ms, or any text";
    let edit = TextEdit::singleline(&mut state.text)
        .hint_text(egui::RichText::new(hint).font(text::mono_font(12.0)).color(t.label))
        .font(text::mono_font(12.0))
        .text_color(t.text)
        .frame(frame)
        .desired_width(width - 2.0)
        .align(egui::Align2::LEFT_CENTER)
        .min_size(vec2(0.0, 16.0));
    let names = model.slots.names.get();
    let output = egui::CompletionPopup::new(ui.make_persistent_id("filter of traces"))
        .word_boundary(|c| c.is_whitespace() || "(){}".contains(c))
        .align(RectAlign::BOTTOM_START)
        .max_height(260.0)
        // Enter asks, whatever is offered.
        .accept_keys([Key::Tab])
        .show(ui, edit, |query| offers::offers(query.text, query.word, query.word_range.end.0, names));
    let field = output.text_edit;
    let response = field.response.response.accessible_name("Filter");
    if response.has_focus() {
        let ring = Stroke::new(1.5, t.accent);
        ui.painter().rect_stroke(response.rect, space::RADIUS, ring, egui::StrokeKind::Inside);
    }
    if state.text != before {
        state.check_typing();
    }
    if let Some(mistake) = &state.mistake {
        let chars = |byte: usize| state.text.get(..byte).map_or(0, |s| s.chars().count());
        let place = |byte| {
            field.galley.pos_from_cursor(CCursor::new(CharIndex(chars(byte)))).translate(field.galley_pos.to_vec2())
        };
        let (from, to) = (place(mistake.from), place(mistake.to));
        // What is missing has no width.
        let right = to.right().max(from.left() + 7.0);
        let y = from.bottom() + 0.5;
        let painter = ui.painter().with_clip_rect(field.text_clip_rect.expand(2.0));
        painter.hline(from.left()..=right, y, Stroke::new(2.0, t.failed));
    }
    response.lost_focus()
}

/// What is wrong with the line, or hardly meant so.
fn words(ui: &mut Ui, state: &State) {
    let t = tokens(ui);
    if let Some(mistake) = &state.mistake {
        ui.add_space(2.0);
        text::wrapped(ui, mistake.to_string(), text::secondary_font(), t.failed);
    }
    for hint in &state.hints {
        ui.add_space(2.0);
        text::note(ui, hint.text.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_from_elsewhere_fills_the_line() {
        let query = TraceQuery {
            service: Some("orders".to_owned()),
            operation: Some("POST /orders".to_owned()),
            min_ms: Some(250.0),
            errors_only: true,
            ..TraceQuery::default()
        };
        let mut state = State::default();
        state.fill(&query);
        assert_eq!(state.text, "service=orders name=\"POST /orders\" trace.duration>=250ms");
        assert!(state.errors_only && state.mistake.is_none());
        assert_eq!(state.query().filter, state.text);
        assert!(narrowed(&query) && !narrowed(&TraceQuery { limit: 900, reach: 4, ..TraceQuery::default() }));
    }

    #[test]
    fn what_is_typed_stays_as_it_was_typed() {
        let mut state = State { text: "service:a   b".to_owned(), ..State::default() };
        let query = state.query();
        state.fill(&query);
        assert_eq!(state.text, "service:a   b");
        state.fill(&TraceQuery { limit: 900, ..query });
        assert_eq!(state.text, "service:a   b", "another limit is no other filter");
        state.fill(&TraceQuery::default());
        assert_eq!(state.text, "");
    }

    #[test]
    fn who_still_types_is_not_interrupted() {
        let mut state = State { text: "service=a duration>".to_owned(), ..State::default() };
        state.check_typing();
        assert_eq!(state.mistake, None, "the value comes yet");
        state.text = "kind=sever service=a".to_owned();
        state.check_typing();
        assert!(state.mistake.is_some(), "this is passed already");
        state.text = "duration>".to_owned();
        state.check();
        assert!(state.mistake.is_some(), "settled as it is");
    }
}
