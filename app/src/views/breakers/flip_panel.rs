//! The flip panel: what will happen in numbers, why, for how long, where; two key presses to flip.

use std::time::Duration;

use egui::{Key, Ui};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::command::Action;
use fuseboard_api::identity::Deed;

use super::flip::{EXPIRIES, Flip, LONGEST_EXPIRY};
use super::switches::{self, Switch};
use super::{impact, recent};
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::views::names;
use crate::widgets::button::{Button, Kind};
use crate::widgets::card::Card;
use crate::widgets::{Tone, button, field, format, rule, space, text, tokens};

/// Paints the panel; sends the flip or drops it.
pub(crate) fn show(ui: &mut Ui, model: &Model, flip: &mut Flip, commands: &mut Commands) {
    let known = switches::one(&super::sources(model), &flip.key);
    let Some(switch) = known.as_ref() else {
        text::inspector_title(ui, flip.title());
        text::note(
            ui,
            "No breaker has been told of on this edge: its caller runs no agent, or its policy has no breaker.",
        );
        ui.add_space(space::NEAR);
        if Button::new("Cancel").show(ui).clicked() {
            commands.push(Command::Close);
        }
        return;
    };
    let overrides =
        model.overrides_of(&flip.key).filter(|c| switches::mode_of(c).is_some()).map(|c| c.id).collect::<Vec<_>>();
    let first = flip.fill(switch, overrides.into_iter());
    let mut focus = if first && flip.confirm { Focus::Confirm } else { Focus::Stay };
    // Enter means "do it" unless it is meant for a button; a text field keeps it only to lose the focus.
    let focused = ui.memory(|m| m.focused());
    let typing = ui.text_edit_focused();
    let on_card = focused.is_none_or(|id| id == super::card::id(switch.key));
    let enter = (typing || on_card) && ui.input_mut(|i| i.consume_key(egui::Modifiers::NONE, Key::Enter));
    if !typing {
        let pressed = |key| ui.input_mut(|i| i.consume_key(egui::Modifiers::NONE, key));
        if pressed(Key::R) {
            focus = Focus::Reason;
        }
        if pressed(Key::T) {
            flip.next_expiry();
        }
    }

    text::inspector_title(ui, flip.title());
    text::styled(ui, names::full_name(switch.key), text::mono_font(11.5), tokens(ui).text_soft);
    ui.add_space(space::NEAR);
    effect(ui, model, flip, switch);
    ui.add_space(16.0);
    reason(ui, flip, focus);
    if !flip.is_ending() {
        expiry(ui, flip);
        place(ui, flip, switch);
    }
    let ready = model.barred(Deed::Override).map_or_else(|| flip.ready(), Err);
    let sent = buttons(ui, flip, &ready, enter);
    match (&sent, &ready) {
        (Pressed::Send, Ok(())) => {
            for action in flip.actions() {
                let undo = undo(&action, switch);
                commands.push(Command::Act { action, reason: flip.reason.trim().to_owned(), undo });
            }
        }
        (Pressed::Cancel, _) => commands.push(Command::Close),
        _ => {}
    }
    rule(ui);
    recent::show(ui, model, commands, switch);
}

/// Where the keyboard should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Focus {
    /// Nowhere.
    Stay,
    /// To the name that has to be typed.
    Confirm,
    /// To the reason.
    Reason,
}

/// Ending an override is undone by setting it again for what it had left.
fn undo(action: &Action, switch: &Switch<'_>) -> Option<Action> {
    let Action::EndOverride { id } = action else { return None };
    let change = switch.change.filter(|c| c.id == *id)?;
    let left = change.expires?.since(switch.lead.reported.max(change.at));
    let spec = change.override_spec.clone()?;
    Some(Action::SetOverride { spec, ttl_ms: u64::try_from(left.as_millis()).ok()? })
}

