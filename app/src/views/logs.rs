//! The logs view: records of the range, filtered where they are stored, with the way to their trace.

use egui::Ui;
use fuseboard_api::attr::AttrValue;
use fuseboard_api::log::{LogQuery, LogRecord};

use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::table::{Column, Table};
use crate::widgets::{self, Tone, banner, button, field, pill, rule, space, text, tokens};

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What stands in the text field; the query follows it.
    text: String,
    /// The chosen record.
    chosen: Option<usize>,
    /// The answer that the choice belongs to.
    version: u64,
}

/// A record's severity in words, from OpenTelemetry's severity number.
pub(crate) fn severity(number: u8) -> (&'static str, Tone) {
    match number {
        1..=4 => ("TRACE", Tone::Neutral),
        5..=8 => ("DEBUG", Tone::Neutral),
        9..=12 => ("INFO", Tone::Neutral),
        13..=16 => ("WARN", Tone::AtRisk),
        17..=20 => ("ERROR", Tone::Failed),
        21.. => ("FATAL", Tone::Failed),
        0 => ("–", Tone::Neutral),
    }
}

/// The message of a record on one line.
pub(crate) fn message(record: &LogRecord) -> String {
    let body = match &record.body {
        AttrValue::Empty => record.event_name.clone(),
        body if record.event_name.is_empty() => body.to_string(),
        body => format!("{} {body}", record.event_name),
    };
    body.replace(['\n', '\r', '\t'], " ")
}

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    widgets::view(ui, |ui| {
        let slot = &model.slots.logs;
        let rows = slot.get().map_or(0, |l| l.rows.len());
        let aside = match slot.get() {
            Some(l) if l.more => format!("the newest {rows}; narrow the filter to see others"),
            Some(_) => widgets::format::plural(rows as u64, "record"),
            None => String::new(),
        };
        widgets::view_head(ui, "Logs", &aside, |_| {});
        filters(ui, model, state, commands);
        let Some(logs) = slot.get() else {
            match slot.error.as_deref() {
                None => banner::empty(ui, "Asking for logs…", "The picture comes with the first answer.", |_| {}),
                Some(why) => banner::empty(ui, "No answer about logs", why, |_| {}),
            }
            return;
        };
        if slot.stale || slot.error.is_some() {
            banner::stale(ui, slot.error.as_deref());
        }
        if state.version != slot.version {
            state.version = slot.version;
            state.chosen = state.chosen.filter(|i| *i < logs.rows.len());
        }
        if logs.rows.is_empty() {
            empty(ui, model, state, commands);
        } else {
            table(ui, model, state, commands, &logs.rows);
        }
    });
}

/// Paints what stands beside it.
pub(crate) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let record = model.slots.logs.get().zip(state.chosen).and_then(|(l, i)| l.rows.get(i));
    let Some(record) = record else { return };
    let (word, tone) = severity(record.severity);
    text::row(
        ui,
        24.0,
        |ui| text::inspector_title(ui, &record.origin.service),
        |ui| {
            pill::status(ui, word, tone);
        },
    );
    let instance =
        if record.origin.instance.is_empty() { "instance not sent" } else { record.origin.instance.as_str() };
    text::mono_soft(ui, format!("{} · {instance}", model.zone.milli(record.time)));
    ui.add_space(12.0);
    text::body(ui, record.body.to_string());
    ui.add_space(space::NEAR);
    ui.horizontal(|ui| {
        if let Some(trace) = record.trace_id
            && button::link(ui, "Open its trace").clicked()
        {
            if let Some(span) = record.span_id {
                commands.push(Command::SelectSpan(Some(span)));
            }
            commands.push(Command::OpenTrace(trace));
        }
        if button::link(ui, "Show this instant").clicked() {
            commands.push(Command::Seek(record.time));
        }
        if button::link(ui, "Copy").clicked() {
            commands.push(Command::Copy(record.body.to_string(), "the message".to_owned()));
        }
    });
    rule(ui);
    text::section(ui, "Attributes");
    ui.add_space(4.0);
    if record.attributes.is_empty() {
        text::note(ui, "None were sent.");
    }
    for (key, value) in &record.attributes {
        text::pair(ui, key, &value.to_string());
    }
}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(model: &Model, state: &State) -> bool {
    state.chosen.is_some_and(|i| model.slots.logs.get().is_some_and(|l| i < l.rows.len()))
}

const SEVERITIES: [(u8, &str); 4] = [(0, "All"), (9, "Info"), (13, "Warn"), (17, "Error")];

