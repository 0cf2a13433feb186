//! The list of keys.

use egui::{Sense, Stroke};

use crate::command::{self, Command, Commands};
use crate::widgets::button::key_hint;
use crate::widgets::{space, text, tokens};

/// Darkens everything behind; gives whether that was clicked.
pub(super) fn backdrop(ui: &egui::Ui, id: &str) -> bool {
    let t = tokens(ui);
    let screen = ui.ctx().content_rect();
    let color = if t.dark { egui::Color32::from_black_alpha(110) } else { egui::Color32::from_black_alpha(50) };
    egui::Area::new(egui::Id::unique(id))
        .order(egui::Order::Middle)
        .fixed_pos(screen.min)
        .show(ui.ctx(), |ui| {
            let response = ui.allocate_rect(screen, Sense::click());
            ui.painter().rect_filled(screen, 0, color);
            response.clicked()
        })
        .inner
}

/// Keys that are not commands by themselves.
const MORE: [(&str, &str); 10] = [
    ("← →", "Move the instant shown"),
    ("Shift + drag", "Choose a range on the time strip"),
    ("Wheel", "Zoom the time strip, the board, a trace"),
    ("↑ ↓", "Choose the next row or breaker"),
    ("Enter", "Open what is chosen; send what is asked"),
    ("A O C S", "Breaker: auto, open, closed, shadow"),
    ("Tab", "To the next control"),
    ("Esc", "Close, end the choice"),
    ("Ctrl + −", "Larger and smaller"),
    ("G", "On the board: graph or table"),
];

/// Paints the list over everything.
pub(super) fn show(ui: &mut egui::Ui, commands: &mut Commands) {
    let t = tokens(ui);
    let screen = ui.ctx().content_rect();
    if backdrop(ui, "help-backdrop") {
        commands.push(Command::Help);
    }
    let width = 640.0_f32.min(screen.width() - 32.0);
    let at = egui::pos2((screen.center().x - width / 2.0).round(), screen.top() + (screen.height() * 0.08).round());
    let room = egui::vec2(width, screen.height() * 0.84);
    let area =
        egui::Area::new(egui::Id::unique("help")).order(egui::Order::Foreground).fixed_pos(at).default_size(room);
    area.show(ui.ctx(), |ui| {
        let frame = egui::Frame::new()
            .fill(t.panel)
            .stroke(Stroke::new(1.0, t.line_strong))
            .corner_radius(space::RADIUS_CARD)
            .shadow(egui::Shadow { offset: [0, 12], blur: 32, spread: 0, color: t.shadow })
            .inner_margin(20);
        frame.show(ui, |ui| {
            ui.set_width(width - 40.0);
            text::inspector_title(ui, "Keys");
            ui.add_space(8.0);
            egui::ScrollArea::vertical().max_height(screen.height() * 0.7).show(ui, |ui| {
                let own: Vec<(String, &str)> = command::entries()
                    .into_iter()
                    .filter_map(|e| e.shortcut.map(|s| (command::shortcut_words(ui, &s), e.text)))
                    .chain(MORE.map(|(k, v)| (k.to_owned(), v)))
                    .collect();
                let half = own.len().div_ceil(2);
                ui.spacing_mut().item_spacing.x = 24.0;
                ui.columns(2, |columns| {
                    for (column, part) in columns.iter_mut().zip(own.chunks(half)) {
                        for (key, words) in part {
                            line(column, key, words);
                        }
                    }
                });
            });
        });
    });
}

fn line(ui: &mut egui::Ui, key: &str, words: &str) {
    text::row(
        ui,
        24.0,
        |ui| text::secondary(ui, words),
        |ui| {
            key_hint(ui, key);
        },
    );
}
