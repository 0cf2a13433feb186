//! The whole board, small, with the window on it.

use egui::{Rect, Role, Sense, Ui, WidgetInfo, vec2};

use super::State;
use super::scene::Scene;
use crate::widgets::{Tone, tokens};

/// Paints the whole board small, with the window on it; clicking there goes there.
pub(crate) fn show(ui: &Ui, rect: Rect, canvas: Rect, state: &mut State, scene: &Scene) {
    let Some(bounds) = scene.course.bounds else { return };
    let t = tokens(ui);
    let response = ui.interact(rect, ui.scope_id().with("minimap"), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, "the whole board, small"));
    ui.painter().rect(rect, 6, t.panel.gamma_multiply(0.94), egui::Stroke::new(1.0, t.line), egui::StrokeKind::Inside);
    let inner = rect.shrink(7.0);
    let scale = (inner.width() / bounds.width().max(1.0)).min(inner.height() / bounds.height().max(1.0));
    let origin = inner.center() - bounds.center().to_vec2() * scale;
    let mut mesh = egui::Mesh::default();
    for (card, b) in scene.course.cards.iter().zip(&scene.merged.boxes) {
        let color = match b.tone {
            Tone::Failed | Tone::AtRisk => t.tone(b.tone),
            _ => t.label,
        };
        let small = Rect::from_min_max(origin + card.min.to_vec2() * scale, origin + card.max.to_vec2() * scale);
        mesh.add_colored_rect(
            Rect::from_center_size(small.center(), vec2(small.width().max(2.0), small.height().clamp(2.0, 4.0))),
            color,
        );
    }
    ui.painter().add(egui::Shape::mesh(mesh));
    let seen = Rect::from_min_max(state.camera.to_board(canvas, canvas.min), state.camera.to_board(canvas, canvas.max));
    let window = Rect::from_min_max(origin + seen.min.to_vec2() * scale, origin + seen.max.to_vec2() * scale)
        .intersect(rect.shrink(2.0));
    if window.is_positive() {
        ui.painter().rect_stroke(window, 3, egui::Stroke::new(1.0, t.accent), egui::StrokeKind::Inside);
    }
    if let Some(p) = response.interact_pointer_pos() {
        let to = ((p - origin) / scale).to_pos2();
        let middle = state.camera.to_board(canvas, canvas.center());
        state.camera.pan((middle - to) * state.camera.zoom);
    }
}
