//! Small marks with words: pills and dots.

use egui::{Color32, Painter, Pos2, Response, Sense, Shape, Stroke, StrokeKind, Ui, vec2};

use super::{Tokens, Tone, text, tokens};

/// A rounded mark with words in a tone.
pub(crate) fn pill(ui: &mut Ui, words: &str, tone: Tone) -> Response {
    let t = tokens(ui);
    let galley = ui.painter().layout_no_wrap(words.to_owned(), text::medium(11.0), t.tone(tone));
    let (rect, response) = ui.allocate_exact_size(vec2((galley.size().x + 16.0).ceil(), 20.0), Sense::hover());
    if ui.is_rect_visible(rect) {
        ui.painter().rect(rect, 10, t.tint(tone), Stroke::new(1.0, t.edge(tone)), StrokeKind::Inside);
        ui.painter().galley(rect.center() - galley.size() / 2.0, galley, t.tone(tone));
    }
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, words));
    response
}

/// A pill with the dot of its tone before the words.
pub(crate) fn status(ui: &mut Ui, words: &str, tone: Tone) -> Response {
    let t = tokens(ui);
    let galley = ui.painter().layout_no_wrap(words.to_owned(), text::medium(11.0), t.tone(tone));
    let (rect, response) = ui.allocate_exact_size(vec2((galley.size().x + 30.0).ceil(), 20.0), Sense::hover());
    if ui.is_rect_visible(rect) {
        ui.painter().rect(rect, 10, t.tint(tone), Stroke::new(1.0, t.edge(tone)), StrokeKind::Inside);
        paint_dot(ui.painter(), egui::pos2(rect.left() + 12.0, rect.center().y), tone, t);
        let at = egui::pos2(rect.left() + 20.0, rect.center().y - galley.size().y / 2.0);
        ui.painter().galley(at, galley, t.tone(tone));
    }
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, words));
    response
}

/// A dot whose shape says the tone too: disc well, triangle at risk, square failed, ring probing, diamond accent, small
/// ring neutral.
pub(crate) fn paint_dot(painter: &Painter, center: Pos2, tone: Tone, t: &Tokens) {
    paint_dot_sized(painter, center, 4.0, tone, t.tone(tone));
}

/// The same in any size and colour.
pub(crate) fn paint_dot_sized(painter: &Painter, c: Pos2, r: f32, tone: Tone, color: Color32) {
    let polygon = |points: Vec<Pos2>| painter.add(Shape::convex_polygon(points, color, Stroke::NONE));
    match tone {
        Tone::Well => {
            painter.circle_filled(c, r, color);
        }
        Tone::AtRisk => {
            let h = r * 1.1;
            polygon(vec![c + vec2(0.0, -h), c + vec2(h, h * 0.85), c + vec2(-h, h * 0.85)]);
        }
        Tone::Failed => {
            painter.rect_filled(egui::Rect::from_center_size(c, vec2(1.8, 1.8) * r), 1, color);
        }
        Tone::Probing => {
            painter.circle_stroke(c, r - 0.75, Stroke::new(1.6, color));
        }
        Tone::Accent => {
            let h = r * 1.15;
            polygon(vec![c + vec2(0.0, -h), c + vec2(h, 0.0), c + vec2(0.0, h), c + vec2(-h, 0.0)]);
        }
        Tone::Neutral => {
            painter.circle_stroke(c, r - 1.0, Stroke::new(1.2, color));
        }
    }
}

/// A dot as a widget, 12 wide; `name` says what it means.
pub(crate) fn dot(ui: &mut Ui, tone: Tone, name: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(12.0, 12.0), Sense::hover());
    paint_dot(ui.painter(), rect.center(), tone, tokens(ui));
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, name));
    response.on_hover_text(name)
}
