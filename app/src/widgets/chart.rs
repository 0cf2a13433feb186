//! Charts, painted light: sparklines, bars, lines with bands.

use egui::{Color32, Painter, Pos2, Rect, Response, Role, Sense, Shape, Stroke, Ui, WidgetInfo, pos2, vec2};

use super::{Tone, text, tokens};

/// Points of a line through `values`, oldest at the left, scaled to `lo..=hi`.
fn points(rect: Rect, values: &[f32], lo: f32, hi: f32) -> Vec<Pos2> {
    let step = rect.width() / (values.len().max(2) - 1) as f32;
    let span = (hi - lo).max(f32::EPSILON);
    values
        .iter()
        .enumerate()
        .map(|(i, v)| {
            let y = rect.bottom() - ((v - lo) / span).clamp(0.0, 1.0) * rect.height();
            pos2(rect.left() + i as f32 * step, y)
        })
        .collect()
}

/// Paints a sparkline from zero (or from the smallest value when `from_zero` is false) to the largest value.
pub(crate) fn paint_sparkline(painter: &Painter, rect: Rect, values: &[f32], color: Color32, from_zero: bool) {
    if values.len() < 2 {
        return;
    }
    let (mut lo, mut hi) = (f32::INFINITY, f32::NEG_INFINITY);
    for v in values {
        (lo, hi) = (lo.min(*v), hi.max(*v));
    }
    if from_zero {
        lo = lo.min(0.0);
    }
    if hi <= lo {
        (lo, hi) = (lo - 1.0, hi + 1.0);
    }
    painter.line(points(rect, values, lo, hi), Stroke::new(1.25, color));
}

/// A sparkline as a widget; `name` says what it shows.
pub(crate) fn sparkline(ui: &mut Ui, size: egui::Vec2, values: &[f32], tone: Tone, name: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    if ui.is_rect_visible(rect) {
        paint_sparkline(ui.painter(), rect.shrink2(vec2(0.0, 1.0)), values, tokens(ui).tone(tone), true);
    }
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, name));
    response
}

/// A failure ratio over time under its dashed threshold, both 0…1, as under a breaker's window.
pub(crate) fn ratio_line(
    ui: &mut Ui,
    size: egui::Vec2,
    values: &[f32],
    threshold: Option<f64>,
    tone: Tone,
    name: &str,
) -> Response {
    let t = tokens(ui);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    if ui.is_rect_visible(rect) {
        let top = values.iter().copied().fold(threshold.unwrap_or(0.1) as f32 * 1.25, f32::max).max(0.02);
        if let Some(threshold) = threshold {
            let y = rect.bottom() - threshold as f32 / top * rect.height();
            let line = [pos2(rect.left(), y), pos2(rect.right(), y)];
            painter_dashed(ui.painter(), &line, Stroke::new(1.0, t.edge(Tone::Failed)));
        }
        if values.len() > 1 {
            ui.painter().line(points(rect, values, 0.0, top), Stroke::new(1.5, t.tone(tone)));
        }
    }
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, name));
    response
}

/// A dashed line in the house's measure.
pub(crate) fn painter_dashed(painter: &Painter, line: &[Pos2], stroke: Stroke) {
    painter.extend(Shape::dashed_line(line, stroke, 4.0, 3.0));
}

