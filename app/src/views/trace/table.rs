//! The spans as a table.

use egui::Ui;

use super::State as View;
use super::built::{Built, What};
use super::ending::{title, tone};
use super::facts::End;
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::table::{Column, Table};
use crate::widgets::{Tone, format, text, tokens};

/// Order of the rows, for as long as nothing changes.
#[derive(Debug, Default)]
pub(crate) struct State {
    sort: Sort,
    made: Option<(u64, Sort, Vec<u32>)>,
}

/// A column, and whether downwards.
type Sort = Option<(usize, bool)>;

const COLUMNS: [Column<'static>; 8] = [
    Column { head: "service", width: 120.0, right: false },
    Column { head: "name", width: 0.0, right: false },
    Column { head: "begin", width: 76.0, right: true },
    Column { head: "took", width: 76.0, right: true },
    Column { head: "own time", width: 76.0, right: true },
    Column { head: "left", width: 60.0, right: true },
    Column { head: "ended", width: 90.0, right: false },
    Column { head: "instance", width: 110.0, right: false },
];

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, built: &Built, state: &mut View, commands: &mut Commands) {
    let version = built.version;
    let sort = state.table.sort;
    let order = match state.table.made.take() {
        Some((v, s, order)) if v == version && s == sort => order,
        _ => ordered(built, sort),
    };
    let chosen = state.chosen(model, built);
    let row_of = chosen.and_then(|c| order.iter().position(|i| *i == c));
    let scroll_to = state.reveal.take().and(row_of);
    let touched = Table::new("Spans", &COLUMNS, order.len()).chosen(row_of).sorted(sort).scroll_to(scroll_to).show(
        ui,
        |row| order.get(row).map(|i| format!("{} {}", built.service(*i), title(built, *i))).unwrap_or_default(),
        |ui, row, column| {
            if let Some(i) = order.get(row) {
                cell(ui, built, *i, column);
            }
        },
    );
    if let Some(column) = touched.head {
        state.table.sort = Some((column, sort.is_none_or(|(c, down)| c != column || !down)));
    }
    if let Some(i) = touched.chosen.or(touched.opened).and_then(|row| order.get(row))
        && let Some(span) = built.span(*i)
    {
        state.chosen = Some((span.span_id, *i));
        commands.push(Command::SelectSpan(Some(span.span_id)));
    }
    state.table.made = Some((version, sort, order));
}

fn ordered(built: &Built, sort: Sort) -> Vec<u32> {
    let mut order: Vec<u32> = built.lines.iter().filter(|l| l.what == What::Span).map(|l| l.span).collect();
    let Some((column, down)) = sort else { return order };
    let number = |i: u32| -> i64 {
        let (begin, end) = built.times[i as usize];
        match column {
            2 => begin,
            3 => end - begin,
            4 => built.self_time(i),
            5 => built.facts[i as usize].left_ms.map_or(i64::MAX, |ms| ms as i64),
            _ => built.facts[i as usize].end as i64,
        }
    };
    match column {
        0 => order.sort_by(|a, b| built.service(*a).cmp(built.service(*b))),
        1 => order.sort_by_cached_key(|i| title(built, *i)),
        7 => order.sort_by_key(|i| built.span(*i).map(|s| s.origin.instance.clone())),
        _ => order.sort_by_cached_key(|i| number(*i)),
    }
    if down == (2..=6).contains(&column) {
        order.reverse();
    }
    order
}

fn cell(ui: &mut Ui, built: &Built, i: u32, column: usize) {
    let t = tokens(ui);
    let (begin, end) = built.times[i as usize];
    let facts = built.facts[i as usize];
    let mono = |ui: &mut Ui, ns: i64| {
        text::styled(ui, format::nanos(ns.unsigned_abs()), text::mono_font(11.5), t.text);
    };
    match column {
        0 => {
            text::styled(ui, built.service(i), text::medium(12.0), t.text);
        }
        1 => {
            text::styled(ui, title(built, i), text::body_font(), t.text_soft);
        }
        2 => mono(ui, begin),
        3 => mono(ui, end - begin),
        4 => mono(ui, built.self_time(i)),
        5 => {
            if let Some(ms) = facts.left_ms {
                text::mono_soft(ui, format::millis(f64::from(ms)));
            }
        }
        6 => {
            let words = match facts.end {
                End::Well => "well",
                End::Failed => "failed",
                End::Timeout => "timeout",
                End::Refused => "refused",
                End::Cancelled => "cancelled",
            };
            let tone = tone(facts.end);
            text::styled(
                ui,
                words,
                text::secondary_font(),
                if tone == Tone::Well { t.text_soft } else { t.tone(tone) },
            );
        }
        _ => {
            text::mono_soft(ui, built.span(i).map_or("", |s| s.origin.instance.as_str()));
        }
    }
}
