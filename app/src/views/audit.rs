//! The audit view: who did what, when, why, and whether the chain of hashes holds.

use egui::Ui;
use fuseboard_api::fleet::{Audit, AuditEntry};

use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::button::{Button, Kind};
use crate::widgets::card::Card;
use crate::widgets::table::{Column, Table};
use crate::widgets::{self, Tone, banner, button, field, format, pill, rule, space, text, tokens};

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    text: String,
    /// Sequence of the chosen entry.
    chosen: Option<u64>,
}

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    widgets::view(ui, |ui| {
        let slot = &model.slots.audit;
        let aside = match slot.get().map_or(0, |a| a.entries.len()) {
            0 => String::new(),
            1 => "1 entry".to_owned(),
            n => format!("{} entries", format::count(n as u64)),
        };
        widgets::view_head(ui, "Audit", &aside, |ui| {
            if let Some(audit) = slot.get().filter(|a| !a.entries.is_empty()) {
                chain(ui, model, audit, commands);
            }
        });
        if let Some(n) = slot.get().and_then(|a| a.broken_at) {
            broken(ui, n, state);
        }
        let width = ui.available_width().min(420.0);
        if field::text_field_sized(ui, "Text in the audit", "actor, action, target, reason", &mut state.text, width)
            .changed()
        {
            commands.push(Command::FilterAudit(Some(state.text.trim().to_owned()).filter(|t| !t.is_empty())));
        }
        ui.add_space(space::NEAR);
        let Some(audit) = slot.get() else {
            match slot.error.as_deref() {
                None => banner::empty(ui, "Asking for the audit…", "The picture comes with the first answer.", |_| {}),
                Some(why) => banner::empty(ui, "No answer about the audit", why, |_| {}),
            }
            return;
        };
        if slot.stale || slot.error.is_some() {
            banner::stale(ui, slot.error.as_deref());
        }
        if audit.entries.is_empty() {
            empty(ui, model, state, commands);
        } else {
            table(ui, model, state, &audit.entries);
        }
    });
}

/// Whether the chain holds, up to which entry, and the hash that is worth keeping elsewhere.
fn chain(ui: &mut Ui, model: &Model, audit: &Audit, commands: &mut Commands) {
    if let Some(n) = audit.broken_at {
        pill::status(ui, &format!("chain broken at {n}"), Tone::Failed);
        return;
    }
    // A filter may leave the newest entry out.
    let newest = audit.entries.first().filter(|_| model.filters.audit.is_none());
    let words = match newest {
        Some(entry) => format!("chain verified up to {}", format::count(entry.sequence)),
        None => "chain verified".to_owned(),
    };
    pill::status(ui, &words, Tone::Well)
        .on_hover_text("Every entry carries a hash over itself and the one before; all of them fit.");
    if let Some(entry) = newest.filter(|_| ui.available_width() > 240.0) {
        let short: String = entry.hash.chars().take(16).collect();
        text::styled(ui, format!("head {short}…"), text::mono_font(11.0), tokens(ui).text_soft)
            .on_hover_text(&entry.hash);
        let copy = button::link(ui, "Copy").accessible_name("Copy the head's hash");
        let hint = "Keep it elsewhere: only that shows a chain that was written anew as a whole.";
        if copy.on_hover_text(hint).clicked() {
            commands.push(Command::Copy(entry.hash.clone(), format!("hash of audit entry {}", entry.sequence)));
        }
    }
}

/// A chain that does not hold is the one thing to see here.
fn broken(ui: &mut Ui, n: u64, state: &mut State) {
    let t = tokens(ui);
    Card::new().tone(Tone::Failed).tinted().show(ui, |ui| {
        text::row(
            ui,
            28.0,
            |ui| {
                pill::dot(ui, Tone::Failed, "broken");
                let head = format!("The audit cannot be trusted from entry {n} on");
                text::styled(ui, head, text::semibold(14.0), t.failed);
            },
            |ui| {
                if Button::new(&format!("Show entry {n}")).kind(Kind::Danger).show(ui).clicked() {
                    state.chosen = Some(n);
                }
            },
        );
        text::body(
            ui,
            "Its hash does not fit the entry before it: something was changed, removed or inserted after it was written.",
        );
        text::note(ui, "Copy the data file before anything else is written, and compare with a hash kept elsewhere.");
    });
    ui.add_space(space::NEAR);
}

