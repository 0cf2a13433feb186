//! A latency distribution with a limit on it that can be moved.

use std::time::Duration;

use egui::{Key, Rect, Response, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};
use fuseboard_api::histogram::{LatencyHistogram, bounds_of};

use super::theme::mix;
use super::{format, text, tokens};

/// A latency distribution; what lies above the limit is drawn as cut.
#[must_use]
pub(crate) struct Histogram<'a> {
    latency: &'a LatencyHistogram,
    name: &'a str,
    height: f32,
    now_ms: Option<u64>,
    max_ms: Option<f64>,
}

impl<'a> Histogram<'a> {
    /// Of these latencies; `name` says whose.
    pub(crate) fn new(latency: &'a LatencyHistogram, name: &'a str) -> Self {
        Self { latency, name, height: 112.0, now_ms: None, max_ms: None }
    }

    /// So high, axis included.
    pub(crate) fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// With a dashed line where the limit in force lies.
    pub(crate) fn now(mut self, ms: Option<u64>) -> Self {
        self.now_ms = ms;
        self
    }

    /// With an axis to here; without, it fits the data and the limits.
    pub(crate) fn max(mut self, ms: f64) -> Self {
        self.max_ms = Some(ms);
        self
    }

    /// Paints it without a thumb.
    pub(crate) fn show_still(self, ui: &mut Ui) -> Response {
        let mut none = None;
        self.paint(ui, &mut none)
    }

    /// Paints it with a thumb at `limit_ms`, which the pointer and the arrow keys move. The response is `changed` then.
    pub(crate) fn show(self, ui: &mut Ui, limit_ms: &mut u64) -> Response {
        let mut limit = Some(*limit_ms);
        let response = self.paint(ui, &mut limit);
        *limit_ms = limit.unwrap_or(*limit_ms);
        response
    }

    fn paint(self, ui: &mut Ui, limit: &mut Option<u64>) -> Response {
        const AXIS: f32 = 22.0;
        let t = tokens(ui);
        let size = vec2(ui.available_width(), self.height);
        let sense = if limit.is_some() { Sense::click_and_drag() } else { Sense::hover() };
        let (rect, mut response) = ui.allocate_exact_size(size, sense);
        let plot = rect.with_max_y(rect.bottom() - AXIS);
        let max = self.axis_end(*limit);
        if let Some(limit) = limit.as_mut() {
            move_thumb(ui, &mut response, plot, max, limit);
        }
        let cut = limit.map_or(0.0, |l| self.latency.share_above(Duration::from_millis(l)));
        response.widget_info(|| match *limit {
            Some(ms) => {
                let words = format!("{}, cuts {} of calls", self.name, format::percent(cut));
                WidgetInfo::slider(true, ms as f64, words)
            }
            None => WidgetInfo::labeled(Role::Image, true, self.name),
        });
        if !ui.is_rect_visible(rect) {
            return response;
        }
        let bins = self.bins(max, (plot.width() / 10.0).clamp(8.0, 64.0) as usize);
        let top = bins.iter().copied().fold(0.0, f64::max).max(1.0);
        let step = plot.width() / bins.len() as f32;
        let x_of = |ms: f64| plot.left() + (ms / max) as f32 * plot.width();
        let thumb = limit.map(|ms| x_of(ms as f64));
        let kept = mix(t.panel, t.accent, 0.5);
        let cut_color = mix(t.panel, t.failed, 0.6);
        for (i, n) in bins.iter().enumerate().filter(|(_, n)| **n > 0.0) {
            let height = ((n / top) as f32 * (plot.height() - 12.0)).max(1.5);
            let x0 = plot.left() + i as f32 * step;
            let bar = Rect::from_min_max(pos2(x0, plot.bottom() - height), pos2(x0 + step - 2.0, plot.bottom()));
            let color = if thumb.is_some_and(|x| bar.center().x > x) { cut_color } else { kept };
            ui.painter().rect_filled(bar, egui::CornerRadius { nw: 2, ne: 2, sw: 0, se: 0 }, color);
        }
        ui.painter().hline(plot.x_range(), plot.bottom() + 0.5, Stroke::new(1.0, t.line_strong));
        if let Some(now) = self.now_ms {
            let x = x_of(now as f64);
            let line = [pos2(x, plot.top() + 4.0), pos2(x, plot.bottom())];
            super::chart::painter_dashed(ui.painter(), &line, Stroke::new(1.0, t.text_soft));
            let (at, anchor) =
                if x - plot.left() > 40.0 { (-5.0, egui::Align2::RIGHT_TOP) } else { (5.0, egui::Align2::LEFT_TOP) };
            ui.painter().text(pos2(x + at, plot.top() + 2.0), anchor, "now", text::label_font(), t.label);
        }
        if let Some(x) = thumb {
            ui.painter().vline(x, plot.top()..=plot.bottom() + 8.0, Stroke::new(2.0, t.accent));
            let radius = if response.has_focus() || response.hovered() { 6.5 } else { 5.5 };
            ui.painter().circle_filled(pos2(x, plot.bottom() + 8.0), radius, t.accent);
            if response.has_focus() {
                ui.painter().circle_stroke(pos2(x, plot.bottom() + 8.0), 9.0, Stroke::new(1.5, t.accent));
            }
        }
        let axis_y = plot.bottom() + 8.0;
        if thumb.is_none_or(|x| x - plot.left() > 24.0) {
            ui.painter().text(
                pos2(plot.left(), axis_y),
                egui::Align2::LEFT_CENTER,
                "0",
                text::mono_font(10.0),
                t.label,
            );
        }
        if thumb.is_none_or(|x| plot.right() - x > 60.0) {
            let words = format::millis(max);
            ui.painter().text(
                pos2(plot.right(), axis_y),
                egui::Align2::RIGHT_CENTER,
                words,
                text::mono_font(10.0),
                t.label,
            );
        }
        response
    }

