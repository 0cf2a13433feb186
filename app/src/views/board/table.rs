//! The same as a table: every link in one row, sortable.

use egui::Ui;
use fuseboard_api::graph::{Board, EdgeKey};

use super::merge::{Grouping, Link, Merged, merge};
use super::scene::limit_words;
use super::switches::mode_words;
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::breaker::{Glyph, fleet_words};
use crate::widgets::table::{Column, Table};
use crate::widgets::{Tone, format, text, tokens};

/// What it keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    sort: Option<(usize, bool)>,
    made: Option<Made>,
}

/// Rows in order, for as long as nothing changes.
#[derive(Debug)]
struct Made {
    from: (u64, bool, String, Option<(usize, bool)>),
    merged: Merged,
    order: Vec<u32>,
}

const COLUMNS: [Column<'static>; 9] = [
    Column { head: "caller", width: 0.0, right: false },
    Column { head: "callee", width: 110.0, right: false },
    Column { head: "operation", width: 150.0, right: false },
    Column { head: "rate", width: 66.0, right: true },
    Column { head: "errors", width: 58.0, right: true },
    Column { head: "p95", width: 72.0, right: true },
    Column { head: "timeout", width: 70.0, right: true },
    Column { head: "attempts", width: 54.0, right: true },
    Column { head: "breaker", width: 96.0, right: false },
];

/// Paints the table.
pub(crate) fn show(
    ui: &mut Ui,
    model: &Model,
    board: &Board,
    grouping: Grouping,
    filter: &str,
    state: &mut State,
    commands: &mut Commands,
) {
    let by_operation = grouping == Grouping::Operations;
    let from = (model.slots.board.version, by_operation, filter.trim().to_lowercase(), state.sort);
    let made = match state.made.take() {
        Some(made) if made.from == from => made,
        _ => make(board, from),
    };
    let key = |row: usize| row_link(&made, row).and_then(|l| l.key(board));
    let chosen =
        model.selection.edge.as_ref().and_then(|c| (0..made.order.len()).find(|r| row_has(&made, board, *r, c)));
    let touched = Table::new("Links", &COLUMNS, made.order.len()).chosen(chosen).sorted(state.sort).show(
        ui,
        |row| key(row).map(ToString::to_string).unwrap_or_default(),
        |ui, row, column| {
            if let Some(link) = row_link(&made, row) {
                cell(ui, &made, board, link, column);
            }
        },
    );
    if let Some(column) = touched.head {
        let down = state.sort.is_none_or(|(c, down)| c != column || !down);
        state.sort = Some((column, down));
    }
    if let Some(row) = touched.chosen {
        commands.push(Command::SelectEdge(key(row).cloned()));
    }
    if let Some(key) = touched.opened.and_then(key) {
        super::open_traces(key, commands);
    }
    state.made = Some(made);
}

fn row_link(made: &Made, row: usize) -> Option<&Link> {
    made.order.get(row).and_then(|i| made.merged.links.get(*i as usize))
}

fn row_has(made: &Made, board: &Board, row: usize, key: &EdgeKey) -> bool {
    row_link(made, row)
        .is_some_and(|l| l.edges.iter().any(|e| board.edges.get(*e as usize).is_some_and(|e| e.key == *key)))
}

fn make(board: &Board, from: (u64, bool, String, Option<(usize, bool)>)) -> Made {
    let grouping = if from.1 { Grouping::Operations } else { Grouping::Services };
    let has = |s: &str| s.to_lowercase().contains(&from.2);
    let shown = |i: usize| {
        from.2.is_empty()
            || board.edges.get(i).is_some_and(|e| has(&e.key.caller) || has(&e.key.callee) || has(&e.key.operation))
    };
    let merged = merge(board, grouping, &shown);
    let mut order: Vec<u32> = (0..merged.links.len() as u32).collect();
    if let Some((column, down)) = from.3 {
        let number = |i: u32| figure(&merged.links[i as usize], column);
        let words = |i: u32| name(&merged, board, &merged.links[i as usize], column);
        if column < 3 {
            order.sort_by_cached_key(|i| words(*i));
        } else {
            order.sort_by(|a, b| number(*a).total_cmp(&number(*b)).then(b.cmp(a)));
        }
        if down == (column >= 3) {
            order.reverse();
        }
    }
    Made { from, merged, order }
}

fn name(merged: &Merged, board: &Board, link: &Link, column: usize) -> String {
    let of = |i: u32| merged.boxes.get(i as usize).map_or("", |b| b.name.as_str()).to_owned();
    match column {
        0 => of(link.from),
        1 => of(link.to),
        _ if link.edges.len() > 1 => format!("{} operations", link.edges.len()),
        _ => link
            .edges
            .first()
            .and_then(|e| board.edges.get(*e as usize))
            .map(|e| e.key.operation.clone())
            .unwrap_or_default(),
    }
}

fn figure(link: &Link, column: usize) -> f64 {
    match column {
        3 => link.stats.rate(),
        4 => link.stats.error_ratio(),
        5 => link.stats.quantile(0.95).map_or(0.0, |d| d.as_secs_f64()),
        6 => link.timeout_ms.map_or(0.0, |ms| ms as f64),
        7 => link.stats.attempts_per_call().unwrap_or(0.0),
        _ => link.switch.as_ref().map_or(-1.0, |s| f64::from(s.worst.open * 100 + s.worst.half_open)),
    }
}

fn cell(ui: &mut Ui, made: &Made, board: &Board, link: &Link, column: usize) {
    let t = tokens(ui);
    let mono = |ui: &mut Ui, words: String, tone: Tone| {
        let color = if tone == Tone::Neutral { t.text } else { t.tone(tone) };
        text::styled(ui, words, text::mono_font(11.5), color);
    };
    match column {
        0 | 1 => {
            text::styled(ui, name(&made.merged, board, link, column), text::medium(12.0), t.text);
        }
        2 => {
            text::mono_soft(ui, name(&made.merged, board, link, column));
        }
        3 => mono(ui, format::rate(link.stats.rate()), Tone::Neutral),
        4 => {
            let ratio = link.stats.error_ratio();
            let tone = if ratio >= 0.1 {
                Tone::Failed
            } else if ratio >= 0.01 {
                Tone::AtRisk
            } else {
                Tone::Neutral
            };
            mono(ui, format::percent(ratio), tone);
        }
        5 => {
            let p95 = link.stats.quantile(0.95).map_or_else(|| "–".to_owned(), format::latency);
            mono(ui, p95, if link.near_timeout() { Tone::AtRisk } else { Tone::Neutral });
        }
        6 => mono(ui, link.timeout_ms.map_or_else(|| "–".to_owned(), limit_words), Tone::Neutral),
        7 => {
            let attempts = link.stats.attempts_per_call();
            let tone = if attempts.is_some_and(|a| a >= 1.5) { Tone::AtRisk } else { Tone::Neutral };
            mono(ui, attempts.map_or_else(|| "–".to_owned(), |a| format!("{a:.1}×")), tone);
        }
        _ => {
            let Some(switch) = &link.switch else { return };
            let b = &switch.worst;
            let glyph = Glyph::new(b.state, b.mode);
            let (rect, _) = ui.allocate_exact_size(egui::vec2(24.0, 14.0), egui::Sense::hover());
            glyph.paint(ui.painter(), rect, t);
            let words = if glyph.overridden() {
                mode_words(b.mode).to_lowercase()
            } else {
                fleet_words(b.closed, b.half_open, b.open)
            };
            text::styled(ui, words, text::secondary_font(), t.tone(glyph.tone()));
        }
    }
}
