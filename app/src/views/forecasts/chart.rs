//! One forecast: what was seen, what is normal, what is expected, the limit, and how good earlier forecasts were.

use egui::{Sense, Stroke, Ui, vec2};
use fuseboard_api::UnixNanos;
use fuseboard_api::forecast::{BandPoint, Forecast};

use super::State;
use super::rows::{self, Knowledge};
use crate::command::{Command, Commands};
use crate::model::{Model, View};
use crate::views::names;
use crate::widgets::card::card;
use crate::widgets::chart::{Band, Line, LineChart, painter_dashed};
use crate::widgets::table::{Column, Table};
use crate::widgets::{Tone, button, space, text, theme, tokens};

/// Paints the forecast.
pub(super) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, f: &Forecast) {
    head(ui, state, f);
    let t = tokens(ui);
    let knowledge = rows::knowledge(f);
    match (&f.breach, knowledge) {
        (Some(b), _) => {
            text::wrapped(ui, rows::breach(b, model.time.position()), text::medium(12.5), t.at_risk);
        }
        (None, Knowledge::Nothing) => {
            text::note(ui, "Nothing was seen of it in this time.");
        }
        // The collector's own sentence says how much is missing.
        (None, Knowledge::Seen | Knowledge::Normal) if !f.sentence.is_empty() => {}
        (None, Knowledge::Seen) => {
            text::note(ui, "Not enough data yet to say what is normal.");
        }
        (None, Knowledge::Normal) => {
            text::note(ui, "Normal is known; not enough data yet for a forecast.");
        }
        (None, Knowledge::Ahead) => {
            text::note(ui, "No limit is expected to be crossed.");
        }
    }
    if !f.sentence.is_empty() {
        text::note(ui, f.sentence.as_str());
    }
    ui.add_space(space::NEAR);
    if state.table {
        table(ui, model, f);
        return;
    }
    if knowledge != Knowledge::Nothing {
        card(ui, |ui| {
            draw(ui, model, f);
            ui.add_space(4.0);
            legend(ui, f);
        });
    }
    ui.add_space(12.0);
    trust(ui, model, f);
    ui.add_space(12.0);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 16.0;
        for (words, view) in
            [("On the board", View::Board), ("Its breaker", View::Breakers), ("Its policy", View::Policies)]
        {
            if button::link(ui, words).clicked() {
                commands.push(Command::SelectEdge(Some(f.key.clone())));
                commands.push(Command::Go(view));
            }
        }
    });
}

fn head(ui: &mut Ui, state: &mut State, f: &Forecast) {
    let t = tokens(ui);
    text::row(
        ui,
        38.0,
        |ui| {
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 2.0;
                let title = format!("{} · {}", names::edge_name(&f.key), rows::quantity(f.quantity));
                text::styled(ui, title, text::inspector_font(), t.text);
                text::styled(ui, &f.key.operation, text::mono_font(11.0), t.text_soft);
            });
        },
        |ui| {
            let mut table = state.table;
            if button::toggle(ui, "as a table", &mut table) {
                state.table = table;
            }
        },
    );
    ui.add_space(space::NEAR);
}

fn draw(ui: &mut Ui, model: &Model, f: &Forecast) {
    let t = tokens(ui);
    let x = |at: UnixNanos| at.as_secs_f64();
    let seen: Vec<(f64, f64)> = f.seen.iter().map(|(at, v)| (x(*at), *v)).collect();
    let band = |points: &[BandPoint]| -> Vec<(f64, f64, f64)> { points.iter().map(|p| (x(p.t), p.lo, p.hi)).collect() };
    let (normal, ahead) = (band(&f.band), band(&f.ahead));
    let middle: Vec<(f64, f64)> = f.ahead.iter().map(|p| (x(p.t), p.mid)).collect();
    let tone = if f.breach.is_some() { t.at_risk } else { t.accent };
    let mut bands = vec![Band { points: &normal, color: theme::mix(t.panel, t.text_soft, 0.18) }];
    bands.push(Band { points: &ahead, color: theme::mix(t.panel, tone, 0.26) });
    let starts = seen.first().map(|p| p.0).into_iter().chain(normal.first().map(|p| p.0));
    let from = starts.fold(f64::INFINITY, f64::min);
    let ends = seen.last().map(|p| p.0).into_iter().chain(ahead.last().map(|p| p.0));
    let to = ends.fold(f64::NEG_INFINITY, f64::max);
    let limits = f.breach.iter().map(|b| (b.value, b.limit.clone(), Tone::Failed)).collect();
    let marks = if f.ahead.is_empty() { Vec::new() } else { vec![(x(f.issued), "now".to_owned())] };
    let quantity = f.quantity;
    LineChart {
        name: &format!(
            "{} of {} with its normal band and forecast",
            rows::quantity(quantity),
            names::full_name(&f.key)
        ),
        height: 270.0,
        x: (from, to),
        y: None,
        bands,
        lines: vec![
            Line { points: &seen, color: t.text, dashed: false },
            Line { points: &middle, color: tone, dashed: true },
        ],
        limits,
        marks,
        x_words: &|at| model.zone.time(UnixNanos((at * 1e9) as i64)),
        y_words: &|v| rows::value(quantity, v),
    }
    .show(ui);
}

