//! Revisions: immutable versions of the whole policy set, each made from the one before by compare-and-swap.

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::{Refusal, SettingConflict};
use fuseboard_api::command::PolicyEdit;
use fuseboard_api::policy::Revision;
use fuseboard_api::rollout::Delivery;
use fuseboard_policy::document::{Difference, differences, settings};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::audit;
use super::edit;
use super::refusal::{bad_request, not_found, settings_conflict};
use super::rollout;
use super::sql::{signed, unsigned};
use super::write::Deny;

/// A document may have so many bytes.
pub(crate) const MAX_DOCUMENT: usize = 256 * 1024;
/// One command may change so many settings.
const MAX_EDITS: usize = 200;
/// So many revisions are answered.
const ANSWERED: u32 = 100;

/// A revision with its document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) revision: Revision,
    pub(crate) document: String,
    pub(crate) summary: String,
}

const COLUMNS: &str = "number, base, arrival, actor, reason, restores, document, summary";

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        revision: Revision {
            number: unsigned(row, 0)?,
            base: unsigned(row, 1)?,
            at: UnixNanos(row.get(2)?),
            actor: row.get(3)?,
            reason: row.get(4)?,
            restores: row.get::<_, Option<i64>>(5)?.and_then(|n| u64::try_from(n).ok()),
        },
        document: row.get(6)?,
        summary: row.get(7)?,
    })
}

