//! Lists of traces, newest first.
//!
//! Spans are walked from the newest start backwards. The first span met of a trace makes its summary; a trace may be given
//! out once the walk has passed its own start, since none that is still to come can then be newer. So a page costs about
//! as many rows as it shows, however much is stored.

use std::collections::{BTreeSet, BinaryHeap, HashSet};

use fuseboard_api::trace::{TraceList, TraceQuery, TraceRow};
use fuseboard_api::{SpanId, TraceId, UnixNanos};
use rusqlite::{Connection, params};

use super::search::Search;
use crate::store::{MARK_REFUSED, StoreError};

const DEFAULT_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 10_000;

/// Traces looked at for one answer, however few of them match.
const EXAMINED: usize = 100_000;

pub(super) fn traces(conn: &Connection, query: &TraceQuery, as_of: UnixNanos) -> Result<TraceList, StoreError> {
    let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MAX_LIMIT) } as usize;
    let search = Search::of(query);
    let mut list = Listing { conn, query, as_of, search, seen: HashSet::new(), heap: BinaryHeap::new() };
    let mut out = TraceList::default();
    let (from, to) = (query.range.from.0, query.range.to.0);
    let first = query.before.map_or(to, |before| before.0.min(to));
    let mut walk = conn.prepare_cached(
        "SELECT trace_id, start FROM spans WHERE start >= ?1 AND start < ?2 AND arrival <= ?3 ORDER BY start DESC",
    )?;
    // Traces of an earlier page may have spans here as well, and traces that began before the range may have them only
    // after this page's begin: those come at the very end.
    for (low, high) in [(from, first), (first.max(from), to)] {
        if low >= high {
            continue;
        }
        let mut rows = walk.query(params![low, high, as_of.0])?;
        while let Some(row) = rows.next()? {
            let start: i64 = row.get(1)?;
            if high == first {
                list.give(start, limit, &mut out);
                if out.more {
                    return Ok(out);
                }
            }
            if list.seen.len() >= EXAMINED {
                // Further back nobody has looked: there may be more.
                list.give(i64::MIN, limit, &mut out);
                out.more = true;
                return Ok(out);
            }
            list.meet(TraceId(row.get(0)?))?;
        }
        if high == first {
            // What began before the range still waits for the rest.
            list.give(from, limit, &mut out);
        }
    }
    list.give(i64::MIN, limit, &mut out);
    Ok(out)
}

struct Listing<'a> {
    conn: &'a Connection,
    query: &'a TraceQuery,
    as_of: UnixNanos,
    search: Option<Search>,
    seen: HashSet<TraceId>,
    heap: BinaryHeap<Newest>,
}

/// A row in the order of the list: newest first, then by id.
struct Newest(TraceRow);

impl Newest {
    fn key(&self) -> (UnixNanos, TraceId) {
        (self.0.start, self.0.trace_id)
    }
}

impl PartialEq for Newest {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Newest {}

impl PartialOrd for Newest {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Newest {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Listing<'_> {
    /// Gives out every trace that began at or after `passed`.
    fn give(&mut self, passed: i64, limit: usize, out: &mut TraceList) {
        while self.heap.peek().is_some_and(|row| row.0.start.0 >= passed) && !out.more {
            if out.rows.len() >= limit {
                out.more = true;
            } else if let Some(Newest(row)) = self.heap.pop() {
                out.rows.push(row);
            }
        }
    }

    /// Summarizes a trace met for the first time, and keeps it when it is wanted.
    fn meet(&mut self, id: TraceId) -> Result<(), StoreError> {
        if !self.seen.insert(id) {
            return Ok(());
        }
        if let Some(search) = &self.search
            && !search.finds(self.conn, id, self.as_of)?
        {
            return Ok(());
        }
        let spans = brief(self.conn, id, self.as_of)?;
        if let Some(row) = summary(id, &spans)
            && self.wanted(&row, &spans)
        {
            self.heap.push(Newest(row));
        }
        Ok(())
    }

