//! The policy document as TOML: read, edited as a whole, imported and exported.

use std::path::PathBuf;

use egui::Ui;
use fuseboard_api::command::Action;
use fuseboard_api::identity::Deed;
use fuseboard_api::policy::Policies;

use super::Sent;
use super::diff::{self, Kind as LineKind, Line};
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::views::progress::Progress;
use crate::widgets::button::{Button, Kind};
use crate::widgets::{banner, button, field, format, rule, space, text, tokens};

/// What the document tab keeps.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The text as it is being edited, and the revision it began from.
    edit: Option<Edit>,
    /// What was sent last.
    sent: Option<Sent>,
    reason: String,
    path: String,
    /// The import that was taken over last, so that it is taken once.
    taken: Option<u64>,
}

impl State {
    /// Whether the document has been edited.
    pub(super) fn is_edited(&self) -> bool {
        self.edit.is_some()
    }
}

#[derive(Debug, Clone)]
struct Edit {
    base: u64,
    text: String,
}

/// Paints the document.
pub(super) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, policies: &Policies) {
    take_import(model, state, policies);
    files(ui, model, state, commands, policies);
    if policies.document.trim().is_empty() && state.edit.is_none() {
        banner::empty(
            ui,
            "No policy document yet",
            "Write one here, or read the TOML file that your team keeps in Git. Rules name a service and an operation; \
             the most specific one wins, setting by setting.",
            |ui| {
                if Button::new("Begin with an example").barred(model.barred(Deed::Policy)).show(ui).clicked() {
                    state.edit = Some(Edit { base: policies.revision.number, text: EXAMPLE.to_owned() });
                }
            },
        );
        return;
    }
    let rows = ((ui.available_height() - 40.0) / 15.0).max(10.0) as usize;
    egui::ScrollArea::both().id_salt("document").auto_shrink(false).show(ui, |ui| match &mut state.edit {
        Some(edit) => {
            field::text_area(ui, "Policy document", &mut edit.text, rows, model.can(Deed::Policy));
        }
        None => {
            let mut text = policies.document.clone();
            let response = field::text_area(ui, "Policy document", &mut text, rows, model.can(Deed::Policy));
            if response.changed() && text != policies.document {
                state.edit = Some(Edit { base: policies.revision.number, text });
            }
        }
    });
}

/// A document to begin with, for those who have none.
const EXAMPLE: &str = "[[edge]]
service = \"*\"
timeout = { attempt_ms = 1000, overall_ms = 3000 }

