//! What is told in passing: at the lower right of the view, gone after some seconds.

use std::time::Duration;

use egui::{Rect, Stroke};

use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::button::link;
use crate::widgets::pill::paint_dot;
use crate::widgets::{Tone, text, tokens};

/// How long one stays.
pub(super) const LIFE: Duration = Duration::from_secs(6);

/// Paints them over `middle`.
pub(super) fn show(ui: &egui::Ui, model: &Model, commands: &mut Commands, middle: Rect) {
    let t = tokens(ui);
    if model.toasts.is_empty() {
        return;
    }
    let area = egui::Area::new(egui::Id::unique("toasts"))
        .order(egui::Order::Foreground)
        .pivot(egui::Align2::RIGHT_BOTTOM)
        .fixed_pos(middle.right_bottom() - egui::vec2(16.0, 16.0));
    area.show(ui.ctx(), |ui| {
        for toast in &model.toasts {
            let tone = Tone::from(toast.severity);
            let frame = egui::Frame::new()
                .fill(t.raised)
                .stroke(Stroke::new(1.0, t.edge(tone)))
                .corner_radius(8)
                .shadow(egui::Shadow { offset: [0, 6], blur: 18, spread: 0, color: t.shadow })
                .inner_margin(egui::Margin::symmetric(14, 8));
            frame.show(ui, |ui| {
                ui.set_max_width(380.0);
                ui.horizontal(|ui| {
                    let (rect, _) = ui.allocate_exact_size(egui::vec2(12.0, 12.0), egui::Sense::hover());
                    paint_dot(ui.painter(), rect.center(), tone, t);
                    text::body(ui, &toast.text);
                    if toast.undo.is_some() && link(ui, "Undo").clicked() {
                        commands.push(Command::Undo);
                    }
                });
            });
        }
    });
}
