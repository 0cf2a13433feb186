//! The keyboard: what the frame takes before the view sees it.

use egui::{Key, Modifiers};

use crate::command::{self, Command, Commands};
use crate::model::{Model, Overlay};

/// Takes the frame's keys. Keys without Ctrl are left to a text field that is being written in; space and arrows also to
/// whatever else has the keyboard.
pub(super) fn take(ui: &egui::Ui, model: &Model, commands: &mut Commands) {
    if ui.input(|i| i.events.is_empty()) {
        return;
    }
    if ui.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape)) {
        commands.push(escape(ui, model));
        return;
    }
    let writing = ui.text_edit_focused() || model.overlay == Overlay::Palette;
    let focused = ui.memory(|m| m.focused().is_some());
    for entry in command::entries() {
        let Some(shortcut) = entry.shortcut else { continue };
        let plain = !shortcut.modifiers.command && !shortcut.modifiers.alt;
        if plain && (writing || (focused && shortcut.logical_key == Key::Space)) {
            continue;
        }
        if ui.input_mut(|i| i.consume_shortcut(&shortcut)) {
            commands.push(entry.command);
        }
    }
    // `?` is typed with Shift on most keyboards.
    if !writing
        && ui.input_mut(|i| {
            i.consume_key(Modifiers::SHIFT, Key::Questionmark) || i.consume_key(Modifiers::SHIFT, Key::Slash)
        })
    {
        commands.push(Command::Help);
    }
    if !writing && !focused && model.overlay == Overlay::None {
        let column = i64::try_from(model.time.strip.as_millis() / 200).unwrap_or(1000);
        for (key, by) in [(Key::ArrowLeft, -column), (Key::ArrowRight, column)] {
            if ui.input_mut(|i| i.consume_key(Modifiers::NONE, key)) {
                commands.push(Command::Nudge(by));
            }
        }
    }
}

/// What Escape ends: an overlay, then the keyboard's place, then what is chosen.
fn escape(ui: &egui::Ui, model: &Model) -> Command {
    match model.overlay {
        Overlay::Palette => Command::Palette,
        Overlay::Help => Command::Help,
        Overlay::None => {
            if let Some(id) = ui.memory(|m| m.focused()) {
                ui.memory_mut(|m| m.surrender_focus(id));
            }
            Command::Close
        }
    }
}
