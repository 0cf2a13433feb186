//! Colours as data, for dark and light, and how egui is dressed in them.

use egui::{Color32, CornerRadius, Stroke};

/// The colours of a theme. The same names mean the same thing in both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tokens {
    /// Behind everything.
    pub(crate) window: Color32,
    /// Rail, bars, inspectors, cards.
    pub(crate) panel: Color32,
    /// Controls at rest, nodes.
    pub(crate) raised: Color32,
    /// Controls under the pointer or pressed, chosen segments.
    pub(crate) pressed: Color32,
    /// Hairlines.
    pub(crate) line: Color32,
    /// Borders of controls.
    pub(crate) line_strong: Color32,
    /// What is read.
    pub(crate) text: Color32,
    /// What stands beside it.
    pub(crate) text_soft: Color32,
    /// Labels over figures and axes; on window, panel and raised only.
    pub(crate) label: Color32,
    /// The one accent: chosen, clickable, the cursor.
    pub(crate) accent: Color32,
    /// Well.
    pub(crate) well: Color32,
    /// At risk.
    pub(crate) at_risk: Color32,
    /// Failed.
    pub(crate) failed: Color32,
    /// Probing.
    pub(crate) probing: Color32,
    /// Text on a filled accent, failed, … surface.
    pub(crate) on_fill: Color32,
    /// Shadow under dialogs.
    pub(crate) shadow: Color32,
    /// Whether it is the dark one.
    pub(crate) dark: bool,
}

const fn rgb(hex: u32) -> Color32 {
    Color32::from_rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

/// The dark theme.
pub(crate) const DARK: Tokens = Tokens {
    window: rgb(0x0D_1014),
    panel: rgb(0x13_171D),
    raised: rgb(0x1A_2028),
    pressed: rgb(0x22_2A34),
    line: rgb(0x25_2D38),
    line_strong: rgb(0x32_3C4A),
    text: rgb(0xE8_ECF2),
    text_soft: rgb(0x9A_A6B5),
    label: rgb(0x7F_8B99),
    accent: rgb(0x6C_B2FF),
    well: rgb(0x4C_C38A),
    at_risk: rgb(0xF0_B44C),
    failed: rgb(0xF2_686F),
    probing: rgb(0xB3_9BFF),
    on_fill: rgb(0x0A_0E13),
    shadow: Color32::from_black_alpha(120),
    dark: true,
};

/// The light theme: the same order of hues, darkened until every pair reads.
pub(crate) const LIGHT: Tokens = Tokens {
    window: rgb(0xF4_F6F9),
    panel: rgb(0xFF_FFFF),
    raised: rgb(0xF1_F4F8),
    pressed: rgb(0xE3_E8EF),
    line: rgb(0xDF_E4EB),
    line_strong: rgb(0xC3_CCD7),
    text: rgb(0x14_1A22),
    text_soft: rgb(0x48_5463),
    label: rgb(0x5D_6978),
    accent: rgb(0x0B_5FBF),
    well: rgb(0x14_7047),
    at_risk: rgb(0x85_5200),
    failed: rgb(0xBF_2630),
    probing: rgb(0x65_46CF),
    on_fill: rgb(0xFF_FFFF),
    shadow: Color32::from_black_alpha(40),
    dark: false,
};

/// The tokens of the theme that `ui` is painted in.
pub(crate) fn tokens(ui: &egui::Ui) -> &'static Tokens {
    if ui.visuals().dark_mode { &DARK } else { &LIGHT }
}

/// What something is like, as a colour. Shape or text says it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Tone {
    /// Nothing to say.
    #[default]
    Neutral,
    /// Chosen or clickable.
    Accent,
    /// Well.
    Well,
    /// At risk.
    AtRisk,
    /// Failed.
    Failed,
    /// Probing.
    Probing,
}

impl From<fuseboard_api::graph::Severity> for Tone {
    fn from(severity: fuseboard_api::graph::Severity) -> Self {
        use fuseboard_api::graph::Severity;
        match severity {
            Severity::Well => Self::Well,
            Severity::AtRisk => Self::AtRisk,
            Severity::Failed => Self::Failed,
        }
    }
}

impl Tokens {
    /// The colour of a tone, for text and lines.
    pub(crate) fn tone(&self, tone: Tone) -> Color32 {
        match tone {
            Tone::Neutral => self.text_soft,
            Tone::Accent => self.accent,
            Tone::Well => self.well,
            Tone::AtRisk => self.at_risk,
            Tone::Failed => self.failed,
            Tone::Probing => self.probing,
        }
    }

    /// The quiet surface of a tone: text of the same tone and plain text read on it.
    pub(crate) fn tint(&self, tone: Tone) -> Color32 {
        match tone {
            Tone::Neutral => self.raised,
            _ => mix(self.panel, self.tone(tone), if self.dark { 0.11 } else { 0.08 }),
        }
    }

    /// The border of such a surface.
    pub(crate) fn edge(&self, tone: Tone) -> Color32 {
        match tone {
            Tone::Neutral => self.line_strong,
            _ => mix(self.panel, self.tone(tone), if self.dark { 0.38 } else { 0.45 }),
        }
    }
}

