//! The forecast view: what is normal on each edge, what comes next and how far to trust it, and what left its band.

mod anomalies;
mod chart;
mod list;
mod rows;

use egui::Ui;
use fuseboard_api::forecast::{Forecast, Forecasts, Quantity};
use fuseboard_api::graph::EdgeKey;

use crate::command::Commands;
use crate::model::Model;
use crate::views::halves::halves;
use crate::widgets::{self, banner, format};

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The chosen quantity; the edge is the one that is chosen everywhere.
    quantity: Option<Quantity>,
    search: String,
    table: bool,
}

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    widgets::view(ui, |ui| {
        let slot = &model.slots.forecasts;
        widgets::view_head(ui, "Forecast", &slot.get().map(summary).unwrap_or_default(), |_| {});
        let Some(all) = slot.get() else {
            match slot.error.as_deref() {
                None => banner::empty(ui, "Asking for forecasts…", "The picture comes with the first answer.", |_| {}),
                Some(why) => banner::empty(ui, "No answer about forecasts", why, |_| {}),
            }
            return;
        };
        if slot.stale || slot.error.is_some() {
            banner::stale(ui, slot.error.as_deref());
        }
        if all.forecasts.is_empty() {
            banner::empty(
                ui,
                "Not enough data yet",
                "A band of what is normal needs a few minutes of calls on an edge; a forecast needs a few more. \
                 Nothing is guessed before that.",
                |_| {},
            );
            return;
        }
        let chosen = chosen(model, state, all);
        let (mut left, mut right) = halves(ui, 330.0);
        list::show(&mut left, model, state, commands, all, chosen);
        if let Some(f) = chosen {
            if model.narrow {
                egui::ScrollArea::vertical().id_salt("forecast detail").auto_shrink(false).show(&mut right, |ui| {
                    chart::show(ui, model, state, commands, f);
                    widgets::rule(ui);
                    anomalies::show(ui, model, state, commands, &all.anomalies);
                });
            } else {
                chart::show(&mut right, model, state, commands, f);
            }
        }
    });
}

/// Paints what stands beside it.
pub(crate) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    if let Some(all) = model.slots.forecasts.get() {
        anomalies::show(ui, model, state, commands, &all.anomalies);
    }
}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(model: &Model, _state: &State) -> bool {
    !model.narrow && model.slots.forecasts.get().is_some_and(|f| !f.forecasts.is_empty() || !f.anomalies.is_empty())
}

fn summary(all: &Forecasts) -> String {
    let (failed, at_risk, _) = rows::tally(&all.forecasts);
    let edges: std::collections::BTreeSet<&EdgeKey> = all.forecasts.iter().map(|f| &f.key).collect();
    let mut out = format::plural(edges.len() as u64, "edge");
    for (n, words) in [(failed, "outside the band"), (at_risk, "at risk")] {
        if n > 0 {
            out.push_str(&format!(" · {n} {words}"));
        }
    }
    out
}

/// The chosen forecast: of the chosen edge and quantity; else the worst one of that edge; else the worst one.
fn chosen<'a>(model: &Model, state: &State, all: &'a Forecasts) -> Option<&'a Forecast> {
    let ordered = rows::by_severity(&all.forecasts);
    let of_edge = |f: &&&Forecast| model.selection.edge.as_ref() == Some(&f.key);
    ordered
        .iter()
        .filter(of_edge)
        .find(|f| state.quantity.is_none_or(|q| q == f.quantity))
        .or_else(|| ordered.iter().find(of_edge))
        .or_else(|| ordered.first())
        .copied()
}
