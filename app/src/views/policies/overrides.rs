//! What operators hold by hand for a time: who, why, how long still, which instances have it, and how to end it.

use std::time::Duration;

use egui::{Rect, Role, Sense, Stroke, StrokeKind, Ui, UiBuilder, WidgetInfo, pos2, vec2};
use fuseboard_api::UnixNanos;
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::change::{Change, OverrideAction, Selector};
use fuseboard_api::command::Action;
use fuseboard_api::identity::Deed;

use crate::command::{Command, Commands, end_all_overrides};
use crate::model::Model;
use crate::views::{clock, mode_word, names, progress};
use crate::widgets::button::{Button, Kind};
use crate::widgets::{Tone, banner, format, pill, rule, space, text, tokens};

/// What this tab keeps.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether "end all" was pressed once.
    ending_all: bool,
    /// The chosen override.
    chosen: Option<u64>,
}

/// What is left below which a countdown is loud.
const SOON: Duration = Duration::from_secs(60);
/// Height of a card of an override in force.
const CARD: f32 = 92.0;

/// Paints the list: those in force, then those that ended in the range shown.
pub(super) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let Some(changes) = model.slots.changes.get() else {
        banner::empty(ui, "Asking for the overrides…", "The picture comes with the first answer.", |_| {});
        return;
    };
    let held: Vec<&Change> = model.overrides().collect();
    let ended: Vec<&Change> = changes.overrides.iter().filter(|c| !held.iter().any(|h| h.id == c.id)).collect();
    if held.is_empty() && ended.is_empty() {
        banner::empty(
            ui,
            "No override",
            "Every edge follows its policy. Force a breaker open or closed under Breakers; it is listed here with its countdown until it ends.",
            |_| {},
        );
        return;
    }
    let now = clock::instant(model);
    clock::repaint(ui, model, held.iter().filter_map(|c| c.expires));
    head(ui, model, state, commands, held.len());
    egui::ScrollArea::vertical().id_salt("overrides").auto_shrink(false).show_viewport(ui, |ui, view| {
        ui.set_max_width((ui.available_width() - 10.0).min(980.0));
        let rows = held.len() as f32 * (CARD + 10.0);
        let origin = ui.cursor().min;
        let width = ui.available_width();
        ui.allocate_space(vec2(width, rows));
        for (i, change) in held.iter().enumerate() {
            let top = i as f32 * (CARD + 10.0);
            if top + CARD < view.top() || top > view.bottom() {
                continue;
            }
            let rect = Rect::from_min_size(origin + vec2(0.0, top), vec2(width, CARD));
            card(ui, rect, model, state, commands, change, now);
        }
        if !ended.is_empty() {
            ui.add_space(space::NEAR);
            text::section(ui, "Ended in the range shown");
            for change in ended {
                over(ui, model, change);
            }
        }
    });
}

fn head(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands, held: usize) {
    ui.set_max_width(ui.available_width().min(970.0));
    text::row(
        ui,
        30.0,
        |ui| {
            let words = match held {
                0 => "Nothing is held by hand".to_owned(),
                n => format!("{} in force; each ends by itself, also without the collector", plural(n)),
            };
            text::styled(ui, words, text::body_font(), tokens(ui).text_soft);
        },
        |ui| {
            if held == 0 {
                return;
            }
            let words = if state.ending_all { format!("End {} now", plural(held)) } else { "End all…".to_owned() };
            let kind = if state.ending_all { Kind::Danger } else { Kind::Quiet };
            let response = Button::new(&words).kind(kind).barred(model.barred(Deed::Override)).show(ui);
            if response.clicked() {
                if state.ending_all {
                    commands.push(end_all_overrides());
                }
                state.ending_all = !state.ending_all;
            } else if state.ending_all && response.clicked_elsewhere() {
                state.ending_all = false;
            }
        },
    );
    ui.add_space(space::NEAR);
}

fn plural(n: usize) -> String {
    format::plural(n as u64, "override")
}

