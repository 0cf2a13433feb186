//! The metrics view: instruments that came in over OTLP, and the chart of the chosen one's series.

mod lines;

use egui::{Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};
use fuseboard_api::UnixNanos;
use fuseboard_api::attr::{self, AttrValue};
use fuseboard_api::metric::{MetricInfo, MetricPoint, MetricQuery, MetricSeries, Metrics};

use self::lines::{Drawn, kind_word};
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::views::halves::halves;
use crate::widgets::chart::{Line, LineChart};
use crate::widgets::table::{Column, Table};
use crate::widgets::{self, banner, button, card, field, format, space, text, tokens};

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    search: String,
    /// The last whole list: an answer about one metric names only that one.
    instruments: Vec<MetricInfo>,
    /// The picture that the list was taken from.
    version: u64,
    table: bool,
    /// Whether the first metric has been chosen by itself, once.
    opened: bool,
}

/// Series that are drawn at most; the others are counted.
const DRAWN: usize = 8;

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let slot = &model.slots.metrics;
    if let Some(metrics) = slot.get()
        && state.version != slot.version
        && !slot.stale
    {
        state.version = slot.version;
        let one = model.filters.metrics.name.is_some();
        if !one || state.instruments.is_empty() {
            state.instruments.clone_from(&metrics.instruments);
        }
    }
    widgets::view(ui, |ui| {
        let aside = if slot.value.is_some() {
            format::plural(state.instruments.len() as u64, "instrument")
        } else {
            String::new()
        };
        widgets::view_head(ui, "Metrics", &aside, |_| {});
        let Some(metrics) = slot.get() else {
            match slot.error.as_deref() {
                None => banner::empty(ui, "Asking for metrics…", "The picture comes with the first answer.", |_| {}),
                Some(why) => banner::empty(ui, "No answer about metrics", why, |_| {}),
            }
            return;
        };
        if state.instruments.is_empty() {
            banner::empty(
                ui,
                "No metrics in this range",
                "Send them over OTLP to the same endpoint as the spans: gauges, sums, histograms and summaries.",
                |_| {},
            );
            return;
        }
        if !std::mem::replace(&mut state.opened, true)
            && model.filters.metrics.name.is_none()
            && let Some(first) = state.instruments.first()
        {
            commands.push(Command::FilterMetrics(of(first)));
        }
        let (mut left, mut right) = halves(ui, 312.0);
        list(&mut left, model, state, commands);
        detail(&mut right, model, state, metrics);
    });
}

/// Paints what stands beside it.
pub(crate) fn inspector(_ui: &mut Ui, _model: &Model, _state: &mut State, _commands: &mut Commands) {}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(_model: &Model, _state: &State) -> bool {
    false
}

fn list(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    const ROW: f32 = 42.0;
    field::text_field(ui, "Find a metric", "find a metric or service", &mut state.search);
    ui.add_space(space::NEAR);
    let wanted = state.search.trim().to_lowercase();
    let rows: Vec<&MetricInfo> = state
        .instruments
        .iter()
        .filter(|i| wanted.is_empty() || format!("{} {}", i.service, i.name).to_lowercase().contains(&wanted))
        .collect();
    if rows.is_empty() {
        text::note(ui, format!("No metric contains “{}”.", state.search.trim()));
        return;
    }
    let query = &model.filters.metrics;
    egui::ScrollArea::vertical().id_salt("instruments").auto_shrink(false).show_rows(
        ui,
        ROW - 4.0,
        rows.len(),
        |ui, range| {
            for i in range {
                let info = rows[i];
                let chosen =
                    query.name.as_deref() == Some(&info.name) && query.service.as_deref() == Some(&info.service);
                if row(ui, info, chosen, ROW - 4.0) {
                    commands.push(Command::FilterMetrics(if chosen { MetricQuery::default() } else { of(info) }));
                }
            }
        },
    );
}

fn of(info: &MetricInfo) -> MetricQuery {
    MetricQuery { service: Some(info.service.clone()), name: Some(info.name.clone()), ..MetricQuery::default() }
}

fn row(ui: &mut Ui, info: &MetricInfo, chosen: bool, height: f32) -> bool {
    let t = tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width() - 6.0, height), Sense::click());
    response.widget_info(|| {
        WidgetInfo::selected(Role::ListItem, true, chosen, format!("metric {} of {}", info.name, info.service))
    });
    if chosen || response.hovered() {
        ui.painter().rect_filled(rect, space::RADIUS, if chosen { t.pressed } else { t.panel });
    }
    if chosen {
        ui.painter().rect_filled(Rect::from_min_size(rect.min + vec2(0.0, 8.0), vec2(2.0, height - 16.0)), 1, t.accent);
    }
    let (left, right) = (rect.left() + 12.0, rect.right() - 10.0);
    let at = |x, y| pos2(x, rect.top() + y);
    let series = if info.series > 1 { format!("{} series", info.series) } else { String::new() };
    let side = text::paint(
        ui.painter(),
        at(right, 12.0),
        egui::Align2::RIGHT_CENTER,
        series,
        text::label_font(),
        t.label,
        80.0,
    );
    let room = side.left() - left - 8.0;
    text::paint(
        ui.painter(),
        at(left, 12.0),
        egui::Align2::LEFT_CENTER,
        &info.name,
        text::mono_font(11.5),
        t.text,
        room,
    );
    let under = format!("{} · {}{}", info.service, kind_word(info.kind, info.monotonic), unit_words(&info.unit));
    text::paint(
        ui.painter(),
        at(left, 28.0),
        egui::Align2::LEFT_CENTER,
        under,
        text::label_font(),
        t.text_soft,
        right - left,
    );
    widgets::focus_ring(ui, &response, space::RADIUS);
    response.on_hover_text(if info.description.is_empty() { &info.name } else { &info.description }).clicked()
}

