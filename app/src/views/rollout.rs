//! A staged change on its way: its stages as a track, who has it, what its guards saw, and the hand on the brake. The
//! policies view shows all of it as a card, the board one line of it.

mod guards;
mod track;
pub(crate) mod words;

use std::time::Duration;

use egui::Ui;
use fuseboard_api::UnixNanos;
use fuseboard_api::change::Change;
use fuseboard_api::command::Action;
use fuseboard_api::identity::Deed;
use fuseboard_api::rollout::{Rollout, RolloutState};

use crate::command::{Command, Commands};
use crate::model::{Model, PolicyTab};
use crate::views::clock;
use crate::widgets::button::{Button, Kind};
use crate::widgets::card::Card;
use crate::widgets::{Tone, banner, button, format, pill, space, text, tokens};

/// So long a rollout that ended badly keeps its line on the board.
const REMEMBERED: Duration = Duration::from_secs(600);

/// A revision with its rollout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// The revision's change.
    pub(crate) change: &'a Change,
    /// Its rollout.
    pub(crate) rollout: &'a Rollout,
}

/// The rollout that is under way, else the one that ended last.
pub(crate) fn newest(model: &Model) -> Option<Shown<'_>> {
    let all = model.slots.changes.get()?.revisions.iter();
    let shown = all.filter_map(|change| change.rollout.as_ref().map(|rollout| Shown { change, rollout }));
    shown.max_by_key(|s| (!s.rollout.state.is_over(), s.rollout.revision))
}

/// What a state looks like.
pub(crate) fn tone(state: RolloutState) -> Tone {
    match state {
        RolloutState::Baking => Tone::Accent,
        RolloutState::Holding | RolloutState::Paused => Tone::AtRisk,
        RolloutState::Confirming => Tone::Probing,
        RolloutState::Done => Tone::Well,
        RolloutState::Reverted | RolloutState::Lapsed => Tone::Failed,
        RolloutState::Aborted => Tone::Neutral,
    }
}

/// One line for views that are about something else: while a rollout runs, and some minutes after it was taken back.
pub(crate) fn strip(ui: &mut Ui, model: &Model, commands: &mut Commands) {
    let now = clock::instant(model);
    let Some(shown) = newest(model).filter(|s| is_news(s.rollout, now)) else { return };
    let rollout = shown.rollout;
    let t = tokens(ui);
    let frame = egui::Frame::new()
        .fill(t.tint(tone(rollout.state)))
        .stroke(egui::Stroke::new(1.0, t.edge(tone(rollout.state))))
        .corner_radius(8)
        .inner_margin(egui::Margin { left: 12, right: 6, top: 4, bottom: 4 });
    frame.show(ui, |ui| {
        text::row(
            ui,
            26.0,
            |ui| {
                pill::dot(ui, tone(rollout.state), words::state(rollout.state));
                let width = (ui.available_width() * 0.28).min(260.0);
                if width > 120.0 && rollout.delivery.stages.len() > 1 {
                    track::small(ui, rollout, now, width);
                }
                let line = words::line(rollout, now);
                text::styled(ui, &line, text::body_font(), t.text).on_hover_text(line);
            },
            |ui| {
                ui.spacing_mut().item_spacing.x = 6.0;
                if Button::new("Details").small().show(ui).clicked() {
                    commands.push(Command::ShowPolicies(PolicyTab::Rollout));
                }
                controls(ui, model, rollout, commands, true);
            },
        );
    });
    ui.add_space(space::NEAR);
    repaint(ui, model, rollout);
}

fn is_news(rollout: &Rollout, now: UnixNanos) -> bool {
    let bad = matches!(rollout.state, RolloutState::Reverted | RolloutState::Lapsed);
    !rollout.state.is_over() || (bad && now.since(rollout.since) < REMEMBERED)
}

fn repaint(ui: &Ui, model: &Model, rollout: &Rollout) {
    let confirm = rollout.confirm_by.filter(|_| rollout.confirmed.is_none() && !rollout.state.is_over());
    clock::repaint(ui, model, rollout.next_at.into_iter().chain(confirm));
}

