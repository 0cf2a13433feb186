//! What is forecast for the chosen edge, and how good such forecasts were.

use egui::Ui;
use fuseboard_api::UnixNanos;
use fuseboard_api::forecast::{Breach, Forecast, Quantity};
use fuseboard_api::graph::EdgeKey;

use crate::model::Model;
use crate::widgets::chart::{Band, Line, LineChart};
use crate::widgets::theme::mix;
use crate::widgets::{Tone, format, text, tokens};

/// The forecast to show: the one most likely to cross its limit, or else that of the p95.
pub(crate) fn of<'a>(model: &'a Model, key: &EdgeKey) -> Option<&'a Forecast> {
    let all = model.slots.forecasts.get()?.forecasts.iter().filter(|f| f.key == *key);
    let chance = |f: &&Forecast| f.breach.as_ref().map_or(0.0, |b| b.probability);
    let likely = all.clone().filter(|f| chance(f) > 0.0).max_by(|a, b| chance(a).total_cmp(&chance(b)));
    likely.or_else(|| all.clone().find(|f| f.quantity == Quantity::P95)).or_else(|| all.clone().next())
}

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, key: &EdgeKey) {
    let Some(forecast) = of(model, key) else { return };
    let now = model.time.position();
    let short = forecast.sentence.chars().count() < 40;
    text::section_with(ui, "Forecast", |ui| {
        let (words, tone) = match &forecast.breach {
            Some(_) if short && !forecast.sentence.is_empty() => (forecast.sentence.clone(), Tone::AtRisk),
            Some(b) => (breach_words(b, now), Tone::AtRisk),
            None => ("stays in its band".to_owned(), Tone::Neutral),
        };
        text::toned(ui, words, tone);
    });
    chart(ui, forecast);
    let said = forecast.sentence.is_empty() || (short && forecast.breach.is_some());
    if !said {
        text::note(ui, &forecast.sentence);
    }
    let record = &forecast.record;
    if record.scored > 0 {
        let words = format!(
            "{} of the last {} such forecasts held ({} should)",
            record.held,
            record.scored,
            format::percent(record.target)
        );
        text::styled(ui, words, text::secondary_font(), tokens(ui).label);
    }
}

/// `crosses in 4–7 min (62%)`.
fn breach_words(breach: &Breach, now: UnixNanos) -> String {
    let minutes = |t: UnixNanos| t.since(now).as_secs_f64() / 60.0;
    let (from, to) = (minutes(breach.earliest), breach.latest.map(minutes));
    let span = match to {
        Some(to) if to.round() > from.round() => format!("{:.0}–{:.0} min", from.floor(), to.ceil()),
        _ if from < 1.0 => "under a minute".to_owned(),
        _ => format!("{from:.0} min"),
    };
    format!("crosses in {span} ({})", format::percent(breach.probability))
}

fn chart(ui: &mut Ui, forecast: &Forecast) {
    let t = tokens(ui);
    let zero = forecast.issued.as_secs_f64();
    let x = |at: UnixNanos| at.as_secs_f64() - zero;
    let seen: Vec<(f64, f64)> = forecast.seen.iter().map(|(at, v)| (x(*at), *v)).collect();
    let ahead: Vec<(f64, f64)> =
        seen.last().copied().into_iter().chain(forecast.ahead.iter().map(|p| (x(p.t), p.mid))).collect();
    let normal: Vec<(f64, f64, f64)> = forecast.band.iter().map(|p| (x(p.t), p.lo, p.hi)).collect();
    let start = seen.last().map(|(at, v)| (*at, *v, *v));
    let fan: Vec<(f64, f64, f64)> =
        start.into_iter().chain(forecast.ahead.iter().map(|p| (x(p.t), p.lo, p.hi))).collect();
    let ends = |v: &[(f64, f64)]| (v.first().map_or(0.0, |p| p.0), v.last().map_or(0.0, |p| p.0));
    let (from, to) = (ends(&seen).0.min(0.0), ends(&ahead).1.max(1.0));
    let quantity = forecast.quantity;
    let y_words = move |v: f64| match quantity {
        Quantity::Rate => format::rate(v),
        Quantity::ErrorRatio => format::percent(v),
        Quantity::P95 => format::millis(v),
    };
    let x_words = |v: f64| {
        let minutes = v / 60.0;
        if minutes.abs() < 0.5 {
            "now".to_owned()
        } else {
            format!("{}{:.0} min", if minutes < 0.0 { "−" } else { "+" }, minutes.abs())
        }
    };
    LineChart {
        name: &format!("forecast: {}", forecast.sentence),
        height: 96.0,
        x: (from, to),
        y: None,
        bands: vec![
            Band { points: &normal, color: mix(t.panel, t.accent, 0.12) },
            Band { points: &fan, color: mix(t.panel, t.at_risk, 0.18) },
        ],
        lines: vec![
            Line { points: &seen, color: t.text, dashed: false },
            Line { points: &ahead, color: t.at_risk, dashed: true },
        ],
        limits: forecast.breach.iter().map(|b| (b.value, b.limit.clone(), Tone::Failed)).collect(),
        marks: vec![(0.0, "now".to_owned())],
        x_words: &x_words,
        y_words: &y_words,
    }
    .show(ui);
}
