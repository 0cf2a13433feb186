//! Sentences that matter: the headline over a view, what stands in an empty one, dialogs.

use egui::{CornerRadius, Response, Stroke, StrokeKind, Ui, vec2};

use super::button::link;
use super::pill::paint_dot;
use super::{Tone, space, text, tokens};

/// A sentence over a view, with one thing to do at its right end; gives whether that was clicked.
pub(crate) fn banner(ui: &mut Ui, tone: Tone, sentence: &str, action: Option<&str>) -> bool {
    let t = tokens(ui);
    let mut clicked = false;
    let frame = egui::Frame::new()
        .fill(t.tint(tone))
        .stroke(Stroke::new(1.0, t.edge(tone)))
        .corner_radius(CornerRadius::same(8))
        .inner_margin(egui::Margin { left: 12, right: 14, top: 6, bottom: 6 });
    frame.show(ui, |ui| {
        text::row(
            ui,
            22.0,
            |ui| {
                let (rect, _) = ui.allocate_exact_size(vec2(12.0, 12.0), egui::Sense::hover());
                paint_dot(ui.painter(), rect.center(), tone, t);
                text::styled(ui, sentence, text::body_font(), t.text).on_hover_text(sentence);
            },
            |ui| {
                if let Some(action) = action {
                    clicked = link(ui, action).clicked();
                }
            },
        );
    });
    ui.add_space(space::NEAR);
    clicked
}

/// What stands where there is nothing: a head, a sentence, and what to do about it.
pub(crate) fn empty(ui: &mut Ui, head: &str, sentence: &str, actions: impl FnOnce(&mut Ui)) {
    let t = tokens(ui);
    let room = ui.available_size();
    ui.allocate_ui_with_layout(room, egui::Layout::top_down(egui::Align::Center), |ui| {
        ui.add_space((room.y * 0.3 - 40.0).max(16.0));
        ui.set_max_width(440.0_f32.min(room.x));
        text::styled(ui, head, text::semibold(15.0), t.text);
        ui.add_space(4.0);
        ui.add(
            egui::Label::new(egui::RichText::new(sentence).font(text::body_font()).color(t.text_soft))
                .wrap()
                .halign(egui::Align::Center),
        );
        ui.add_space(16.0);
        actions(ui);
    });
}

/// The line over an old picture: it stays readable, but says that it is old.
pub(crate) fn stale(ui: &mut Ui, why: Option<&str>) -> Response {
    let t = tokens(ui);
    let words = why
        .map_or_else(|| "an older picture; the new one is on its way".to_owned(), |w| format!("an older picture: {w}"));
    let tone = if why.is_some() { Tone::AtRisk } else { Tone::Neutral };
    let galley = ui.painter().layout_no_wrap(words, text::secondary_font(), t.tone(tone));
    let (rect, response) = ui.allocate_exact_size(galley.size() + vec2(16.0, 6.0), egui::Sense::hover());
    ui.painter().rect(rect, 10, t.tint(tone), Stroke::new(1.0, t.edge(tone)), StrokeKind::Inside);
    ui.painter().galley(rect.center() - galley.size() / 2.0, galley, t.tone(tone));
    response
}