/// Everything about the newest rollout.
pub(crate) fn card(ui: &mut Ui, model: &Model, commands: &mut Commands) {
    let Some(shown) = newest(model) else {
        banner::empty(
            ui,
            "No staged change",
            "A change that is published in stages is followed here: who has it, what its guards see, and how to stop it.",
            |_| {},
        );
        return;
    };
    let (now, rollout) = (clock::instant(model), shown.rollout);
    egui::ScrollArea::vertical().id_salt("rollout").auto_shrink(false).show(ui, |ui| {
        ui.set_max_width((ui.available_width() - 10.0).min(980.0));
        head(ui, model, shown, commands);
        why(ui, rollout);
        if rollout.confirm_by.is_some() && rollout.confirmed.is_none() && !rollout.state.is_over() {
            confirm(ui, model, rollout, now, commands);
        }
        if !rollout.delivery.stages.is_empty() {
            Card::new().show(ui, |ui| {
                text::section_with(ui, "Stages", |ui| {
                    text::secondary(ui, words::next(rollout, now));
                });
                track::large(ui, rollout, now);
            });
            ui.add_space(12.0);
        }
        ui.scope(|ui| {
            let wide = ui.available_width() > 760.0 && !rollout.delivery.stages.is_empty();
            if wide {
                ui.columns(2, |columns| {
                    if let [left, right] = columns {
                        Card::new().show(left, |ui| guards::show(ui, rollout));
                        Card::new().show(right, |ui| track::instances(ui, rollout));
                    }
                });
            } else {
                if !rollout.delivery.stages.is_empty() {
                    Card::new().show(ui, |ui| guards::show(ui, rollout));
                    ui.add_space(12.0);
                }
                Card::new().show(ui, |ui| track::instances(ui, rollout));
            }
        });
    });
    repaint(ui, model, rollout);
}

fn head(ui: &mut Ui, model: &Model, shown: Shown<'_>, commands: &mut Commands) {
    let (change, rollout) = (shown.change, shown.rollout);
    text::row(
        ui,
        30.0,
        |ui| {
            text::inspector_title(ui, &format!("r{} over r{}", rollout.revision, rollout.base));
            pill::status(ui, words::state(rollout.state), tone(rollout.state));
        },
        |ui| {
            ui.spacing_mut().item_spacing.x = 6.0;
            controls(ui, model, rollout, commands, false);
        },
    );
    text::note(ui, format!("{} · {} · {}", model.zone.date_time(change.at), change.actor, change.reason));
    if !change.summary.is_empty() {
        text::styled(ui, &change.summary, text::mono_font(11.5), tokens(ui).text).on_hover_text(&change.summary);
    }
    ui.add_space(space::NEAR);
}

/// Why it stands where it stands; loud when it was taken back.
fn why(ui: &mut Ui, rollout: &Rollout) {
    let bad = matches!(rollout.state, RolloutState::Reverted | RolloutState::Lapsed);
    if bad {
        Card::new().tone(Tone::Failed).tinted().show(ui, |ui| {
            let head = format!("r{} was taken back: everyone has r{} again", rollout.revision, rollout.base);
            text::styled(ui, head, text::semibold(13.0), tokens(ui).text);
            text::body(ui, &rollout.why);
        });
        ui.add_space(12.0);
    } else if !rollout.why.is_empty() {
        text::wrapped(ui, &rollout.why, text::body_font(), tokens(ui).tone(tone(rollout.state)));
        ui.add_space(space::NEAR);
    }
    if rollout.waived && !rollout.state.is_over() {
        let words = "Promoted by force: guards look on, but no longer take it back.";
        text::wrapped(ui, words, text::secondary_font(), tokens(ui).at_risk);
        ui.add_space(space::NEAR);
    }
}