fn unit_words(unit: &str) -> String {
    if unit.is_empty() || unit == "1" { String::new() } else { format!(" · {unit}") }
}

/// A value with its unit, in words that people use.
fn value(unit: &str, x: f64) -> String {
    match unit {
        "ms" => format::millis(x),
        "s" => format::millis(x * 1000.0),
        "By" => format::bytes(x.max(0.0) as u64),
        "" | "1" => format::value(x),
        other => format!("{} {}", format::value(x), other.trim_matches(['{', '}'])),
    }
}

/// A value with its unit, or so much of it a second.
fn worded(unit: &str, x: f64, rate: bool) -> String {
    if rate { format!("{}/s", value(unit, x)) } else { value(unit, x) }
}

/// The names of series: what tells them apart, which is what differs between them.
fn series_names(all: &[MetricSeries]) -> Vec<String> {
    let same_everywhere = |key: &str, value: &AttrValue| {
        all.len() > 1 && all.iter().all(|s| attr::get(&s.attributes, key) == Some(value))
    };
    let one_instance = all.len() > 1 && all.iter().all(|s| s.instance == all[0].instance);
    let name = |s: &MetricSeries| {
        let differing = s.attributes.iter().filter(|(k, v)| !same_everywhere(k, v)).map(|(k, v)| format!("{k}={v}"));
        let instance = Some(s.instance.clone()).filter(|i| !i.is_empty() && !one_instance);
        let parts: Vec<String> = instance.into_iter().chain(differing).collect();
        match (parts.is_empty(), s.instance.is_empty()) {
            (false, _) => parts.join(" · "),
            (true, false) => s.instance.clone(),
            (true, true) => "all".to_owned(),
        }
    };
    all.iter().map(name).collect()
}

fn detail(ui: &mut Ui, model: &Model, state: &mut State, metrics: &Metrics) {
    let query = &model.filters.metrics;
    let Some(name) = &query.name else {
        banner::empty(
            ui,
            "Choose a metric",
            "Its series are drawn here, over the same time as every other view.",
            |_| {},
        );
        return;
    };
    let info = metrics
        .instruments
        .iter()
        .chain(&state.instruments)
        .find(|i| i.name == *name && Some(&i.service) == query.service.as_ref());
    let (unit, description) = info.map_or(("", ""), |i| (i.unit.as_str(), i.description.as_str()));
    text::row(
        ui,
        24.0,
        |ui| text::styled(ui, name, text::mono_medium(13.0), tokens(ui).text),
        |ui| {
            let mut table = state.table;
            if button::toggle(ui, "as a table", &mut table) {
                state.table = table;
            }
        },
    );
    if !description.is_empty() {
        text::note(ui, description);
    }
    ui.add_space(space::NEAR);
    if model.slots.metrics.stale {
        text::note(ui, "Asking for its series…");
        return;
    }
    if metrics.series.iter().all(|s| s.points.is_empty()) {
        text::note(ui, "No point of it lies in this range.");
        return;
    }
    if state.table {
        points_table(ui, model, metrics, unit);
    } else {
        let drawn = lines::of(&metrics.series, &series_names(&metrics.series));
        chart(ui, model, &drawn, unit, name);
        legend(ui, &drawn, unit, metrics.left_out);
    }
}

fn palette(t: &widgets::Tokens, i: usize) -> egui::Color32 {
    let base = [t.accent, t.well, t.at_risk, t.probing, t.failed][i % 5];
    if i < 5 { base } else { widgets::theme::mix(base, t.text, 0.45) }
}

fn chart(ui: &mut Ui, model: &Model, drawn: &[Drawn], unit: &str, name: &str) {
    let t = tokens(ui);
    let range = model.time.listed();
    let columns = (ui.available_width() / 1.5).max(50.0) as usize;
    let lines: Vec<Vec<(f64, f64)>> = drawn.iter().take(DRAWN).map(|d| thinned(&d.points, columns)).collect();
    let rate = drawn.iter().any(|d| d.rate);
    card::card(ui, |ui| {
        LineChart {
            name: &format!("chart of {name}"),
            height: 280.0,
            x: (range.from.as_secs_f64(), range.to.as_secs_f64()),
            y: None,
            bands: Vec::new(),
            lines: lines
                .iter()
                .enumerate()
                .map(|(i, l)| Line { points: l, color: palette(t, i), dashed: i >= 5 })
                .collect(),
            limits: Vec::new(),
            marks: Vec::new(),
            x_words: &|x| model.zone.time(UnixNanos((x * 1e9) as i64)),
            y_words: &|y| worded(unit, y, rate),
        }
        .show(ui);
    });
    ui.add_space(space::NEAR);
}

