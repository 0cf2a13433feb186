//! Beside the edge: the pending edit as a diff, why, and the button that says whom it reaches.

use egui::Ui;
use fuseboard_api::change::Change;
use fuseboard_api::command::Action;
use fuseboard_api::graph::Severity;
use fuseboard_api::identity::Deed;
use fuseboard_api::policy::Policies;

use super::draft::{Changed, Draft, Scope};
use super::{Sent, State};
use super::{delivery, fields};
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::views::progress::{self, Progress};
use crate::views::{names, rollout};
use crate::widgets::button::{Button, Kind};
use crate::widgets::card::Card;
use crate::widgets::{Tone, button, field, format, pill, rule, space, text, tokens};

/// Paints the panel.
pub(super) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, policies: &Policies) {
    match state.draft.take() {
        Some(draft) => pending(ui, model, state, commands, policies, draft),
        None => in_force(ui, model, policies),
    }
    last_sent(ui, model, state, commands, policies);
}

fn in_force(ui: &mut Ui, model: &Model, policies: &Policies) {
    let r = &policies.revision;
    text::inspector_title(ui, &format!("r{} is in force", r.number));
    if r.number == 0 {
        text::note(ui, "No policy has been set: calls run without timeouts, retries and breakers of ours.");
    } else {
        text::note(ui, format!("{} · {}", model.zone.date_time(r.at), r.actor));
        ui.add_space(4.0);
        text::body(ui, if r.reason.is_empty() { "No reason was given.".to_owned() } else { r.reason.clone() });
        if let Some(change) = model.slots.changes.get().and_then(|c| c.revisions.iter().find(|c| c.id == r.number)) {
            said(ui, &progress::of_change(change));
            troubled(ui, model, change);
        }
    }
    ui.add_space(12.0);
    let words = model.barred(Deed::Policy).unwrap_or_else(|| {
        "Move the thumb or write into a field: the change is shown here before anything is sent.".to_owned()
    });
    text::note(ui, words);
}

/// Instances that have not got a change, by name and with what they say; the first few.
fn troubled(ui: &mut Ui, model: &Model, change: &Change) {
    const SHOWN: usize = 6;
    let list = progress::by_instance(change, model.slots.fleet.get());
    let bad: Vec<_> = list.into_iter().filter(|(_, _, tone)| *tone != Tone::Well).collect();
    if bad.is_empty() || !progress::of_change(change).is_unsettled() {
        return;
    }
    let t = tokens(ui);
    ui.add_space(4.0);
    for (instance, words, tone) in bad.iter().take(SHOWN) {
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 6.0;
            pill::dot(ui, *tone, words);
            text::mono(ui, instance);
            text::styled(ui, words, text::secondary_font(), t.tone(*tone)).on_hover_text(words);
        });
    }
    if bad.len() > SHOWN {
        text::note(ui, format!("and {} more; Fleet shows them all", bad.len() - SHOWN));
    }
}

fn pending(
    ui: &mut Ui,
    model: &Model,
    state: &mut State,
    commands: &mut Commands,
    policies: &Policies,
    mut draft: Draft,
) {
    let Some(edge) = policies.edges.iter().find(|e| e.key == draft.key) else {
        text::note(ui, "The edge of this edit is not seen any more.");
        return;
    };
    let values = fields::flatten(&edge.settings);
    let changes = draft.changes(&values);
    text::inspector_title(ui, "Pending edit");
    text::styled(ui, names::full_name(&draft.key), text::mono_font(11.5), tokens(ui).text_soft);
    text::note(ui, format!("on r{} · signed {}", draft.base, model.who));
    ui.add_space(12.0);
    match &changes {
        Ok(list) => diff(ui, &mut draft, list),
        Err(why) => {
            text::wrapped(ui, why, text::body_font(), tokens(ui).failed);
        }
    }
    stale(ui, policies, &mut draft);
    scope(ui, policies, &mut draft);
    if let Some(rule) = changes.as_ref().ok().and_then(|c| draft.shadowed_by(edge, c)) {
        let words = if rule.starts_with("override") {
            format!("{rule} is in force on this setting: the edit acts when it ends.")
        } else {
            format!("The rule {rule} sets this more specifically: the edit would not act on this edge.")
        };
        text::wrapped(ui, words, text::secondary_font(), tokens(ui).at_risk);
        ui.add_space(12.0);
    }
    delivery::show(ui, &mut state.plan, &draft.reach(policies).services);
    field::labelled(ui, "Reason", |ui| {
        field::text_field(ui, "Reason", "why, for the audit", &mut draft.reason);
    });
    let missing = match &changes {
        Err(why) => Some(why.clone()),
        Ok(list) if list.is_empty() => Some("Nothing is changed yet.".to_owned()),
        Ok(_) if draft.reason.trim().is_empty() => Some("Say why: the reason is written to the audit.".to_owned()),
        Ok(_) => None,
    };
    let barred = model.barred(Deed::Policy).or(missing).or_else(|| state.plan.trouble());
    let mut keep = true;
    ui.horizontal(|ui| {
        keep = !Button::new("Discard").show(ui).clicked();
        let words = draft.button(policies, state.plan.is_staged());
        let apply = Button::new(&words).kind(Kind::Primary).wide().barred(barred.clone()).show(ui);
        if let (true, Ok(list)) = (apply.clicked(), &changes) {
            let reason = draft.reason.trim().to_owned();
            let action = draft.action(list, &values, state.plan.delivery());
            let base = policies.revision.number;
            commands.push(Command::Act {
                action: action.clone(),
                reason: reason.clone(),
                undo: Some(Action::rollback(base)),
            });
            state.sent = Some(Sent { action, reason, base, draft: Some(draft.clone()) });
            keep = false;
        }
    });
    if let Some(why) = barred.filter(|_| keep && changes.is_ok()) {
        text::label(ui, why);
    }
    if keep {
        state.draft = (!draft.is_empty()).then_some(draft);
    }
}

