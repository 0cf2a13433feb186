//! Cards: raised surfaces that hold one thing.

use egui::{CornerRadius, Frame, InnerResponse, Margin, Stroke, Ui};

use super::{Tone, space, tokens};

/// A card; its border may have a tone.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub(crate) struct Card {
    tone: Tone,
    tinted: bool,
}

impl Card {
    /// A plain card.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With a border in a tone.
    pub(crate) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// Filled in its tone, too.
    pub(crate) fn tinted(mut self) -> Self {
        self.tinted = true;
        self
    }

    /// Paints it around `contents`.
    pub(crate) fn show<R>(self, ui: &mut Ui, contents: impl FnOnce(&mut Ui) -> R) -> InnerResponse<R> {
        let t = tokens(ui);
        let line = match self.tone {
            Tone::Neutral => Stroke::new(1.0, t.line),
            tone if self.tinted => Stroke::new(1.0, t.edge(tone)),
            tone => Stroke::new(1.5, t.tone(tone)),
        };
        Frame::new()
            .fill(if self.tinted { t.tint(self.tone) } else { t.panel })
            .stroke(line)
            .corner_radius(CornerRadius::same(space::RADIUS_CARD))
            .inner_margin(Margin::same(14))
            .show(ui, |ui| {
                ui.set_width(ui.available_width());
                contents(ui)
            })
    }
}

/// A plain card around `contents`.
pub(crate) fn card<R>(ui: &mut Ui, contents: impl FnOnce(&mut Ui) -> R) -> R {
    Card::new().show(ui, contents).inner
}