/// The revision in force as of an instant: the newest that was given to everyone and not taken back; number 0 with an empty
/// document before anything was set.
///
/// # Errors
/// Only the database's own.
pub(crate) fn in_force(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Stored> {
    let force = rollout::IN_FORCE;
    let sql = format!("SELECT {COLUMNS} FROM revisions r WHERE arrival <= ?1 AND {force} ORDER BY number DESC LIMIT 1");
    Ok(conn.prepare_cached(&sql)?.query_row([as_of.0], stored).optional()?.unwrap_or_default())
}

/// One revision, when it had arrived by then. Revision 0 always exists and is empty.
///
/// # Errors
/// Only the database's own.
pub(crate) fn numbered(conn: &Connection, number: u64, as_of: UnixNanos) -> rusqlite::Result<Option<Stored>> {
    if number == 0 {
        return Ok(Some(Stored::default()));
    }
    let sql = format!("SELECT {COLUMNS} FROM revisions WHERE number = ?1 AND arrival <= ?2");
    conn.prepare_cached(&sql)?.query_row(params![signed(number), as_of.0], stored).optional()
}

/// Revisions as of an instant, newest first, at most 100.
///
/// # Errors
/// Only the database's own.
pub(crate) fn history(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Vec<Stored>> {
    let sql = format!("SELECT {COLUMNS} FROM revisions WHERE arrival <= ?1 ORDER BY number DESC LIMIT {ANSWERED}");
    conn.prepare_cached(&sql)?.query_map([as_of.0], stored)?.collect()
}

/// Who wants a new revision, and why.
#[derive(Debug, Clone)]
pub(crate) struct Author {
    pub(crate) actor: String,
    pub(crate) reason: String,
}

/// What a command made: the revision's number, and what else there is to say.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) number: u64,
    pub(crate) note: String,
}

/// Replaces the whole document.
///
/// # Errors
/// `conflict` when `base` is no longer in force or another change is rolled out, `bad_request` with every problem of the
/// document.
pub(crate) fn set(
    tx: &Transaction<'_>,
    at: UnixNanos,
    author: &Author,
    base: u64,
    document: &str,
    delivery: &Delivery,
) -> Result<Made, Deny> {
    rollout::must_be_free(tx)?;
    let current = in_force(tx, UnixNanos(i64::MAX))?;
    if base != current.revision.number {
        return Err(stale(tx, &current, base, document)?.into());
    }
    let note = unchanged(&current, document);
    let change = Change { document, restores: None, action: "policy.set", delivery };
    Ok(Made { number: publish(tx, at, author, &current, &change)?, note })
}

/// Changes single settings. When others changed other settings since `base`, the edit is made on top of theirs.
///
/// # Errors
/// `conflict` when the same settings changed since `base` or another change is rolled out, `bad_request` for edits that cannot be made or that make the
/// document invalid.
pub(crate) fn edit(
    tx: &Transaction<'_>,
    at: UnixNanos,
    author: &Author,
    base: u64,
    edits: &[PolicyEdit],
    delivery: &Delivery,
) -> Result<Made, Deny> {
    rollout::must_be_free(tx)?;
    if edits.is_empty() || edits.len() > MAX_EDITS {
        return Err(bad_request(format!("an edit changes 1 to {MAX_EDITS} settings, this one {}", edits.len())).into());
    }
    let current = in_force(tx, UnixNanos(i64::MAX))?;
    let mut note = String::new();
    if base != current.revision.number {
        let seen = numbered(tx, base, UnixNanos(i64::MAX))?
            .ok_or_else(|| bad_request(format!("revision {base}, from which this was edited, does not exist")))?;
        let since = differences(&seen.document, &current.document).map_err(bad_request)?;
        let both = both_changed(&since, edits);
        if !both.is_empty() {
            let said = format!(
                "{} changed since revision {base}, from which this edit was made; revision {} by {} is in force; look at it and edit again\n{}",
                if both.len() == 1 { "a setting was".to_owned() } else { format!("{} settings were", both.len()) },
                current.revision.number,
                current.revision.actor,
                told(&both)
            );
            return Err(settings_conflict(said, both).into());
        }
        note = format!("rebased from revision {base} onto {}: they change different settings", current.revision.number);
    }
    let document = edit::apply(&current.document, edits).map_err(bad_request)?;
    if note.is_empty() {
        note = unchanged(&current, &document);
    }
    let change = Change { document: &document, restores: None, action: "policy.edit", delivery };
    Ok(Made { number: publish(tx, at, author, &current, &change)?, note })
}

/// The settings that an edit wants to change and others have changed.
fn both_changed(theirs: &[Difference], edits: &[PolicyEdit]) -> Vec<SettingConflict> {
    let mine = edits.iter().map(|e| (edit::place(e), e));
    mine.flat_map(|(place, edit)| {
        theirs.iter().filter(move |d| d.place.collides(&place)).map(|d| SettingConflict {
            rule: d.place.rule.clone(),
            path: d.place.path.clone(),
            base: d.before.clone(),
            theirs: d.after.clone(),
            yours: edit.value.clone(),
        })
    })
    .collect()
}

/// The refusal of a whole document that was made from a revision which is no longer in force, with all that changed since.
fn stale(tx: &Transaction<'_>, current: &Stored, base: u64, document: &str) -> Result<Refusal, Deny> {
    let seen = numbered(tx, base, UnixNanos(i64::MAX))?.unwrap_or_default();
    let since = differences(&seen.document, &current.document).map_err(bad_request)?;
    let mine = settings(document).map_err(bad_request)?;
    let since: Vec<_> = since
        .into_iter()
        .take(MAX_EDITS)
        .map(|d| SettingConflict {
            yours: mine.get(&d.place).cloned(),
            rule: d.place.rule,
            path: d.place.path,
            base: d.before,
            theirs: d.after,
        })
        .collect();
    let said = format!(
        "revision {} by {} is in force now, this document was made from revision {base}; look at what changed and edit again\n{}",
        current.revision.number,
        current.revision.actor,
        told(&since)
    );
    Ok(settings_conflict(said.trim_end(), since))
}

/// Conflicts in words, a line each.
fn told(conflicts: &[SettingConflict]) -> String {
    let value = |v: &Option<String>| v.clone().unwrap_or_else(|| "unset".to_owned());
    let line = |c: &SettingConflict| {
        format!(
            "  {} {}: was {}, is {}, you want {}",
            c.rule,
            c.path,
            value(&c.base),
            value(&c.theirs),
            value(&c.yours)
        )
    };
    conflicts.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Restores an earlier revision's content as a new revision. What is being rolled out is aborted; when that alone brings the
/// revision back, no new one is made.
///
/// # Errors
/// `not_found` when there is no such revision, `bad_request` when it is in force already.
pub(crate) fn rollback(
    tx: &Transaction<'_>,
    at: UnixNanos,
    author: &Author,
    to: u64,
    delivery: &Delivery,
) -> Result<Made, Deny> {
    let old = numbered(tx, to, UnixNanos(i64::MAX))?
        .ok_or_else(|| not_found(format!("there is no revision {to} to go back to")))?;
    let aborted = rollout::abort_any(tx, at, author)?;
    let current = in_force(tx, UnixNanos(i64::MAX))?;
    if to == current.revision.number {
        if let Some(aborted) = aborted {
            return Ok(Made { number: to, note: format!("the rollout of revision {aborted} is aborted") });
        }
        return Err(bad_request(format!("revision {to} is in force already")).into());
    }
    let note = match aborted {
        Some(aborted) => format!("the rollout of revision {aborted} is aborted"),
        None => unchanged(&current, &old.document),
    };
    let change = Change { document: &old.document, restores: Some(to), action: "policy.rollback", delivery };
    Ok(Made { number: publish(tx, at, author, &current, &change)?, note })
}

fn unchanged(current: &Stored, document: &str) -> String {
    if current.document == document {
        format!("it says the same as revision {}", current.revision.number)
    } else {
        String::new()
    }
}

/// A new revision to be made.
struct Change<'a> {
    document: &'a str,
    restores: Option<u64>,
    action: &'static str,
    delivery: &'a Delivery,
}

/// Validates, writes revision and audit, and begins its rollout if it has a plan; the caller publishes once this is committed.
fn publish(
    tx: &Transaction<'_>,
    at: UnixNanos,
    author: &Author,
    current: &Stored,
    change: &Change<'_>,
) -> Result<u64, Deny> {
    let Change { document, restores, action, delivery } = *change;
    if document.len() > MAX_DOCUMENT {
        return Err(bad_request(format!("the document has {} bytes, more than {MAX_DOCUMENT}", document.len())).into());
    }
    super::policy::parse(document).map_err(bad_request)?;
    // Revisions that were taken back keep their numbers.
    let number = 1 + tx.query_row("SELECT coalesce(max(number), 0) FROM revisions", [], |row| unsigned(row, 0))?;
    let told = differences(&current.document, document).map_err(bad_request)?;
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    let summary = match (restores, told.as_slice()) {
        (Some(old), _) => format!("back to revision {old}"),
        (None, []) => "no setting changed".to_owned(),
        (None, [only]) => only.clone(),
        (None, [first, rest @ ..]) => format!("{first}, and {} more", rest.len()),
    };
    tx.prepare_cached("INSERT INTO revisions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
        signed(number),
        at.0,
        signed(current.revision.number),
        restores.map(signed),
        document,
        author.actor,
        author.reason,
        summary
    ])?;
    let entry = audit::Entry {
        actor: author.actor.clone(),
        action,
        target: format!("revision {number}"),
        reason: author.reason.clone(),
        detail: if told.is_empty() { summary } else { told.join("\n") },
    };
    audit::append(tx, at, &entry)?;
    rollout::begin(tx, at, author, (number, current.revision.number), delivery)?;
    Ok(number)
}
