//! The halves of calls that wait for the other one, in the table.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::names::Names;
use super::pairing::{Half, Meeting, Pairing};

/// What one commit says: who began to wait, and who of those before waits no longer.
#[derive(Serialize, Deserialize)]
struct Line {
    names: Vec<String>,
    halves: Vec<Waiting>,
    ended: Vec<i64>,
}

/// A half; names are positions in the line.
#[derive(Serialize, Deserialize)]
struct Waiting {
    id: i64,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    server: bool,
    asynchronous: bool,
    service: u32,
    operation: u32,
    fallback: u32,
    start: i64,
    end: i64,
    failed: bool,
    deadline: i64,
}

/// Those who wait.
pub(super) fn load(conn: &Connection, names: &mut Names) -> Result<Pairing, StoreError> {
    let mut all = Vec::new();
    let mut ended = std::collections::HashSet::new();
    let mut read = conn.prepare_cached("SELECT data FROM pending ORDER BY arrival")?;
    let mut rows = read.query([])?;
    while let Some(row) = rows.next()? {
        let bytes = row.get_ref(0)?.as_blob().unwrap_or_default();
        let line: Line = rmp_serde::from_slice(bytes).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        ended.extend(line.ended);
        let mut name = |at: u32| names.number(line.names.get(at as usize).map_or("", String::as_str).as_bytes());
        all.extend(line.halves.iter().map(|w| Half {
            id: w.id,
            at: Meeting { trace_id: w.trace_id, span_id: w.span_id },
            server: w.server,
            asynchronous: w.asynchronous,
            service: name(w.service),
            operation: name(w.operation),
            fallback: name(w.fallback),
            start: w.start,
            end: w.end,
            failed: w.failed,
            deadline: w.deadline,
        }));
    }
    let mut pairing = Pairing::default();
    all.into_iter().filter(|half| !ended.contains(&half.id)).for_each(|half| pairing.restore(half));
    let last: i64 = conn.query_row("SELECT coalesce(max(last), 0) FROM pending", [], |r| r.get(0))?;
    pairing.number_after(last);
    Ok(pairing)
}

/// Writes what changed since the last commit; true when anything did.
pub(super) fn write(conn: &Connection, pairing: &mut Pairing, names: &Names, stamp: i64) -> Result<bool, StoreError> {
    let (halves, ended) = pairing.settle();
    if halves.is_empty() && ended.is_empty() {
        return Ok(false);
    }
    let mut line = Line { names: Vec::new(), halves: Vec::with_capacity(halves.len()), ended };
    let mut places = std::collections::HashMap::new();
    let mut name = |number: u32| {
        *places.entry(number).or_insert_with(|| {
            line.names.push(names.text(number).to_owned());
            line.names.len() as u32 - 1
        })
    };
    for half in &halves {
        line.halves.push(Waiting {
            id: half.id,
            trace_id: half.at.trace_id,
            span_id: half.at.span_id,
            server: half.server,
            asynchronous: half.asynchronous,
            service: name(half.service),
            operation: name(half.operation),
            fallback: name(half.fallback),
            start: half.start,
            end: half.end,
            failed: half.failed,
            deadline: half.deadline,
        });
    }
    let data = rmp_serde::to_vec(&line).map_err(|e| StoreError::Corrupt(e.to_string()))?;
    conn.prepare_cached("INSERT INTO pending (arrival, last, data) VALUES (?1, ?2, ?3)")?.execute(params![
        stamp,
        pairing.last_number(),
        data
    ])?;
    conn.prepare_cached("DELETE FROM pending WHERE last < ?1")?.execute([pairing.first_waiting()])?;
    Ok(true)
}
