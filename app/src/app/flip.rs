//! What stands between a hand and a forced breaker: the consequence in numbers, a reason, an expiry, and where it matters
//! the name typed.

use egui::{Key, Margin, Stroke};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::change::{OverrideAction, OverrideSpec, Selector};
use fuseboard_api::command::Action;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::stats::Stats;
use fuseboard_policy::settings::Criticality;

use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::button::{Button, Kind, segmented};
use crate::widgets::{Tone, field, format, text, tokens};

/// A flip that waits for its reason.
#[derive(Debug, Clone)]
pub(super) struct Flip {
    edge: EdgeKey,
    instance: Option<String>,
    mode: BreakerMode,
    reason: String,
    minutes: u64,
    typed: String,
    shown: bool,
}

impl Flip {
    /// With a default reason and expiry, so that Enter is enough.
    pub(super) fn new(edge: EdgeKey, instance: Option<String>, mode: BreakerMode) -> Self {
        let reason = format!("{} by hand", mode_words(mode));
        Self { edge, instance, mode, reason, minutes: 5, typed: String::new(), shown: false }
    }

    fn action(&self) -> Action {
        let selector = Selector {
            caller: Some(self.edge.caller.clone()),
            service: Some(self.edge.callee.clone()),
            operation: Some(self.edge.operation.clone()),
            instance: self.instance.clone(),
        };
        let spec = OverrideSpec { selector, action: OverrideAction::Mode(self.mode) };
        Action::SetOverride { spec, ttl_ms: self.minutes * 60_000 }
    }
}

/// A mode in words.
pub(super) fn mode_words(mode: BreakerMode) -> &'static str {
    match mode {
        BreakerMode::Auto => "auto",
        BreakerMode::ForcedOpen => "forced open",
        BreakerMode::ForcedClosed => "forced closed",
        BreakerMode::Shadow => "shadow",
        BreakerMode::Disabled => "disabled",
    }
}

/// What the edge's callers saw lately, and whether it matters much.
fn known<'a>(model: &'a Model, edge: &EdgeKey) -> (Option<&'a Stats>, bool, u32) {
    let policy = model.slots.policies.get().and_then(|p| p.edges.iter().find(|e| e.key == *edge));
    let board = model.slots.board.get().and_then(|b| b.edges.iter().find(|e| e.key == *edge));
    let critical = policy.is_some_and(|p| p.settings.criticality == Some(Criticality::High));
    let stats = policy.map(|p| &p.stats).or_else(|| board.map(|b| &b.stats));
    (stats, critical, policy.map_or(0, |p| p.instances))
}

/// Paints the question into the inspector.
pub(super) fn show(ui: &mut egui::Ui, model: &Model, flip: &mut Flip, commands: &mut Commands) {
    let (title, verb, danger) = match flip.mode {
        BreakerMode::ForcedOpen => ("Force open?", "Force open", true),
        BreakerMode::ForcedClosed => ("Force closed?", "Force closed", true),
        BreakerMode::Shadow => ("Shadow?", "Shadow", false),
        BreakerMode::Disabled => ("Disable?", "Disable", true),
        BreakerMode::Auto => ("Back to auto?", "Auto", false),
    };
    let (stats, critical, instances) = known(model, &flip.edge);
    text::inspector_title(ui, title);
    text::mono_soft(ui, format!("{} → {}", flip.edge.caller, flip.edge.callee)).on_hover_text(&flip.edge.operation);
    ui.add_space(12.0);
    consequence(ui, flip, stats, critical, danger);
    ui.add_space(20.0);
    let typing = critical && danger;
    let reason = field::labelled(ui, "Reason", |ui| field::text_field(ui, "Reason", "why", &mut flip.reason));
    let mut typed = None;
    if typing {
        let name = flip.edge.callee.clone();
        typed = Some(field::labelled(ui, "Name of the service", |ui| {
            field::text_field(ui, "Name of the service", &name, &mut flip.typed)
        }));
    }
    field::labelled(ui, "Expires in", |ui| {
        segmented(ui, "Expires in", &mut flip.minutes, &[(2, "2 min"), (5, "5 min"), (15, "15 min"), (60, "1 h")]);
    });
    field::labelled(ui, "Where", |ui| {
        let place = match (&flip.instance, instances) {
            (Some(instance), _) => format!("only {instance}"),
            (None, 0) => format!("all instances of {}", flip.edge.caller),
            (None, n) => format!("{} of {}", format::plural(u64::from(n), "instance"), flip.edge.caller),
        };
        text::body(ui, place);
    });
    let ready = !flip.reason.trim().is_empty() && (!typing || flip.typed.trim() == flip.edge.callee) && model.can_command();
    let mut go = false;
    let words = format!("{verb} for {}", format::duration(std::time::Duration::from_secs(flip.minutes * 60)));
    ui.horizontal(|ui| {
        if Button::new("Cancel").show(ui).clicked() {
            commands.push(Command::Close);
        }
        let kind = if danger { Kind::Danger } else { Kind::Primary };
        go = Button::new(&words).kind(kind).enabled(ready).wide().show(ui).clicked();
    });
    if !model.can_command() {
        ui.add_space(8.0);
        text::note(ui, "This source takes no commands now.");
    }
    let first = typed.as_ref().unwrap_or(&reason);
    if !std::mem::replace(&mut flip.shown, true) {
        first.request_focus();
    }
    let entered = ui.input(|i| i.key_pressed(Key::Enter));
    let in_field = reason.lost_focus() || typed.as_ref().is_some_and(egui::Response::lost_focus);
    if ready && (go || (entered && in_field)) {
        commands.push(Command::Act { action: flip.action(), reason: flip.reason.trim().to_owned(), undo: None });
    } else if entered && in_field {
        first.request_focus();
    }
}

fn consequence(ui: &mut egui::Ui, flip: &Flip, stats: Option<&Stats>, critical: bool, danger: bool) {
    let t = tokens(ui);
    let tone = if danger { Tone::Failed } else { Tone::Neutral };
    let rate = stats.map_or_else(|| "All its".to_owned(), |s| format::whole(s.rate()));
    let failing = stats.map_or(0.0, Stats::error_ratio);
    let (head, more) = match flip.mode {
        BreakerMode::ForcedOpen => {
            let head = if stats.is_some() { format!("{rate} calls a second will be refused.") } else { "Every call will be refused.".to_owned() };
            (head, "Callers get an error at once, until it expires or is ended.".to_owned())
        }
        BreakerMode::ForcedClosed => (
            format!("Every call goes through, though {} fail.", format::percent(failing)),
            format!("Nothing protects {} until it expires.", flip.edge.callee),
        ),
        BreakerMode::Shadow => (
            "The breaker goes on deciding but refuses nothing.".to_owned(),
            "It reports what it would have refused.".to_owned(),
        ),
        BreakerMode::Disabled => ("Every call goes through.".to_owned(), "The breaker sees nothing until it expires.".to_owned()),
        BreakerMode::Auto => ("The breaker follows its policy again.".to_owned(), String::new()),
    };
    egui::Frame::new()
        .fill(t.tint(tone))
        .stroke(Stroke::new(1.0, t.edge(tone)))
        .corner_radius(8)
        .inner_margin(Margin::same(14))
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            text::body(ui, head);
            if !more.is_empty() {
                text::note(ui, more);
            }
            if critical && danger {
                ui.add_space(6.0);
                text::wrapped(ui, "Criticality high: type the service’s name to go on.", text::medium(12.0), t.failed);
            }
        });
}