    /// Where the axis ends: beyond the 99.5th percentile and every limit, at a round number.
    fn axis_end(&self, limit: Option<u64>) -> f64 {
        let data = self.latency.quantile(0.995).map_or(10.0, |d| d.as_secs_f64() * 1000.0);
        let limits = limit.into_iter().chain(self.now_ms).map(|ms| ms as f64 * 1.25).fold(0.0, f64::max);
        self.max_ms.unwrap_or_else(|| round_up((data * 1.1).max(limits).max(1.0)))
    }

    fn bins(&self, max: f64, n: usize) -> Vec<f64> {
        let mut bins = vec![0.0; n];
        let width = max * 1e6 / n as f64;
        for (bucket, count) in &self.latency.counts {
            let (lo, hi) = bounds_of(*bucket);
            let (lo, hi) = (lo as f64, hi as f64);
            let last = ((hi / width).ceil() as usize).min(n);
            for i in ((lo / width) as usize)..last {
                let (from, to) = (i as f64 * width, (i + 1) as f64 * width);
                let share = (hi.min(to) - lo.max(from)).max(0.0) / (hi - lo);
                if let Some(bin) = bins.get_mut(i) {
                    *bin += share * *count as f64;
                }
            }
        }
        bins
    }
}

fn move_thumb(ui: &Ui, response: &mut Response, plot: Rect, max: f64, limit: &mut u64) {
    let before = *limit;
    let step = grain(max);
    if let Some(p) = response.interact_pointer_pos() {
        let ms = f64::from(((p.x - plot.left()) / plot.width()).clamp(0.0, 1.0)) * max;
        *limit = ((ms / step as f64).round() as u64 * step).max(step);
        response.request_focus();
    }
    if response.has_focus() {
        let lock = egui::EventFilter { horizontal_arrows: true, ..Default::default() };
        ui.memory_mut(|m| m.set_focus_lock_filter(response.id, lock));
        ui.input(|i| {
            let (more, less) = (i.num_presses(Key::ArrowRight) as u64, i.num_presses(Key::ArrowLeft) as u64);
            *limit = limit.saturating_add(more * step).saturating_sub(less * step).max(step);
        });
    }
    if *limit != before {
        response.mark_changed();
    }
}

/// What one key press moves a limit by, on an axis to `max`: about a hundredth of it, a round number.
fn grain(max: f64) -> u64 {
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].into_iter().find(|g| *g as f64 * 160.0 >= max).unwrap_or(2000)
}

/// The next of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten.
fn round_up(x: f64) -> f64 {
    let power = 10_f64.powf(x.log10().floor());
    [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0].into_iter().map(|m| m * power).find(|v| *v >= x).unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_every_call_below_the_end_of_the_axis() {
        let mut latency = LatencyHistogram::default();
        for ms in [1, 5, 50, 99] {
            latency.record(ms * 1_000_000);
        }
        let bins = Histogram::new(&latency, "x").bins(120.0, 12);
        assert!((bins.iter().sum::<f64>() - 4.0).abs() < 1e-9, "{bins:?}");
        assert!(bins[0] > 1.9 && bins[9] > 0.6, "{bins:?}");
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!([round_up(1.2), round_up(870.0), round_up(3100.0)], [1.5, 1000.0, 4000.0]);
        assert_eq!([grain(100.0), grain(3200.0)], [1, 20]);
    }
}
