//! One line for each trace.

use egui::{Rect, Sense, Ui, vec2};
use fuseboard_api::TraceId;
use fuseboard_api::trace::TraceRow;

use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::table::{Column, Table};
use crate::widgets::theme::mix;
use crate::widgets::{Tone, format, text, tokens};

const TIME: Column<'static> = Column { head: "began", width: 92.0, right: false };
const TRACE: Column<'static> = Column { head: "trace", width: 0.0, right: false };
const TOOK: Column<'static> = Column { head: "took", width: 170.0, right: false };
const SPANS: Column<'static> = Column { head: "spans", width: 46.0, right: true };
const ERRORS: Column<'static> = Column { head: "errors", width: 46.0, right: true };
const REFUSED: Column<'static> = Column { head: "refused", width: 52.0, right: true };
const SERVICES: Column<'static> = Column { head: "services", width: 210.0, right: false };

/// Paints the list.
pub(crate) fn show(
    ui: &mut Ui,
    model: &Model,
    rows: &mut Vec<&TraceRow>,
    chosen: &mut Option<TraceId>,
    sort: &mut Option<(usize, bool)>,
    commands: &mut Commands,
) {
    order(rows, *sort);
    let longest = rows.iter().map(|r| r.duration_nanos).max().unwrap_or(1).max(1);
    let all = [TIME, TRACE, TOOK, SPANS, ERRORS, REFUSED, SERVICES];
    let columns = match ui.available_width() {
        w if w > 820.0 => &all[..],
        w if w > 600.0 => &all[..6],
        _ => &all[..4],
    };
    let at = chosen.and_then(|c| rows.iter().position(|r| r.trace_id == c));
    let touched = Table::new("Traces", columns, rows.len()).chosen(at).sorted(*sort).show(
        ui,
        |row| rows.get(row).map(|r| name(r)).unwrap_or_default(),
        |ui, row, column| {
            if let Some(r) = rows.get(row) {
                cell(ui, model, r, column, longest);
            }
        },
    );
    if let Some(column) = touched.head {
        *sort = Some((column, sort.is_none_or(|(c, down)| c != column || !down)));
    }
    if let Some(row) = touched.chosen.and_then(|i| rows.get(i)) {
        *chosen = Some(row.trace_id);
        // A click opens; the arrow keys only choose.
        if ui.input(|i| i.pointer.primary_released()) {
            commands.push(Command::OpenTrace(row.trace_id));
        }
    }
    if let Some(row) = touched.opened.and_then(|i| rows.get(i)) {
        commands.push(Command::OpenTrace(row.trace_id));
    }
}

fn name(row: &TraceRow) -> String {
    let errors =
        if row.errors > 0 { format!(", {}", format::plural(row.errors.into(), "error")) } else { String::new() };
    format!("{} {}, {}{errors}", row.service, row.operation, format::nanos(row.duration_nanos))
}

fn order(rows: &mut [&TraceRow], sort: Option<(usize, bool)>) {
    let Some((column, down)) = sort else { return };
    match column {
        0 => rows.sort_by_key(|r| r.start),
        1 => rows.sort_by(|a, b| (&a.service, &a.operation).cmp(&(&b.service, &b.operation))),
        2 => rows.sort_by_key(|r| r.duration_nanos),
        3 => rows.sort_by_key(|r| r.spans),
        4 => rows.sort_by_key(|r| r.errors),
        5 => rows.sort_by_key(|r| r.refused),
        _ => rows.sort_by_key(|r| r.services.len()),
    }
    if down == (column != 1) {
        rows.reverse();
    }
}

fn cell(ui: &mut Ui, model: &Model, row: &TraceRow, column: usize, longest: u64) {
    let t = tokens(ui);
    let figure = |ui: &mut Ui, n: u32, tone: Tone| {
        let color = if n == 0 {
            t.label
        } else if tone == Tone::Neutral {
            t.text
        } else {
            t.tone(tone)
        };
        text::styled(ui, format::count(n.into()), text::mono_font(11.5), color);
    };
    match column {
        0 => {
            text::styled(ui, model.zone.milli(row.start), text::mono_font(11.5), t.text_soft);
        }
        1 => {
            text::styled(ui, &row.service, text::medium(12.5), t.text);
            text::styled(ui, &row.operation, text::body_font(), t.text_soft).on_hover_text(&row.operation);
        }
        2 => took(ui, row, longest),
        3 => figure(ui, row.spans, Tone::Neutral),
        4 => figure(ui, row.errors, Tone::Failed),
        5 => figure(ui, row.refused, Tone::Probing),
        _ => {
            let words = row.services.join(", ");
            text::styled(ui, &words, text::secondary_font(), t.text_soft).on_hover_text(words);
        }
    }
}

/// A bar beside the figure.
fn took(ui: &mut Ui, row: &TraceRow, longest: u64) {
    let t = tokens(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 18.0), Sense::hover());
    let words = 74.0;
    let tone = if row.failed {
        t.failed
    } else if row.errors > 0 {
        t.at_risk
    } else {
        t.accent
    };
    ui.painter().text(
        egui::pos2(rect.left() + words - 8.0, rect.center().y),
        egui::Align2::RIGHT_CENTER,
        format::nanos(row.duration_nanos),
        text::mono_font(11.5),
        t.text,
    );
    let room = Rect::from_min_max(
        egui::pos2(rect.left() + words, rect.center().y - 4.0),
        egui::pos2(rect.right() - 2.0, rect.center().y + 4.0),
    );
    let share = row.duration_nanos as f32 / longest as f32;
    ui.painter().rect_filled(room, 2, t.raised);
    ui.painter().rect_filled(
        room.with_max_x(room.left() + (room.width() * share).max(2.0)),
        2,
        mix(t.window, tone, 0.75),
    );
}