[edge.retry]
max_attempts = 2
on = [\"unavailable\", \"reset\"]
backoff = { base_ms = 25, max_ms = 250, multiplier = 2.0, jitter = \"full\" }
budget = { ratio = 0.2, min_per_sec = 10, ttl_ms = 10000 }

[edge.breaker]
preset = \"rpc-50\"
";

fn take_import(model: &Model, state: &mut State, policies: &Policies) {
    if let Some(read) = model.text_read.as_ref().filter(|r| state.taken != Some(r.number)) {
        state.taken = Some(read.number);
        if let Ok(text) = &read.text {
            state.edit = Some(Edit { base: policies.revision.number, text: text.clone() });
            state.reason = format!("import of {}", read.path.display());
        }
    }
}

fn files(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, policies: &Policies) {
    ui.horizontal(|ui| {
        let width = (ui.available_width() - 260.0).clamp(120.0, 420.0);
        field::text_field_sized(ui, "Path of a TOML file", "path of a TOML file", &mut state.path, width);
        let path = state.path.trim();
        let named = !path.is_empty();
        if Button::new("Read file").enabled(named).show(ui).clicked() {
            commands.push(Command::ReadText(PathBuf::from(path)));
        }
        if Button::new("Write file").enabled(named).show(ui).clicked() {
            let text = state.edit.as_ref().map_or(&policies.document, |e| &e.text).clone();
            commands.push(Command::WriteText(PathBuf::from(path), text));
        }
    });
    if let Some(read) = &model.text_read
        && let Err(why) = &read.text
    {
        text::wrapped(ui, why, text::secondary_font(), tokens(ui).failed);
    }
    ui.add_space(space::NEAR);
}

/// Paints what stands beside it: the diff, the reason, the button.
pub(super) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, policies: &Policies) {
    let Some(edit) = state.edit.clone() else {
        text::inspector_title(ui, &format!("Document of r{}", policies.revision.number));
        let rules = policies.document.lines().filter(|l| l.trim() == "[[edge]]").count();
        let lines = policies.document.lines().count();
        text::note(ui, format!("{} · {}", format::plural(rules as u64, "rule"), format::plural(lines as u64, "line")));
        ui.add_space(12.0);
        text::note(
            ui,
            "Edit the text: what changed is shown here before it is published. Single settings are easier under Edges.",
        );
        sent(ui, model, state);
        return;
    };
    let lines = diff::lines(&policies.document, &edit.text, 2);
    let (removed, added) = diff::totals(&lines);
    text::inspector_title(ui, "Edited document");
    text::note(ui, format!("{added} added, {removed} removed against r{}", policies.revision.number));
    let trouble = trouble(&edit.text);
    if let Some(why) = &trouble {
        ui.add_space(4.0);
        text::wrapped(ui, why, text::mono_font(11.0), tokens(ui).failed);
    }
    if edit.base != policies.revision.number {
        ui.add_space(4.0);
        let words = format!(
            "r{} was published since you began at r{}: published as it is, this would undo it.",
            policies.revision.number, edit.base
        );
        text::wrapped(ui, words, text::secondary_font(), tokens(ui).at_risk);
        if button::link(ui, "I have looked: go on from there").clicked() {
            state.edit = Some(Edit { base: policies.revision.number, ..edit.clone() });
        }
    }
    ui.add_space(space::NEAR);
    egui::ScrollArea::vertical().id_salt("document diff").max_height(320.0).auto_shrink([false, true]).show(ui, |ui| {
        show_diff(ui, &lines);
    });
    ui.add_space(12.0);
    field::labelled(ui, "Reason", |ui| field::text_field(ui, "Reason", "why, for the audit", &mut state.reason));
    let reason = state.reason.trim().to_owned();
    ui.horizontal(|ui| {
        if Button::new("Discard").show(ui).clicked() {
            state.edit = None;
        }
        let ready = trouble.is_none() && (removed + added) > 0 && !reason.is_empty();
        let words = format!("Publish as r{}", policies.revision.number + 1);
        if Button::new(&words)
            .kind(Kind::Primary)
            .wide()
            .enabled(ready)
            .barred(model.barred(Deed::Policy))
            .show(ui)
            .clicked()
        {
            let action = Action::set_policy(edit.base, edit.text.as_str());
            let base = policies.revision.number;
            commands.push(Command::Act {
                action: action.clone(),
                reason: reason.clone(),
                undo: Some(Action::rollback(base)),
            });
            state.sent = Some(Sent { action, reason: reason.clone(), base, draft: None });
        }
    });
    if reason.is_empty() {
        text::label(ui, "A reason is needed: it is written to the audit.");
    }
    sent(ui, model, state);
}

/// How far the document that was sent last has come; once published, the edit is over.
fn sent(ui: &mut Ui, model: &Model, state: &mut State) {
    let Some(sent) = &state.sent else { return };
    let Some(progress) = sent.progress(model) else { return };
    rule(ui);
    super::apply::said(ui, &progress);
    if !matches!(progress, Progress::NotAccepted(_) | Progress::Sending)
        && let Action::SetPolicy { document, .. } = &sent.action
        && state.edit.as_ref().is_some_and(|e| e.text == *document)
    {
        state.edit = None;
        state.reason.clear();
    }
}

/// What the TOML parser has to say, before the collector is asked.
fn trouble(document: &str) -> Option<String> {
    toml::from_str::<toml::Table>(document).err().map(|e| e.to_string().trim_end().to_owned())
}

/// Lines of a diff with their signs.
pub(super) fn show_diff(ui: &mut Ui, lines: &[Line]) {
    let t = tokens(ui);
    ui.spacing_mut().item_spacing.y = 1.0;
    for line in lines {
        let (sign, tone) = match line.kind {
            LineKind::Same => (' ', t.text_soft),
            LineKind::Removed => ('-', t.failed),
            LineKind::Added => ('+', t.well),
            LineKind::Folded(n) => {
                text::label(ui, format!("… {} the same", format::plural(n as u64, "line")));
                continue;
            }
        };
        text::styled(ui, format!("{sign} {}", line.text), text::mono_font(11.0), tone).on_hover_text(&line.text);
    }
}
