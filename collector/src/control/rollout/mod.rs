//! Rollouts: a revision given to a share of the instances first, watched, and taken back by itself when it does harm.
//!
//! Every decision is a row, written with its audit entry before it is published: the stages that began, what the guards saw,
//! how it ended. The watch only looks at the clock and the calls and writes the next row, so that it goes on after a restart
//! where it stood.

mod calls;
mod groups;
mod guard;
pub(crate) mod picture;
mod plan;
mod rows;
mod statistics;
mod watch;

pub(crate) use groups::Division;
pub(super) use picture::rollout as told;
pub(crate) use plan::is_planned;
pub(crate) use rows::{IN_FORCE, SCHEMA, Standing, running, standing};

use std::collections::BTreeMap;
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::rollout::{Delivery, Verdict};
use rusqlite::{Connection, Transaction};

use self::rows::Kind;
use super::audit;
use super::refusal::{bad_request, conflict, not_found};
use super::revisions::{Author, Made};
use super::write::Deny;

/// All that is stored.
const NOW: UnixNanos = UnixNanos(i64::MAX);

/// Refuses a change of policy while another is under way.
///
/// # Errors
/// `conflict`, naming the rollout.
pub(super) fn must_be_free(tx: &Transaction<'_>) -> Result<(), Deny> {
    match running(tx, NOW)? {
        None => Ok(()),
        Some(s) => Err(conflict(format!(
            "revision {} is being rolled out ({}); finish it (promote, confirm) or abort it first",
            s.revision,
            stage_words(&s)
        ))
        .into()),
    }
}

/// Begins to deliver a new revision by a plan, in the transaction that makes it.
///
/// # Errors
/// `bad_request` for a plan that cannot be kept.
pub(super) fn begin(
    tx: &Transaction<'_>,
    at: UnixNanos,
    author: &Author,
    (revision, base): (u64, u64),
    delivery: &Delivery,
) -> Result<(), Deny> {
    plan::check(delivery)?;
    if !is_planned(delivery) {
        return Ok(());
    }
    if base == 0 {
        return Err(bad_request(
            "no policy has been set yet, so there is nothing to go back to; publish the first one without stages and \
             confirmation",
        )
        .into());
    }
    let confirm_by = delivery.confirm_within_ms.map(|ms| at + Duration::from_millis(ms));
    rows::write_plan(tx, at, (revision, base), delivery, confirm_by)?;
    let first = rows::standing(tx, revision, NOW)?.ok_or_else(|| gone(revision))?;
    enter(tx, at, &author.actor, &first, 0, &plan::words(delivery))?;
    if delivery.stages.is_empty() {
        step(tx, at, "collector", &first, Kind::Baked, "everyone is given it; it waits to be confirmed", "")?;
    }
    Ok(())
}

fn gone(revision: u64) -> Deny {
    not_found(format!("no rollout of revision {revision} is under way")).into()
}

/// The rollout that a command names.
fn named(tx: &Transaction<'_>, revision: u64) -> Result<Standing, Deny> {
    running(tx, NOW)?.filter(|s| s.revision == revision).ok_or_else(|| gone(revision))
}

/// Stops a rollout where it is.
///
/// # Errors
/// `not_found` when it is not under way, `conflict` when it is paused already.
pub(super) fn pause(tx: &Transaction<'_>, at: UnixNanos, author: &Author, revision: u64) -> Result<Made, Deny> {
    let standing = named(tx, revision)?;
    if standing.paused {
        return Err(conflict(format!("the rollout of revision {revision} is paused already")).into());
    }
    step(tx, at, &author.actor, &standing, Kind::Paused, &author.reason, "")?;
    Ok(Made { number: revision, note: format!("paused in {}", stage_words(&standing)) })
}

/// Goes on with a paused rollout.
///
/// # Errors
/// `not_found` when it is not under way, `conflict` when it is not paused.
pub(super) fn resume(tx: &Transaction<'_>, at: UnixNanos, author: &Author, revision: u64) -> Result<Made, Deny> {
    let standing = named(tx, revision)?;
    if !standing.paused {
        return Err(conflict(format!("the rollout of revision {revision} is not paused")).into());
    }
    step(tx, at, &author.actor, &standing, Kind::Resumed, &author.reason, "")?;
    Ok(Made { number: revision, note: format!("goes on in {}", stage_words(&standing)) })
}

