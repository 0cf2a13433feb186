//! Incidents: named ranges of time, kept against retention, told as a story, cut out into files.

mod candidates;
mod export;
mod suspects;

use fuseboard_api::graph::Severity;
use fuseboard_api::incident::{Incident, IncidentFile, Incidents};
use fuseboard_api::strip::{Mark, MarkKind};
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

pub(crate) use export::export;

use crate::control::refusal::{bad_request, not_found};
use crate::control::{Author, Deny, Entry, audit_entry, picture as control, signed, unsigned};
use crate::query::rollups;

/// The tables of this room. Renaming and stopping append; what an incident is at an instant follows from what had arrived.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS incidents (
    id INTEGER PRIMARY KEY,
    arrival INTEGER NOT NULL,
    name TEXT NOT NULL,
    began INTEGER NOT NULL,
    actor TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS incident_changes (
    change INTEGER PRIMARY KEY,
    id INTEGER NOT NULL REFERENCES incidents (id),
    arrival INTEGER NOT NULL,
    name TEXT, -- a new name, or
    ended INTEGER -- the end
) STRICT;
CREATE TABLE IF NOT EXISTS incident_file ( -- one row in a file that holds a single incident
    name TEXT NOT NULL,
    began INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    written INTEGER NOT NULL,
    version TEXT NOT NULL,
    schema INTEGER NOT NULL
) STRICT;
";

/// Longest name, in bytes.
const MAX_NAME: usize = 200;
/// So many incidents are answered.
const ANSWERED: u32 = 50;
/// Lines of a story that are told; the worst and the changes come before what merely happened.
const STORY: usize = 200;
/// A start this little ahead means now: a commit bears the stamp of its beginning, and the asker's clock may be ahead.
const CLOCKS_DIFFER: std::time::Duration = std::time::Duration::from_secs(5);

/// Starts to record; gives the incident's id. What is kept from then on is pinned against retention.
///
/// # Errors
/// `bad_request` for a name that is empty or a start that lies ahead.
pub(crate) fn start(
    tx: &Transaction<'_>,
    at: UnixNanos,
    author: &Author,
    name: &str,
    from: UnixNanos,
) -> Result<u64, Deny> {
    let name = checked(name)?;
    if from.since(at) > CLOCKS_DIFFER {
        return Err(bad_request("an incident cannot start in the future; leave from at or before now").into());
    }
    let from = from.min(at);
    let id: u64 = tx.query_row("SELECT coalesce(max(id), 0) + 1 FROM incidents", [], |row| unsigned(row, 0))?;
    tx.prepare_cached("INSERT INTO incidents VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        signed(id),
        at.0,
        name,
        from.0,
        author.actor
    ])?;
    tx.prepare_cached("INSERT INTO pins VALUES (?1, ?2, ?3)")?.execute(params![signed(id), from.0, i64::MAX])?;
    audit(tx, at, author, "incident.started", id, format!("{name:?}"))?;
    Ok(id)
}

/// Finishes an incident.
///
/// # Errors
/// `not_found` when it does not exist, `bad_request` when it is over or would end before it began.
pub(crate) fn stop(
    tx: &Transaction<'_>,
    at: UnixNanos,
    author: &Author,
    id: u64,
    to: Option<UnixNanos>,
) -> Result<(), Deny> {
    let incident = existing(tx, id)?;
    if incident.to.is_some() {
        return Err(bad_request(format!("incident {id} is finished already")).into());
    }
    let to = to.unwrap_or(at).min(at);
    if to <= incident.from {
        return Err(bad_request("an incident cannot end before it began").into());
    }
    tx.prepare_cached("INSERT INTO incident_changes (id, arrival, ended) VALUES (?1, ?2, ?3)")?.execute(params![
        signed(id),
        at.0,
        to.0
    ])?;
    tx.prepare_cached("UPDATE pins SET newest = ?2 WHERE id = ?1")?.execute(params![signed(id), to.0])?;
    audit(
        tx,
        at,
        author,
        "incident.recorded",
        id,
        format!("{:?}, {} s", incident.name, to.since(incident.from).as_secs()),
    )?;
    Ok(())
}

/// Gives an incident another name.
///
/// # Errors
/// `not_found` when it does not exist, `bad_request` for an empty name.
pub(crate) fn rename(tx: &Transaction<'_>, at: UnixNanos, author: &Author, id: u64, name: &str) -> Result<(), Deny> {
    let name = checked(name)?;
    let incident = existing(tx, id)?;
    tx.prepare_cached("INSERT INTO incident_changes (id, arrival, name) VALUES (?1, ?2, ?3)")?.execute(params![
        signed(id),
        at.0,
        name
    ])?;
    audit(tx, at, author, "incident.renamed", id, format!("{:?} → {name:?}", incident.name))?;
    Ok(())
}

fn checked(name: &str) -> Result<&str, Deny> {
    match name.trim() {
        name if !name.is_empty() && name.len() <= MAX_NAME => Ok(name),
        _ => Err(bad_request(format!("an incident's name has 1 to {MAX_NAME} bytes")).into()),
    }
}

fn existing(conn: &Connection, id: u64) -> Result<Incident, Deny> {
    find(conn, id, UnixNanos(i64::MAX))?.ok_or_else(|| not_found(format!("there is no incident {id}")).into())
}

fn audit(
    tx: &Transaction<'_>,
    at: UnixNanos,
    author: &Author,
    action: &'static str,
    id: u64,
    detail: String,
) -> rusqlite::Result<()> {
    let entry = Entry {
        actor: author.actor.clone(),
        action,
        target: format!("incident {id}"),
        reason: author.reason.clone(),
        detail,
    };
    audit_entry(tx, at, &entry)
}