fn filters(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let query = &model.filters.logs;
    let mut wanted = query.clone();
    ui.horizontal(|ui| {
        ui.set_min_height(space::CONTROL);
        let width = (ui.available_width() - 470.0).clamp(140.0, 420.0);
        if field::text_field_sized(ui, "Text in logs", "text in the message", &mut state.text, width).changed() {
            wanted.text = Some(state.text.trim().to_owned()).filter(|t| !t.is_empty());
        }
        service_choice(ui, model, &mut wanted.service);
        let mut least = SEVERITIES.iter().rev().find(|s| s.0 <= query.min_severity).map_or(0, |s| s.0);
        if button::segmented(ui, "At least", &mut least, &SEVERITIES) {
            wanted.min_severity = least;
        }
        if query.trace_id.is_some() && button::link(ui, "of any trace").clicked() {
            wanted.trace_id = None;
        }
    });
    ui.add_space(space::NEAR);
    if wanted != *query {
        state.chosen = None;
        commands.push(Command::FilterLogs(wanted));
    }
}

fn service_choice(ui: &mut Ui, model: &Model, service: &mut Option<String>) {
    let chosen = service.clone().unwrap_or_else(|| "every service".to_owned());
    let response = egui::ComboBox::from_id_salt("log service").width(150.0).selected_text(&chosen).show_ui(ui, |ui| {
        ui.selectable_value(service, None, "every service");
        for name in model.slots.totals.get().map(|t| t.services.as_slice()).unwrap_or_default() {
            ui.selectable_value(service, Some(name.clone()), name);
        }
    });
    response.response.accessible_name(format!("Service: {chosen}"));
}

fn empty(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let query = &model.filters.logs;
    let filtered =
        query.text.is_some() || query.service.is_some() || query.min_severity > 0 || query.trace_id.is_some();
    if filtered {
        banner::empty(ui, "No log matches", "Nothing in this range passes the filter.", |ui| {
            if button::button(ui, "Clear the filter").clicked() {
                state.text.clear();
                commands.push(Command::FilterLogs(LogQuery::default()));
            }
        });
    } else {
        banner::empty(
            ui,
            "No logs in this range",
            "Send them over OTLP to the same endpoint as the spans; those with a trace id are shown inside their trace, too.",
            |_| {},
        );
    }
}

fn table(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, rows: &[LogRecord]) {
    let columns = [
        Column::words("time", 92.0),
        Column::words("severity", 62.0),
        Column::words("service", 120.0),
        Column::words("message", 0.0),
        Column::words("trace", 76.0),
    ];
    let mut open = None;
    let touched = Table::new("logs", &columns, rows.len()).chosen(state.chosen).row_height(24.0).show(
        ui,
        |i| {
            rows.get(i).map_or_else(String::new, |r| {
                format!("{} {}: {}", severity(r.severity).0, r.origin.service, message(r))
            })
        },
        |ui, i, column| {
            let Some(r) = rows.get(i) else { return };
            let t = tokens(ui);
            let (word, tone) = severity(r.severity);
            match column {
                0 => {
                    text::styled(ui, model.zone.milli(r.time), text::mono_font(11.0), t.text_soft);
                }
                1 => {
                    text::styled(ui, word, text::mono_medium(11.0), t.tone(tone));
                }
                2 => {
                    text::styled(ui, &r.origin.service, text::body_font(), t.text);
                }
                3 => {
                    let message = message(r);
                    text::styled(ui, &message, text::body_font(), t.text).on_hover_text(message);
                }
                _ => {
                    if let Some(trace) = r.trace_id {
                        let short: String = trace.to_string().chars().take(8).collect();
                        if button::link(ui, &short).accessible_name(format!("open trace {short}")).clicked() {
                            open = Some((trace, r.span_id));
                        }
                    }
                }
            }
        },
    );
    state.chosen = touched.chosen.or(state.chosen);
    let opened = touched.opened.and_then(|i| rows.get(i)).and_then(|r| r.trace_id.map(|t| (t, r.span_id)));
    if let Some((trace, span)) = open.or(opened) {
        commands.push(Command::OpenTrace(trace));
        commands.push(Command::SelectSpan(span));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_api::UnixNanos;
    use std::sync::Arc;

    #[test]
    fn severities_follow_opentelemetry() {
        let words: Vec<&str> = [0, 1, 5, 9, 13, 17, 21, 24].map(|n| severity(n).0).into();
        assert_eq!(words, ["–", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "FATAL"]);
    }

    #[test]
    fn messages_are_one_line_and_events_are_named() {
        let mut record = LogRecord {
            time: UnixNanos(0),
            severity: 9,
            severity_text: String::new(),
            observed: None,
            flags: 0,
            dropped_attributes: 0,
            event_name: String::new(),
            body: "two\nlines".into(),
            attributes: Vec::new(),
            trace_id: None,
            span_id: None,
            origin: Arc::default(),
            arrival: UnixNanos(0),
        };
        assert_eq!(message(&record), "two lines");
        record.event_name = "breaker.opened".into();
        assert_eq!(message(&record), "breaker.opened two lines");
        record.body = AttrValue::Empty;
        assert_eq!(message(&record), "breaker.opened");
    }
}
