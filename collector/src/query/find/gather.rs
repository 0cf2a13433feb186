//! All spans of one trace, from all segments.

use std::sync::Arc;

use fuseboard_api::span::Origin;
use fuseboard_api::trace::{Position, TraceRow};
use fuseboard_api::{SpanId, TraceId, UnixNanos};

use super::source::Source;
use crate::otlp::Marks;
use crate::store::StoreError;
use crate::store::segment::{Columns, Part, Parts};

/// OTLP's numbers of the kinds that answer.
const ANSWERS: [u8; 2] = [2, 5];
/// OTLP's number of the status of what failed.
const FAILED: u8 = 2;

/// What other spans need to know of a span.
#[derive(Debug, Clone)]
pub(super) struct Brief {
    /// Its segment.
    pub(super) at: usize,
    /// Its row there.
    pub(super) row: usize,
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
    /// Answers a call, or takes from a queue.
    pub(super) answers: bool,
    pub(super) kind: u8,
    pub(super) failed: bool,
    pub(super) refused: bool,
    pub(super) origin: Arc<Origin>,
    pub(super) name: String,
    pub(super) peer: Option<String>,
    pub(super) start: UnixNanos,
    pub(super) end: UnixNanos,
}

/// A trace with all its spans as of an instant.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) id: TraceId,
    /// By start, then by id and kind.
    pub(super) spans: Vec<Brief>,
    /// The span that stands for the trace.
    root: usize,
    /// From the earliest start to the latest end.
    pub(super) nanos: u64,
    pub(super) errors: usize,
}

/// The columns that a brief takes.
pub(super) fn brief_parts() -> Parts {
    Parts::of(&[Part::Ids, Part::Times, Part::Kinds, Part::Name, Part::Origin, Part::Arrival, Part::Peer])
}

impl Gathered {
    /// Gathers a trace.
    pub(super) fn new(source: &impl Source, id: TraceId, as_of: UnixNanos) -> Result<Self, StoreError> {
        let mut spans = Vec::new();
        let parts = brief_parts();
        for (at, meta) in source.segments().iter().enumerate() {
            if meta.min_arrival > as_of.0 || !source.may_have_trace(at, id)? {
                continue;
            }
            let columns = match source.columns(at, &parts) {
                // Whoever looks through the segments says so.
                Err(e) if e.is_damage() => continue,
                columns => columns?,
            };
            for row in columns.rows_of(id) {
                if columns.arrival(row) <= as_of {
                    spans.push(brief(source, &columns, at, row)?);
                }
            }
        }
        spans.sort_by_key(|s| (s.start, s.span_id, s.kind));
        let first = spans.first().map_or(UnixNanos(0), |s| s.start);
        let end = spans.iter().map(|s| s.end).max().unwrap_or(first);
        Ok(Self {
            id,
            root: spans.iter().position(|s| s.parent.is_none()).unwrap_or(0),
            nanos: u64::try_from(end.0.saturating_sub(first.0)).unwrap_or(0),
            errors: spans.iter().filter(|s| s.failed).count(),
            spans,
        })
    }

    /// The span that stands for the trace: the first root, or the earliest span while no root is stored.
    pub(super) fn root(&self) -> Option<&Brief> {
        self.spans.get(self.root)
    }

    /// Where a span stands in a list.
    pub(super) fn position(&self, span: &Brief) -> Position {
        Position { start: span.start, trace_id: self.id, span_id: span.span_id }
    }

    /// The line of the trace.
    pub(super) fn row(&self) -> TraceRow {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let mut services: Vec<String> = self.spans.iter().map(|s| s.origin.service.clone()).collect();
        services.sort_unstable();
        services.dedup();
        let root = self.root();
        TraceRow {
            trace_id: self.id,
            service: root.map(|r| r.origin.service.clone()).unwrap_or_default(),
            operation: root.map(|r| r.name.clone()).unwrap_or_default(),
            start: self.spans.first().map_or(UnixNanos(0), |s| s.start),
            duration_nanos: self.nanos,
            spans: count(self.spans.len()),
            errors: count(self.errors),
            refused: count(self.spans.iter().filter(|s| s.refused).count()),
            failed: root.is_some_and(|r| r.parent.is_none() && r.failed),
            services,
        }
    }

    /// Who called a span that answers: `None` when that is not stored.
    pub(super) fn caller(&self, span: &Brief) -> Option<&Brief> {
        // Some senders give the two sides of a call the same id.
        let shared = |s: &&Brief| s.span_id == span.span_id && !s.answers;
        if span.answers
            && let Some(other) = self.spans.iter().find(shared)
        {
            return Some(other);
        }
        let parent = span.parent?;
        let called = |s: &&Brief| s.span_id == parent;
        self.spans.iter().filter(called).max_by_key(|s| !s.answers)
    }
}

fn brief(source: &impl Source, columns: &Columns, at: usize, row: usize) -> Result<Brief, StoreError> {
    let kind = columns.kind(row);
    Ok(Brief {
        at,
        row,
        span_id: columns.span_id(row),
        parent: columns.parent(row),
        answers: ANSWERS.contains(&kind),
        kind,
        failed: columns.status(row) == FAILED,
        refused: columns.marks(row).has(Marks::REFUSED),
        origin: source.origin(columns.origin(row))?,
        name: columns.name(row).to_owned(),
        peer: columns.peer(row).map(str::to_owned),
        start: columns.start(row),
        end: columns.end(row),
    })
}