/// Paints bars side by side, each with its lower part in another colour: calls with the failed ones among them.
pub(crate) fn paint_bars(painter: &Painter, rect: Rect, bars: &[(f32, f32)], body: Color32, part: Color32) {
    let top = bars.iter().map(|b| b.0).fold(0.0, f32::max);
    if bars.is_empty() || top <= 0.0 {
        return;
    }
    let step = rect.width() / bars.len() as f32;
    let gap = if step > 3.0 { 1.0 } else { 0.0 };
    let mut mesh = egui::Mesh::default();
    for (i, (all, some)) in bars.iter().enumerate() {
        let (x0, x1) = (rect.left() + i as f32 * step, rect.left() + (i + 1) as f32 * step - gap);
        let mut bar = |value: f32, least: f32, color| {
            let height = value / top * rect.height();
            // A part too thin to see would become a line under everything.
            if height < 0.75 && least == 0.0 {
                return;
            }
            let height = height.max(1.0);
            let bar = Rect::from_min_max(pos2(x0, rect.bottom() - height), pos2(x1, rect.bottom()));
            mesh.add_colored_rect(bar, color);
        };
        if *all > 0.0 {
            bar(*all, 1.0, body);
        }
        if *some > 0.0 {
            bar(*some, 0.0, part);
        }
    }
    painter.add(Shape::mesh(mesh));
}

/// One curve of a [`LineChart`].
#[derive(Debug, Clone)]
pub(crate) struct Line<'a> {
    /// (x, y), by x.
    pub(crate) points: &'a [(f64, f64)],
    /// Its colour.
    pub(crate) color: Color32,
    /// Whether it is dashed.
    pub(crate) dashed: bool,
}

/// A stretch between two curves.
#[derive(Debug, Clone)]
pub(crate) struct Band<'a> {
    /// (x, low, high), by x.
    pub(crate) points: &'a [(f64, f64, f64)],
    /// Its colour, already quiet.
    pub(crate) color: Color32,
}

/// A chart of curves and bands over one x axis, with limits and marks.
#[must_use]
pub(crate) struct LineChart<'a> {
    /// What it shows, for the accessible name.
    pub(crate) name: &'a str,
    /// Height in points, axis included.
    pub(crate) height: f32,
    /// The x axis.
    pub(crate) x: (f64, f64),
    /// The y axis; `None` fits it to the data, zero included.
    pub(crate) y: Option<(f64, f64)>,
    /// Stretches, painted first.
    pub(crate) bands: Vec<Band<'a>>,
    /// Curves.
    pub(crate) lines: Vec<Line<'a>>,
    /// Dashed horizontal lines with words at their right end.
    pub(crate) limits: Vec<(f64, String, Tone)>,
    /// Vertical lines with words under them.
    pub(crate) marks: Vec<(f64, String)>,
    /// Writes an x under the pointer and at the ends of the axis.
    pub(crate) x_words: &'a dyn Fn(f64) -> String,
    /// Writes a y.
    pub(crate) y_words: &'a dyn Fn(f64) -> String,
}

