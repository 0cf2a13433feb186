//! A list and what is chosen in it, side by side.

use egui::{Align, Layout, Rect, Ui, UiBuilder};

/// Splits the room that is left into a list (`width` wide where the window is wide enough) and the rest.
pub(crate) fn halves(ui: &mut Ui, width: f32) -> (Ui, Ui) {
    const GAP: f32 = 20.0;
    let room = ui.available_rect_before_wrap();
    let list = (room.width() * 0.36).clamp(120.0, width);
    let left = Rect::from_min_max(room.min, egui::pos2(room.left() + list, room.bottom()));
    let right = Rect::from_min_max(egui::pos2((left.right() + GAP).min(room.right()), room.top()), room.max);
    let child = |ui: &mut Ui, rect: Rect, salt: &str| {
        let mut child =
            ui.new_child(UiBuilder::new().max_rect(rect).layout(Layout::top_down(Align::Min)).id_salt(salt));
        child.set_clip_rect(rect.expand(3.0).intersect(ui.clip_rect()));
        child
    };
    let both = (child(ui, left, "list"), child(ui, right, "detail"));
    ui.advance_cursor_after_rect(room);
    both
}
