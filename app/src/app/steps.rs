//! What happens between two frames: answers find their places, commands are run.

use std::time::Duration;

use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::change::OverrideAction;
use fuseboard_api::command::{Action, Command as Order, Receipt};
use fuseboard_api::graph::{EdgeKey, Severity};
use fuseboard_api::identity::Deed;
use fuseboard_api::{TimeRange, UnixNanos};

use super::{App, toasts};
use crate::command::Command;
use crate::link::Inbox;
use crate::model::{Overlay, Pending, PendingState, Toast, Undo, View};
use crate::time::Cursor;
use crate::views;

/// Commands on their way that are remembered at most, and steps that can be undone.
const REMEMBERED: usize = 32;
/// How much before the moment of recording is kept with an incident.
const BEFORE: Duration = Duration::from_secs(300);

impl App {
    /// Puts what came into the model.
    pub(super) fn accept(&mut self, inbox: Inbox) {
        if let Some(connection) = inbox.connection {
            self.model.connection = connection;
        }
        if let Some(who) = inbox.who {
            if who.asked {
                self.model.who.clone_from(&who.name);
            }
            self.model.identity = Some(who);
        }
        if let Some(newest) = inbox.newest {
            self.model.newest = self.model.newest.max(newest);
        }
        for delivery in inbox.answers {
            match delivery.result {
                Ok((answer, as_of)) => {
                    if !self.model.slots.put(delivery.slot, answer, as_of, (delivery.identity, delivery.as_of)) {
                        let why = "the collector answered another question than was asked: use the same version on both sides";
                        self.model.slots.fail(delivery.slot, why.to_owned());
                    }
                }
                Err(why) => self.model.slots.fail(delivery.slot, why),
            }
        }
        for (number, result) in inbox.receipts {
            self.receive(number, result);
        }
        for download in inbox.downloads {
            match download {
                Ok(text) => self.tell(text, Severity::Well),
                Err(why) => self.tell(why, Severity::Failed),
            }
        }
        let now = self.model.time.now;
        self.model.toasts.retain(|t| now.since(t.since) < toasts::LIFE);
        self.settle_pending();
    }

    /// What became of a command.
    fn receive(&mut self, number: u64, result: Result<Receipt, String>) {
        let now = self.model.time.now;
        let undo = self.undos.remove(&number);
        let Some(pending) = self.model.pending.iter_mut().find(|p| p.number == number) else { return };
        match result {
            Ok(receipt) => {
                let undo = undo.or_else(|| undo_of(&pending.action, &receipt));
                let what = words(&pending.action);
                let text = match receipt.targeted {
                    0 if receipt.note.is_empty() => format!("Requested: {what}"),
                    0 => format!("Requested: {what}. {}", receipt.note),
                    n => format!("Requested: {what}, {n} instance{}", if n == 1 { "" } else { "s" }),
                };
                pending.state = PendingState::Requested(receipt);
                let undo = undo.map(|action| Undo { what, action });
                self.model.undo.extend(undo.clone());
                let extra = self.model.undo.len().saturating_sub(REMEMBERED);
                self.model.undo.drain(..extra);
                self.push_toast(Toast { text, severity: Severity::Well, since: now, undo });
            }
            Err(why) => {
                pending.state = PendingState::Refused(why.clone());
                self.tell(format!("Refused: {why}"), Severity::Failed);
            }
        }
    }

    /// Drops commands whose outcome the data tells now.
    fn settle_pending(&mut self) {
        let Some(changes) = self.model.slots.changes.get() else { return };
        let told = |receipt: &Receipt| {
            receipt.override_id.is_some_and(|id| changes.overrides.iter().any(|c| c.id == id))
                || receipt.revision.is_some_and(|n| changes.revisions.iter().any(|c| c.id == n))
                || (receipt.override_id.is_none() && receipt.revision.is_none())
        };
        self.model.pending.retain(|p| !matches!(&p.state, PendingState::Requested(r) if told(r)));
    }

