//! Text fields.

use egui::{Margin, Response, Stroke, TextEdit, Ui};

use super::{space, text, tokens};

/// A line of text with an accessible name; `hint` stands in it while it is empty. As wide as there is room.
pub(crate) fn text_field(ui: &mut Ui, name: &str, hint: &str, value: &mut String) -> Response {
    let width = ui.available_width();
    text_field_sized(ui, name, hint, value, width)
}

/// The same, `width` wide.
pub(crate) fn text_field_sized(ui: &mut Ui, name: &str, hint: &str, value: &mut String, width: f32) -> Response {
    let t = tokens(ui);
    let frame = egui::Frame::new()
        .fill(t.window)
        .stroke(Stroke::new(1.0, t.line_strong))
        .corner_radius(space::RADIUS)
        .inner_margin(Margin { left: 10, right: 10, top: 5, bottom: 5 });
    let edit = TextEdit::singleline(value)
        .hint_text(egui::RichText::new(hint).font(text::body_font()).color(t.label))
        .font(text::body_font())
        .text_color(t.text)
        .frame(frame)
        .desired_width(width - 2.0)
        .align(egui::Align2::LEFT_CENTER)
        .min_size(egui::vec2(0.0, 16.0));
    let response = ui.add(edit).accessible_name(name);
    if response.has_focus() {
        let ring = Stroke::new(1.5, t.accent);
        ui.painter().rect_stroke(response.rect, space::RADIUS, ring, egui::StrokeKind::Inside);
    }
    response
}

/// Several lines of text in mono, `rows` high at least.
pub(crate) fn text_area(ui: &mut Ui, name: &str, value: &mut String, rows: usize, editable: bool) -> Response {
    let t = tokens(ui);
    let edit = TextEdit::multiline(value)
        .font(text::mono_font(11.5))
        .text_color(t.text)
        .desired_width(f32::INFINITY)
        .desired_rows(rows)
        .interactive(editable)
        .margin(Margin::same(10));
    ui.add(edit).accessible_name(name)
}

/// A label over a field.
pub(crate) fn labelled<R>(ui: &mut Ui, name: &str, field: impl FnOnce(&mut Ui) -> R) -> R {
    text::secondary(ui, name);
    let out = field(ui);
    ui.add_space(12.0);
    out
}