fn legend(ui: &mut Ui, drawn: &[Drawn], unit: &str, left_out: u32) {
    let t = tokens(ui);
    egui::ScrollArea::vertical().id_salt("metric legend").auto_shrink(false).show(ui, |ui| {
        for (i, line) in drawn.iter().enumerate() {
            let last = line.points.last().map_or_else(|| "–".to_owned(), |p| worded(unit, p.1, line.rate));
            text::row(
                ui,
                22.0,
                |ui| {
                    let (rect, _) = ui.allocate_exact_size(vec2(14.0, 12.0), Sense::hover());
                    if i < DRAWN {
                        let y = rect.center().y;
                        ui.painter().hline(rect.x_range(), y, egui::Stroke::new(2.0, palette(t, i)));
                    }
                    text::styled(ui, &line.name, text::mono_font(11.0), if i < DRAWN { t.text } else { t.label })
                        .on_hover_text(&line.name);
                },
                |ui| {
                    text::mono(ui, last);
                },
            );
        }
        if drawn.len() > DRAWN {
            text::label(ui, format!("The first {DRAWN} are drawn; the others are listed."));
        }
        if left_out > 0 {
            text::label(ui, format!("{} more series are not shown.", format::count(u64::from(left_out))));
        }
    });
}

fn points_table(ui: &mut Ui, model: &Model, metrics: &Metrics, unit: &str) {
    let names = series_names(&metrics.series);
    let rows: Vec<(&str, &MetricPoint)> = metrics
        .series
        .iter()
        .zip(&names)
        .flat_map(|(s, name)| s.points.iter().rev().map(move |p| (name.as_str(), p)))
        .collect();
    let columns = [
        Column::words("time", 96.0),
        Column::words("series", 0.0),
        Column::figures("value", 110.0),
        Column::figures("observations", 90.0),
    ];
    Table::new("points", &columns, rows.len()).row_height(24.0).show(
        ui,
        |i| {
            rows.get(i)
                .map_or_else(String::new, |(s, p)| format!("{} {s} {}", model.zone.time(p.time), value(unit, p.value)))
        },
        |ui, i, column| {
            let Some((series, p)) = rows.get(i) else { return };
            match column {
                0 => text::mono_soft(ui, model.zone.milli(p.time)),
                1 => text::mono(ui, *series),
                2 if p.gap => text::mono_soft(ui, "–"),
                2 => text::mono(ui, value(unit, p.value)),
                _ if p.count > 0 => text::mono_soft(ui, format::count(p.count)),
                _ => text::mono_soft(ui, "–"),
            };
        },
    );
}

/// At most `2 × columns` points of a line: the lowest and the highest of each column in their order, so that no spike is lost.
fn thinned(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    if points.len() <= columns * 2 || columns == 0 {
        return points.to_vec();
    }
    let per = points.len().div_ceil(columns);
    let mut out = Vec::with_capacity(columns * 2);
    for chunk in points.chunks(per) {
        let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (Some(lo), Some(hi)) = (chunk.iter().min_by(by), chunk.iter().max_by(by)) else { continue };
        if lo.0 <= hi.0 {
            out.extend([*lo, *hi]);
        } else {
            out.extend([*hi, *lo]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_survives_thinning() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 1.0)).collect();
        points[5_003].1 = 99.0;
        let thin = thinned(&points, 100);
        assert!(thin.len() <= 200 && thin.iter().any(|p| p.1 == 99.0));
        assert!(thin.windows(2).all(|w| w[0].0 <= w[1].0), "in the order of time");
    }

    #[test]
    fn values_carry_their_unit() {
        assert_eq!(
            [value("ms", 12.0), value("s", 0.4), value("1", 3.0), value("{call}", 3.0)],
            ["12 ms", "400 ms", "3.00", "3.00 call"]
        );
    }

    #[test]
    fn series_are_told_apart_by_what_differs() {
        let series = |instance: &str, state: &str| MetricSeries {
            instance: instance.into(),
            attributes: vec![("pool".into(), "db".into()), ("state".into(), state.into())],
            ..MetricSeries::default()
        };
        let names = series_names(&[series("orders-1", "idle"), series("orders-1", "used")]);
        assert_eq!(names, ["state=idle", "state=used"]);
        let names = series_names(&[series("orders-1", "idle"), series("orders-2", "idle")]);
        assert_eq!(names, ["orders-1", "orders-2"]);
        assert_eq!(series_names(&[MetricSeries::default()]), ["all"]);
        assert_eq!(series_names(&[series("orders-1", "idle")]), ["orders-1 · pool=db · state=idle"]);
    }
}