/// Takes a rollout back by hand.
///
/// # Errors
/// `not_found` when it is not under way.
pub(super) fn abort(tx: &Transaction<'_>, at: UnixNanos, author: &Author, revision: u64) -> Result<Made, Deny> {
    let standing = named(tx, revision)?;
    step(tx, at, &author.actor, &standing, Kind::Aborted, &author.reason, &back_to(&standing))?;
    Ok(Made { number: revision, note: format!("taken back; everyone is given revision {} again", standing.base) })
}

/// Takes back whatever is rolled out, to make room for a rollback. Gives its revision.
///
/// # Errors
/// Only the database's own.
pub(super) fn abort_any(tx: &Transaction<'_>, at: UnixNanos, author: &Author) -> Result<Option<u64>, Deny> {
    let Some(standing) = running(tx, NOW)? else { return Ok(None) };
    abort(tx, at, author, standing.revision)?;
    Ok(Some(standing.revision))
}

/// Begins the next stage, or ends the last one, without waiting. Gives what else there is to say.
///
/// # Errors
/// `not_found` when it is not under way, `conflict` when a guard fails and it is not forced, or when only the confirmation is
/// missing.
pub(super) fn promote(
    tx: &Transaction<'_>,
    at: UnixNanos,
    author: &Author,
    revision: u64,
    force: bool,
) -> Result<Made, Deny> {
    let standing = named(tx, revision)?;
    if standing.baked {
        return Err(conflict(format!("everyone has revision {revision}; it only waits to be confirmed")).into());
    }
    let look = rows::last_look(tx, revision, NOW)?.filter(|l| l.stage == standing.stage && l.at >= standing.since);
    let failing = look.iter().flat_map(|l| &l.readings).find(|r| r.verdict == Verdict::Fails);
    if let (Some(failing), false) = (failing, force || standing.waived) {
        let told = format!("a guard fails: {}; abort it, or promote by force with a reason", failing.text);
        return Err(conflict(told).into());
    }
    if force && !standing.waived {
        let told = failing.map(|r| r.text.clone()).unwrap_or_else(|| "no guard failed at that time".to_owned());
        step(tx, at, &author.actor, &standing, Kind::Waived, &author.reason, &told)?;
    }
    if standing.paused {
        step(tx, at, &author.actor, &standing, Kind::Resumed, &author.reason, "")?;
    }
    Ok(Made { number: revision, note: go_on(tx, at, &author.actor, &standing, &author.reason)? })
}

/// Keeps a revision for good.
///
/// # Errors
/// `not_found` for a revision without a time to confirm it, `conflict` when it is confirmed, over or too late.
pub(super) fn confirm(tx: &Transaction<'_>, at: UnixNanos, author: &Author, revision: u64) -> Result<Made, Deny> {
    let standing = rows::standing(tx, revision, NOW)?.filter(|s| s.confirm_by.is_some()).ok_or_else(|| {
        Deny::from(not_found(format!("revision {revision} was published without a time to confirm it")))
    })?;
    if let Some((kind, _, why)) = &standing.over {
        let how =
            if *kind == Kind::Done { "is confirmed already".to_owned() } else { format!("is {}: {why}", kind.word()) };
        return Err(conflict(format!("revision {revision} {how}")).into());
    }
    if standing.confirmed.is_some() {
        return Err(conflict(format!("revision {revision} is confirmed already")).into());
    }
    if standing.confirm_by.is_some_and(|by| by <= at) {
        return Err(
            conflict(format!("the time to confirm revision {revision} is over; agents go back by themselves")).into()
        );
    }
    step(tx, at, &author.actor, &standing, Kind::Confirmed, &author.reason, "")?;
    if !standing.baked {
        let note = format!("it stays; its rollout goes on ({})", stage_words(&standing));
        return Ok(Made { number: revision, note });
    }
    step(tx, at, "collector", &standing, Kind::Done, "everyone has it, and it is confirmed", "")?;
    Ok(Made { number: revision, note: "it stays".to_owned() })
}

