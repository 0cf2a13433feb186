//! The switch that keeps a production environment as it is: while it is on, no change is taken.
//!
//! What takes a change back is still accepted, because it leads to what was reviewed before and is needed most on a bad day:
//! ending overrides, and pausing or aborting a rollout. Overrides also still run out by themselves; a rollout holds where it
//! is, its guards still take it back, and what nobody confirms is taken back, too. A rollback is refused: it puts an earlier
//! revision of somebody's choice in force, which is a change like any other. Incidents are recorded as ever; they change
//! nothing that runs.

use fuseboard_api::UnixNanos;
use fuseboard_api::change::ReadOnly;
use fuseboard_api::command::Action;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::audit;
use super::refusal::no_changes;
use super::revisions::Author;
use super::write::Deny;

/// What an action does to what runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Something new comes into force, or what is temporary lasts longer.
    Changes,
    /// Something temporary ends, or nothing that runs is touched.
    Harmless,
}

fn effect(action: &Action) -> Effect {
    match action {
        Action::SetPolicy { .. }
        | Action::EditPolicy { .. }
        | Action::Rollback { .. }
        | Action::SetOverride { .. }
        | Action::RenewOverride { .. }
        | Action::ResumeRollout { .. }
        | Action::PromoteRollout { .. }
        | Action::ConfirmRevision { .. } => Effect::Changes,
        Action::EndOverride { .. }
        | Action::EndAllOverrides
        | Action::PauseRollout { .. }
        | Action::AbortRollout { .. }
        | Action::SetReadOnly { .. }
        | Action::StartIncident { .. }
        | Action::StopIncident { .. }
        | Action::RenameIncident { .. } => Effect::Harmless,
    }
}

/// Who turned the switch on, when and why, as of an instant; `None` while changes are taken.
///
/// # Errors
/// Only the database's own.
pub(crate) fn state(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Option<ReadOnly>> {
    let last = conn
        .prepare_cached(
            "SELECT turned_on, arrival, actor, reason FROM read_only WHERE arrival <= ?1 ORDER BY id DESC LIMIT 1",
        )?
        .query_row([as_of.0], |row| {
            let on: bool = row.get(0)?;
            Ok(on.then_some(ReadOnly { at: UnixNanos(row.get(1)?), actor: row.get(2)?, reason: row.get(3)? }))
        })
        .optional()?;
    Ok(last.flatten())
}

/// Refuses what the switch forbids.
///
/// # Errors
/// `read_only`, with who turned it on, when and why.
pub(crate) fn check(tx: &Transaction<'_>, at: UnixNanos, action: &Action) -> Result<(), Deny> {
    if effect(action) == Effect::Harmless {
        return Ok(());
    }
    match state(tx, UnixNanos(i64::MAX))? {
        None => Ok(()),
        Some(by) => {
            let ago = super::overrides::lasting(at.since(by.at));
            Err(no_changes(format!(
                "{} ({ago} ago). Overrides can still be ended, rollouts paused and aborted. \
                 `fuseboard ctl read-only off` takes changes again",
                words(&by)
            ))
            .into())
        }
    }
}

/// Why nothing changes.
pub(crate) fn words(by: &ReadOnly) -> String {
    format!("no changes are taken: {} turned them off, because: {}", by.actor, by.reason)
}

/// Turns the switch; says what there is to say when it stood so before.
///
/// # Errors
/// Only the database's own.
pub(crate) fn set(tx: &Transaction<'_>, at: UnixNanos, author: &Author, on: bool) -> Result<String, Deny> {
    let before = state(tx, UnixNanos(i64::MAX))?;
    match (&before, on) {
        (Some(by), true) => return Ok(format!("{} had turned changes off before: {}", by.actor, by.reason)),
        (None, false) => return Ok("changes were taken before, too".to_owned()),
        _ => {}
    }
    tx.prepare_cached("INSERT INTO read_only (arrival, turned_on, actor, reason) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![at.0, on, author.actor, author.reason])?;
    let entry = audit::Entry {
        actor: author.actor.clone(),
        action: if on { "control.read_only" } else { "control.writable" },
        target: "all changes".to_owned(),
        reason: author.reason.clone(),
        detail: before.map(|by| format!("was turned off by {}: {}", by.actor, by.reason)).unwrap_or_default(),
    };
    audit::append(tx, at, &entry)?;
    Ok(String::new())
}