/// The same shapes as in the chart, with their words.
fn legend(ui: &mut Ui, f: &Forecast) {
    let t = tokens(ui);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let mut item = |dashed: bool, block: bool, color, words: &str| {
            let (rect, _) = ui.allocate_exact_size(vec2(18.0, 14.0), Sense::hover());
            let y = rect.center().y;
            if block {
                ui.painter().rect_filled(rect.shrink2(vec2(0.0, 3.0)), 2, color);
            } else if dashed {
                painter_dashed(ui.painter(), &[rect.left_center(), rect.right_center()], Stroke::new(1.5, color));
            } else {
                ui.painter().hline(rect.x_range(), y, Stroke::new(1.5, color));
            }
            text::label(ui, words);
            ui.add_space(10.0);
        };
        item(false, false, t.text, "seen");
        if !f.band.is_empty() {
            item(false, true, theme::mix(t.panel, t.text_soft, 0.3), "normal");
        }
        if !f.ahead.is_empty() {
            let tone = if f.breach.is_some() { t.at_risk } else { t.accent };
            item(true, false, tone, "expected");
            item(false, true, theme::mix(t.panel, tone, 0.4), "its interval");
        }
        if f.breach.is_some() {
            item(true, false, t.failed, "limit");
        }
    });
}

/// How far to trust it.
fn trust(ui: &mut Ui, model: &Model, f: &Forecast) {
    let t = tokens(ui);
    if rows::knowledge(f) != Knowledge::Ahead {
        return;
    }
    let poor = rows::is_poor(&f.record);
    let color = if poor { t.at_risk } else { t.text };
    text::styled(ui, rows::record(&f.record), text::medium(12.5), color);
    if poor {
        text::wrapped(ui, "Fewer than promised: do not lean on this forecast.", text::secondary_font(), t.at_risk);
    }
    let mut parts = vec![format!("issued {}", model.zone.time(f.issued))];
    if f.record.scored > 0 {
        parts.push(format!("off by {} on average", rows::value(f.quantity, f.record.mean_error)));
    }
    if !f.model.is_empty() {
        parts.push(f.model.clone());
    }
    text::note(ui, parts.join(" · "));
}

/// What the chart shows, as figures.
fn table(ui: &mut Ui, model: &Model, f: &Forecast) {
    let said = |v: f64| rows::value(f.quantity, v);
    let range =
        |p: Option<&BandPoint>| p.map_or_else(|| "–".to_owned(), |p| format!("{} – {}", said(p.lo), said(p.hi)));
    let mut rows: Vec<[String; 4]> = f
        .ahead
        .iter()
        .rev()
        .map(|p| [model.zone.time(p.t), "expected".to_owned(), said(p.mid), range(Some(p))])
        .collect();
    rows.extend(f.seen.iter().rev().map(|(at, v)| {
        let normal = f.band.iter().find(|p| p.t == *at);
        [model.zone.time(*at), "seen".to_owned(), said(*v), range(normal)]
    }));
    let columns = [
        Column::words("time", 90.0),
        Column::words("", 80.0),
        Column::figures("value", 100.0),
        Column::words("normal or interval", 0.0),
    ];
    Table::new("forecast values", &columns, rows.len()).row_height(24.0).show(
        ui,
        |i| rows.get(i).map_or_else(String::new, |r| r.join(" ")),
        |ui, i, column| {
            if let Some(words) = rows.get(i).and_then(|r| r.get(column)) {
                text::mono(ui, words);
            }
        },
    );
}
