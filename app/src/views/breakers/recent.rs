//! "Last change here": what was done to an edge, and how far it came.

use egui::Ui;
use fuseboard_api::UnixNanos;
use fuseboard_api::change::{Change, OverrideAction};
use fuseboard_api::command::Action;
use fuseboard_api::identity::Deed;

use super::switches::{Switch, in_force, targets};
use super::words::mode_word;
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::views::progress::{self, Progress};
use crate::widgets::{Tone, button, format, text, tokens};

/// Changes that are listed.
const LISTED: usize = 6;

/// A line of the list.
struct Line {
    at: Option<UnixNanos>,
    what: String,
    why: String,
    progress: Progress,
    /// The override that can be ended here.
    ends: Option<u64>,
}

/// Paints the list, newest first: commands that the data does not tell of yet on top.
pub(super) fn show(ui: &mut Ui, model: &Model, commands: &mut Commands, switch: &Switch<'_>) {
    text::section(ui, "Last change here");
    ui.add_space(6.0);
    let lines = lines(model, switch);
    if lines.is_empty() {
        text::note(ui, "Nobody has changed this edge lately.");
        return;
    }
    for line in lines.into_iter().take(LISTED) {
        paint(ui, model, commands, &line);
    }
}

fn lines(model: &Model, switch: &Switch<'_>) -> Vec<Line> {
    let mut out: Vec<Line> = model
        .pending
        .iter()
        .rev()
        .filter_map(|p| {
            let Action::SetOverride { spec, ttl_ms } = &p.action else { return None };
            let meant = switch.instances.iter().any(|b| {
                spec.selector.matches(&switch.key.caller, &b.instance, &switch.key.callee, &switch.key.operation)
            });
            let ttl = std::time::Duration::from_millis(*ttl_ms);
            meant.then(|| Line {
                at: None,
                what: format!("{} {}", action_words(&spec.action), format::duration(ttl)),
                why: p.reason.clone(),
                progress: progress::of_pending(p, None),
                ends: None,
            })
        })
        .collect();
    let Some(changes) = model.slots.changes.get() else { return out };
    let here = |c: &&Change| targets(c, switch.key, switch.instances.iter().map(|b| b.instance.as_str()));
    let overrides = changes.overrides.iter().filter(here).map(|c| Line {
        at: Some(c.at),
        what: override_words(c),
        why: format!("{}: {}", c.actor, c.reason),
        progress: progress::of_change(c),
        ends: in_force(c).then_some(c.id),
    });
    let revisions = changes.revisions.iter().filter(|c| names(&c.summary, switch)).take(2).map(|c| Line {
        at: Some(c.at),
        what: format!("r{} {}", c.id, c.summary),
        why: format!("{}: {}", c.actor, c.reason),
        progress: progress::of_change(c),
        ends: None,
    });
    let mut done: Vec<Line> = overrides.chain(revisions).collect();
    done.sort_by_key(|l| std::cmp::Reverse(l.at));
    out.extend(done);
    out
}

/// Whether a revision's summary speaks of this edge: of its callee, of the default rule, or of too much to tell.
fn names(summary: &str, switch: &Switch<'_>) -> bool {
    summary.contains(&switch.key.callee)
        || summary.starts_with('*')
        || summary.starts_with("back to")
        || summary.ends_with(" more")
}

fn override_words(c: &Change) -> String {
    let what = c.override_spec.as_ref().map_or_else(|| c.summary.clone(), |o| action_words(&o.action));
    match c.expires {
        Some(end) => format!("{what} {}", format::duration(end.since(c.at))),
        None => what,
    }
}

fn action_words(action: &OverrideAction) -> String {
    match action {
        OverrideAction::Mode(mode) => mode_word(*mode).to_owned(),
        OverrideAction::Timeout { attempt_ms: Some(ms), .. } => format!("attempt timeout {ms} ms"),
        OverrideAction::Timeout { overall_ms: Some(ms), .. } => format!("overall timeout {ms} ms"),
        OverrideAction::Timeout { .. } => "timeout".to_owned(),
        OverrideAction::Fault(_) => "injected fault".to_owned(),
    }
}

fn paint(ui: &mut Ui, model: &Model, commands: &mut Commands, line: &Line) {
    let t = tokens(ui);
    ui.horizontal_top(|ui| {
        let time = line.at.map_or_else(|| "now".to_owned(), |at| model.zone.time(at));
        ui.allocate_ui(egui::vec2(64.0, 18.0), |ui| {
            ui.set_min_width(64.0);
            text::styled(ui, time, text::mono_font(10.5), t.label);
        });
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 1.0;
            text::wrapped(ui, line.what.as_str(), text::body_font(), t.text).on_hover_text(&line.why);
            let tone = line.progress.severity().map_or(Tone::Neutral, Tone::from);
            let tone = if line.progress.on_its_way() { Tone::Accent } else { tone };
            text::wrapped(ui, line.progress.sentence(), text::secondary_font(), t.tone(tone));
            text::styled(ui, &line.why, text::label_font(), t.label).on_hover_text(&line.why);
            if let Some(id) = line.ends
                && model.can(Deed::Override)
                && button::link(ui, "End it now").accessible_name(format!("End {} now", line.what)).clicked()
            {
                let reason = format!("{} ended by hand", line.what);
                commands.push(Command::Act { action: Action::EndOverride { id }, reason, undo: None });
            }
        });
    });
    ui.add_space(8.0);
}
