//! The audit view.

use crate::command::Commands;
use crate::model::Model;
use crate::widgets::text;

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {}

/// Paints the view.
pub(crate) fn show(ui: &mut egui::Ui, model: &Model, _state: &mut State, _commands: &mut Commands) {
    text::title(ui, model.view.name());
}

/// Paints what stands beside it.
pub(crate) fn inspector(_ui: &mut egui::Ui, _model: &Model, _state: &mut State, _commands: &mut Commands) {}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(_model: &Model, _state: &State) -> bool {
    false
}
