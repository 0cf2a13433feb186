//! The strips over the lines: the whole trace small, the breakers' bands, the time axis.

use egui::{Align2, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2};
use fuseboard_api::breaker::{BreakerBand, BreakerState};

use super::State;
use super::built::Built;
use super::facts::End;
use crate::widgets::theme::mix;
use crate::widgets::{Tone, format, text, tokens};

/// From nanoseconds to points across.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    /// Left end of the plot.
    pub(crate) left: f32,
    /// Right end of the plot.
    pub(crate) right: f32,
    /// The stretch shown.
    pub(crate) from: i64,
    /// Its end.
    pub(crate) to: i64,
}

impl Scale {
    /// The place of an instant.
    pub(crate) fn x(&self, ns: i64) -> f32 {
        let share = (ns - self.from) as f64 / (self.to - self.from).max(1) as f64;
        // Far outside is as good as outside, and keeps within what a float can tell apart.
        self.left + (share.clamp(-4.0, 5.0) as f32) * (self.right - self.left)
    }

    /// The instant at a place.
    pub(crate) fn ns(&self, x: f32) -> i64 {
        let share = f64::from((x - self.left) / (self.right - self.left).max(1.0));
        self.from + (share * (self.to - self.from) as f64) as i64
    }
}

/// The whole trace, small; the pointer chooses a stretch on it.
pub(crate) fn minimap(ui: &Ui, rect: Rect, built: &Built, colors: &[egui::Color32], state: &mut State) {
    let t = tokens(ui);
    let response = ui.interact(rect, ui.scope_id().with("trace minimap"), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::Slider, true, "the whole trace; drag to choose a stretch"));
    ui.painter().rect(rect, 4, t.panel, Stroke::new(1.0, t.line), StrokeKind::Inside);
    let inner = rect.shrink2(egui::vec2(0.0, 3.0));
    let all = Scale { left: rect.left(), right: rect.right(), from: 0, to: built.length.max(1) };
    let mut mesh = egui::Mesh::default();
    let rows = built.tree.order.len().max(1);
    // At most as many spans as there are half points: what is smaller is not seen.
    let step = rows.div_ceil(3000).max(1);
    for (place, i) in built.tree.order.iter().enumerate().step_by(step) {
        let (begin, end) = built.times[*i as usize];
        let y = inner.top() + place as f32 / rows as f32 * inner.height();
        let height = (inner.height() / rows as f32).clamp(1.0, 3.0);
        let bad = matches!(built.facts[*i as usize].end, End::Failed);
        let color = if bad {
            t.failed
        } else {
            colors.get(usize::from(built.service_of[*i as usize])).copied().unwrap_or(t.label)
        };
        let bar = Rect::from_min_max(pos2(all.x(begin), y), pos2(all.x(end).max(all.x(begin) + 1.0), y + height));
        mesh.add_colored_rect(bar, color);
    }
    ui.painter().add(egui::Shape::mesh(mesh));
    if let Some((from, to)) = state.stretch {
        let shade = t.window.gamma_multiply(0.72);
        ui.painter().rect_filled(rect.with_max_x(all.x(from)), 0, shade);
        ui.painter().rect_filled(rect.with_min_x(all.x(to)), 0, shade);
        let window = rect.with_min_x(all.x(from)).with_max_x(all.x(to));
        ui.painter().rect_stroke(window, 2, Stroke::new(1.0, t.accent), StrokeKind::Inside);
    }
    drag_stretch(ui, &response, &all, built, state);
    crate::widgets::focus_ring(ui, &response, 4);
}

fn drag_stretch(ui: &Ui, response: &egui::Response, all: &Scale, built: &Built, state: &mut State) {
    if response.double_clicked() {
        state.stretch = None;
    } else if response.dragged()
        && let (Some(from), Some(to)) = (ui.input(|i| i.pointer.press_origin()), response.interact_pointer_pos())
    {
        let (a, b) = (all.ns(from.x.min(to.x)), all.ns(from.x.max(to.x)));
        if b - a > built.length / 500 {
            state.stretch = Some((a.max(0), b.min(built.length)));
        }
    }
}

/// The edges whose breakers have bands, in the order of their names.
pub(crate) fn guarded(built: &Built) -> Vec<String> {
    let mut names: Vec<String> = built.trace.bands.iter().map(name).collect();
    names.sort();
    names.dedup();
    names.truncate(3);
    names
}

fn name(band: &BreakerBand) -> String {
    format!("{} → {}", band.key.caller, band.key.callee)
}

