//! The type scale, and text as widgets.

use std::sync::Arc;

use egui::{Color32, FontData, FontDefinitions, FontFamily, FontId, Response, RichText, Ui};

use super::{Tone, tokens};

const MEDIUM: &str = "inter-medium";
const SEMIBOLD: &str = "inter-semibold";
const MONO_MEDIUM: &str = "mono-medium";

/// The embedded fonts: Inter for words, JetBrains Mono for figures, Noto Sans SC where neither has a glyph.
pub(crate) fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let files: [(&str, &'static [u8]); 6] = [
        ("inter", include_bytes!("../../../assets/fonts/Inter-Regular.otf")),
        (MEDIUM, include_bytes!("../../../assets/fonts/Inter-Medium.otf")),
        (SEMIBOLD, include_bytes!("../../../assets/fonts/Inter-SemiBold.otf")),
        ("mono", include_bytes!("../../../assets/fonts/JetBrainsMono-Regular.ttf")),
        (MONO_MEDIUM, include_bytes!("../../../assets/fonts/JetBrainsMono-Medium.ttf")),
        ("cjk", include_bytes!("../../../assets/fonts/NotoSansCJKsc-GB2312.otf")),
    ];
    for (name, bytes) in files {
        fonts.font_data.insert(name.to_owned(), Arc::new(FontData::from_static(bytes)));
    }
    let family = |first: &[&str]| -> Vec<String> {
        let last = ["Hack", "cjk", "egui-icons", "NotoEmoji-Regular", "emoji-icon-font"];
        first.iter().chain(&last).map(|s| (*s).to_owned()).collect()
    };
    fonts.families.insert(FontFamily::Proportional, family(&["inter"]));
    fonts.families.insert(FontFamily::Monospace, family(&["mono"]));
    fonts.families.insert(FontFamily::Name(MEDIUM.into()), family(&[MEDIUM]));
    fonts.families.insert(FontFamily::Name(SEMIBOLD.into()), family(&[SEMIBOLD]));
    fonts.families.insert(FontFamily::Name(MONO_MEDIUM.into()), family(&[MONO_MEDIUM, "mono"]));
    fonts
}

/// Inter, 500.
pub(crate) fn medium(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(MEDIUM.into()))
}

/// Inter, 600.
pub(crate) fn semibold(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(SEMIBOLD.into()))
}

/// Titles of views: 18/600.
pub(crate) fn title_font() -> FontId {
    semibold(18.0)
}

/// Titles of inspectors: 15/600.
pub(crate) fn inspector_font() -> FontId {
    semibold(15.0)
}

/// Heads of sections: 12.5/600.
pub(crate) fn section_font() -> FontId {
    semibold(12.5)
}

/// Body: 12.5.
pub(crate) fn body_font() -> FontId {
    FontId::proportional(12.5)
}

/// What stands beside it: 11.5.
pub(crate) fn secondary_font() -> FontId {
    FontId::proportional(11.5)
}

/// Labels over figures, axes: 10.5.
pub(crate) fn label_font() -> FontId {
    FontId::proportional(10.5)
}

/// Figures, ids, times. Sizes 10…12.5.
pub(crate) fn mono_font(size: f32) -> FontId {
    FontId::monospace(size)
}

/// Figures that are looked at first.
pub(crate) fn mono_medium(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(MONO_MEDIUM.into()))
}

/// Text in any font and colour, on one line, cut with an ellipsis where the room ends.
pub(crate) fn styled(ui: &mut Ui, text: impl Into<String>, font: FontId, color: Color32) -> Response {
    ui.add(egui::Label::new(RichText::new(text).font(font).color(color)).truncate())
}

/// Text in any font and colour, wrapped.
pub(crate) fn wrapped(ui: &mut Ui, text: impl Into<String>, font: FontId, color: Color32) -> Response {
    ui.add(egui::Label::new(RichText::new(text).font(font).color(color)).wrap())
}

/// A view's title.
pub(crate) fn title(ui: &mut Ui, text: &str) -> Response {
    styled(ui, text, title_font(), tokens(ui).text)
}

/// An inspector's title.
pub(crate) fn inspector_title(ui: &mut Ui, text: &str) -> Response {
    styled(ui, text, inspector_font(), tokens(ui).text)
}

/// A section's head.
pub(crate) fn section(ui: &mut Ui, text: &str) -> Response {
    styled(ui, text, section_font(), tokens(ui).text)
}