/// What an incident was as of an instant, without counts and story.
fn bare(conn: &Connection, as_of: UnixNanos, only: Option<u64>, limit: u32) -> rusqlite::Result<Vec<Incident>> {
    let mut select = conn.prepare_cached(
        "SELECT id, began, actor,
            coalesce((SELECT c.name FROM incident_changes c WHERE c.id = i.id AND c.name IS NOT NULL AND c.arrival <= ?1
                ORDER BY c.change DESC LIMIT 1), name),
            (SELECT c.ended FROM incident_changes c WHERE c.id = i.id AND c.ended IS NOT NULL AND c.arrival <= ?1
                ORDER BY c.change DESC LIMIT 1)
         FROM incidents i WHERE arrival <= ?1 AND (?2 IS NULL OR id = ?2) ORDER BY began DESC, id DESC LIMIT ?3",
    )?;
    let rows = select.query_map(params![as_of.0, only.map(signed), limit], |row| {
        Ok(Incident {
            id: unsigned(row, 0)?,
            from: UnixNanos(row.get(1)?),
            actor: row.get(2)?,
            name: row.get(3)?,
            to: row.get::<_, Option<i64>>(4)?.map(UnixNanos),
            ..Incident::default()
        })
    })?;
    rows.collect()
}

fn find(conn: &Connection, id: u64, as_of: UnixNanos) -> rusqlite::Result<Option<Incident>> {
    Ok(bare(conn, as_of, Some(id), 1)?.pop())
}

/// Incidents and candidates as of an instant.
///
/// # Errors
/// Only the store's own.
pub(crate) fn picture(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Incidents> {
    let file = file(conn)?;
    let mut incidents = bare(conn, as_of, None, ANSWERED)?;
    for incident in &mut incidents {
        fill(conn, incident, as_of)?;
    }
    // Nobody could record what an opened file might suggest.
    let mut candidates = match file {
        Some(_) => Vec::new(),
        None => candidates::find(conn, &incidents, as_of)?,
    };
    for candidate in &mut candidates {
        fill(conn, candidate, as_of)?;
    }
    Ok(Incidents { incidents, candidates, file })
}

/// Counts, story and suspects of an incident.
fn fill(conn: &Connection, incident: &mut Incident, as_of: UnixNanos) -> rusqlite::Result<()> {
    let range = TimeRange { from: incident.from, to: incident.to.unwrap_or(as_of).min(as_of) };
    for edge in rollups::edges(conn, range, as_of)? {
        incident.calls += edge.stats.calls;
        incident.errors += edge.stats.errors;
    }
    incident.spans = conn
        .prepare_cached("SELECT coalesce(sum(spans), 0) FROM commits WHERE stamp >= ?1 AND stamp <= ?2")?
        .query_row([range.from.0, range.to.0], |row| unsigned(row, 0))?;
    incident.story = story(conn, range, as_of)?;
    incident.suspects = suspects::rank(conn, range, as_of)?;
    Ok(())
}

/// What happened, in order: breakers, changes, anomalies, lost agents.
fn story(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<Mark>> {
    let mut marks = control::marks(conn, range, as_of)?;
    marks.retain(|m| !matches!(m.kind, MarkKind::IncidentBegan | MarkKind::IncidentEnded));
    if marks.len() > STORY {
        let mut by_weight: Vec<usize> = (0..marks.len()).collect();
        by_weight.sort_by_key(|i| std::cmp::Reverse(marks.get(*i).map(|m| m.severity)));
        let kept: std::collections::BTreeSet<usize> = by_weight.into_iter().take(STORY).collect();
        let mut place = 0;
        marks.retain(|_| {
            place += 1;
            kept.contains(&(place - 1))
        });
    }
    Ok(marks)
}

/// Begins and ends of incidents in a range.
///
/// # Errors
/// Only the database's own.
pub(crate) fn marks(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for incident in bare(conn, as_of, None, ANSWERED)? {
        let ends =
            [(Some(incident.from), MarkKind::IncidentBegan, "began"), (incident.to, MarkKind::IncidentEnded, "ended")];
        for (at, kind, did) in ends {
            if let Some(at) = at.filter(|at| range.contains(*at)) {
                marks.push(Mark {
                    at,
                    kind,
                    label: "inc".to_owned(),
                    text: format!("incident {:?} {did}", incident.name),
                    severity: Severity::Well,
                    edge: None,
                });
            }
        }
    }
    Ok(marks)
}

/// Incidents that touch a range: id, name, range (to the asked instant while it goes on). For the strip.
///
/// # Errors
/// Only the database's own.
pub(crate) fn touching(
    conn: &Connection,
    range: TimeRange,
    as_of: UnixNanos,
) -> rusqlite::Result<Vec<(u64, String, TimeRange)>> {
    let all = bare(conn, as_of, None, ANSWERED)?.into_iter().map(|i| {
        let to = i.to.unwrap_or(as_of);
        (i.id, i.name, TimeRange { from: i.from, to })
    });
    Ok(all.filter(|(_, _, r)| r.from < range.to && range.from < r.to).collect())
}

/// What an incident file says of itself; `None` for a collector's own file.
fn file(conn: &Connection) -> rusqlite::Result<Option<IncidentFile>> {
    conn.prepare_cached("SELECT name, began, ended, written, version, schema FROM incident_file LIMIT 1")?
        .query_row([], |row| {
            Ok(IncidentFile {
                name: row.get(0)?,
                range: TimeRange { from: UnixNanos(row.get(1)?), to: UnixNanos(row.get(2)?) },
                written: UnixNanos(row.get(3)?),
                version: row.get(4)?,
                schema: row.get(5)?,
            })
        })
        .optional()
}
