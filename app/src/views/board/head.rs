//! The lines over and under the graph: what is shown, against what it is compared, how it is looked at.

use std::time::Duration;

use egui::{Rect, Ui};

use super::merge::Grouping;
use super::scene::Scene;
use super::{Shown, State};
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::button::{Button, Kind, segmented, toggle};
use crate::widgets::{field, format, space, text, view_head};

/// How long before comparisons can lie.
const BEFORE: [(u64, &str); 5] = [(60, "−1 min"), (300, "−5 min"), (1800, "−30 min"), (3600, "−1 h"), (86_400, "−1 d")];

/// The line over the graph.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let range = model.time.counted();
    let aside = match model.time.chosen {
        Some(_) => format!("{} – {}", model.zone.time(range.from), model.zone.time(range.to)),
        None => format!("last {}", format::duration(range.length())),
    };
    let width = ui.available_width();
    view_head(ui, "Board", &aside, |ui| {
        groupings(ui, state);
        if width > 800.0 {
            ui.add_space(space::NEAR);
            comparison(ui, model, state, commands);
            ui.add_space(space::NEAR);
            filter(ui, state);
        }
    });
    if width <= 800.0 {
        ui.horizontal(|ui| {
            comparison(ui, model, state, commands);
            filter(ui, state);
        });
        ui.add_space(space::NEAR);
    }
}

fn groupings(ui: &mut Ui, state: &mut State) {
    let options =
        [(Grouping::Services, "Services"), (Grouping::Operations, "Operations"), (Grouping::Instances, "Instances")];
    segmented(ui, "Group by", &mut state.grouping, &options);
}

fn comparison(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    if toggle(ui, "only what changed", &mut state.only_changed)
        && state.only_changed
        && model.filters.board_before.is_none()
    {
        commands.push(Command::CompareBoard(Some(Duration::from_secs(3600))));
    }
    let now = model.filters.board_before.map(|d| d.as_secs());
    let words = BEFORE.iter().find(|(s, _)| Some(*s) == now).map(|(_, w)| *w);
    let label = words.map_or_else(|| "compare".to_owned(), |w| format!("compare {w}"));
    let kind = if now.is_some() { Kind::Chosen } else { Kind::Quiet };
    let response = Button::new(&label).kind(kind).show(ui).on_hover_text("beside an earlier range of the same length");
    egui::Popup::menu(&response).show(|ui| {
        for (seconds, words) in BEFORE {
            if ui.selectable_label(now == Some(seconds), words).clicked() {
                commands.push(Command::CompareBoard(Some(Duration::from_secs(seconds))));
            }
        }
        if ui.selectable_label(now.is_none(), "not at all").clicked() {
            commands.push(Command::CompareBoard(None));
            state.only_changed = false;
        }
    });
    let before = &model.slots.board_before;
    if now.is_some() && before.get().is_some_and(|b| b.edges.is_empty()) {
        text::secondary(ui, "nothing recorded then");
    }
}

fn filter(ui: &mut Ui, state: &mut State) {
    let width = ui.available_width().clamp(90.0, 220.0);
    field::text_field_sized(ui, "Filter services and operations", "filter", &mut state.text, width);
}

/// The line under the graph.
pub(crate) fn foot(ui: &mut Ui, model: &Model, state: &mut State, scene: &Scene, canvas: Rect) {
    let hidden = if scene.hidden > 0 {
        format!(" · {} hidden", format::plural(scene.hidden as u64, "edge"))
    } else {
        String::new()
    };
    let words = format!(
        "{} · {}{hidden}",
        format::plural(scene.merged.boxes.len() as u64, "node"),
        format::plural(scene.merged.links.len() as u64, "link")
    );
    let chosen = model.selection.edge.is_some() || model.selection.service.is_some();
    text::row(
        ui,
        22.0,
        |ui| {
            text::secondary(ui, words);
            ui.add_space(8.0);
            let table = match state.shown {
                Shown::Graph => "G  table beside",
                Shown::Both => "G  table only",
                Shown::Table => "G  graph",
            };
            if ui.available_width() > 90.0 && crate::widgets::button::link(ui, table).clicked() {
                state.shown = if state.shown == Shown::Graph { Shown::Both } else { Shown::Graph };
            }
        },
        |ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            if Button::new("Lay out again").small().show(ui).clicked() {
                state.laid_out += 1;
                state.camera.fits = true;
            }
            let fit = if state.camera.fits { Kind::Chosen } else { Kind::Quiet };
            if Button::new("Fit").small().kind(fit).show(ui).on_hover_text("F: show the whole board").clicked() {
                state.camera.fits = true;
            }
            for (words, factor) in [("+", 1.25), ("−", 0.8)] {
                if Button::new(words).small().show(ui).clicked() {
                    state.camera.zoom_at(canvas.size() / 2.0, factor);
                }
            }
            if chosen && canvas.width() > 560.0 {
                ui.add_space(12.0);
                for (hops, words) in [(2, "2 calls"), (1, "1 call"), (0, "all")] {
                    let kind = if state.hops == hops { Kind::Chosen } else { Kind::Quiet };
                    if Button::new(words).small().kind(kind).show(ui).clicked() {
                        state.hops = hops;
                        state.camera.fits = true;
                    }
                }
                text::secondary(ui, "around the selection:");
            }
        },
    );
}