fn diff(ui: &mut Ui, draft: &mut Draft, list: &[Changed]) {
    let t = tokens(ui);
    let mut dropped = None;
    for change in list {
        text::row(
            ui,
            24.0,
            |ui| {
                text::styled(ui, change.field.label, text::body_font(), t.text_soft);
                text::styled(ui, change.sentence(), text::mono_medium(12.0), t.text);
            },
            |ui| {
                let name = format!("Drop the change of {}", change.field.label);
                if button::link(ui, "drop").accessible_name(name).clicked() {
                    dropped = Some(change.field.path);
                }
            },
        );
    }
    ui.add_space(6.0);
    Card::new().show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        for (sign, line) in draft.toml_lines(list) {
            let color = match sign {
                '+' => t.well,
                '-' => t.failed,
                _ => t.text_soft,
            };
            text::styled(ui, format!("{sign} {line}"), text::mono_font(11.0), color).on_hover_text(line);
        }
    });
    if let Some(path) = dropped {
        draft.typed.remove(path);
    }
    ui.add_space(12.0);
}

/// Somebody published a revision since the edit began.
fn stale(ui: &mut Ui, policies: &Policies, draft: &mut Draft) {
    let now = &policies.revision;
    if draft.base == now.number {
        return;
    }
    let t = tokens(ui);
    Card::new().tone(Tone::AtRisk).tinted().show(ui, |ui| {
        let words = format!("r{} was published by {} since you began at r{}.", now.number, now.actor, draft.base);
        text::wrapped(ui, words, text::medium(12.0), t.text);
        text::note(ui, "Sent as it is, it is joined with that, unless both touch the same setting.");
        if button::link(ui, &format!("Go on from r{}", now.number)).clicked() {
            draft.base = now.number;
        }
    });
    ui.add_space(12.0);
}

fn scope(ui: &mut Ui, policies: &Policies, draft: &mut Draft) {
    field::labelled(ui, "For", |ui| {
        let words: Vec<(Scope, String)> = Scope::ALL.iter().map(|s| (*s, s.label(&draft.key))).collect();
        let fits = words.iter().map(|(_, w)| text::width(ui, w, text::medium(12.0)) + 28.0).sum::<f32>()
            <= ui.available_width();
        if fits {
            let options: Vec<(Scope, &str)> = words.iter().map(|(s, w)| (*s, w.as_str())).collect();
            button::segmented(ui, "For", &mut draft.scope, &options);
        } else {
            let chosen = draft.scope.label(&draft.key);
            let shown = egui::ComboBox::from_id_salt("scope").width(ui.available_width() - 8.0).selected_text(&chosen);
            let response = shown.show_ui(ui, |ui| {
                for (scope, words) in &words {
                    ui.selectable_value(&mut draft.scope, *scope, words);
                }
            });
            response.response.accessible_name(format!("For: {chosen}"));
        }
        let reach = draft.reach(policies);
        text::wrapped(ui, reach.sentence(), text::mono_font(11.5), tokens(ui).text)
            .on_hover_text("what the change acts on, by the calls of the range shown");
        if reach.unsteered > 0 {
            let edges = format::plural(reach.unsteered as u64, "edge");
            text::wrapped(
                ui,
                format!("{edges} without an agent: not reached."),
                text::secondary_font(),
                tokens(ui).at_risk,
            );
        }
        if reach.instances() == 0 {
            text::wrapped(
                ui,
                "No caller is connected: it takes effect when one is.",
                text::secondary_font(),
                tokens(ui).at_risk,
            );
        }
    });
}

/// How far the edit that was sent last has come.
fn last_sent(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, policies: &Policies) {
    let Some(sent) = &state.sent else { return };
    let Some(progress) = sent.progress(model) else { return };
    rule(ui);
    text::section(ui, "Sent last");
    ui.add_space(4.0);
    text::note(ui, sent.reason.as_str());
    said(ui, &progress);
    if matches!(progress, Progress::Rolling { .. } | Progress::Reverted(_)) {
        rollout::link(ui, commands);
    }
    if let (Progress::NotAccepted(_), Some(draft)) = (&progress, &sent.draft) {
        ui.add_space(space::NEAR);
        let words = format!("Edit again from r{}", policies.revision.number);
        if button::button(ui, &words).clicked() {
            state.draft = Some(Draft { base: policies.revision.number, ..draft.clone() });
            state.sent = None;
        }
    }
}

/// A progress in its colour, with a mark that says the same.
pub(super) fn said(ui: &mut Ui, progress: &Progress) {
    let t = tokens(ui);
    let (mark, tone) = match progress.severity() {
        _ if progress.on_its_way() => ("… ", Tone::Accent),
        Some(Severity::Failed) => ("× ", Tone::Failed),
        Some(Severity::AtRisk) => ("… ", Tone::AtRisk),
        Some(Severity::Well) => ("● ", Tone::Well),
        None => ("", Tone::Neutral),
    };
    text::wrapped(ui, format!("{mark}{}", progress.sentence()), text::secondary_font(), t.tone(tone));
}
