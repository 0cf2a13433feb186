//! Rows that may fit, newest first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use fuseboard_api::trace::{Position, Searched};
use fuseboard_api::{TimeRange, UnixNanos};

use super::plan::Price;
use super::prune::Judged;
use super::scan::Fits;
use super::source::Source;
use super::{Cancel, Scan, Scope};
use crate::store::StoreError;
use crate::store::segment::{Columns, Part, Parts};

/// A row that may fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::query) struct Candidate {
    pub(in crate::query) place: Position,
    pub(in crate::query) at: usize,
    pub(in crate::query) row: usize,
    /// Whether it surely fits.
    pub(in crate::query) sure: bool,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |c: &Self| (c.place, c.sure, c.at, c.row);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What comes next.
#[derive(Debug)]
pub(in crate::query) enum Step {
    /// This row; none that comes later is newer.
    Found(Candidate),
    /// Enough has been read for one page.
    Paused,
    /// That was all.
    Done,
}

/// Which rows of a trace are of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::query) enum Wanted {
    /// All that fit.
    Spans,
    /// The newest of each trace that surely fits, and those newer that may.
    Traces,
}

/// A walk through the segments.
pub(in crate::query) struct Walk<'a, S> {
    pub(in crate::query) scan: Scan<'a, S>,
    wanted: Wanted,
    cancel: &'a Cancel,
    /// Segments to read, the one with the latest start last.
    ahead: Vec<usize>,
    heap: BinaryHeap<Candidate>,
    searched: Searched,
}

impl<'a, S: Source> Walk<'a, S> {
    /// A walk that has not begun.
    pub(in crate::query) fn new(scan: Scan<'a, S>, wanted: Wanted, cancel: &'a Cancel) -> Self {
        let Scope { range, as_of, after, .. } = scan.scope;
        let to = scan.scope.to();
        let counts = |at: &usize| {
            scan.source.segments().get(*at).is_some_and(|m| {
                m.min_start < to
                    && m.max_start >= range.from.0
                    && m.min_arrival <= as_of.0
                    && after.is_none_or(|after| m.max_arrival > after.0)
            })
        };
        let mut ahead: Vec<usize> = (0..scan.source.segments().len()).filter(counts).collect();
        ahead.sort_by_key(|at| scan.source.segments().get(*at).map_or(0, |m| m.max_start));
        let segments = u32::try_from(ahead.len()).unwrap_or(u32::MAX);
        let searched = Searched { segments, ..Searched::default() };
        Self { scan, wanted, cancel, ahead, heap: BinaryHeap::new(), searched }
    }

    /// The latest start that a row not yet read can have; before all time when everything is read.
    fn latest(&self) -> i64 {
        let meta = self.ahead.last().and_then(|at| self.scan.source.segments().get(*at));
        meta.map_or(i64::MIN, |m| m.max_start.min(self.scan.scope.to() - 1))
    }

    /// The next row.
    pub(in crate::query) fn next(&mut self) -> Result<Step, StoreError> {
        loop {
            let latest = self.latest();
            if self.heap.peek().is_some_and(|c| c.place.start.0 > latest)
                && let Some(candidate) = self.heap.pop()
            {
                return Ok(Step::Found(candidate));
            }
            let Some(at) = self.ahead.last().copied() else { return Ok(Step::Done) };
            // A page that ends before it has come anywhere would be asked again for ever.
            let Scope { range, before, .. } = self.scan.scope;
            let next = Position { start: UnixNanos(latest.saturating_add(1)), ..Position::default() };
            let came_on = before.map_or(next.start < range.to, |before| next < before);
            if self.cancel.is_set() || came_on && self.scan.spent >= self.scan.scope.budget {
                return Ok(Step::Paused);
            }
            self.ahead.pop();
            self.read(at)?;
        }
    }

    /// Puts a row back that turned out to stand elsewhere.
    pub(in crate::query) fn put_back(&mut self, candidate: Candidate) {
        self.heap.push(candidate);
    }

    fn read(&mut self, at: usize) -> Result<(), StoreError> {
        self.searched.segments_examined += 1;
        let Some(meta) = self.scan.source.segments().get(at) else { return Ok(()) };
        if !(Judged { source: self.scan.source, at, meta }).may_fit(self.scan.plan)? {
            return Ok(());
        }
        let rows = u64::from(meta.rows);
        let fits = match self.scan.fits(at) {
            Err(e) if e.is_damage() => {
                tracing::warn!("a search passes over a segment: {e}");
                self.searched.damaged += 1;
                return Ok(());
            }
            fits => fits?,
        };
        self.searched.spans_examined += rows;
        self.scan.spent += rows;
        if fits.may.contains(&true) {
            let columns = self.scan.columns(at, Price::Cheap)?;
            self.take(at, &columns, &fits);
        }
        self.scan.forget(at);
        Ok(())
    }

    fn take(&mut self, at: usize, columns: &Columns, fits: &Fits) {
        let Scope { range, before, .. } = self.scan.scope;
        let scope = self.scan.scope;
        for run in columns.traces() {
            let trace_id = columns.trace_id(run.start);
            for row in run.rev() {
                let start = columns.start(row);
                if !fits.may.get(row).copied().unwrap_or(false)
                    || !range.contains(start)
                    || !scope.arrived(columns.arrival(row))
                {
                    continue;
                }
                let place = Position { start, trace_id, span_id: columns.span_id(row) };
                if before.is_some_and(|before| place >= before) {
                    continue;
                }
                let sure = fits.must.get(row).copied().unwrap_or(false);
                self.heap.push(Candidate { place, at, row, sure });
                if sure && self.wanted == Wanted::Traces {
                    break;
                }
            }
        }
    }

    /// How far it came, unless everything on the page is said by what is on it, and where to go on.
    pub(in crate::query) fn searched(&self, ended: &Ended) -> (Searched, Option<Position>) {
        let quiet = Searched { damaged: self.searched.damaged, ..Searched::default() };
        match ended {
            Ended::Done => (quiet, None),
            Ended::Full(last) => (quiet, Some(*last)),
            Ended::Paused => {
                let start = UnixNanos(self.latest().saturating_add(1));
                let range = self.scan.scope.range;
                let range = TimeRange { from: start.max(range.from), to: range.to };
                (Searched { range, ..self.searched }, Some(Position { start, ..Position::default() }))
            }
        }
    }
}

/// How a page ended.
#[derive(Debug, Clone, Copy)]
pub(in crate::query) enum Ended {
    /// Everything has been searched.
    Done,
    /// It is full; this was the last one on it.
    Full(Position),
    /// Enough was read.
    Paused,
}

/// The columns that a walk itself looks at.
pub(in crate::query) fn walk_parts() -> Parts {
    Parts::of(&[Part::Ids, Part::Times, Part::Arrival])
}
