//! The incidents view: what was recorded and what might be, each told in order, with suspects, replay and export.

mod detail;
mod suspects;
mod tell;

use std::time::Duration;

use egui::{Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};
use fuseboard_api::UnixNanos;
use fuseboard_api::command::Action;
use fuseboard_api::identity::Deed;
use fuseboard_api::incident::{Incident, Incidents};

use crate::command::{Command, Commands};
use crate::model::{Model, PendingState};
use crate::views::halves::halves;
use crate::views::progress;
use crate::widgets::button::{Button, Kind};
use crate::widgets::{self, Tone, banner, field, format, pill, space, text, tokens};

/// What this view keeps between two frames.
#[derive(Debug)]
pub(crate) struct State {
    /// The chosen candidate, by when it began; recorded ones are chosen in the model.
    candidate: Option<UnixNanos>,
    /// The name for the next recording.
    name: String,
    /// How many minutes ago the next recording begins.
    minutes: f64,
    /// The name as it is being edited: (incident, name).
    rename: Option<(u64, String)>,
    /// Where an incident is written to.
    path: String,
    /// A candidate that is being recorded and has ended: the recording (name, from) is stopped there once it is listed.
    closing: Option<Closing>,
}

/// A recording that is to be stopped where its candidate ended.
#[derive(Debug, Clone)]
struct Closing {
    action: Action,
    name: String,
    from: UnixNanos,
    to: UnixNanos,
}

impl Default for State {
    fn default() -> Self {
        Self { candidate: None, name: String::new(), minutes: 5.0, rename: None, path: String::new(), closing: None }
    }
}

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    close_recorded_candidate(model, state, commands);
    widgets::view(ui, |ui| {
        let slot = &model.slots.incidents;
        let aside = slot.get().map(summary).unwrap_or_default();
        widgets::view_head(ui, "Incidents", &aside, |_| {});
        let Some(all) = slot.get() else {
            match slot.error.as_deref() {
                None => banner::empty(ui, "Asking for incidents…", "The picture comes with the first answer.", |_| {}),
                Some(why) => banner::empty(ui, "No answer about incidents", why, |_| {}),
            }
            return;
        };
        if let Some(file) = &all.file {
            let words = format!(
                "Incident file “{}” · {} to {} · written {} by Fuseboard {}",
                file.name,
                model.zone.date_time(file.range.from),
                model.zone.time(file.range.to),
                model.zone.date_time(file.written),
                file.version
            );
            if banner::banner(ui, Tone::Accent, &words, Some("Replay")) {
                replay(commands, file.range);
            }
        }
        if model.can(Deed::Incident) {
            record(ui, model, state, commands);
        }
        if all.incidents.is_empty() && all.candidates.is_empty() {
            banner::empty(
                ui,
                "Nothing recorded yet",
                "The last minutes are always kept: when something breaks, record it from a few minutes ago and share one file. \
                 Stretches with trips or anomalies are proposed here by themselves.",
                |ui| {
                    if widgets::button::button(ui, "Open an incident file").clicked() {
                        commands.push(Command::ChooseFile);
                    }
                },
            );
            return;
        }
        let (mut left, mut right) = halves(ui, 300.0);
        list(&mut left, model, state, commands, all);
        if let Some(incident) = chosen(model, state, all) {
            detail::show(&mut right, model, state, commands, incident);
        }
    });
}

/// Paints what stands beside it.
pub(crate) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let Some(incident) = model.slots.incidents.get().and_then(|all| chosen(model, state, all)) else { return };
    suspects::show(ui, model, state, commands, incident);
}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(model: &Model, state: &State) -> bool {
    // In a narrow window the suspects stand under the story instead.
    !model.narrow && model.slots.incidents.get().is_some_and(|all| chosen(model, state, all).is_some())
}

fn summary(all: &Incidents) -> String {
    let mut out = format!("{} recorded", all.incidents.len());
    if !all.candidates.is_empty() {
        out.push_str(&format!(" · {}", format::plural(all.candidates.len() as u64, "candidate")));
    }
    out
}

/// The chosen one: candidate before incident, else the newest incident, else the newest candidate.
fn chosen<'a>(model: &Model, state: &State, all: &'a Incidents) -> Option<&'a Incident> {
    let candidate = state.candidate.and_then(|from| all.candidates.iter().find(|c| c.from == from));
    let recorded = model.selection.incident.and_then(|id| all.incidents.iter().find(|i| i.id == id));
    candidate.or(recorded).or_else(|| all.incidents.first()).or_else(|| all.candidates.first())
}

/// Plays a range from its beginning, round and round.
fn replay(commands: &mut Commands, range: fuseboard_api::TimeRange) {
    commands.push(Command::OpenIncident(range));
    commands.push(Command::Lap(true));
    commands.push(Command::Play);
}

