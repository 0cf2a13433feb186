//! A rollout as it is told, as of an instant.

use std::collections::BTreeMap;

use fuseboard_api::UnixNanos;
use fuseboard_api::rollout::{Group, Rollout, RolloutState};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{self, Kind, Standing};
use crate::control::picture::Presence;
use crate::control::sql::unsigned;

/// How the delivery of a revision fared.
///
/// # Errors
/// Only the database's own.
pub(crate) fn rollout(
    conn: &Connection,
    standing: &Standing,
    streams: &[Presence],
    as_of: UnixNanos,
) -> rusqlite::Result<Rollout> {
    let look = rows::last_look(conn, standing.revision, as_of)?.unwrap_or_default();
    let fresh = look.stage == standing.stage && look.at >= standing.since;
    let missing = if fresh { look.missing.as_str() } else { "" };
    let (state, since) = match &standing.over {
        Some((Kind::Reverted, at, _)) => (RolloutState::Reverted, *at),
        Some((Kind::Aborted, at, _)) => (RolloutState::Aborted, *at),
        Some((Kind::Lapsed, at, _)) => (RolloutState::Lapsed, *at),
        Some((_, at, _)) => (RolloutState::Done, *at),
        None if standing.paused => (RolloutState::Paused, standing.since),
        None if standing.baked => (RolloutState::Confirming, standing.since),
        None if standing.due() <= as_of && !missing.is_empty() => (RolloutState::Holding, standing.since),
        None => (RolloutState::Baking, standing.since),
    };
    let why = match state {
        RolloutState::Baking | RolloutState::Holding if !missing.is_empty() => missing.to_owned(),
        RolloutState::Baking => {
            let looked = if look.readings.is_empty() { "no guard has looked yet" } else { "all guards pass so far" };
            if standing.delivery.guards.is_empty() { "it waits for its time".to_owned() } else { looked.to_owned() }
        }
        _ => standing.why.clone(),
    };
    Ok(Rollout {
        revision: standing.revision,
        base: standing.base,
        delivery: standing.delivery.clone(),
        stage: standing.stage,
        state,
        why,
        since,
        next_at: matches!(state, RolloutState::Baking | RolloutState::Holding).then(|| standing.due()),
        groups: if standing.is_over() { Vec::new() } else { groups(conn, standing, streams, as_of)? },
        readings: look.readings,
        looked: look.at,
        waived: standing.waived,
        confirm_by: standing.confirm_by,
        confirmed: standing.confirmed,
    })
}

/// The connected instances, as they are divided.
pub(super) fn groups(
    conn: &Connection,
    standing: &Standing,
    streams: &[Presence],
    as_of: UnixNanos,
) -> rusqlite::Result<Vec<Group>> {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for stream in streams.iter().filter(|s| s.ended.is_none()) {
        let group = groups.entry(&stream.service).or_default();
        let has = standing.division.has(&stream.service, &stream.instance);
        let list = if has { &mut group.changed } else { &mut group.others };
        list.push(stream.instance.clone());
        if said(conn, stream.session, as_of)?.running == standing.revision {
            group.running.push(stream.instance.clone());
        }
    }
    let finish = |(service, mut group): (&str, Group)| {
        for list in [&mut group.changed, &mut group.others, &mut group.running] {
            list.sort_unstable();
            list.dedup();
        }
        Group { service: service.to_owned(), ..group }
    };
    Ok(groups.into_iter().map(finish).collect())
}

/// What an instance said last of revisions.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) running: u64,
    pub(super) failed: Option<(u64, String)>,
}

/// The last status of a stream.
pub(super) fn said(conn: &Connection, session: i64, as_of: UnixNanos) -> rusqlite::Result<Said> {
    let found = conn
        .prepare_cached(
            "SELECT running, failed_revision, failed_reason FROM statuses WHERE session = ?1 AND arrival <= ?2
             ORDER BY arrival DESC LIMIT 1",
        )?
        .query_row(params![session, as_of.0], |row| {
            let failed: Option<i64> = row.get(1)?;
            let reason: Option<String> = row.get(2)?;
            let failed = failed.and_then(|n| u64::try_from(n).ok()).map(|n| (n, reason.unwrap_or_default()));
            Ok(Said { running: unsigned(row, 0)?, failed })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}
