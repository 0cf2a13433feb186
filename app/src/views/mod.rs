//! The views. Each reads the model, keeps what is only its own (scroll positions, open rows) in its `State`, and pushes
//! commands; none knows channels, the network or another view.
//!
//! A view paints into the whole middle of the window and brings its own padding ([`crate::widgets::view`]). Beside it
//! stands an inspector where the view has something to say about what is chosen.

use crate::command::Commands;
use crate::model::{Model, View};

mod audit;
mod board;
mod breakers;
mod clock;
mod findings;
mod fleet;
mod forecasts;
mod gallery;
mod halves;
mod incidents;
mod logs;
mod metrics;
mod names;
mod policies;
mod progress;
mod rollout;
mod trace;
mod traces;

pub(crate) use breakers::flip::Flip;
pub(crate) use breakers::flip_panel::show as show_flip;
pub(crate) use breakers::words::mode_word;

macro_rules! views {
    ($($view:ident = $module:ident),+ $(,)?) => {
        /// What the views keep between two frames.
        #[derive(Debug, Default)]
        pub(crate) struct States { $($module: $module::State),+ }

        /// Paints the view in front.
        pub(crate) fn show(ui: &mut egui::Ui, model: &Model, states: &mut States, commands: &mut Commands) {
            match model.view {
                $(View::$view => $module::show(ui, model, &mut states.$module, commands),)+
            }
        }

        /// Paints what stands beside the view in front.
        pub(crate) fn inspector(ui: &mut egui::Ui, model: &Model, states: &mut States, commands: &mut Commands) {
            match model.view {
                $(View::$view => $module::inspector(ui, model, &mut states.$module, commands),)+
            }
        }

        /// Whether the view in front has something to say beside it.
        pub(crate) fn has_inspector(model: &Model, states: &States) -> bool {
            match model.view {
                $(View::$view => $module::has_inspector(model, &states.$module),)+
            }
        }
    };
}

views! {
    Board = board,
    Traces = traces,
    Trace = trace,
    Breakers = breakers,
    Policies = policies,
    Forecasts = forecasts,
    Incidents = incidents,
    Logs = logs,
    Metrics = metrics,
    Fleet = fleet,
    Audit = audit,
    Gallery = gallery,
}
