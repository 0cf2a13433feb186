//! The house's widgets: everything that the views are made of. Nothing here knows the model.
//!
//! Rules: the 4-pixel grid ([`space`]), the tokens of [`theme`], the type scale of [`text`]. Whatever can be clicked has an
//! accessible name and shows where the keyboard is; colour never says anything that shape or text does not say too.

pub(crate) mod banner;
pub(crate) mod breaker;
pub(crate) mod button;
pub(crate) mod card;
pub(crate) mod chart;
pub(crate) mod field;
pub(crate) mod format;
pub(crate) mod histogram;
pub(crate) mod icon;
pub(crate) mod pill;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod theme;

pub(crate) use theme::{Tokens, Tone, tokens};

/// Distances.
pub(crate) mod space {
    /// Between things that belong together.
    pub(crate) const NEAR: f32 = 8.0;
    /// Between groups.
    pub(crate) const FAR: f32 = 20.0;
    /// Height of a row of a table.
    pub(crate) const ROW: f32 = 28.0;
    /// Height of a button, field or segment.
    pub(crate) const CONTROL: f32 = 28.0;
    /// Radius of cards.
    pub(crate) const RADIUS_CARD: u8 = 10;
    /// Radius of controls.
    pub(crate) const RADIUS: u8 = 6;
    /// Radius of keys and small marks.
    pub(crate) const RADIUS_KEY: u8 = 4;
}

/// The padded body of a view: fills the room, pads as the inspector does.
pub(crate) fn view<R>(ui: &mut egui::Ui, contents: impl FnOnce(&mut egui::Ui) -> R) -> R {
    let margin = egui::Margin { left: 20, right: 16, top: 12, bottom: 8 };
    egui::Frame::NONE
        .inner_margin(margin)
        .show(ui, |ui| {
            ui.set_min_size(ui.available_size());
            contents(ui)
        })
        .inner
}

/// The line on top of a view: its title, a word beside it, and what `controls` adds, on one row of 36.
pub(crate) fn view_head(ui: &mut egui::Ui, title: &str, aside: &str, controls: impl FnOnce(&mut egui::Ui)) {
    ui.allocate_ui_with_layout(
        egui::vec2(ui.available_width(), 28.0),
        egui::Layout::left_to_right(egui::Align::Center),
        |ui| {
            text::title(ui, title);
            if !aside.is_empty() {
                text::secondary(ui, aside);
            }
            ui.add_space(space::FAR);
            controls(ui);
        },
    );
    ui.add_space(space::NEAR);
}

/// A hairline between sections, over the whole width of the parent's clip.
pub(crate) fn rule(ui: &mut egui::Ui) {
    ui.add_space(12.0);
    let (rect, _) = ui.allocate_exact_size(egui::vec2(ui.available_width(), 1.0), egui::Sense::hover());
    ui.painter().hline(ui.clip_rect().x_range(), rect.center().y, egui::Stroke::new(1.0, tokens(ui).line));
    ui.add_space(12.0);
}

/// Paints where the keyboard is.
pub(crate) fn focus_ring(ui: &egui::Ui, response: &egui::Response, radius: u8) {
    if response.has_focus() {
        let stroke = egui::Stroke::new(2.0, tokens(ui).accent);
        ui.painter().rect_stroke(response.rect.expand(2.0), radius + 2, stroke, egui::StrokeKind::Middle);
    }
}
