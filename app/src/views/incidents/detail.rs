//! One incident: its figures, what can be done with it, and its story in order.

use egui::{Sense, Stroke, Ui, vec2};
use fuseboard_api::command::Action;
use fuseboard_api::graph::Severity;
use fuseboard_api::identity::Deed;
use fuseboard_api::incident::Incident;

use super::tell::{self, Line};
use super::{State, record_candidate, replay, suspects};
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::button::{Button, Kind};
use crate::widgets::pill::paint_dot;
use crate::widgets::{Tone, button, field, format, space, text, tokens};

/// Paints the incident.
pub(super) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, incident: &Incident) {
    name(ui, model, state, commands, incident);
    let now = model.time.position();
    let when = match incident.to {
        Some(to) => format!("{} to {}", model.zone.date_time(incident.from), model.zone.time(to)),
        None => format!("since {}", model.zone.date_time(incident.from)),
    };
    text::mono_soft(ui, if incident.actor.is_empty() { when } else { format!("{when} · {}", incident.actor) });
    text::secondary(ui, tell::figures(incident, now));
    ui.add_space(12.0);
    ui.horizontal_wrapped(|ui| {
        if Button::new("Replay").kind(Kind::Primary).show(ui).clicked() {
            replay(commands, tell::range(incident, now));
        }
        if Button::new("Show its time").show(ui).clicked() {
            commands.push(Command::OpenIncident(tell::range(incident, now)));
        }
        if incident.id == 0 {
            let free = model.can(Deed::Incident) && model.recording().is_none();
            if Button::new("Record this").enabled(free).show(ui).clicked() {
                record_candidate(state, commands, incident);
            }
        }
        if Button::new("Copy as Markdown").show(ui).clicked() {
            let words = tell::markdown(incident, now, &|t| model.zone.date_time(t), &|t| model.zone.time(t));
            commands.push(Command::Copy(words, "the incident as Markdown".to_owned()));
        }
    });
    ui.add_space(16.0);
    egui::ScrollArea::vertical().id_salt("story").auto_shrink(false).show(ui, |ui| {
        story(ui, model, commands, incident);
        if model.narrow {
            crate::widgets::rule(ui);
            suspects::show(ui, model, state, commands, incident);
        }
    });
}

fn name(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, incident: &Incident) {
    let t = tokens(ui);
    if let Some((_, typed)) = state.rename.as_mut().filter(|(id, _)| *id == incident.id) {
        let mut done = false;
        let mut keep = true;
        ui.horizontal(|ui| {
            let width = (ui.available_width() - 150.0).clamp(120.0, 420.0);
            let response = field::text_field_sized(ui, "New name", "name", typed, width);
            done = response.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
            done |= Button::new("Rename").enabled(!typed.trim().is_empty()).show(ui).clicked();
            keep = !button::link(ui, "cancel").clicked();
        });
        if done && !typed.trim().is_empty() {
            let name = typed.trim().to_owned();
            let undo = Some(Action::RenameIncident { id: incident.id, name: incident.name.clone() });
            let action = Action::RenameIncident { id: incident.id, name };
            commands.push(Command::Act { action, reason: "renamed".to_owned(), undo });
            keep = false;
        }
        if !keep {
            state.rename = None;
        }
        return;
    }
    text::row(
        ui,
        24.0,
        |ui| text::styled(ui, &incident.name, text::inspector_font(), t.text),
        |ui| {
            if incident.id != 0 && model.can(Deed::Incident) && button::link(ui, "rename").clicked() {
                state.rename = Some((incident.id, incident.name.clone()));
            }
        },
    );
}

fn story(ui: &mut Ui, model: &Model, commands: &mut Commands, incident: &Incident) {
    text::section(ui, "What happened");
    ui.add_space(space::NEAR);
    let lines = tell::lines(&incident.story);
    if lines.is_empty() {
        text::note(ui, "No trip, anomaly or change lies inside.");
        return;
    }
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        let last = lines.len() - 1;
        for (i, line) in lines.iter().enumerate() {
            tell_line(ui, model, commands, line, (i == 0, i == last));
        }
    });
}

/// Time, a knot on the thread, the sentence.
fn tell_line(ui: &mut Ui, model: &Model, commands: &mut Commands, line: &Line<'_>, (first, last): (bool, bool)) {
    let t = tokens(ui);
    let mark = line.mark;
    let begun = ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = 10.0;
        let time = model.zone.time(mark.at);
        let name = format!("{time}, {}: show this instant", tell::kind_word(mark.kind));
        let (place, _) = ui.allocate_exact_size(vec2(58.0, 20.0), Sense::hover());
        let mut cell = ui.new_child(egui::UiBuilder::new().max_rect(place).id_salt(("time", mark.at.0, mark.kind)));
        if button::link(&mut cell, &time).accessible_name(name).on_hover_text("Show this instant").clicked() {
            commands.push(Command::Seek(mark.at));
        }
        let (knot, _) = ui.allocate_exact_size(vec2(12.0, 20.0), Sense::hover());
        ui.vertical(|ui| {
            ui.add_space(2.0);
            ui.spacing_mut().item_spacing.y = 1.0;
            let color = if mark.severity == Severity::Failed { t.failed } else { t.text };
            text::wrapped(ui, mark.text.as_str(), text::body_font(), color);
            let mut words = tell::kind_word(mark.kind).to_owned();
            if line.times > 1 {
                words = format!(
                    "{words} · {} times until {}",
                    format::count(line.times as u64),
                    model.zone.time(line.until)
                );
            }
            text::label(ui, words);
            ui.add_space(8.0);
        });
        knot.center()
    });
    let (at, rect) = (begun.inner, begun.response.rect);
    let thread = Stroke::new(1.0, t.line_strong);
    if !first {
        ui.painter().vline(at.x, rect.top()..=at.y - 7.0, thread);
    }
    if !last {
        ui.painter().vline(at.x, at.y + 7.0..=rect.bottom(), thread);
    }
    paint_dot(ui.painter(), at, Tone::from(mark.severity), t);
}
