//! Who was connected, and what each instance ran.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fuseboard_api::fleet::{Drift, Fleet, Member};
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::control::{overrides, revisions, rollout, unsigned};
use crate::query;

/// An instance that has been gone for so long is no longer listed.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);

/// One control stream.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    pub(crate) session: i64,
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) version: String,
    /// Since when it was up.
    pub(crate) since: UnixNanos,
    /// When and how it ended: `closed`, `lost`, `replaced`, `stopped`.
    pub(crate) ended: Option<(UnixNanos, String)>,
}

impl Presence {
    /// Whether the stream was up at some instant of a stretch.
    pub(crate) fn was_up(&self, from: UnixNanos, until: UnixNanos) -> bool {
        self.since <= until && self.ended.as_ref().is_none_or(|(end, _)| *end >= from)
    }
}

/// Every stream that had come up by `as_of`, oldest first; ends that came later are not known yet.
///
/// # Errors
/// Only the database's own.
pub(crate) fn presence(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Vec<Presence>> {
    let mut select = conn.prepare_cached(
        "SELECT s.session, s.service, s.instance, s.version, s.arrival, e.arrival, e.how
         FROM sessions s LEFT JOIN session_ends e ON e.session = s.session AND e.arrival <= ?1
         WHERE s.arrival <= ?1 ORDER BY s.session",
    )?;
    let rows = select.query_map([as_of.0], |row| {
        let ended: Option<i64> = row.get(5)?;
        Ok(Presence {
            session: row.get(0)?,
            service: row.get(1)?,
            instance: row.get(2)?,
            version: row.get(3)?,
            since: UnixNanos(row.get(4)?),
            ended: ended.map(|at| Ok::<_, rusqlite::Error>((UnixNanos(at), row.get(6)?))).transpose()?,
        })
    })?;
    rows.collect()
}

/// The newest stream of each instance, by service and instance.
///
/// # Errors
/// Only the database's own.
pub(crate) fn newest(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<BTreeMap<(String, String), Presence>> {
    Ok(presence(conn, as_of)?.into_iter().map(|p| ((p.service.clone(), p.instance.clone()), p)).collect())
}

/// The fleet: instances with an agent, and those that only send telemetry.
///
/// # Errors
/// Only the store's own.
pub(crate) fn fleet(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Fleet> {
    let newest = newest(conn, as_of)?;
    let revision = revisions::in_force(conn, as_of)?.revision.number;
    let rolled_out = rollout::running(conn, as_of)?;
    let mut members = BTreeMap::new();
    for (key, presence) in newest {
        let (connected, last) = match &presence.ended {
            None => (true, presence.since),
            Some((end, _)) => (false, *end),
        };
        if !connected && as_of.since(last) > FORGOTTEN {
            continue;
        }
        let mut member = Member {
            service: presence.service.clone(),
            instance: presence.instance.clone(),
            version: presence.version.clone(),
            connected: Some(connected),
            since: presence.since,
            last_seen: last,
            desired: match &rolled_out {
                Some(s) if s.division.has(&presence.service, &presence.instance) => s.revision,
                _ => revision,
            },
            ..Member::default()
        };
        told(conn, presence.session, as_of, &mut member)?;
        members.insert(key, member);
    }
    for seen in query::instances(conn, range, as_of)? {
        match members.entry((seen.service.clone(), seen.instance.clone())) {
            Entry::Occupied(mut member) => member.get_mut().stats = seen.stats,
            Entry::Vacant(place) if as_of.since(seen.last_seen) <= FORGOTTEN => {
                place.insert(seen);
            }
            Entry::Vacant(_) => {}
        }
    }
    let members: Vec<Member> = members.into_values().collect();
    let drift = drift(&members, &overrides::in_force(conn, as_of)?);
    Ok(Fleet { members, revision, overrides: overrides::generation(conn, as_of)?, drift })
}

/// Where connected instances of a service that were given the same have different settings in force. Who has an override
/// of its own is left out.
fn drift(members: &[Member], in_force: &[overrides::Stored]) -> Vec<Drift> {
    let own = |m: &Member| in_force.iter().any(|o| o.spec.selector.instance.as_deref() == Some(m.instance.as_str()));
    let mut alike: BTreeMap<(&str, u64, u64), Vec<&Member>> = BTreeMap::new();
    for member in members.iter().filter(|m| m.connected == Some(true) && !m.effective_hash.is_empty() && !own(m)) {
        alike.entry((&member.service, member.running, member.overrides)).or_default().push(member);
    }
    let mut out = Vec::new();
    for ((service, revision, _), group) in alike {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        group.iter().for_each(|m| *counts.entry(&m.effective_hash).or_default() += 1);
        // Of two as common, the one that the first instance has.
        let common =
            group.iter().rev().max_by_key(|m| counts.get(m.effective_hash.as_str())).map(|m| &m.effective_hash);
        let odd: Vec<&&Member> = group.iter().filter(|m| Some(&m.effective_hash) != common).collect();
        if odd.is_empty() {
            continue;
        }
        let instances: Vec<String> = odd.iter().map(|m| m.instance.clone()).collect();
        let versions: BTreeSet<&str> = group.iter().map(|m| m.version.as_str()).collect();
        let hint = if versions.len() > 1 {
            "they are of different versions, which may bring different defaults"
        } else {
            "they have defaults of their own, or call edges that the others have not called yet"
        };
        out.push(Drift {
            service: service.to_owned(),
            revision,
            of: u32::try_from(group.len()).unwrap_or(u32::MAX),
            text: format!(
                "{} of {} instances of {service} at r{revision} have other settings in force than the rest: {hint}",
                instances.len(),
                group.len()
            ),
            instances,
        });
    }
    out
}

/// What an instance told last on its stream.
fn told(conn: &Connection, session: i64, as_of: UnixNanos, member: &mut Member) -> rusqlite::Result<()> {
    let mut fill = |row: &Row<'_>| {
        member.last_seen = member.last_seen.max(UnixNanos(row.get(0)?));
        member.running = unsigned(row, 1)?;
        member.attempted = unsigned(row, 2)?;
        let failed: Option<i64> = row.get(3)?;
        let failed = failed.and_then(|n| u64::try_from(n).ok());
        member.last_failed = failed.map(|f| Ok::<_, rusqlite::Error>((f, row.get(4)?))).transpose()?;
        let hash: Vec<u8> = row.get(5)?;
        member.effective_hash = hash.iter().map(|b| format!("{b:02x}")).collect();
        member.overrides = unsigned(row, 6)?;
        member.dropped = unsigned(row, 7)?;
        member.reverted_from = Some(unsigned(row, 8)?).filter(|n| *n != 0);
        member.since_running = Some(UnixNanos(row.get(9)?)).filter(|t| t.0 != 0);
        Ok(())
    };
    conn.prepare_cached(
        "SELECT arrival, running, attempted, failed_revision, failed_reason, effective_hash, overrides, dropped,
                reverted_from, since
         FROM statuses WHERE session = ?1 AND arrival <= ?2 ORDER BY arrival DESC LIMIT 1",
    )?
    .query_row(params![session, as_of.0], |row| fill(row))
    .optional()?;
    Ok(())
}
