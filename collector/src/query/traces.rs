//! Lists of traces, newest first.
//!
//! Segments are walked from the newest backwards. The first span met of a trace makes its summary; a trace may be given out
//! once the walk has passed its own start, since none that is still to come can then be newer. So a page costs about as
//! many segments as its rows lie in, however much is stored.

use std::collections::{BTreeSet, BinaryHeap, HashSet};

use fuseboard_api::trace::{TraceList, TraceQuery, TraceRow};
use fuseboard_api::{SpanId, TimeRange, TraceId, UnixNanos};

use super::search::Search;
use super::spans::Origins;
use crate::otlp::Marks;
use crate::store::segment::{Part, Parts};
use crate::store::{Snapshot, StoreError};

const DEFAULT_LIMIT: u32 = 200;
const MAX_LIMIT: u32 = 10_000;

/// Traces looked at for one answer, however few of them match.
const EXAMINED: usize = 100_000;

pub(super) fn traces(conn: &Snapshot<'_>, query: &TraceQuery, as_of: UnixNanos) -> Result<TraceList, StoreError> {
    let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MAX_LIMIT) } as usize;
    let search = Search::of(query);
    let origins = Origins::default();
    let mut list = Listing { conn, origins, query, as_of, search, seen: HashSet::new(), heap: BinaryHeap::new() };
    let mut out = TraceList::default();
    let (from, to) = (query.range.from.0, query.range.to.0);
    let first = query.before.map_or(to, |before| before.0.min(to));
    // Traces of an earlier page may have spans here as well, and traces that began before the range may have them only
    // after this page's begin: those come at the very end.
    for (low, high) in [(from, first), (first.max(from), to)] {
        if low >= high {
            continue;
        }
        let range = TimeRange { from: UnixNanos(low), to: UnixNanos(high) };
        for row in conn.segments(range, as_of)? {
            if high == first {
                // No span that is still to come starts later.
                list.give(row.max_start.saturating_add(1), limit, &mut out);
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
            let columns = conn.columns(&row, &Parts::of(&[Part::Times, Part::Arrival]))?;
            for mut run in columns.traces() {
                let trace = columns.trace_id(run.start);
                if run.any(|at| range.contains(columns.start(at)) && columns.arrival(at) <= as_of) {
                    list.meet(trace)?;
                }
            }
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
    conn: &'a Snapshot<'a>,
    origins: Origins,
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
        let spans = brief(self.conn, id, self.as_of, &mut self.origins)?;
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

fn brief(conn: &Snapshot<'_>, id: TraceId, as_of: UnixNanos, origins: &mut Origins) -> Result<Vec<Brief>, StoreError> {
    let parts = Parts::of(&[Part::Ids, Part::Times, Part::Kinds, Part::Name, Part::Origin, Part::Peer]);
    let mut out = Vec::new();
    for (columns, rows) in conn.trace(id, as_of, &parts)? {
        for row in rows {
            out.push(Brief {
                span_id: columns.span_id(row),
                parent: columns.parent(row),
                server: matches!(columns.kind(row), 2 | 5),
                service: origins.get(conn, columns.origin(row))?.service.clone(),
                name: columns.name(row).to_owned(),
                peer: columns.peer(row).map(str::to_owned),
                start: columns.start(row).0,
                end: columns.end(row).0,
                failed: columns.status(row) == 2,
                refused: columns.marks(row).has(Marks::REFUSED),
            });
        }
    }
    out.sort_by_key(|s| (s.start, s.span_id, s.end));
    Ok(out)
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