fn effect(ui: &mut Ui, model: &Model, flip: &mut Flip, switch: &Switch<'_>) {
    let tone = match flip.mode {
        BreakerMode::ForcedOpen => Tone::Failed,
        BreakerMode::ForcedClosed | BreakerMode::Disabled => Tone::AtRisk,
        BreakerMode::Auto | BreakerMode::Shadow => Tone::Neutral,
    };
    let instances = if flip.instance.is_some() { 1 } else { switch.instances.len() };
    let sentences = impact::sentences(switch, flip.mode, instances, model.slots.board.get());
    let t = tokens(ui);
    Card::new().tone(tone).tinted().show(ui, |ui| {
        for (i, sentence) in sentences.iter().enumerate() {
            if i == 0 {
                text::wrapped(ui, sentence, text::medium(12.5), t.text);
            } else {
                text::note(ui, sentence);
            }
        }
        if flip.confirm {
            ui.add_space(space::NEAR);
            let ask = format!("Criticality high: type {} to go on.", flip.key.callee);
            text::wrapped(ui, ask, text::medium(11.5), t.tone(tone));
        }
    });
}

fn reason(ui: &mut Ui, flip: &mut Flip, focus: Focus) {
    if flip.confirm {
        field::labelled(ui, "Name of the service", |ui| {
            let name = format!("Type {} to confirm", flip.key.callee);
            let response = field::text_field(ui, &name, &flip.key.callee, &mut flip.typed);
            if focus == Focus::Confirm {
                response.request_focus();
            }
        });
    }
    field::labelled(ui, "Reason", |ui| {
        let response = field::text_field(ui, "Reason", "why, for the audit", &mut flip.reason);
        if focus == Focus::Reason {
            response.request_focus();
        }
    });
}

fn expiry(ui: &mut Ui, flip: &mut Flip) {
    field::labelled(ui, "Expires in", |ui| {
        let words: Vec<(Duration, String)> = EXPIRIES.iter().map(|e| (*e, format::duration(*e))).collect();
        let options: Vec<(Duration, &str)> = words.iter().map(|(e, w)| (*e, w.as_str())).collect();
        ui.horizontal(|ui| {
            button::segmented(ui, "Expires in", &mut flip.expiry, &options);
            let mut minutes = flip.expiry.as_secs_f64() / 60.0;
            let most = LONGEST_EXPIRY.as_secs_f64() / 60.0;
            let drag = egui::DragValue::new(&mut minutes).range(0.5..=most).speed(0.25).max_decimals(1).suffix(" min");
            if ui.add(drag).accessible_name("Expires in minutes").changed() {
                flip.expiry = Duration::from_secs_f64((minutes * 60.0).round().max(30.0));
            }
        });
    });
}

fn place(ui: &mut Ui, flip: &mut Flip, switch: &Switch<'_>) {
    field::labelled(ui, "Where", |ui| {
        let all = switch.instances.len();
        let chosen = flip.place(all);
        let box_ = egui::ComboBox::from_id_salt("flip-where").width(ui.available_width() - 8.0).selected_text(&chosen);
        let response = box_.show_ui(ui, |ui| {
            let everywhere = Flip::everywhere(&flip.key, all);
            if ui.selectable_label(flip.instance.is_none(), everywhere).clicked() {
                flip.instance = None;
            }
            for b in &switch.instances {
                let here = flip.instance.as_deref() == Some(b.instance.as_str());
                if ui.selectable_label(here, format!("{} only", b.instance)).clicked() {
                    flip.instance = Some(b.instance.clone());
                }
            }
        });
        response.response.accessible_name(format!("Where: {chosen}"));
    });
}

enum Pressed {
    Nothing,
    Cancel,
    Send,
}

fn buttons(ui: &mut Ui, flip: &Flip, ready: &Result<(), String>, enter: bool) -> Pressed {
    let kind = if flip.mode == BreakerMode::ForcedOpen { Kind::Danger } else { Kind::Primary };
    let mut pressed = if enter { Pressed::Send } else { Pressed::Nothing };
    ui.horizontal(|ui| {
        if Button::new("Cancel").show(ui).clicked() {
            pressed = Pressed::Cancel;
        }
        let send = Button::new(&flip.button()).kind(kind).wide().enabled(ready.is_ok()).show(ui);
        if send.clicked() {
            pressed = Pressed::Send;
        }
    });
    let t = tokens(ui);
    match ready {
        // What has to be typed is said in the card above.
        Err(why) if !flip.confirm => text::wrapped(ui, why, text::secondary_font(), t.at_risk),
        _ => text::label(ui, "Enter sends · R reason · T expiry · Esc cancels"),
    };
    pressed
}
