//! Duration over time, a mark for each trace. A click chooses one, a brush narrows the list to what lies under it.

use egui::{Align2, Pos2, Rect, Role, Sense, Shape, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};
use fuseboard_api::trace::TraceRow;
use fuseboard_api::{TimeRange, TraceId, UnixNanos};

use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::{format, space, text, tokens};

/// A chosen rectangle: begin and duration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Brush {
    begin: (i64, i64),
    nanos: (f64, f64),
}

impl Brush {
    /// Whether a trace lies in it.
    pub(crate) fn holds(&self, row: &TraceRow) -> bool {
        let (t, d) = (row.start.0, row.duration_nanos as f64);
        self.begin.0 <= t && t <= self.begin.1 && self.nanos.0 <= d && d <= self.nanos.1
    }
}

/// From time and duration to a place; durations in powers of ten.
struct Plot {
    rect: Rect,
    range: TimeRange,
    low: f64,
    high: f64,
}

impl Plot {
    fn new(rect: Rect, range: TimeRange, rows: &[TraceRow]) -> Self {
        // The newest rows often fill only the end of a long range: the axis begins where they do.
        let first = rows.iter().map(|r| r.start.0).min().unwrap_or(range.from.0);
        let air = (range.to.0 - first).max(0) / 40;
        let range = TimeRange { from: UnixNanos((first - air).max(range.from.0)), to: range.to };
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for row in rows {
            let d = (row.duration_nanos as f64).max(1e3);
            (low, high) = (low.min(d), high.max(d));
        }
        let low = 10_f64.powf(low.log10().floor());
        Self { rect, range, low, high: 10_f64.powf((high * 1.1).max(low * 10.0).log10()) }
    }

    fn at(&self, t: UnixNanos, nanos: f64) -> Pos2 {
        let fx = (t.0 - self.range.from.0) as f64 / (self.range.to.0 - self.range.from.0).max(1) as f64;
        let fy = (nanos.max(self.low).log10() - self.low.log10()) / (self.high.log10() - self.low.log10());
        pos2(self.rect.left() + fx as f32 * self.rect.width(), self.rect.bottom() - fy as f32 * self.rect.height())
    }

    fn back(&self, p: Pos2) -> (i64, f64) {
        let fx = f64::from(((p.x - self.rect.left()) / self.rect.width()).clamp(0.0, 1.0));
        let fy = f64::from(((self.rect.bottom() - p.y) / self.rect.height()).clamp(0.0, 1.0));
        let t = self.range.from.0 + (fx * (self.range.to.0 - self.range.from.0) as f64) as i64;
        (t, 10_f64.powf(self.low.log10() + fy * (self.high.log10() - self.low.log10())))
    }
}

/// Paints it.
pub(crate) fn show(
    ui: &mut Ui,
    model: &Model,
    rows: &[TraceRow],
    brush: &mut Option<Brush>,
    chosen: &mut Option<TraceId>,
    commands: &mut Commands,
) {
    let t = tokens(ui);
    let height = (ui.available_height() * 0.28).clamp(110.0, 190.0);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::click_and_drag());
    response.widget_info(|| {
        WidgetInfo::labeled(
            Role::Image,
            true,
            format!("durations of {} over time", format::plural(rows.len() as u64, "trace")),
        )
    });
    let area = Rect::from_min_max(rect.min + vec2(58.0, 4.0), rect.max - vec2(4.0, 18.0));
    ui.painter().rect(rect, 6, t.panel, Stroke::new(1.0, t.line), StrokeKind::Inside);
    let plot = Plot::new(area.shrink2(vec2(6.0, 6.0)), model.time.listed(), rows);
    axes(ui, model, rect, area, &plot);
    let mut marks: Vec<(Pos2, &TraceRow)> =
        rows.iter().map(|r| (plot.at(r.start, r.duration_nanos as f64), r)).collect();
    // What failed lies on top.
    marks.sort_by_key(|(_, r)| r.errors > 0);
    let pointer = response.hover_pos();
    let near = pointer.and_then(|p| {
        let distances = marks.iter().map(|(at, r)| (at.distance(p), *at, *r));
        distances.filter(|d| d.0 < 10.0).min_by(|a, b| a.0.total_cmp(&b.0))
    });
    for (at, row) in &marks {
        let quiet = brush.is_some_and(|b| !b.holds(row));
        mark(ui, *at, row, quiet, *chosen == Some(row.trace_id));
    }
    take_brush(ui, &response, &plot, brush);
    if let Some((_, at, row)) = near.filter(|_| !response.dragged()) {
        ui.painter().circle_stroke(at, 6.0, Stroke::new(1.5, t.text));
        if response.clicked() {
            *chosen = Some(row.trace_id);
            commands.push(Command::OpenTrace(row.trace_id));
        }
        response.on_hover_ui_at_pointer(|ui| {
            text::body(ui, format!("{} {}", row.service, row.operation));
            let errors = if row.errors > 0 {
                format!(" · {}", format::plural(row.errors.into(), "error"))
            } else {
                String::new()
            };
            text::note(
                ui,
                format!(
                    "{} · {} · {}{errors}",
                    model.zone.milli(row.start),
                    format::nanos(row.duration_nanos),
                    format::plural(row.spans.into(), "span")
                ),
            );
        });
    } else if response.clicked() {
        *brush = None;
    }
    ui.add_space(space::NEAR);
}