fn record(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    if let Some(now) = model.recording() {
        let length = format::duration(model.time.position().since(now.from));
        let words = format!("Recording “{}” for {length}, since {}", now.name, model.zone.time(now.from));
        if banner::banner(ui, Tone::Failed, &words, Some("Stop recording")) {
            let action = Action::StopIncident { id: now.id, to: None };
            commands.push(Command::Act { action, reason: "recording stopped".to_owned(), undo: None });
        }
        return;
    }
    ui.horizontal(|ui| {
        let width = (ui.available_width() - 330.0).clamp(120.0, 320.0);
        field::text_field_sized(ui, "Name of the incident", "name of the incident", &mut state.name, width);
        text::secondary(ui, "from");
        let drag =
            egui::DragValue::new(&mut state.minutes).range(0.0..=720.0).speed(0.2).max_decimals(0).suffix(" min ago");
        ui.add(drag).accessible_name("Minutes ago");
        if Button::new("Record").kind(Kind::Primary).show(ui).clicked() {
            let now = model.time.edge.max(model.time.position());
            let from = now - Duration::from_secs_f64(state.minutes * 60.0);
            let name = match state.name.trim() {
                "" => format!("Incident of {}", model.zone.date_time(from)),
                name => name.to_owned(),
            };
            let action = Action::StartIncident { name: name.clone(), from };
            commands.push(Command::Act { action, reason: format!("recording {name}"), undo: None });
            state.name.clear();
        }
    });
    ui.add_space(space::NEAR);
}

/// Records a candidate; one that has ended is stopped at its end once the recording has an id.
fn record_candidate(state: &mut State, commands: &mut Commands, candidate: &Incident) {
    let action = Action::StartIncident { name: candidate.name.clone(), from: candidate.from };
    let (name, from) = (candidate.name.clone(), candidate.from);
    state.closing = candidate.to.map(|to| Closing { action: action.clone(), name, from, to });
    commands.push(Command::Act { action, reason: format!("recording {}", candidate.name), undo: None });
}

fn close_recorded_candidate(model: &Model, state: &mut State, commands: &mut Commands) {
    let Some(closing) = &state.closing else { return };
    let pending = progress::newest(&model.pending, |a| *a == closing.action);
    if pending.is_some_and(|p| matches!(p.state, PendingState::Refused(_))) {
        state.closing = None;
        return;
    }
    let begun = model.recording().filter(|i| i.name == closing.name && i.from == closing.from);
    if let Some(id) = begun.map(|i| i.id) {
        let action = Action::StopIncident { id, to: Some(closing.to) };
        commands.push(Command::Act { action, reason: "the candidate's end".to_owned(), undo: None });
        commands.push(Command::SelectIncident(Some(id)));
        state.candidate = None;
        state.closing = None;
    }
}

const ROW: f32 = 62.0;

fn list(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, all: &Incidents) {
    let now = model.time.position();
    let here = chosen(model, state, all).map(|i| (i.id, i.from));
    egui::ScrollArea::vertical().id_salt("incidents").auto_shrink(false).show(ui, |ui| {
        for (head, list) in [("Recorded", &all.incidents), ("Candidates", &all.candidates)] {
            if list.is_empty() {
                continue;
            }
            text::section(ui, head);
            ui.add_space(4.0);
            for incident in list {
                if row(ui, model, incident, now, here == Some((incident.id, incident.from))) {
                    state.rename = None;
                    if incident.id == 0 {
                        state.candidate = Some(incident.from);
                    } else {
                        state.candidate = None;
                        commands.push(Command::SelectIncident(Some(incident.id)));
                    }
                }
            }
            ui.add_space(12.0);
        }
    });
}

fn row(ui: &mut Ui, model: &Model, incident: &Incident, now: UnixNanos, chosen: bool) -> bool {
    let t = tokens(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width() - 6.0, ROW), Sense::click());
    let figures = tell::figures(incident, now);
    let kind = if incident.id == 0 { "candidate" } else { "incident" };
    response.widget_info(|| {
        WidgetInfo::selected(Role::ListItem, true, chosen, format!("{kind} {}, {figures}", incident.name))
    });
    if chosen || response.hovered() {
        ui.painter().rect_filled(rect, space::RADIUS, if chosen { t.pressed } else { t.panel });
    }
    if chosen {
        ui.painter().rect_filled(Rect::from_min_size(rect.min + vec2(0.0, 10.0), vec2(2.0, ROW - 20.0)), 1, t.accent);
    }
    let tone = if incident.to.is_none() {
        Tone::Failed
    } else if incident.id == 0 {
        Tone::Probing
    } else {
        Tone::Neutral
    };
    pill::paint_dot(ui.painter(), pos2(rect.left() + 15.0, rect.top() + 15.0), tone, t);
    let left = rect.left() + 28.0;
    let room = rect.right() - left - 8.0;
    let at = |y| pos2(left, rect.top() + y);
    text::paint(ui.painter(), at(15.0), egui::Align2::LEFT_CENTER, &incident.name, text::medium(12.5), t.text, room);
    let when = match incident.to {
        Some(_) => model.zone.date_time(incident.from),
        None if incident.id == 0 => format!("{} · goes on", model.zone.date_time(incident.from)),
        None => format!("{} · recording", model.zone.date_time(incident.from)),
    };
    text::paint(ui.painter(), at(32.0), egui::Align2::LEFT_CENTER, when, text::mono_font(10.5), t.text_soft, room);
    text::paint(ui.painter(), at(48.0), egui::Align2::LEFT_CENTER, figures, text::label_font(), t.label, room);
    widgets::focus_ring(ui, &response, space::RADIUS);
    response.on_hover_text(&incident.name).clicked()
}