    /// Runs one command.
    pub(super) fn execute(&mut self, command: Command, ctx: &egui::Context) {
        let model = &mut self.model;
        match command {
            Command::Go(view) => self.go(view),
            Command::ShowPolicies(tab) => {
                model.policy_tab = tab;
                self.go(View::Policies);
            }
            Command::Back => {
                if let Some(view) = model.back.take() {
                    self.go(view);
                }
            }
            Command::SelectEdge(edge) => {
                model.inspector_hidden = false;
                model.selection.edge = edge;
                model.selection.service = None;
                model.selection.instance = None;
                self.flip = None;
            }
            Command::SelectService(service) => {
                model.inspector_hidden = false;
                model.selection.service = service;
                model.selection.edge = None;
                self.flip = None;
            }
            Command::OpenTrace(id) => {
                model.selection.trace = Some(id);
                model.selection.span = None;
                self.go(View::Trace);
            }
            Command::SelectSpan(id) => model.selection.span = id,
            Command::SelectRevision(n) => model.selection.revision = n,
            Command::SelectFinding(id) => model.selection.finding = id,
            Command::CompareRevision(n) => model.selection.other_revision = n,
            Command::SelectIncident(id) => model.selection.incident = id,
            Command::FilterTraces(query) => model.filters.traces = query,
            Command::FilterLogs(query) => model.filters.logs = query,
            Command::FilterMetrics(query) => model.filters.metrics = query,
            Command::FilterAudit(text) => model.filters.audit = text,
            Command::CompareBoard(back) => model.filters.board_before = back,
            Command::Flip { edge, instance, mode } => self.flip(edge, instance, mode),
            Command::Act { action, reason, undo } => self.act(action, reason, undo),
            Command::Undo => self.undo(),
            Command::Theme(theme) => {
                model.theme = theme;
                self.dress(ctx);
            }
            Command::Palette => {
                let open = model.overlay == Overlay::Palette;
                model.overlay = if open { Overlay::None } else { Overlay::Palette };
                self.palette.reset();
            }
            Command::Help => {
                model.overlay = if model.overlay == Overlay::Help { Overlay::None } else { Overlay::Help };
            }
            Command::Inspector => model.inspector_hidden = !model.inspector_hidden,
            Command::Close => self.close(),
            Command::Record => self.record(),
            Command::OpenFile(path) => self.open_file(path, ctx),
            Command::ChooseFile => self.choose_file(ctx),
            Command::ExportIncident(id) => {
                let list = model.slots.incidents.get();
                let name = list.and_then(|l| l.incidents.iter().find(|i| i.id == id)).map(|i| i.name.clone());
                self.choose_target(id, &name.unwrap_or_else(|| format!("incident-{id}")), ctx);
            }
            Command::ExportIncidentTo(id, path) => {
                if let Err(why) = self.door.download(id, path) {
                    self.tell(why, Severity::Failed);
                }
            }
            Command::WriteText(path, text) => self.write_text(path, text, ctx),
            Command::ReadText(path) => self.read_text(path, ctx),
            Command::StartDemo => self.start_demo(ctx),
            Command::Copy(text, what) => {
                ctx.copy_text(text);
                self.tell(format!("Copied: {what}"), Severity::Well);
            }
            Command::Quit => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
            time => self.move_time(&time),
        }
    }

    /// Runs the commands that move the cursor and its ranges.
    fn move_time(&mut self, command: &Command) {
        let time = &mut self.model.time;
        let (now, edge) = (time.now, time.edge);
        match command {
            Command::Follow => time.cursor = Cursor::Following,
            Command::ToggleFollow => time.cursor = time.cursor.toggle_follow(now, edge),
            Command::Pause => time.cursor = time.cursor.pause(now, edge),
            Command::Play => time.cursor = time.cursor.play(time.speed, now, edge),
            Command::Speed(speed) => {
                time.speed = *speed;
                if time.cursor.is_playing() {
                    time.cursor = time.cursor.play(*speed, now, edge);
                }
            }
            Command::Seek(at) => time.cursor = time.cursor.seek((*at).min(edge), now),
            Command::Nudge(millis) => {
                let at = UnixNanos(time.position().0.saturating_add(millis.saturating_mul(1_000_000)));
                time.cursor = time.cursor.seek(at.min(edge), now);
            }
            Command::Step(forward) => {
                let marks: Vec<UnixNanos> =
                    self.model.slots.strip.get().map(|s| s.marks.iter().map(|m| m.at).collect()).unwrap_or_default();
                time.cursor = time.cursor.step(&marks, *forward, now, edge);
            }
            Command::Choose(range) => {
                time.chosen = *range;
                time.lap &= range.is_some();
            }
            Command::Lap(lap) => time.lap = *lap,
            Command::Span(span) => time.span = *span,
            Command::StripWindow(length, end) => {
                (time.strip, time.strip_end, time.strip_by_hand) = (*length, *end, true);
            }
            Command::OpenIncident(range) => self.open_incident(*range),
            _ => {}
        }
    }

    fn go(&mut self, view: View) {
        if view != self.model.view {
            self.model.back = Some(self.model.view);
            self.model.view = view;
            self.flip = None;
        }
        self.model.overlay = Overlay::None;
    }

    /// Ends the innermost thing that is open or chosen.
    fn close(&mut self) {
        let selection = &mut self.model.selection;
        if self.flip.take().is_some() {
        } else if selection.span.take().is_some()
            || selection.edge.take().is_some()
            || selection.service.take().is_some()
        {
            selection.instance = None;
        } else if self.model.view == View::Trace {
            self.go(View::Traces);
        } else {
            self.model.time.chosen = None;
        }
    }

    /// The incident with some time around it on the strip, its stretch chosen, the cursor at its end.
    fn open_incident(&mut self, range: TimeRange) {
        let time = &mut self.model.time;
        let around = range.length() / 4 + Duration::from_secs(30);
        time.strip = range.length() + around * 2;
        time.strip_by_hand = true;
        time.strip_end = Some((range.to + around).min(time.edge));
        time.chosen = Some(range);
        time.cursor = Cursor::Paused { at: range.to.min(time.edge) };
    }