/// Paints what stands beside it.
pub(crate) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let Some(entry) = chosen(model, state) else { return };
    text::inspector_title(ui, &entry.action);
    text::mono_soft(ui, format!("{} · {} · {}", entry.sequence, model.zone.date_time(entry.at), entry.actor));
    ui.add_space(12.0);
    for (name, words) in [("On", &entry.target), ("Why", &entry.reason)] {
        if !words.is_empty() {
            text::label(ui, name);
            text::body(ui, words.as_str());
            ui.add_space(space::NEAR);
        }
    }
    ui.horizontal(|ui| {
        if button::link(ui, "Show this instant").clicked() {
            commands.push(Command::Seek(entry.at));
        }
        if button::link(ui, "Copy as JSON").clicked()
            && let Ok(json) = serde_json::to_string_pretty(entry)
        {
            commands.push(Command::Copy(json, format!("audit entry {}", entry.sequence)));
        }
    });
    if !entry.detail.is_empty() {
        rule(ui);
        text::section(ui, "With what effect");
        ui.add_space(4.0);
        detail(ui, &entry.detail);
    }
    rule(ui);
    text::label(ui, "Hash over this entry and the one before");
    text::wrapped(ui, &entry.hash, text::mono_font(10.5), tokens(ui).text_soft);
}

/// A sentence, or a diff with its signs in colour.
fn detail(ui: &mut Ui, words: &str) {
    let t = tokens(ui);
    let is_diff = words.lines().any(|l| l.starts_with("+ ") || l.starts_with("- "));
    if !is_diff {
        text::body(ui, words);
        return;
    }
    ui.spacing_mut().item_spacing.y = 1.0;
    for line in words.lines() {
        let color = match line.chars().next() {
            Some('+') => t.well,
            Some('-') => t.failed,
            _ => t.text_soft,
        };
        text::styled(ui, line, text::mono_font(11.0), color).on_hover_text(line);
    }
}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(model: &Model, state: &State) -> bool {
    chosen(model, state).is_some()
}

fn chosen<'a>(model: &'a Model, state: &State) -> Option<&'a AuditEntry> {
    let sequence = state.chosen?;
    model.slots.audit.get()?.entries.iter().find(|e| e.sequence == sequence)
}

fn empty(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    if model.filters.audit.is_some() {
        banner::empty(ui, "No entry matches", "Nothing in the audit contains this text.", |ui| {
            if button::button(ui, "Clear the filter").clicked() {
                state.text.clear();
                commands.push(Command::FilterAudit(None));
            }
        });
    } else {
        banner::empty(
            ui,
            "Nothing has been changed yet",
            "Every revision, override, refusal and expiry is written here, with its author and reason.",
            |_| {},
        );
    }
}

/// The colour of an action: what refuses or fails stands out.
fn tone(action: &str) -> Tone {
    if action.contains("refused") || action.contains("failed") || action.contains("reverted") {
        Tone::Failed
    } else if action.starts_with("override") {
        Tone::Accent
    } else {
        Tone::Neutral
    }
}

fn table(ui: &mut Ui, model: &Model, state: &mut State, entries: &[AuditEntry]) {
    let columns = [
        Column::figures("no.", 44.0),
        Column::words("when", 140.0),
        Column::words("who", 150.0),
        Column::words("what", 128.0),
        Column::words("on", 180.0),
        Column::words("why", 0.0),
    ];
    let here = entries.iter().position(|e| Some(e.sequence) == state.chosen);
    let touched = Table::new("audit", &columns, entries.len()).chosen(here).show(
        ui,
        |i| entries.get(i).map_or_else(String::new, |e| format!("{} {} {}: {}", e.actor, e.action, e.target, e.reason)),
        |ui, i, column| {
            let Some(e) = entries.get(i) else { return };
            let t = tokens(ui);
            match column {
                0 => text::mono_soft(ui, e.sequence.to_string()),
                1 => text::mono_soft(ui, model.zone.date_time(e.at)),
                2 => text::styled(ui, &e.actor, text::body_font(), t.text),
                3 => {
                    let color = if tone(&e.action) == Tone::Neutral { t.text } else { t.tone(tone(&e.action)) };
                    text::styled(ui, &e.action, text::mono_font(11.0), color)
                }
                4 => text::styled(ui, &e.target, text::body_font(), t.text).on_hover_text(&e.target),
                _ if e.reason.is_empty() => {
                    text::styled(ui, &e.detail, text::secondary_font(), t.label).on_hover_text(&e.detail)
                }
                _ => text::styled(ui, &e.reason, text::body_font(), t.text_soft).on_hover_text(&e.reason),
            };
        },
    );
    if let Some(e) = touched.chosen.and_then(|i| entries.get(i)) {
        state.chosen = Some(e.sequence);
    }
}
