//! Beside the story: what may have caused it, and the file that others can open.

use std::path::PathBuf;

use egui::{CornerRadius, Rect, Sense, Ui, vec2};
use fuseboard_api::incident::Incident;

use super::{State, tell};
use crate::command::{Command, Commands};
use crate::model::{Model, View};
use crate::views::names;
use crate::widgets::button::Button;
use crate::widgets::{button, field, format, rule, text, tokens};

/// Paints the panel.
pub(super) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, incident: &Incident) {
    text::inspector_title(ui, "Suspects");
    if incident.suspects.is_empty() {
        text::note(ui, "Nothing stands out yet: no edge changed enough to be suspected.");
    }
    for (i, suspect) in incident.suspects.iter().enumerate() {
        let t = tokens(ui);
        ui.add_space(if i == 0 { 8.0 } else { 14.0 });
        text::row(
            ui,
            20.0,
            |ui| {
                text::styled(ui, format!("{}.", i + 1), text::mono_font(11.5), t.label);
                let name = names::edge_name(&suspect.key);
                if button::link(ui, &name).on_hover_text(suspect.key.to_string()).clicked() {
                    commands.push(Command::SelectEdge(Some(suspect.key.clone())));
                    commands.push(Command::Go(View::Board));
                }
            },
            |ui| {
                text::mono(ui, format::percent(suspect.score));
                let (rect, _) = ui.allocate_exact_size(vec2(72.0, 6.0), Sense::hover());
                let radius = CornerRadius::same(3);
                ui.painter().rect_filled(rect, radius, t.raised);
                let width = rect.width() * suspect.score.clamp(0.0, 1.0) as f32;
                ui.painter().rect_filled(Rect::from_min_size(rect.min, vec2(width, rect.height())), radius, t.at_risk);
            },
        );
        text::note(ui, suspect.evidence.as_str());
    }
    if incident.id != 0 {
        rule(ui);
        export(ui, model, state, commands, incident);
    }
}

fn export(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, incident: &Incident) {
    text::section(ui, "Share it");
    text::note(
        ui,
        format!(
            "One file with its {}, policies, operator actions and forecasts.",
            format::plural(incident.spans, "span")
        ),
    );
    ui.add_space(8.0);
    let proposed = tell::file_name(incident, &model.zone.date_time(incident.from));
    field::labelled(ui, "Path", |ui| field::text_field(ui, "Path of the incident file", &proposed, &mut state.path));
    ui.horizontal(|ui| {
        if Button::new("Write file").show(ui).clicked() {
            let path = match state.path.trim() {
                "" => PathBuf::from(&proposed),
                typed => PathBuf::from(typed),
            };
            commands.push(Command::ExportIncidentTo(incident.id, path));
        }
        if Button::new("Choose…").show(ui).clicked() {
            commands.push(Command::ExportIncident(incident.id));
        }
    });
}