/// What an override does, and how loud that is.
fn does(action: &OverrideAction) -> (String, Tone) {
    match action {
        OverrideAction::Mode(mode) => {
            let tone = match mode {
                BreakerMode::ForcedOpen => Tone::Failed,
                BreakerMode::ForcedClosed | BreakerMode::Disabled => Tone::AtRisk,
                BreakerMode::Shadow | BreakerMode::Auto => Tone::Neutral,
            };
            (mode_word(*mode).to_owned(), tone)
        }
        OverrideAction::Timeout { attempt_ms, overall_ms } => {
            let said = |name: &str, ms: &Option<u64>| ms.map(|ms| format!("{name} {} ms", format::count(ms)));
            let parts: Vec<String> =
                said("attempt", attempt_ms).into_iter().chain(said("overall", overall_ms)).collect();
            (format!("timeout {}", parts.join(", ")), Tone::Accent)
        }
        OverrideAction::Fault(fault) => {
            let mut parts = Vec::new();
            if fault.abort_ratio > 0.0 {
                parts.push(format!("{} fail with {}", format::percent(fault.abort_ratio), fault.abort_code));
            }
            if fault.delay_ratio > 0.0 && fault.delay_ms > 0 {
                parts.push(format!("{} wait {} ms", format::percent(fault.delay_ratio), format::count(fault.delay_ms)));
            }
            (format!("fault: {}", parts.join(", ")), Tone::Failed)
        }
    }
}

/// Where it acts: `gateway → users Users/Get on gateway-2`.
fn place(selector: &Selector) -> String {
    let caller = selector.caller.as_deref().unwrap_or("every caller");
    let callee = selector.service.as_deref().unwrap_or("every callee");
    let operation = selector.operation.as_deref().map(|o| format!(" {}", names::short_operation(o)));
    let instance = selector.instance.as_deref().map(|i| format!(" on {i}"));
    format!("{caller} → {callee}{}{}", operation.unwrap_or_default(), instance.unwrap_or_default())
}

fn card(
    ui: &mut Ui,
    rect: Rect,
    model: &Model,
    state: &mut State,
    commands: &mut Commands,
    change: &Change,
    now: UnixNanos,
) {
    let t = tokens(ui);
    let (what, tone) =
        change.override_spec.as_ref().map_or((change.summary.clone(), Tone::Accent), |s| does(&s.action));
    let whither = change.override_spec.as_ref().map_or(String::new(), |s| place(&s.selector));
    let id = egui::Id::unique(("override", change.id));
    let response = ui.interact(rect, id, Sense::click());
    let left = change.expires.map(|e| e.since(now)).unwrap_or_default();
    let chosen = state.chosen == Some(change.id);
    response.widget_info(|| {
        let name = format!("override {whither} {what} by {}, {} left", change.actor, format::countdown(left));
        WidgetInfo::selected(Role::ListItem, true, chosen, name)
    });
    let line = if chosen { Stroke::new(1.5, t.accent) } else { Stroke::new(1.0, t.edge(tone)) };
    ui.painter().rect(rect, space::RADIUS_CARD, t.panel, line, StrokeKind::Inside);
    crate::widgets::focus_ring(ui, &response, space::RADIUS_CARD);
    elapsed(ui, rect, change, now, if left < SOON { Tone::AtRisk } else { tone });
    let inside = rect.shrink2(vec2(14.0, 10.0));
    ui.scope_builder(UiBuilder::new().max_rect(inside), |ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        text::row(
            ui,
            24.0,
            |ui| {
                text::styled(ui, &whither, text::medium(13.0), t.text).on_hover_text(&whither);
                pill::pill(ui, &what, tone);
            },
            |ui| {
                let color = if left < SOON { t.at_risk } else { t.text };
                let words = if left.is_zero() { "ending".to_owned() } else { format::countdown(left) };
                text::styled(ui, words, text::mono_medium(15.0), color);
            },
        );
        text::styled(ui, format!("{} · {}", change.actor, change.reason), text::secondary_font(), t.text_soft)
            .on_hover_text(&change.reason);
        text::row(
            ui,
            26.0,
            |ui| {
                super::apply::said(ui, &progress::of_change(change));
            },
            |ui| deeds(ui, model, commands, change, &format!("{whither} {what}")),
        );
    });
    if response.clicked() {
        state.chosen = if chosen { None } else { Some(change.id) };
    }
}