/// `share` (0…1) of `b` in `a`, by channel.
pub(crate) fn mix(a: Color32, b: Color32, share: f32) -> Color32 {
    let channel = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * share).round() as u8;
    Color32::from_rgb(channel(a.r(), b.r()), channel(a.g(), b.g()), channel(a.b(), b.b()))
}

/// Dresses both of egui's themes and loads the fonts.
pub(crate) fn install(ctx: &egui::Context) {
    ctx.set_fonts(super::text::fonts());
    for (theme, tokens) in [(egui::Theme::Dark, &DARK), (egui::Theme::Light, &LIGHT)] {
        ctx.style_mut_of(theme, |style| dress(style, tokens));
    }
}

fn dress(style: &mut egui::Style, t: &Tokens) {
    use egui::TextStyle;
    style.text_styles = [
        (TextStyle::Small, super::text::label_font()),
        (TextStyle::Body, super::text::body_font()),
        (TextStyle::Button, super::text::body_font()),
        (TextStyle::Heading, super::text::title_font()),
        (TextStyle::Monospace, super::text::mono_font(11.5)),
    ]
    .into();
    style.spacing.item_spacing = egui::vec2(8.0, 4.0);
    style.spacing.button_padding = egui::vec2(12.0, 4.0);
    style.spacing.interact_size = egui::vec2(28.0, 24.0);
    style.spacing.scroll = egui::style::ScrollStyle::thin();
    style.spacing.tooltip_width = 320.0;
    style.interaction.selectable_labels = false;
    style.interaction.tooltip_delay = 0.35;
    style.animation_time = 0.0;
    let v = &mut style.visuals;
    v.dark_mode = t.dark;
    v.override_text_color = None;
    v.panel_fill = t.panel;
    v.window_fill = t.panel;
    v.extreme_bg_color = t.window;
    v.text_edit_bg_color = Some(t.window);
    v.faint_bg_color = mix(t.window, t.panel, 0.6);
    v.code_bg_color = t.raised;
    v.window_stroke = Stroke::new(1.0, t.line_strong);
    v.window_corner_radius = CornerRadius::same(super::space::RADIUS_CARD);
    v.menu_corner_radius = CornerRadius::same(super::space::RADIUS);
    v.hyperlink_color = t.accent;
    v.warn_fg_color = t.at_risk;
    v.error_fg_color = t.failed;
    v.selection.bg_fill = mix(t.panel, t.accent, if t.dark { 0.35 } else { 0.2 });
    v.selection.stroke = Stroke::new(1.0, t.accent);
    v.text_cursor.blink = false;
    v.text_cursor.stroke = Stroke::new(1.5, t.accent);
    let radius = CornerRadius::same(super::space::RADIUS);
    let w = &mut v.widgets;
    for (state, fill, line, text) in [
        (&mut w.noninteractive, t.panel, t.line, t.text),
        (&mut w.inactive, t.raised, t.line_strong, t.text),
        (&mut w.hovered, t.pressed, t.line_strong, t.text),
        (&mut w.active, t.pressed, t.accent, t.text),
        (&mut w.open, t.pressed, t.line_strong, t.text),
    ] {
        state.bg_fill = fill;
        state.weak_bg_fill = fill;
        state.bg_stroke = Stroke::new(1.0, line);
        state.fg_stroke = Stroke::new(1.0, text);
        state.corner_radius = radius;
        state.expansion = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// WCAG 2.2, "relative luminance" and "contrast ratio".
    fn contrast(a: Color32, b: Color32) -> f64 {
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        let light = |c: Color32| 0.2126 * linear(c.r()) + 0.7152 * linear(c.g()) + 0.0722 * linear(c.b());
        let (a, b) = (light(a), light(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    const TONES: [Tone; 5] = [Tone::Accent, Tone::Well, Tone::AtRisk, Tone::Failed, Tone::Probing];

    fn pairs(t: &Tokens) -> Vec<(String, Color32, Color32)> {
        let surfaces = [("window", t.window), ("panel", t.panel), ("raised", t.raised), ("pressed", t.pressed)];
        let mut pairs = Vec::new();
        for (on, surface) in surfaces {
            pairs.push((format!("text on {on}"), t.text, surface));
            pairs.push((format!("text_soft on {on}"), t.text_soft, surface));
            if on != "pressed" {
                pairs.push((format!("label on {on}"), t.label, surface));
            }
            for tone in TONES {
                pairs.push((format!("{tone:?} on {on}"), t.tone(tone), surface));
            }
        }
        for tone in TONES {
            pairs.push((format!("text on tint of {tone:?}"), t.text, t.tint(tone)));
            pairs.push((format!("text_soft on tint of {tone:?}"), t.text_soft, t.tint(tone)));
            pairs.push((format!("{tone:?} on its tint"), t.tone(tone), t.tint(tone)));
            pairs.push((format!("on_fill on {tone:?}"), t.on_fill, t.tone(tone)));
        }
        pairs
    }

    #[test]
    fn every_text_reads_on_every_surface_it_stands_on() {
        for (theme, tokens) in [("dark", &DARK), ("light", &LIGHT)] {
            for (what, text, surface) in pairs(tokens) {
                let ratio = contrast(text, surface);
                assert!(ratio >= 4.5, "{theme}: {what} has {ratio:.2}, WCAG AA asks for 4.5");
            }
        }
    }
}
