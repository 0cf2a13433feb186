//! The window: it takes what came, runs commands, moves the cursor, and paints the frame around the view in front.

use crate::command::Commands;
use crate::model::Model;
use crate::views::States;

/// The console.
#[derive(Debug, Default)]
pub struct App {
    model: Model,
    states: States,
    commands: Commands,
}

impl App {
    /// Paints everything.
    pub fn paint(&mut self, ui: &mut egui::Ui) {
        crate::views::show(ui, &self.model, &mut self.states, &mut self.commands);
        if crate::views::has_inspector(&self.model, &self.states) {
            crate::views::inspector(ui, &self.model, &mut self.states, &mut self.commands);
        }
    }
}
