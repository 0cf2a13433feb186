//! What left its normal band, with the alarms that only repeat it folded under it.

use egui::Ui;
use fuseboard_api::command::Action;
use fuseboard_api::forecast::Anomaly;
use fuseboard_api::identity::Deed;

use super::State;
use super::rows;
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::views::names;
use crate::widgets::{Tone, button, format, pill, rule, text, tokens};

/// Paints the list.
pub(super) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, all: &[Anomaly]) {
    let folds = rows::folded(all);
    text::inspector_title(ui, "Anomalies");
    if folds.is_empty() {
        text::note(ui, "Nothing has left its normal band.");
        return;
    }
    let going_on = folds.iter().filter(|f| f.origin.to.is_none()).count();
    let echoes: usize = folds.iter().map(|f| f.echoes.len()).sum();
    let mut words = format!("{going_on} of {} go on", folds.len());
    if echoes > 0 {
        words.push_str(&format!(" · {} folded", format::plural(echoes as u64, "echo").replace("echos", "echoes")));
    }
    text::note(ui, words);
    for fold in &folds {
        rule(ui);
        one(ui, model, state, commands, fold.origin);
        if !fold.echoes.is_empty() {
            ui.add_space(4.0);
            text::label(ui, "Only echoes of it:");
            for echo in &fold.echoes {
                ui.horizontal(|ui| {
                    ui.add_space(10.0);
                    let words = format!("{} · {}", names::edge_name(&echo.key), rows::quantity(echo.quantity));
                    if button::link(ui, &words).on_hover_text(&echo.sentence).clicked() {
                        choose(state, commands, echo);
                    }
                });
            }
        }
    }
}

fn choose(state: &mut State, commands: &mut Commands, a: &Anomaly) {
    state.quantity = Some(a.quantity);
    commands.push(Command::SelectEdge(Some(a.key.clone())));
}

fn one(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, a: &Anomaly) {
    let t = tokens(ui);
    let tone = Tone::from(a.severity);
    text::row(
        ui,
        22.0,
        |ui| {
            pill::dot(ui, tone, pill_name(tone));
            let words = format!("{} · {}", names::edge_name(&a.key), rows::quantity(a.quantity));
            text::styled(ui, words, text::medium(12.5), t.text);
        },
        |ui| {
            if a.to.is_none() {
                text::styled(ui, "goes on", text::label_font(), t.tone(tone));
            }
        },
    );
    text::note(ui, a.sentence.as_str());
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 14.0;
        let name = names::edge_name(&a.key);
        if button::link(ui, &model.zone.time(a.from)).on_hover_text("Show this instant").clicked() {
            commands.push(Command::Seek(a.from));
        }
        if button::link(ui, "Show").accessible_name(format!("Show the forecast of {name}")).clicked() {
            choose(state, commands, a);
        }
        if model.can(Deed::Incident) && model.recording().is_none() {
            let words = format!("Make an incident of {name} {}", rows::quantity(a.quantity));
            if button::link(ui, "Make an incident").accessible_name(words).clicked() {
                let action =
                    Action::StartIncident { name: format!("{name}: {}", rows::quantity(a.quantity)), from: a.from };
                commands.push(Command::Act { action, reason: a.sentence.clone(), undo: None });
            }
        }
    });
}

fn pill_name(tone: Tone) -> &'static str {
    match tone {
        Tone::Failed => "failed",
        Tone::AtRisk => "at risk",
        _ => "well",
    }
}
