//! How far changes have come: everything follows from rows that had arrived by the instant asked for.

use std::collections::{BTreeMap, BTreeSet};

use fuseboard_api::change::{Acknowledgement, Change, ChangeState, Changes};
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::{Connection, params};

use super::fleet::{Presence, presence};
use crate::control::rollout::Standing;
use crate::control::{desired, overrides, read_only, revisions, rollout, unsigned};

/// Overrides that are answered at most.
const ANSWERED: u32 = 500;

type Words = BTreeMap<(String, u64), Vec<Acknowledgement>>;

/// Revisions and overrides on their way, as of an instant.
///
/// # Errors
/// Only the database's own.
pub(crate) fn changes(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Changes> {
    let streams = presence(conn, as_of)?;
    let mut words = words(conn, as_of)?;
    let ends = ends(conn, as_of)?;
    let mut answer = Changes { read_only: read_only::state(conn, as_of)?, ..Changes::default() };
    for (stored, end) in
        recent_overrides(conn, range, as_of)?.into_iter().map(|o| (ends.get(&o.id), o)).map(|(e, o)| (o, e))
    {
        answer.overrides.push(override_change(stored, end, &streams, &mut words, as_of));
    }
    let mut superseded = None;
    for stored in revisions::history(conn, as_of)? {
        let at = stored.revision.at;
        let acknowledgements = words.remove(&("revision".to_owned(), stored.revision.number)).unwrap_or_default();
        let planned = rollout::standing(conn, stored.revision.number, as_of)?;
        let taken_back = planned.as_ref().and_then(Standing::taken_back);
        let ended = taken_back.or(superseded);
        let until = ended.unwrap_or(as_of);
        let mut change = Change {
            id: stored.revision.number,
            actor: stored.revision.actor,
            reason: stored.revision.reason,
            summary: stored.summary,
            at,
            ended,
            ..Change::default()
        };
        meant_for(&mut change, &streams, acknowledgements, at, until, |p| {
            planned.as_ref().is_none_or(|s| s.division.has(&p.service, &p.instance))
        });
        change.state = match &planned {
            _ if taken_back.is_some() => ChangeState::Reverted,
            Some(standing) if !standing.is_over() => ChangeState::Rolling,
            _ if superseded.is_some() => ChangeState::Ended,
            _ => progress(&change),
        };
        // The one before is in force until everyone is given this one, and again when it is taken back.
        let took_over = planned.as_ref().map_or(Some(at), |s| s.whole.filter(|_| taken_back.is_none()));
        superseded = took_over.or(superseded);
        change.rollout = planned.map(|s| rollout::told(conn, &s, &streams, as_of)).transpose()?;
        answer.revisions.push(change);
    }
    Ok(answer)
}

fn override_change(
    stored: overrides::Stored,
    end: Option<&(UnixNanos, String)>,
    streams: &[Presence],
    words: &mut Words,
    as_of: UnixNanos,
) -> Change {
    // What has run out is over, also before anybody has written that down.
    let (ended, how) = match end {
        Some((_, how)) if how == "expired" => (Some(stored.expires), Some(ChangeState::Expired)),
        Some((at, _)) => (Some(*at), Some(ChangeState::Ended)),
        None if stored.expires <= as_of => (Some(stored.expires), Some(ChangeState::Expired)),
        None => (None, None),
    };
    let mut change = Change {
        id: stored.id,
        actor: stored.actor.clone(),
        reason: stored.reason.clone(),
        summary: stored.summary.clone(),
        at: stored.at,
        expires: Some(stored.expires),
        renewed: stored.renewed,
        ended,
        ..Change::default()
    };
    let mut acknowledgements = words.remove(&("override".to_owned(), stored.id)).unwrap_or_default();
    // Who had it before it was renewed may not know yet that it lasts longer.
    acknowledgements.retain(|a| stored.renewed.is_none_or(|renewed| a.at >= renewed));
    let until = ended.unwrap_or(as_of);
    meant_for(&mut change, streams, acknowledgements, stored.at, until, |p| {
        desired::concerns(&stored, &p.service, &p.instance)
    });
    change.state = how.unwrap_or_else(|| progress(&change));
    change.override_spec = Some(stored.spec);
    change
}

/// Counts for whom a change was meant and who has it. An instance that said goodbye before it had the change, and did not
/// come back, is not waited for; one whose stream broke is, because its calls may still flow.
fn meant_for(
    change: &mut Change,
    streams: &[Presence],
    acknowledgements: Vec<Acknowledgement>,
    from: UnixNanos,
    until: UnixNanos,
    concerns: impl Fn(&Presence) -> bool,
) {
    let said: BTreeSet<(&str, &str)> =
        acknowledgements.iter().map(|a| (a.service.as_str(), a.instance.as_str())).collect();
    let mut meant = BTreeMap::new();
    for stream in streams.iter().filter(|s| s.was_up(from, until) && concerns(s)) {
        let goodbye = stream.ended.as_ref().is_some_and(|(_, how)| how == "closed");
        meant.insert((stream.service.as_str(), stream.instance.as_str()), goodbye);
    }
    let targeted: BTreeSet<_> = meant
        .iter()
        .filter(|(who, goodbye)| !**goodbye || said.contains(*who))
        .map(|(who, _)| *who)
        .chain(said.iter().copied())
        .collect();
    change.targeted = u32::try_from(targeted.len()).unwrap_or(u32::MAX);
    change.applied = u32::try_from(acknowledgements.iter().filter(|a| a.refused.is_none()).count()).unwrap_or(u32::MAX);
    change.acknowledgements = acknowledgements;
}

/// How far a change that is in force has come.
fn progress(change: &Change) -> ChangeState {
    if change.acknowledgements.iter().any(|a| a.refused.is_some()) {
        ChangeState::Refused
    } else if change.targeted > 0 && change.applied >= change.targeted {
        ChangeState::Applied
    } else {
        ChangeState::Requested
    }
}

fn recent_overrides(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<overrides::Stored>> {
    let (columns, source) = (overrides::COLUMNS, overrides::SOURCE);
    let sql = format!(
        "SELECT {columns} FROM {source} o WHERE arrival <= ?1 AND expires >= ?2
         AND NOT EXISTS (SELECT 1 FROM override_ends e WHERE e.id = o.id AND e.arrival <= ?1 AND e.arrival < ?2)
         ORDER BY id DESC LIMIT {ANSWERED}"
    );
    let from = range.from.0.min(as_of.0);
    conn.prepare_cached(&sql)?.query_map(params![as_of.0, from], overrides::stored)?.collect()
}

fn ends(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<BTreeMap<u64, (UnixNanos, String)>> {
    conn.prepare_cached("SELECT id, arrival, how FROM override_ends WHERE arrival <= ?1")?
        .query_map([as_of.0], |row| Ok((unsigned(row, 0)?, (UnixNanos(row.get(1)?), row.get(2)?))))?
        .collect()
}

/// The newest word of every instance on every change.
fn words(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Words> {
    let mut select = conn.prepare_cached(
        "SELECT kind, change, service, instance, arrival, latency_ms, refused FROM acknowledgements a
         WHERE arrival <= ?1 AND NOT EXISTS (
            SELECT 1 FROM acknowledgements b WHERE b.kind = a.kind AND b.change = a.change AND b.service = a.service
            AND b.instance = a.instance AND b.arrival > a.arrival AND b.arrival <= ?1)
         ORDER BY kind, change, service, instance",
    )?;
    let mut rows = select.query([as_of.0])?;
    let mut words = Words::new();
    while let Some(row) = rows.next()? {
        words.entry((row.get(0)?, unsigned(row, 1)?)).or_default().push(Acknowledgement {
            service: row.get(2)?,
            instance: row.get(3)?,
            at: UnixNanos(row.get(4)?),
            latency_ms: row.get(5)?,
            refused: row.get(6)?,
        });
    }
    Ok(words)
}