fn mark(ui: &Ui, at: Pos2, row: &TraceRow, quiet: bool, chosen: bool) {
    let t = tokens(ui);
    let fade = |c: egui::Color32| if quiet { c.gamma_multiply(0.25) } else { c.gamma_multiply(0.8) };
    if row.errors > 0 {
        // Failed ones are crosses: the shape says it too.
        let (r, stroke) = (3.0, Stroke::new(1.6, fade(t.failed)));
        ui.painter().line_segment([at - vec2(r, r), at + vec2(r, r)], stroke);
        ui.painter().line_segment([at + vec2(-r, r), at + vec2(r, -r)], stroke);
    } else if row.refused > 0 {
        ui.painter().circle_stroke(at, 2.8, Stroke::new(1.2, fade(t.probing)));
    } else {
        ui.painter().circle_filled(at, 2.6, fade(t.accent));
    }
    if chosen {
        ui.painter().circle_stroke(at, 6.0, Stroke::new(1.5, t.accent));
    }
}

fn axes(ui: &Ui, model: &Model, rect: Rect, area: Rect, plot: &Plot) {
    let t = tokens(ui);
    let mut power = plot.low;
    while power <= plot.high * 1.001 {
        let y = plot.at(plot.range.from, power).y;
        ui.painter().hline(area.x_range(), y, Stroke::new(1.0, t.line));
        let words = power_words(power);
        ui.painter().text(pos2(area.left() - 6.0, y), Align2::RIGHT_CENTER, words, text::mono_font(10.0), t.label);
        power *= 10.0;
    }
    let steps = (area.width() / 130.0).clamp(2.0, 8.0) as i64;
    for i in 0..=steps {
        let at = UnixNanos(plot.range.from.0 + (plot.range.to.0 - plot.range.from.0) / steps * i);
        let x = plot.at(at, plot.low).x;
        let anchor = if i == 0 {
            Align2::LEFT_BOTTOM
        } else if i == steps {
            Align2::RIGHT_BOTTOM
        } else {
            Align2::CENTER_BOTTOM
        };
        ui.painter().text(pos2(x, rect.bottom() - 3.0), anchor, model.zone.time(at), text::mono_font(10.0), t.label);
    }
}

/// A power of ten of nanoseconds: `10 ms`, `1 s`.
fn power_words(nanos: f64) -> String {
    let (value, unit) = match nanos {
        n if n >= 0.999e9 => (n / 1e9, "s"),
        n if n >= 0.999e6 => (n / 1e6, "ms"),
        n if n >= 0.999e3 => (n / 1e3, "µs"),
        n => (n, "ns"),
    };
    format!("{} {unit}", format::whole(value))
}

fn take_brush(ui: &Ui, response: &egui::Response, plot: &Plot, brush: &mut Option<Brush>) {
    let t = tokens(ui);
    let from = ui.input(|i| i.pointer.press_origin());
    if response.dragged()
        && let (Some(a), Some(b)) = (from, response.interact_pointer_pos())
        && a.distance(b) > 4.0
    {
        let ((t0, d0), (t1, d1)) = (plot.back(a), plot.back(b));
        *brush = Some(Brush { begin: (t0.min(t1), t0.max(t1)), nanos: (d0.min(d1), d0.max(d1)) });
    }
    if let Some(b) = brush {
        let corners = [plot.at(UnixNanos(b.begin.0), b.nanos.0), plot.at(UnixNanos(b.begin.1), b.nanos.1)];
        let rect = Rect::from_two_pos(corners[0], corners[1]);
        ui.painter().add(Shape::rect_filled(rect, 2, t.accent.gamma_multiply(0.12)));
        ui.painter().rect_stroke(rect, 2, Stroke::new(1.0, t.accent), StrokeKind::Middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_its_time_and_duration_again() {
        let rows = [
            TraceRow { duration_nanos: 2_000_000, ..TraceRow::default() },
            TraceRow { duration_nanos: 900_000_000, ..TraceRow::default() },
        ];
        let range = TimeRange { from: UnixNanos(0), to: UnixNanos(1_000_000) };
        let plot = Plot::new(Rect::from_min_size(pos2(10.0, 10.0), vec2(400.0, 100.0)), range, &rows);
        let at = plot.at(UnixNanos(250_000), 3e7);
        assert!(plot.rect.contains(at));
        let (t, d) = plot.back(at);
        assert!((t - 250_000).abs() < 3_000 && (d / 3e7 - 1.0).abs() < 0.05, "{t} {d}");
        let brush = Brush { begin: (0, 500_000), nanos: (1e6, 1e8) };
        assert!(brush.holds(&rows[0]) && !brush.holds(&rows[1]));
        assert_eq!([1e3, 1e7, 1e9].map(power_words), ["1 µs", "10 ms", "1 s"]);
    }
}