    fn flip(&mut self, edge: EdgeKey, instance: Option<String>, mode: BreakerMode) {
        self.model.selection.edge = Some(edge.clone());
        self.model.selection.service = None;
        self.model.selection.instance.clone_from(&instance);
        let breakers = self.model.slots.breakers.get().map(|b| b.breakers.as_slice()).unwrap_or_default();
        let by_policy = breakers.iter().any(|b| b.key == edge && b.mode != BreakerMode::Auto);
        if mode == BreakerMode::Auto && !by_policy && self.model.overrides_of(&edge).next().is_none() {
            self.flip = None;
            self.tell("No override holds this breaker: it follows its policy already.", Severity::Well);
        } else {
            self.flip = Some(views::Flip::new(edge, instance, mode));
        }
    }

    /// Gives a command to the collector.
    fn act(&mut self, action: Action, reason: String, undo: Option<Action>) {
        self.flip = None;
        if let Some(why) = self.model.barred(deed_of(&action)) {
            self.tell(why, Severity::AtRisk);
            return;
        }
        self.numbers += 1;
        let order = Order { actor: self.model.who.clone(), reason: reason.clone(), action: action.clone() };
        if let Err(why) = self.door.act(self.numbers, order) {
            self.tell(why, Severity::Failed);
            return;
        }
        let pending = &mut self.model.pending;
        pending.push(Pending { number: self.numbers, action, reason, state: PendingState::Sending });
        self.undos.extend(undo.map(|undo| (self.numbers, undo)));
        let extra = pending.len().saturating_sub(REMEMBERED);
        pending.drain(..extra);
    }

    fn undo(&mut self) {
        match self.model.undo.pop() {
            Some(undo) => {
                for toast in &mut self.model.toasts {
                    toast.undo = toast.undo.take().filter(|u| *u != undo);
                }
                self.act(undo.action, format!("undo of: {}", undo.what), None);
            }
            None => self.tell("There is nothing to undo in this window.", Severity::Well),
        }
    }

    fn record(&mut self) {
        match self.model.recording().map(|i| i.id) {
            Some(id) => self.act(Action::StopIncident { id, to: None }, String::new(), None),
            None => {
                let at = self.model.time.position();
                let name = format!("incident of {}", self.model.zone.date_time(at));
                self.act(Action::StartIncident { name, from: at - BEFORE }, String::new(), None);
            }
        }
    }
}

/// How to take a change back, as its receipt tells.
fn undo_of(action: &Action, receipt: &Receipt) -> Option<Action> {
    match action {
        Action::SetOverride { .. } => receipt.override_id.map(|id| Action::EndOverride { id }),
        Action::SetPolicy { base, .. } | Action::EditPolicy { base, .. } => Some(Action::rollback(*base)),
        _ => None,
    }
}

/// A command in a few words.
fn words(action: &Action) -> String {
    match action {
        Action::SetPolicy { .. } => "a new policy document".to_owned(),
        Action::EditPolicy { edits, .. } => match edits.as_slice() {
            [one] => format!("{} {} {}", one.service, one.path, one.value.as_deref().unwrap_or("removed")),
            many => format!("{} policy settings", many.len()),
        },
        Action::Rollback { to, .. } => format!("policy back to r{to}"),
        Action::PauseRollout { revision } => format!("the rollout of r{revision} pauses"),
        Action::ResumeRollout { revision } => format!("the rollout of r{revision} goes on"),
        Action::AbortRollout { revision } => format!("r{revision} is taken back"),
        Action::PromoteRollout { revision, .. } => format!("r{revision} goes to its next stage"),
        Action::ConfirmRevision { revision } => format!("r{revision} is kept"),
        Action::SetOverride { spec, .. } => {
            let to = spec.selector.service.as_deref().unwrap_or("every callee");
            let from = spec.selector.caller.as_deref().unwrap_or("every caller");
            match &spec.action {
                OverrideAction::Mode(mode) => format!("{from} → {to} {}", views::mode_word(*mode)),
                OverrideAction::Timeout { .. } => format!("{from} → {to} another timeout"),
                OverrideAction::Fault(_) => format!("{from} → {to} a fault"),
            }
        }
        Action::RenewOverride { id, .. } => format!("override {id} lasts longer"),
        Action::SetReadOnly { on: true } => "no more changes".to_owned(),
        Action::SetReadOnly { on: false } => "changes are taken again".to_owned(),
        Action::EndOverride { id } => format!("override {id} ends"),
        Action::EndAllOverrides => "all overrides end".to_owned(),
        Action::StartIncident { name, .. } => format!("recording “{name}”"),
        Action::StopIncident { .. } => "the recording ends".to_owned(),
        Action::RenameIncident { name, .. } => format!("the incident is named “{name}”"),
    }
}

/// What one has to be let to do for it.
fn deed_of(action: &Action) -> Deed {
    match action {
        Action::SetOverride { .. } | Action::EndOverride { .. } | Action::EndAllOverrides => Deed::Override,
        Action::StartIncident { .. } | Action::StopIncident { .. } | Action::RenameIncident { .. } => Deed::Incident,
        _ => Deed::Policy,
    }
}
