//! What stands in the place of the graph while there is none: what to do about it.

use egui::Ui;

use crate::command::{Command, Commands};
use crate::model::{Connection, Model};
use crate::widgets::banner;
use crate::widgets::button::button;

/// No picture has come.
pub(crate) fn without_picture(ui: &mut Ui, model: &Model, commands: &mut Commands) {
    match (&model.connection, &model.slots.board.error) {
        (Connection::Lost { why, tries }, _) => {
            let words = format!("{why}. Tried {tries} times; it goes on trying by itself.");
            banner::empty(ui, "The collector does not answer", &words, |ui| other_sources(ui, commands));
        }
        (Connection::Unknown { head, why }, _) => {
            banner::empty(ui, head, why, |ui| other_sources(ui, commands));
        }
        (_, Some(error)) => banner::empty(ui, "No picture of the calls", error, |_| {}),
        (Connection::Connecting | Connection::Up, None) => {
            banner::empty(ui, "Asking for the call graph", "The first picture is on its way.", |_| {});
        }
    }
}

/// Nothing was recorded in the range shown.
pub(crate) fn nothing_here(ui: &mut Ui, commands: &mut Commands) {
    banner::empty(
        ui,
        "No calls in this range",
        "Choose a longer range on the time strip, or follow the newest.",
        |ui| {
            if button(ui, "Follow").clicked() {
                commands.push(Command::Choose(None));
                commands.push(Command::Follow);
            }
        },
    );
}

fn other_sources(ui: &mut Ui, commands: &mut Commands) {
    if button(ui, "Open an incident file").clicked() {
        commands.push(Command::ChooseFile);
    }
}
