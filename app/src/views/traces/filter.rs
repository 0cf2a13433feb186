//! The row of conditions.

use egui::{Key, Ui};
use fuseboard_api::trace::TraceQuery;

use super::complete::complete;
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::button::{Button, link, toggle};
use crate::widgets::{field, space, text, tokens};

/// What is typed, before it is asked.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The query that the fields were filled from.
    from: Option<TraceQuery>,
    service: String,
    operation: String,
    min: String,
    max: String,
    text: String,
    errors_only: bool,
    service_open: bool,
    operation_open: bool,
}

/// Whether a query leaves anything out.
pub(crate) fn narrowed(query: &TraceQuery) -> bool {
    TraceQuery { range: Default::default(), limit: 0, before: None, ..query.clone() } != TraceQuery::default()
}

impl State {
    fn fill(&mut self, query: &TraceQuery) {
        if self.from.as_ref() == Some(query) {
            return;
        }
        let number = |n: Option<f64>| n.map(|n| n.to_string()).unwrap_or_default();
        *self = Self {
            from: Some(query.clone()),
            service: query.service.clone().unwrap_or_default(),
            operation: query.operation.clone().unwrap_or_default(),
            min: number(query.min_ms),
            max: number(query.max_ms),
            text: words_of(query),
            errors_only: query.errors_only,
            ..Self::default()
        };
    }

    /// The query that the fields say.
    fn query(&self) -> TraceQuery {
        let some = |s: &str| (!s.trim().is_empty()).then(|| s.trim().to_owned());
        let (attributes, text) = split_words(&self.text);
        let base = self.from.clone().unwrap_or_default();
        TraceQuery {
            service: some(&self.service),
            operation: some(&self.operation),
            min_ms: millis(&self.min),
            max_ms: millis(&self.max),
            errors_only: self.errors_only,
            attributes,
            text,
            before: None,
            ..base
        }
    }
}

/// Attributes and text as one line: `http.route=/cart timeout`.
fn words_of(query: &TraceQuery) -> String {
    let attributes = query.attributes.iter().map(|(k, v)| format!("{k}={v}"));
    attributes.chain(query.text.clone()).collect::<Vec<_>>().join(" ")
}

/// `key=value` words are attributes, the rest is text.
fn split_words(line: &str) -> (Vec<(String, String)>, Option<String>) {
    let (mut attributes, mut rest) = (Vec::new(), Vec::new());
    for word in line.split_whitespace() {
        match word.split_once('=') {
            Some((k, v)) if !k.is_empty() && !v.is_empty() => attributes.push((k.to_owned(), v.to_owned())),
            _ => rest.push(word),
        }
    }
    let text = rest.join(" ");
    (attributes, (!text.is_empty()).then_some(text))
}

/// Milliseconds from what a person types: `800`, `1.5s`, `250 ms`.
fn millis(typed: &str) -> Option<f64> {
    let typed = typed.trim().to_lowercase();
    let (number, factor) = if let Some(n) = typed.strip_suffix("ms") {
        (n, 1.0)
    } else if let Some(n) = typed.strip_suffix("µs").or(typed.strip_suffix("us")) {
        (n, 0.001)
    } else if let Some(n) = typed.strip_suffix('s') {
        (n, 1000.0)
    } else {
        (typed.as_str(), 1.0)
    };
    number.trim().replace(',', "").parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).map(|n| n * factor)
}

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    state.fill(&model.filters.traces);
    let names = model.slots.names.get();
    let services = || names.into_iter().flat_map(|n| n.services.iter());
    let mut settled = false;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(8.0, 6.0);
        let (mut service, mut open) = (std::mem::take(&mut state.service), state.service_open);
        settled |=
            complete(ui, ("Service", "service"), &mut service, &mut open, 130.0, services().map(|s| s.0.as_str()));
        (state.service, state.service_open) = (service, open);
        let (mut operation, mut open) = (std::mem::take(&mut state.operation), state.operation_open);
        let of = services().filter(|s| state.service.is_empty() || s.0 == state.service);
        let operations = of.flat_map(|s| s.1.iter().map(String::as_str));
        settled |= complete(ui, ("Operation", "operation"), &mut operation, &mut open, 170.0, operations);
        (state.operation, state.operation_open) = (operation, open);
        for (name, hint, value) in
            [("At least, ms", "min ms", &mut state.min), ("At most, ms", "max ms", &mut state.max)]
        {
            let response = field::text_field_sized(ui, name, hint, value, 92.0);
            settled |= response.lost_focus();
            if !value.trim().is_empty() && millis(value).is_none() {
                let stroke = egui::Stroke::new(1.0, tokens(ui).failed);
                ui.painter().rect_stroke(response.rect, space::RADIUS, stroke, egui::StrokeKind::Inside);
                response.on_hover_text("not a duration; try 800, 250 ms or 1.5s");
            }
        }
        let hint = "text, or key=value of an attribute";
        let width = ui.available_width().clamp(150.0, 260.0);
        let response = field::text_field_sized(ui, "Text or attribute", hint, &mut state.text, width);
        settled |= response.lost_focus() || (response.has_focus() && ui.input(|i| i.key_pressed(Key::Enter)));
        settled |= toggle(ui, "errors only", &mut state.errors_only);
        if let Some((caller, callee)) = model.filters.traces.edge.clone() {
            let words = format!("over {caller} → {callee}  ×");
            if Button::new(&words).small().show(ui).on_hover_text("click to drop this condition").clicked() {
                commands.push(Command::FilterTraces(TraceQuery { edge: None, ..model.filters.traces.clone() }));
            }
        }
        if narrowed(&model.filters.traces) && link(ui, "clear").clicked() {
            commands.push(Command::FilterTraces(TraceQuery::default()));
        }
    });
    if settled {
        let query = state.query();
        if query != model.filters.traces {
            commands.push(Command::FilterTraces(query));
        }
    }
    let names_wait = model.slots.names.waiting();
    if names_wait && state.service_open {
        text::label(ui, "names for completion are on their way");
    }
    ui.add_space(space::NEAR);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_type_them() {
        let read: Vec<Option<f64>> = ["800", "1.5s", "250 ms", "90us", "1,200", "", "fast", "-3"].map(millis).into();
        let wanted = [Some(800.0), Some(1500.0), Some(250.0), Some(0.09), Some(1200.0), None, None, None];
        for (read, wanted) in read.into_iter().zip(wanted) {
            assert!(
                match (read, wanted) {
                    (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                    (a, b) => a == b,
                },
                "{read:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn words_are_attributes_or_text() {
        let (attributes, text) = split_words("http.route=/cart payment refused = x=");
        assert_eq!(attributes, [("http.route".to_owned(), "/cart".to_owned())]);
        assert_eq!(text.as_deref(), Some("payment refused = x="));
        let query = TraceQuery { attributes, text, ..TraceQuery::default() };
        assert_eq!(words_of(&query), "http.route=/cart payment refused = x=");
    }

    #[test]
    fn fields_and_query_are_the_same_thing() {
        let query = TraceQuery {
            service: Some("orders".to_owned()),
            min_ms: Some(250.0),
            errors_only: true,
            edge: Some(("a".to_owned(), "b".to_owned())),
            ..TraceQuery::default()
        };
        let mut state = State::default();
        state.fill(&query);
        assert_eq!(state.query(), query);
        assert!(narrowed(&query) && !narrowed(&TraceQuery { limit: 900, ..TraceQuery::default() }));
    }
}
