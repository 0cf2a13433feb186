//! The cursor with the ranges around it.

use std::time::Duration;

use fuseboard_api::{TimeRange, UnixNanos};

use super::{Cursor, Speed};

/// Columns of the strip's density chart that are asked for at most.
pub(crate) const STRIP_COLUMNS: u32 = 320;

/// The cursor and what is chosen around it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timeline {
    /// The instant shown.
    pub(crate) cursor: Cursor,
    /// The speed that play begins with.
    pub(crate) speed: Speed,
    /// Over how long before the cursor calls are counted where no range is chosen.
    pub(crate) span: Duration,
    /// How long the strip is.
    pub(crate) strip: Duration,
    /// Where the strip ends; `None` while it goes with the newest.
    pub(crate) strip_end: Option<UnixNanos>,
    /// The range chosen by hand; it filters every view.
    pub(crate) chosen: Option<TimeRange>,
    /// Whether playing goes round in the chosen range.
    pub(crate) lap: bool,
    /// The source's newest instant.
    pub(crate) edge: UnixNanos,
    /// The clock's reading at the beginning of this frame.
    pub(crate) now: UnixNanos,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            cursor: Cursor::Following,
            speed: Speed::NORMAL,
            span: Duration::from_secs(60),
            strip: Duration::from_secs(20 * 60),
            strip_end: None,
            chosen: None,
            lap: false,
            edge: UnixNanos::default(),
            now: UnixNanos::default(),
        }
    }
}

impl Timeline {
    /// The instant shown.
    pub(crate) fn position(&self) -> UnixNanos {
        self.cursor.position(self.now, self.edge)
    }

    /// The instant that questions are asked as of: while playing in steps of a tenth of a second of real time, so that one
    /// picture is on its way at a time and none is asked for that nobody could see.
    pub(crate) fn asked_instant(&self) -> UnixNanos {
        match self.cursor {
            Cursor::Playing { speed, .. } => {
                let step = speed.apply(100_000_000).max(1);
                self.position().floor(Duration::from_nanos(step.unsigned_abs()))
            }
            Cursor::Following | Cursor::Paused { .. } => self.position(),
        }
    }

    /// What the strip shows.
    pub(crate) fn strip_range(&self) -> TimeRange {
        TimeRange::ending(self.strip_end.unwrap_or(self.edge), self.strip)
    }

    /// Over what calls are counted: the chosen range, or the last [`Timeline::span`].
    pub(crate) fn counted(&self) -> TimeRange {
        self.chosen.unwrap_or_else(|| TimeRange::ending(self.position(), self.span))
    }

    /// From what lists are taken: the chosen range, or as much as the strip is long.
    pub(crate) fn listed(&self) -> TimeRange {
        self.chosen.unwrap_or_else(|| TimeRange::ending(self.position(), self.strip))
    }
}