impl LineChart<'_> {
    /// Paints it, as wide as there is room.
    pub(crate) fn show(self, ui: &mut Ui) -> Response {
        const AXIS: f32 = 18.0;
        let size = vec2(ui.available_width(), self.height);
        let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, self.name));
        if !ui.is_rect_visible(rect) {
            return response;
        }
        let t = tokens(ui);
        let plot = rect.with_max_y(rect.bottom() - AXIS);
        let (y0, y1) = self.y.unwrap_or_else(|| self.fit());
        let (x0, x1) = (self.x.0, self.x.1.max(self.x.0 + f64::EPSILON));
        let to = |x: f64, y: f64| {
            let fx = ((x - x0) / (x1 - x0)) as f32;
            let fy = ((y - y0) / (y1 - y0).max(f64::EPSILON)) as f32;
            pos2(plot.left() + fx * plot.width(), plot.bottom() - fy * plot.height())
        };
        let painter = ui.painter().with_clip_rect(plot.expand(1.0).intersect(ui.clip_rect()));
        for band in &self.bands {
            paint_band(&painter, band.points.iter().map(|(x, lo, hi)| (to(*x, *lo), to(*x, *hi))), band.color);
        }
        for (value, words, tone) in &self.limits {
            let y = to(x0, *value).y;
            painter_dashed(&painter, &[pos2(plot.left(), y), pos2(plot.right(), y)], Stroke::new(1.0, t.tone(*tone)));
            let anchor = if y - plot.top() > 14.0 { egui::Align2::RIGHT_BOTTOM } else { egui::Align2::RIGHT_TOP };
            painter.text(pos2(plot.right(), y), anchor, words, text::label_font(), t.tone(*tone));
        }
        for line in &self.lines {
            let path: Vec<Pos2> = line.points.iter().map(|(x, y)| to(*x, *y)).collect();
            let stroke = Stroke::new(1.5, line.color);
            if line.dashed {
                painter_dashed(&painter, &path, stroke);
            } else if path.len() > 1 {
                painter.line(path, stroke);
            }
        }
        let axis = |x: f32, anchor, words: &str| {
            ui.painter().text(pos2(x, plot.bottom() + 5.0), anchor, words, text::mono_font(10.0), t.label);
        };
        axis(plot.left(), egui::Align2::LEFT_TOP, &(self.x_words)(x0));
        axis(plot.right(), egui::Align2::RIGHT_TOP, &(self.x_words)(x1));
        for (x, words) in &self.marks {
            let x = to(*x, y0).x;
            painter.vline(x, plot.y_range(), Stroke::new(1.0, t.line_strong));
            if x - plot.left() > 70.0 && plot.right() - x > 70.0 {
                axis(x, egui::Align2::CENTER_TOP, words);
            }
        }
        ui.painter().text(plot.left_top(), egui::Align2::LEFT_TOP, (self.y_words)(y1), text::mono_font(10.0), t.label);
        self.hover(ui, &response, plot, |x| x0 + f64::from((x - plot.left()) / plot.width()) * (x1 - x0));
        response
    }

    /// The y axis that holds everything: from zero, with a tenth of air on top.
    fn fit(&self) -> (f64, f64) {
        let lines = self.lines.iter().flat_map(|l| l.points.iter().map(|p| p.1));
        let bands = self.bands.iter().flat_map(|b| b.points.iter().flat_map(|p| [p.1, p.2]));
        let limits = self.limits.iter().map(|l| l.0);
        let (mut lo, mut hi) = (0.0_f64, 0.0_f64);
        for y in lines.chain(bands).chain(limits).filter(|y| y.is_finite()) {
            (lo, hi) = (lo.min(y), hi.max(y));
        }
        (lo, if hi > lo { hi + (hi - lo) * 0.1 } else { lo + 1.0 })
    }

    fn hover(&self, ui: &Ui, response: &Response, plot: Rect, x_at: impl Fn(f32) -> f64) {
        let Some(pointer) = response.hover_pos().filter(|p| plot.contains(*p)) else { return };
        let x = x_at(pointer.x);
        ui.painter().vline(pointer.x, plot.y_range(), Stroke::new(1.0, tokens(ui).line_strong));
        let nearest = |points: &[(f64, f64)]| {
            points.iter().min_by(|a, b| (a.0 - x).abs().total_cmp(&(b.0 - x).abs())).map(|p| p.1)
        };
        let values: Vec<String> = self.lines.iter().filter_map(|l| nearest(l.points)).map(self.y_words).collect();
        let words = format!("{}  {}", (self.x_words)(x), values.join(" · "));
        response.clone().on_hover_ui_at_pointer(|ui| {
            text::mono(ui, words);
        });
    }
}

/// Fills between pairs of points.
fn paint_band(painter: &Painter, pairs: impl Iterator<Item = (Pos2, Pos2)>, color: Color32) {
    let mut mesh = egui::Mesh::default();
    for (i, (low, high)) in pairs.enumerate() {
        mesh.colored_vertex(low, color);
        mesh.colored_vertex(high, color);
        if i > 0 {
            let n = 2 * i as u32;
            mesh.add_triangle(n - 2, n - 1, n);
            mesh.add_triangle(n - 1, n, n + 1);
        }
    }
    painter.add(Shape::mesh(mesh));
}
