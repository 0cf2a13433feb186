//! Revisions: who made them and why, what any two differ in, and the way back.

use egui::Ui;
use fuseboard_api::command::Action;
use fuseboard_api::identity::Deed;
use fuseboard_api::policy::{Policies, Revision};

use super::{Sent, diff, document};
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::views::progress;
use crate::widgets::button::Button;
use crate::widgets::table::{Column, Table};
use crate::widgets::{banner, field, rule, space, text, tokens};

/// What the history tab keeps.
#[derive(Debug, Default)]
pub(super) struct State {
    reason: String,
    sent: Option<Sent>,
}

/// Paints the revisions.
pub(super) fn show(ui: &mut Ui, model: &Model, _state: &mut State, commands: &mut Commands, policies: &Policies) {
    let history = &policies.history;
    if history.is_empty() {
        banner::empty(ui, "No revisions yet", "The first one is made when a policy is applied.", |_| {});
        return;
    }
    let columns = [
        Column::words("revision", 76.0),
        Column::words("when", 148.0),
        Column::words("who", 110.0),
        Column::words("applied", 150.0),
        Column::words("reason", 0.0),
    ];
    let here = chosen(model, policies).and_then(|r| history.iter().position(|h| h.number == r.number));
    let touched = Table::new("revisions", &columns, history.len()).chosen(here).show(
        ui,
        |i| history.get(i).map_or_else(String::new, |r| format!("revision {} by {}: {}", r.number, r.actor, r.reason)),
        |ui, i, c| {
            if let Some(r) = history.get(i) {
                cell(ui, model, policies, r, c);
            }
        },
    );
    if let Some(r) = touched.chosen.and_then(|i| history.get(i)) {
        commands.push(Command::SelectRevision(Some(r.number)));
        commands.push(Command::CompareRevision(before(history, r)));
    }
}

fn cell(ui: &mut Ui, model: &Model, policies: &Policies, r: &Revision, column: usize) {
    let t = tokens(ui);
    match column {
        0 => {
            let now = r.number == policies.revision.number;
            let color = if now { t.accent } else { t.text };
            let words = if now { format!("r{} now", r.number) } else { format!("r{}", r.number) };
            text::styled(ui, words, text::mono_medium(11.5), color)
        }
        1 => text::mono_soft(ui, model.zone.date_time(r.at)),
        2 => text::styled(ui, &r.actor, text::body_font(), t.text),
        3 => {
            let change = model.slots.changes.get().and_then(|c| c.revisions.iter().find(|c| c.id == r.number));
            let words = change.map_or_else(|| "–".to_owned(), |c| progress::of_change(c).sentence());
            let tone = change.and_then(|c| progress::of_change(c).severity()).map_or_else(Default::default, Into::into);
            text::styled(ui, &words, text::secondary_font(), t.tone(tone)).on_hover_text(words)
        }
        _ => {
            let words = match r.restores {
                Some(old) => format!("back to r{old}: {}", r.reason),
                None => r.reason.clone(),
            };
            text::styled(ui, &words, text::body_font(), t.text).on_hover_text(words)
        }
    };
}

fn chosen<'a>(model: &Model, policies: &'a Policies) -> Option<&'a Revision> {
    let number = model.selection.revision?;
    policies.history.iter().find(|r| r.number == number)
}

/// The revision that a revision is first compared with: the one it was made from.
fn before(history: &[Revision], r: &Revision) -> Option<u64> {
    history
        .iter()
        .find(|h| h.number == r.base)
        .or_else(|| history.iter().find(|h| h.number < r.number))
        .map(|h| h.number)
}

/// Paints what stands beside it: the diff of two revisions, and the way back.
pub(super) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, policies: &Policies) {
    let Some(r) = chosen(model, policies) else {
        text::inspector_title(ui, "Revisions");
        text::note(ui, "Choose one to see what it changed, and to go back to it.");
        return;
    };
    text::inspector_title(ui, &format!("r{}", r.number));
    text::note(ui, format!("{} · {}", model.zone.date_time(r.at), r.actor));
    ui.add_space(4.0);
    text::body(ui, if r.reason.is_empty() { "No reason was given." } else { r.reason.as_str() });
    ui.add_space(12.0);
    compare(ui, model, commands, policies, r);
    if r.number == policies.revision.number {
        return;
    }
    rule(ui);
    text::section(ui, "Go back");
    text::note(ui, "The content becomes a new revision; history stays as it is.");
    ui.add_space(space::NEAR);
    field::labelled(ui, "Reason", |ui| field::text_field(ui, "Reason", "why, for the audit", &mut state.reason));
    let ready = !state.reason.trim().is_empty();
    let words = format!("Roll back to r{} as r{}", r.number, policies.revision.number + 1);
    if Button::new(&words).wide().enabled(ready).barred(model.barred(Deed::Policy)).show(ui).clicked() {
        let action = Action::rollback(r.number);
        let (base, reason) = (policies.revision.number, state.reason.trim().to_owned());
        commands.push(Command::Act {
            action: action.clone(),
            reason: reason.clone(),
            undo: Some(Action::rollback(base)),
        });
        state.sent = Some(Sent { action, reason, base, draft: None });
        state.reason.clear();
    }
    if let Some(progress) = state.sent.as_ref().and_then(|s| s.progress(model)) {
        ui.add_space(space::NEAR);
        super::apply::said(ui, &progress);
    }
}

fn compare(ui: &mut Ui, model: &Model, commands: &mut Commands, policies: &Policies, r: &Revision) {
    let other = model.selection.other_revision;
    text::row(
        ui,
        28.0,
        |ui| text::section(ui, "Compared with"),
        |ui| {
            let chosen = other.map_or_else(|| "nothing".to_owned(), |n| format!("r{n}"));
            let response = egui::ComboBox::from_id_salt("compare").selected_text(&chosen).show_ui(ui, |ui| {
                for h in policies.history.iter().filter(|h| h.number != r.number) {
                    if ui.selectable_label(other == Some(h.number), format!("r{}", h.number)).clicked() {
                        commands.push(Command::CompareRevision(Some(h.number)));
                    }
                }
            });
            response.response.accessible_name(format!("Compared with {chosen}"));
        },
    );
    ui.add_space(4.0);
    let slots = &model.slots;
    if let Some(why) = slots.document.error.as_ref().or(slots.other_document.error.as_ref()) {
        text::wrapped(ui, why, text::secondary_font(), tokens(ui).failed);
        return;
    }
    let (Some(new), old) = (slots.document.get(), slots.other_document.get()) else {
        text::note(ui, "Asking for the documents…");
        return;
    };
    let (Some(new), Some(old)) = (new, old.and_then(Option::as_ref)) else {
        text::note(
            ui,
            if other.is_none() {
                "There is no earlier revision to compare with."
            } else {
                "Asking for the documents…"
            },
        );
        return;
    };
    // The older one is always the left side, so that a plus is always something newer.
    let (from, to) = if other.is_some_and(|o| o > r.number) { (new, old) } else { (old, new) };
    let lines = diff::lines(from, to, 2);
    let (removed, added) = diff::totals(&lines);
    if removed + added == 0 {
        text::note(ui, "No difference.");
        return;
    }
    egui::ScrollArea::vertical().id_salt("revision diff").max_height(360.0).auto_shrink([false, true]).show(ui, |ui| {
        document::show_diff(ui, &lines);
    });
}