/// The states that a breaker was in.
pub(crate) fn band(ui: &Ui, names: Rect, rect: Rect, which: &str, built: &Built, scale: &Scale) {
    let t = tokens(ui);
    let left = pos2(names.left(), rect.center().y);
    text::paint(
        ui.painter(),
        left,
        Align2::LEFT_CENTER,
        format!("breaker {which}"),
        text::secondary_font(),
        t.text_soft,
        names.width() - 8.0,
    );
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let mut said = Vec::new();
    for b in built.trace.bands.iter().filter(|b| name(b) == which) {
        let (from, to) = (b.range.from.0 - built.zero, b.range.to.0 - built.zero);
        if to < scale.from || from > scale.to {
            continue;
        }
        let (tone, words) = match b.state {
            BreakerState::Closed => (Tone::Well, "closed"),
            BreakerState::HalfOpen => (Tone::Probing, "half open"),
            BreakerState::Open => (Tone::Failed, "open"),
        };
        said.push(words);
        let part = Rect::from_min_max(
            pos2(scale.x(from).max(rect.left()), rect.top()),
            pos2(scale.x(to).min(rect.right()), rect.bottom()),
        );
        painter.rect(
            part,
            3,
            mix(t.window, t.tone(tone), 0.24),
            Stroke::new(1.0, mix(t.window, t.tone(tone), 0.5)),
            StrokeKind::Inside,
        );
        if part.width() > 44.0 {
            text::paint(
                &painter,
                part.left_center() + egui::vec2(7.0, 0.0),
                Align2::LEFT_CENTER,
                words,
                text::medium(10.0),
                t.tone(tone),
                part.width() - 10.0,
            );
        }
    }
    let response = ui.interact(rect, ui.scope_id().with(("band", which)), Sense::hover());
    response
        .widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("breaker {which}: {}", said.join(", then "))));
}

/// Steps of the axis: a round number of nanoseconds, about a hundred points apart.
pub(crate) fn ticks(scale: &Scale) -> (i64, Vec<i64>) {
    let wanted = ((scale.to - scale.from) as f64 * 96.0 / f64::from((scale.right - scale.left).max(1.0))).max(1.0);
    let power = 10_f64.powf(wanted.log10().floor());
    let step = [1.0, 2.0, 4.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= wanted).unwrap_or(10.0 * power);
    let step = (step as i64).max(1);
    let first = scale.from.div_euclid(step) * step;
    let all = (0..40).map(|i| first + i * step).filter(|t| *t >= scale.from && *t <= scale.to);
    (step, all.collect())
}

/// The words under a tick.
pub(crate) fn tick_words(ns: i64, step: i64) -> String {
    let (unit, per) = match step {
        s if s >= 1_000_000_000 => ("s", 1e9),
        s if s >= 1_000_000 => ("ms", 1e6),
        s if s >= 1_000 => ("µs", 1e3),
        _ => ("ns", 1.0),
    };
    format!("{} {unit}", format::whole(ns as f64 / per))
}

/// The axis with its words; the lines go down through `below`.
pub(crate) fn axis(ui: &Ui, rect: Rect, below: Rect, scale: &Scale) {
    let t = tokens(ui);
    let (step, ticks) = ticks(scale);
    for ns in ticks {
        let x = scale.x(ns).round() + 0.5;
        ui.painter().vline(x, rect.top() + 3.0..=below.bottom(), Stroke::new(1.0, t.line));
        let words = tick_words(ns, step);
        let room = rect.right() - x;
        if room > 40.0 {
            ui.painter().text(
                pos2(x + 4.0, rect.center().y),
                Align2::LEFT_CENTER,
                words,
                text::mono_font(10.0),
                t.label,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_instants_are_each_others_inverse() {
        let scale = Scale { left: 100.0, right: 500.0, from: 1_000, to: 5_000 };
        assert_eq!((scale.x(1_000), scale.x(5_000), scale.x(3_000)), (100.0, 500.0, 300.0));
        assert_eq!(scale.ns(300.0), 3_000);
    }

    #[test]
    fn axes_have_round_steps() {
        let scale = Scale { left: 0.0, right: 640.0, from: 0, to: 2_004_000_000 };
        let (step, all) = ticks(&scale);
        assert_eq!((step, all.len()), (400_000_000, 6));
        let said: Vec<String> = all.into_iter().take(3).map(|t| tick_words(t, step)).collect();
        assert_eq!(said, ["0 ms", "400 ms", "800 ms"]);
        let tiny = Scale { left: 0.0, right: 640.0, from: 0, to: 3 };
        assert!(ticks(&tiny).1.len() <= 4);
    }
}