/// A section's head with something at its right end.
pub(crate) fn section_with(ui: &mut Ui, text: &str, right: impl FnOnce(&mut Ui)) {
    row(ui, 20.0, |ui| section(ui, text), right);
}

/// Body text, wrapped.
pub(crate) fn body(ui: &mut Ui, text: impl Into<String>) -> Response {
    wrapped(ui, text, body_font(), tokens(ui).text)
}

/// Secondary text, one line.
pub(crate) fn secondary(ui: &mut Ui, text: impl Into<String>) -> Response {
    styled(ui, text, secondary_font(), tokens(ui).text_soft)
}

/// Secondary text, wrapped.
pub(crate) fn note(ui: &mut Ui, text: impl Into<String>) -> Response {
    wrapped(ui, text, secondary_font(), tokens(ui).text_soft)
}

/// A label, one line.
pub(crate) fn label(ui: &mut Ui, text: impl Into<String>) -> Response {
    styled(ui, text, label_font(), tokens(ui).label)
}

/// A figure, an id or a time.
pub(crate) fn mono(ui: &mut Ui, text: impl Into<String>) -> Response {
    styled(ui, text, mono_font(11.5), tokens(ui).text)
}

/// The same, quieter.
pub(crate) fn mono_soft(ui: &mut Ui, text: impl Into<String>) -> Response {
    styled(ui, text, mono_font(11.0), tokens(ui).text_soft)
}

/// Body text in a tone.
pub(crate) fn toned(ui: &mut Ui, text: impl Into<String>, tone: Tone) -> Response {
    styled(ui, text, body_font(), tokens(ui).tone(tone))
}

/// A row of a given height: `left` from the left, `right` from the right end.
pub(crate) fn row<L>(ui: &mut Ui, height: f32, left: impl FnOnce(&mut Ui) -> L, right: impl FnOnce(&mut Ui)) -> L {
    let size = egui::vec2(ui.available_width(), height);
    ui.allocate_ui_with_layout(size, egui::Layout::right_to_left(egui::Align::Center), |ui| {
        ui.set_min_size(size);
        right(ui);
        let rest = egui::vec2(ui.available_width(), height);
        ui.allocate_ui_with_layout(rest, egui::Layout::left_to_right(egui::Align::Center), |ui| {
            ui.set_min_size(rest);
            left(ui)
        })
        .inner
    })
    .inner
}

/// A row of a list of facts: label left, value right in mono.
pub(crate) fn pair(ui: &mut Ui, name: &str, value: &str) {
    let t = tokens(ui);
    row(
        ui,
        24.0,
        |ui| styled(ui, name, mono_font(11.0), t.text_soft),
        |ui| {
            ui.set_max_width(ui.available_width() * 0.62);
            styled(ui, value, mono_font(11.0), t.text).on_hover_text(value);
        },
    );
    let y = ui.min_rect().bottom();
    ui.painter().hline(ui.max_rect().x_range(), y + 1.0, egui::Stroke::new(1.0, t.line));
}

/// A figure under its label, as on top of an inspector.
pub(crate) fn figure(ui: &mut Ui, name: &str, value: &str, tone: Option<Tone>) {
    let t = tokens(ui);
    ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        label(ui, name);
        styled(ui, value, semibold(14.0), tone.map_or(t.text, |tone| t.tone(tone)));
    });
}

/// Figures in equal columns.
pub(crate) fn figures(ui: &mut Ui, list: &[(&str, String, Option<Tone>)]) {
    if list.is_empty() {
        return;
    }
    ui.columns(list.len(), |columns| {
        for (ui, (name, value, tone)) in columns.iter_mut().zip(list) {
            figure(ui, name, value, *tone);
        }
    });
}

/// The width that `text` takes in `font`.
pub(crate) fn width(ui: &Ui, text: &str, font: FontId) -> f32 {
    ui.painter().layout_no_wrap(text.to_owned(), font, Color32::PLACEHOLDER).size().x
}

/// Paints one line of text at a place, cut with an ellipsis at `max_width`; gives the room it took.
pub(crate) fn paint(
    painter: &egui::Painter,
    pos: egui::Pos2,
    anchor: egui::Align2,
    text: impl Into<String>,
    font: FontId,
    color: Color32,
    max_width: f32,
) -> egui::Rect {
    let mut job = egui::text::LayoutJob::simple_singleline(text.into(), font, color);
    job.wrap = egui::text::TextWrapping::truncate_at_width(max_width.max(0.0));
    let galley = painter.layout_job(job);
    let rect = anchor.anchor_size(pos, galley.size());
    painter.galley(rect.min, galley, color);
    rect
}
