//! The breaker as a picture: two contacts and a lever, and the window that it looks at, call by call.

use std::collections::BTreeSet;

use egui::{Painter, Rect, Response, Role, Sense, Shape, Stroke, StrokeKind, Ui, WidgetInfo, vec2};
use fuseboard_api::breaker::{BreakerMode, BreakerState, WindowCall};

use super::{Tokens, Tone, focus_ring, text, tokens};

/// How a breaker is drawn: closed level, open raised, half open dashed and barely raised, shadow dotted, disabled a gap
/// bridged by a thin line. What is forced carries a ring, and a pill beside it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Glyph {
    /// Its state.
    pub(crate) state: BreakerState,
    /// Its mode.
    pub(crate) mode: BreakerMode,
}

impl Glyph {
    /// A breaker's picture.
    pub(crate) fn new(state: BreakerState, mode: BreakerMode) -> Self {
        Self { state, mode }
    }

    /// Its tone.
    pub(crate) fn tone(self) -> Tone {
        match (self.mode, self.state) {
            (BreakerMode::ForcedOpen, _) => Tone::Failed,
            (BreakerMode::ForcedClosed, _) => Tone::Well,
            (BreakerMode::Shadow | BreakerMode::Disabled, _) => Tone::Neutral,
            (BreakerMode::Auto, BreakerState::Closed) => Tone::Well,
            (BreakerMode::Auto, BreakerState::HalfOpen) => Tone::Probing,
            (BreakerMode::Auto, BreakerState::Open) => Tone::Failed,
        }
    }

    /// Its name in words: `open`, `half open`, `forced open`, `shadow, would be open`.
    pub(crate) fn words(self) -> &'static str {
        match (self.mode, self.state) {
            (BreakerMode::ForcedOpen, _) => "forced open",
            (BreakerMode::ForcedClosed, _) => "forced closed",
            (BreakerMode::Disabled, _) => "disabled",
            (BreakerMode::Shadow, BreakerState::Closed) => "shadow, would be closed",
            (BreakerMode::Shadow, BreakerState::HalfOpen) => "shadow, would probe",
            (BreakerMode::Shadow, BreakerState::Open) => "shadow, would be open",
            (BreakerMode::Auto, BreakerState::Closed) => "closed",
            (BreakerMode::Auto, BreakerState::HalfOpen) => "half open",
            (BreakerMode::Auto, BreakerState::Open) => "open",
        }
    }

    /// Whether an operator holds it.
    pub(crate) fn overridden(self) -> bool {
        self.mode != BreakerMode::Auto
    }

    /// Paints contacts and lever into `rect`; best at twice as wide as high.
    pub(crate) fn paint(self, painter: &Painter, rect: Rect, t: &Tokens) {
        let color = t.tone(self.tone());
        let unit = (rect.width() / 26.0).min(rect.height() / 12.0);
        let wide = (rect.width() / 26.0).min(unit * 1.6);
        let middle = rect.center() + vec2(0.0, unit * 1.5);
        let at = |x: f32, y: f32| middle + vec2(x * wide, y * unit);
        let stroke = Stroke::new((1.6 * unit).clamp(1.2, 3.0), color);
        let contact = (1.9 * unit).clamp(1.5, 4.0);
        let lever = |to: egui::Pos2| vec![at(-5.0, 0.0), to];
        painter.line(vec![at(-12.0, 0.0), at(-5.0, 0.0)], stroke);
        painter.line(vec![at(5.0, 0.0), at(12.0, 0.0)], stroke);
        let dashed = |to, dash: f32, gap: f32| {
            painter.extend(Shape::dashed_line(&lever(to), stroke, dash * unit, gap * unit));
        };
        match (self.mode, self.state) {
            (BreakerMode::Shadow, _) => dashed(at(5.0, 0.0), 1.2, 1.6),
            (BreakerMode::Disabled, _) => {
                painter.line(lever(at(5.0, 0.0)), Stroke::new(1.0, color));
            }
            (BreakerMode::ForcedClosed, _) | (BreakerMode::Auto, BreakerState::Closed) => {
                painter.line(lever(at(5.0, 0.0)), stroke);
            }
            (BreakerMode::Auto, BreakerState::HalfOpen) => dashed(at(5.2, -2.6), 2.6, 1.6),
            (BreakerMode::ForcedOpen, _) | (BreakerMode::Auto, BreakerState::Open) => {
                painter.line(lever(at(3.6, -5.6)), stroke);
            }
        }
        painter.circle_filled(at(-5.0, 0.0), contact, color);
        painter.circle_filled(at(5.0, 0.0), contact, color);
    }
}