    fn wanted(&self, row: &TraceRow, spans: &[Brief]) -> bool {
        let q = self.query;
        let ms = row.duration_nanos as f64 / 1e6;
        let operation = |wanted: &String| {
            let of_service = |s: &Brief| q.service.as_ref().is_none_or(|service| s.service == *service);
            spans.iter().any(|s| s.name == *wanted && of_service(s))
        };
        q.before.is_none_or(|before| row.start < before)
            && q.min_ms.is_none_or(|min| ms >= min)
            && q.max_ms.is_none_or(|max| ms <= max)
            && (!q.errors_only || row.errors > 0)
            && q.service.as_ref().is_none_or(|s| row.services.contains(s))
            && q.operation.as_ref().is_none_or(operation)
            && q.edge.as_ref().is_none_or(|(caller, callee)| crosses(spans, caller, callee))
    }
}

/// What a summary needs of a span.
struct Brief {
    span_id: SpanId,
    parent: Option<SpanId>,
    server: bool,
    service: String,
    name: String,
    peer: Option<String>,
    start: i64,
    end: i64,
    failed: bool,
    refused: bool,
}

fn brief(conn: &Connection, id: TraceId, as_of: UnixNanos) -> rusqlite::Result<Vec<Brief>> {
    let mut read = conn.prepare_cached(
        "SELECT s.span_id, s.parent, s.side, o.service, n.text, p.text, s.start, s.end, s.status, s.marks
         FROM spans s JOIN origins o ON o.id = s.origin JOIN names n ON n.id = s.name LEFT JOIN names p ON p.id = s.peer
         WHERE s.trace_id = ?1 AND s.arrival <= ?2 ORDER BY s.start, s.id",
    )?;
    read.query_map(params![&id.0[..], as_of.0], |r| {
        Ok(Brief {
            span_id: SpanId(r.get(0)?),
            parent: r.get::<_, Option<[u8; 8]>>(1)?.map(SpanId),
            server: r.get(2)?,
            service: r.get(3)?,
            name: r.get(4)?,
            peer: r.get(5)?,
            start: r.get(6)?,
            end: r.get(7)?,
            failed: r.get::<_, i64>(8)? == 2,
            refused: r.get::<_, i64>(9)? & MARK_REFUSED != 0,
        })
    })?
    .collect()
}

/// The line of a trace; `spans` by start.
fn summary(id: TraceId, spans: &[Brief]) -> Option<TraceRow> {
    let earliest = spans.first()?;
    let root = spans.iter().find(|s| s.parent.is_none()).unwrap_or(earliest);
    let end = spans.iter().map(|s| s.end).max()?;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let services: BTreeSet<&String> = spans.iter().map(|s| &s.service).collect();
    Some(TraceRow {
        trace_id: id,
        service: root.service.clone(),
        operation: root.name.clone(),
        start: UnixNanos(earliest.start),
        duration_nanos: u64::try_from(end.saturating_sub(earliest.start)).unwrap_or(0),
        spans: count(spans.len()),
        errors: count(spans.iter().filter(|s| s.failed).count()),
        refused: count(spans.iter().filter(|s| s.refused).count()),
        failed: root.parent.is_none() && root.failed,
        services: services.into_iter().cloned().collect(),
    })
}

/// Whether a call goes from `caller` to `callee`.
fn crosses(spans: &[Brief], caller: &str, callee: &str) -> bool {
    spans.iter().any(|s| {
        let names_it = s.service == caller && s.peer.as_deref() == Some(callee);
        let from_queue = s.server && s.service == callee && s.peer.as_deref() == Some(caller);
        let answers = s.server && s.service == callee && called_by(spans, s, caller);
        names_it || from_queue || answers
    })
}

fn called_by(spans: &[Brief], server: &Brief, caller: &str) -> bool {
    match server.parent {
        None => caller == fuseboard_api::graph::OUTSIDE,
        Some(parent) => match spans.iter().find(|s| s.span_id == parent) {
            Some(s) => s.service == caller,
            None => caller == fuseboard_api::graph::OUTSIDE,
        },
    }
}
