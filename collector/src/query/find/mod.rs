//! Looks for spans in segments.
//!
//! A filter is evaluated column by column: a leaf (one comparison) gives a bit for each row of a segment, and where texts are
//! stored once in a dictionary each text is compared once. What only the rest of the trace can tell (an edge, the trace's
//! duration, `{ … }`) leaves bits open: a row then *may* fit without surely doing so, and its trace is gathered from all
//! segments to decide.
//!
//! Segments are read from the newest start backwards. A row that fits is given out as soon as no segment still to be read
//! can hold a newer one, so that the list is sorted however segments overlap, and a page that is full costs as much as it
//! shows, not as much as is stored. Segments whose figures or filters say that nothing in them can fit are not read at all.
//!
//! A trace stands in a list where its newest fitting span stands. A page goes on behind a [`Position`], and a trace whose
//! newest fitting span lies before that place in the list was on an earlier page: so pages neither skip nor repeat.

mod cancel;
mod compare;
mod gather;
mod leaf;
mod plan;
mod prune;
mod scan;
mod shown;
mod source;
mod spans;
mod traces;
mod walk;

#[cfg(test)]
mod tests;

use fuseboard_api::trace::Position;
use fuseboard_api::{TimeRange, UnixNanos};

pub(crate) use self::cancel::Cancel;
pub(super) use self::plan::{Plan, Price};
pub(super) use self::scan::Scan;
pub(super) use self::shown::{is_single, parts_of, shown};
pub(super) use self::source::Source;
pub(super) use self::spans::{fits, spans};
pub(super) use self::traces::{limit, traces};
pub(super) use self::walk::{Candidate, Ended, Step, Walk, Wanted, walk_parts};

/// After so many spans have been read a page ends with the segment, however many it found.
pub(super) const BUDGET: u64 = 1_000_000;

/// Gathering a trace from all segments counts as much as reading so many spans.
const GATHERED: u64 = 250;

/// Where is looked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    /// Spans that started in it.
    pub(super) range: TimeRange,
    /// Only those behind this place of the list.
    pub(super) before: Option<Position>,
    /// Only those that had arrived by then.
    pub(super) as_of: UnixNanos,
    /// Only those that arrived later.
    pub(super) after: Option<UnixNanos>,
    /// After so many spans have been read it ends with the segment.
    pub(super) budget: u64,
}

impl Scope {
    /// A range as of an instant, from the top.
    pub(super) fn new(range: TimeRange, as_of: UnixNanos) -> Self {
        Self { range, before: None, as_of, after: None, budget: BUDGET }
    }

    /// The latest start that still counts, exclusive.
    fn to(&self) -> i64 {
        let behind = self.before.map_or(i64::MAX, |before| before.start.0.saturating_add(1));
        self.range.to.0.min(behind)
    }

    /// Whether a span that arrived then counts.
    fn arrived(&self, at: UnixNanos) -> bool {
        at <= self.as_of && self.after.is_none_or(|after| at > after)
    }
}