/// The breaker as a control: a box with the glyph; `name` says which breaker, its state is added.
pub(crate) fn switch(ui: &mut Ui, size: egui::Vec2, glyph: Glyph, name: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    paint_switch(ui, rect, glyph, &response, name);
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

/// The same at a place of its own, for painted graphs.
pub(crate) fn switch_at(ui: &Ui, rect: Rect, id: egui::Id, glyph: Glyph, name: &str) -> Response {
    let response = ui.interact(rect, id, Sense::click());
    paint_switch(ui, rect, glyph, &response, name);
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

fn paint_switch(ui: &Ui, rect: Rect, glyph: Glyph, response: &Response, name: &str) {
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("breaker {name}, {}", glyph.words())));
    if !ui.is_rect_visible(rect) {
        return;
    }
    let t = tokens(ui);
    let fill = if response.hovered() { t.raised } else { t.window };
    let calm = glyph.tone() == Tone::Well && !glyph.overridden();
    let line = if calm || glyph.tone() == Tone::Neutral { t.line_strong } else { t.edge(glyph.tone()) };
    let radius = if rect.height() > 30.0 { 8 } else { 5 };
    ui.painter().rect(rect, radius, fill, Stroke::new(1.0, line), StrokeKind::Inside);
    glyph.paint(ui.painter(), rect.shrink2(vec2(rect.width() * 0.12, rect.height() * 0.16)), t);
    focus_ring(ui, response, radius);
}

/// The window of a breaker, call by call, oldest first: a plain cell is good, a cross failed, a stripe slow. Empty cells
/// stand for the calls still missing to `needed`. A chosen call's index is given when one is clicked.
pub(crate) fn window_cells(ui: &mut Ui, calls: &[WindowCall], needed: usize, name: &str) -> Option<usize> {
    const CELL: egui::Vec2 = vec2(13.0, 20.0);
    let t = tokens(ui);
    let room = ui.available_width();
    let fit = ((room + 4.0) / (CELL.x + 4.0)).floor().max(1.0) as usize;
    let shown = calls.len().min(fit);
    let from = calls.len() - shown;
    let blanks = needed.saturating_sub(calls.len()).min(fit - shown);
    let cells = shown + blanks;
    let size = vec2((cells.max(1) as f32) * (CELL.x + 4.0) - 4.0, CELL.y);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let failed = calls.iter().filter(|c| c.failed).count();
    let slow = calls.iter().filter(|c| c.slow).count();
    response.widget_info(|| {
        let words = format!("{name}: {failed} of {} calls failed, {slow} slow", calls.len());
        WidgetInfo::labeled(Role::Image, true, words)
    });
    let cell_at = |i: usize| Rect::from_min_size(rect.min + vec2(i as f32 * (CELL.x + 4.0), 0.0), CELL);
    for (i, call) in calls.iter().skip(from).enumerate() {
        let cell = cell_at(i);
        let tone = if call.failed {
            Tone::Failed
        } else if call.slow {
            Tone::AtRisk
        } else {
            Tone::Well
        };
        let fill = super::theme::mix(t.panel, t.tone(tone), 0.22);
        ui.painter().rect(
            cell,
            3,
            fill,
            Stroke::new(1.0, super::theme::mix(t.panel, t.tone(tone), 0.75)),
            StrokeKind::Inside,
        );
        if call.failed {
            let (c, r) = (cell.center(), 2.6);
            let stroke = Stroke::new(1.2, t.failed);
            ui.painter().line_segment([c - vec2(r, r), c + vec2(r, r)], stroke);
            ui.painter().line_segment([c + vec2(-r, r), c + vec2(r, -r)], stroke);
        } else if call.slow {
            ui.painter().hline(cell.shrink(3.5).x_range(), cell.center().y, Stroke::new(1.5, t.at_risk));
        }
    }
    for i in shown..cells {
        ui.painter().rect_stroke(cell_at(i), 3, Stroke::new(1.0, t.line), StrokeKind::Inside);
    }
    let hovered = response.hover_pos().map(|p| ((p.x - rect.left()) / (CELL.x + 4.0)).floor() as usize);
    if let Some(call) = hovered.and_then(|i| (i < shown).then(|| calls.get(from + i)).flatten()) {
        let how = if call.failed {
            "failed"
        } else if call.slow {
            "slow"
        } else {
            "good"
        };
        let took = super::format::millis(f64::from(call.micros) / 1000.0);
        response.clone().on_hover_ui_at_pointer(|ui| {
            text::secondary(
                ui,
                format!("{how} after {took}{}", if call.trace_id.is_some() { "; click for its trace" } else { "" }),
            );
        });
    }
    response.clicked().then_some(hovered).flatten().filter(|i| *i < shown).map(|i| from + i)
}

/// States in a fleet as one word: `open`, or `2 of 5 open` where instances differ.
pub(crate) fn fleet_words(closed: u32, half_open: u32, open: u32) -> String {
    let all = closed + half_open + open;
    let kinds: BTreeSet<bool> = [closed, half_open, open].iter().map(|n| *n > 0 && *n < all).collect();
    match (open, half_open) {
        _ if !kinds.contains(&true) && open > 0 => "open".to_owned(),
        _ if !kinds.contains(&true) && half_open > 0 => "half open".to_owned(),
        (0, 0) => "closed".to_owned(),
        (0, n) => format!("{n} of {all} half open"),
        (n, _) => format!("{n} of {all} open"),
    }
}