/// How much of its time is over, along the card's lower edge.
fn elapsed(ui: &Ui, rect: Rect, change: &Change, now: UnixNanos, tone: Tone) {
    let t = tokens(ui);
    let Some(end) = change.expires else { return };
    let whole = end.since(change.at).as_secs_f64();
    let left = if whole > 0.0 { (end.since(now).as_secs_f64() / whole).clamp(0.0, 1.0) as f32 } else { 0.0 };
    let from = pos2(rect.left() + 14.0, rect.bottom() - 4.0);
    let bar = Rect::from_min_size(from, vec2(rect.width() - 28.0, 2.0));
    ui.painter().rect_filled(bar, 1, t.pressed);
    let color = if tone == Tone::Neutral { t.label } else { t.tone(tone) };
    ui.painter().rect_filled(bar.with_max_x(bar.left() + bar.width() * left), 1, color);
}

fn deeds(ui: &mut Ui, model: &Model, commands: &mut Commands, change: &Change, name: &str) {
    ui.spacing_mut().item_spacing.x = 6.0;
    let end = Button::new("End").small().barred(model.barred(Deed::Override)).show(ui);
    if end.accessible_name(format!("End {name}")).clicked() {
        let action = Action::EndOverride { id: change.id };
        commands.push(Command::Act { action, reason: format!("{name} ended by hand"), undo: None });
    }
}

/// One that is over: when, what, why, how it ended.
fn over(ui: &mut Ui, model: &Model, change: &Change) {
    let t = tokens(ui);
    let (what, _) = change.override_spec.as_ref().map_or((change.summary.clone(), Tone::Neutral), |s| does(&s.action));
    let whither = change.override_spec.as_ref().map_or(String::new(), |s| place(&s.selector));
    let ended = change.ended.or(change.expires).map_or_else(String::new, |at| model.zone.time(at));
    text::row(
        ui,
        26.0,
        |ui| {
            text::styled(ui, ended, text::mono_font(11.0), t.label);
            text::styled(ui, format!("{whither} {what}"), text::body_font(), t.text_soft);
        },
        |ui| {
            let how = progress::of_change(change).sentence();
            text::styled(ui, format!("{how} · {}: {}", change.actor, change.reason), text::secondary_font(), t.label);
        },
    );
}

fn chosen<'a>(model: &'a Model, state: &State) -> Option<&'a Change> {
    let id = state.chosen?;
    model.slots.changes.get()?.overrides.iter().find(|c| c.id == id)
}

/// Whether there is something for the inspector to say.
pub(super) fn has_inspector(model: &Model, state: &State) -> bool {
    chosen(model, state).is_some()
}

/// Paints what stands beside it: instance by instance, who has it.
pub(super) fn inspector(ui: &mut Ui, model: &Model, state: &mut State) {
    let Some(change) = chosen(model, state) else { return };
    let t = tokens(ui);
    text::inspector_title(ui, &format!("Override {}", change.id));
    text::body(ui, change.summary.as_str());
    ui.add_space(space::NEAR);
    text::pair(ui, "by", &change.actor);
    text::pair(ui, "why", &change.reason);
    text::pair(ui, "since", &model.zone.date_time(change.at));
    if let Some(end) = change.expires {
        text::pair(ui, "until", &model.zone.date_time(end));
    }
    rule(ui);
    text::section_with(ui, "Instances", |ui| {
        text::secondary(ui, format!("{} of {} have it", change.applied, change.targeted));
    });
    for (instance, words, tone) in progress::by_instance(change, model.slots.fleet.get()) {
        text::row(
            ui,
            24.0,
            |ui| {
                pill::dot(ui, tone, &words);
                text::mono(ui, instance);
            },
            |ui| {
                ui.set_max_width(ui.available_width() * 0.6);
                text::styled(ui, &words, text::secondary_font(), t.tone(tone)).on_hover_text(&words);
            },
        );
    }
}