/// The clock that runs against the change, and the one button that stops it.
fn confirm(ui: &mut Ui, model: &Model, rollout: &Rollout, now: UnixNanos, commands: &mut Commands) {
    let t = tokens(ui);
    let left = rollout.confirm_by.map(|by| by.since(now)).unwrap_or_default();
    let tone = if left < Duration::from_secs(60) { Tone::Failed } else { Tone::Probing };
    Card::new().tone(tone).tinted().show(ui, |ui| {
        text::row(
            ui,
            52.0,
            |ui| {
                text::styled(ui, format::countdown(left), text::mono_medium(26.0), t.tone(tone));
                ui.add_space(8.0);
                ui.vertical(|ui| {
                    ui.spacing_mut().item_spacing.y = 2.0;
                    ui.add_space(8.0);
                    text::styled(ui, "left to confirm", text::medium(12.5), t.text);
                    let words = format!("Then every agent goes back to r{} by itself.", rollout.base);
                    text::styled(ui, &words, text::secondary_font(), t.text_soft).on_hover_text(words);
                });
            },
            |ui| {
                let words = format!("Confirm r{}", rollout.revision);
                let response = Button::new(&words).kind(Kind::Primary).barred(model.barred(Deed::Policy)).show(ui);
                if response.clicked() {
                    act(commands, Action::ConfirmRevision { revision: rollout.revision }, "confirmed in the console");
                }
            },
        );
    });
    ui.add_space(12.0);
}

/// Pause, go on, next stage, take back; from right to left. `short` leaves out what needs a second look.
fn controls(ui: &mut Ui, model: &Model, rollout: &Rollout, commands: &mut Commands, short: bool) {
    if rollout.state.is_over() {
        return;
    }
    let revision = rollout.revision;
    let barred = model.barred(Deed::Policy);
    let abort = Button::new("Abort").kind(Kind::Ongoing).small_if(short).barred(barred.clone()).show(ui);
    let abort = abort.accessible_name("Abort the rollout");
    if abort.on_hover_text(format!("Give everyone r{} again, now", rollout.base)).clicked() {
        act(commands, Action::AbortRollout { revision }, "aborted by hand");
    }
    let paused = rollout.state == RolloutState::Paused;
    if rollout.state != RolloutState::Confirming {
        let (words, hint) = if paused {
            ("Resume", "The time of this stage begins anew")
        } else {
            ("Pause", "Nobody else is given it; guards go on watching")
        };
        let response = Button::new(words).small_if(short).barred(barred.clone()).show(ui);
        if response.accessible_name(format!("{words} the rollout")).on_hover_text(hint).clicked() {
            let action = if paused { Action::ResumeRollout { revision } } else { Action::PauseRollout { revision } };
            act(commands, action, if paused { "resumed by hand" } else { "paused by hand" });
        }
        if !short {
            let last = rollout.stage as usize + 1 >= rollout.delivery.stages.len();
            let words = if last { "Finish now" } else { "Next stage now" };
            let next = Button::new(words).barred(barred.clone()).show(ui);
            if next.on_hover_text("Without waiting for the time or the calls of this one").clicked() {
                act(commands, Action::PromoteRollout { revision, force: false }, "promoted by hand");
            }
        }
    }
    if short && rollout.confirm_by.is_some() && rollout.confirmed.is_none() {
        let confirm = Button::new("Confirm").kind(Kind::Primary).small().barred(barred).show(ui);
        let confirm = confirm.accessible_name(format!("Confirm r{revision}"));
        if confirm.clicked() {
            act(commands, Action::ConfirmRevision { revision }, "confirmed in the console");
        }
    }
}

fn act(commands: &mut Commands, action: Action, reason: &str) {
    commands.push(Command::Act { action, reason: reason.to_owned(), undo: None });
}

/// A link to the card, where a change is only named.
pub(crate) fn link(ui: &mut Ui, commands: &mut Commands) {
    if button::link(ui, "Follow the rollout").clicked() {
        commands.push(Command::ShowPolicies(PolicyTab::Rollout));
    }
}