/// The next stage, or the end of the last one. Gives what follows, in words.
fn go_on(tx: &Transaction<'_>, at: UnixNanos, actor: &str, standing: &Standing, why: &str) -> rusqlite::Result<String> {
    if !standing.is_last() {
        return enter(tx, at, actor, standing, standing.stage + 1, why);
    }
    if standing.unconfirmed().is_some() {
        step(tx, at, actor, standing, Kind::Baked, "everyone is given it; it waits to be confirmed", why)?;
        return Ok("everyone is given it; it waits to be confirmed".to_owned());
    }
    step(tx, at, actor, standing, Kind::Done, "everyone has it", why)?;
    Ok("it is done".to_owned())
}

/// Begins a stage: divides the instances that are connected now, those with the change from those without.
fn enter(
    tx: &Transaction<'_>,
    at: UnixNanos,
    actor: &str,
    before: &Standing,
    stage: u32,
    why: &str,
) -> rusqlite::Result<String> {
    let stages = plan::stages(&before.delivery);
    let share = stages.get(stage as usize).map_or(1.0, |s| s.share);
    let connected = connected(tx)?;
    let division =
        before.division.next(before.revision, share, connected.iter().map(|(s, i)| (s.as_str(), i.as_str())));
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (service, instance) in &connected {
        let count = counts.entry(service).or_default();
        *count = (count.0 + usize::from(division.has(service, instance)), count.1 + 1);
    }
    let of: Vec<String> = counts.iter().map(|(service, (has, all))| format!("{service} {has}/{all}")).collect();
    let told = format!("stage {} of {}: {} of the instances", stage + 1, stages.len(), plan::percent(share));
    rows::write_step(tx, at, before.revision, Kind::Stage, stage, Some(&division), why)?;
    let detail =
        if of.is_empty() { format!("{told}; none is connected") } else { format!("{told}: {}", of.join(", ")) };
    write_audit(tx, at, actor, before.revision, Kind::Stage, why, detail)?;
    Ok(told)
}

/// Writes a step and its audit entry.
fn step(
    tx: &Transaction<'_>,
    at: UnixNanos,
    actor: &str,
    standing: &Standing,
    kind: Kind,
    why: &str,
    detail: &str,
) -> rusqlite::Result<()> {
    rows::write_step(tx, at, standing.revision, kind, standing.stage, None, why)?;
    let detail = if detail.is_empty() { stage_words(standing) } else { detail.to_owned() };
    write_audit(tx, at, actor, standing.revision, kind, why, detail)
}

fn write_audit(
    tx: &Transaction<'_>,
    at: UnixNanos,
    actor: &str,
    revision: u64,
    kind: Kind,
    why: &str,
    detail: String,
) -> rusqlite::Result<()> {
    let action = match kind {
        Kind::Stage => "rollout.stage",
        Kind::Paused => "rollout.paused",
        Kind::Resumed => "rollout.resumed",
        Kind::Waived => "rollout.waived",
        Kind::Baked => "rollout.baked",
        Kind::Confirmed => "rollout.confirmed",
        Kind::Done => "rollout.done",
        Kind::Reverted => "rollout.reverted",
        Kind::Aborted => "rollout.aborted",
        Kind::Lapsed => "rollout.lapsed",
    };
    let target = format!("revision {revision}");
    audit::append(tx, at, &audit::Entry { actor: actor.to_owned(), action, target, reason: why.to_owned(), detail })
}

/// `stage 1 of 3, 10 %`.
fn stage_words(standing: &Standing) -> String {
    let stages = plan::stages(&standing.delivery);
    format!("stage {} of {}, {}", standing.stage + 1, stages.len(), plan::percent(standing.of_stage().share))
}

fn back_to(standing: &Standing) -> String {
    format!("{}; everyone is given revision {} again", stage_words(standing), standing.base)
}

/// Instances whose control stream is up, each once, sorted.
fn connected(conn: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    conn.prepare_cached(
        "SELECT DISTINCT service, instance FROM sessions s
         WHERE NOT EXISTS (SELECT 1 FROM session_ends e WHERE e.session = s.session) ORDER BY service, instance",
    )?
    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}
