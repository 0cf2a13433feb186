//! The cursor with the ranges around it.

use std::time::Duration;

use fuseboard_api::{TimeRange, UnixNanos};

use super::{Cursor, Speed};

/// Columns of the strip's density chart that are asked for at most.
pub(crate) const STRIP_COLUMNS: u32 = 320;
/// How many pixels wide the strip is, about.
const STRIP_PIXELS: i64 = 1400;
/// Between two frames of a moving cursor at least.
const FASTEST: Duration = Duration::from_millis(33);

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
    /// Whether the strip's length was chosen by hand; until then it fits what is stored.
    pub(crate) strip_by_hand: bool,
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
            strip_by_hand: false,
            chosen: None,
            lap: false,
            edge: UnixNanos::default(),
            now: UnixNanos::default(),
        }
    }
}

impl Timeline {
    /// Fits the strip to what is stored, until its length is chosen by hand: the whole of a source that does not grow, a
    /// round length of at most twenty minutes of one that does.
    pub(crate) fn fit(&mut self, stored: TimeRange, grows: bool) {
        const LENGTHS: [u64; 4] = [2, 5, 10, 20];
        if self.strip_by_hand || stored.to <= stored.from {
            return;
        }
        self.strip = if grows {
            let age = self.edge.since(stored.from).as_secs();
            Duration::from_secs(60 * LENGTHS.into_iter().find(|m| age <= m * 60).unwrap_or(20))
        } else {
            stored.length().max(Duration::from_secs(30)).mul_f64(1.02)
        };
    }

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

    /// How long until recorded time that passes is to be seen: until the next instant is asked for, or until the cursor has gone
    /// the width of a pixel on the strip, thirty times a second at most. `None` while it stands or follows.
    pub(crate) fn next_move(&self) -> Option<Duration> {
        let Cursor::Playing { speed, .. } = self.cursor else { return None };
        let real =
            |recorded: i64| Duration::from_nanos(recorded.unsigned_abs().saturating_mul(4) / u64::from(speed.0.max(1)));
        let step = speed.apply(100_000_000).max(1);
        let tenth = real(step - self.position().0.rem_euclid(step));
        let pixel = real(i64::try_from(self.strip.as_nanos()).unwrap_or(i64::MAX) / STRIP_PIXELS);
        Some(tenth.min(pixel.max(FASTEST)).max(Duration::from_millis(1)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strip_fits_what_is_stored_until_it_is_chosen() {
        let minute = |m: i64| UnixNanos(m * 60_000_000_000);
        let mut time = Timeline { edge: minute(103), ..Timeline::default() };
        time.fit(TimeRange { from: minute(100), to: minute(103) }, true);
        assert_eq!(time.strip, Duration::from_secs(300));
        time.fit(TimeRange { from: minute(0), to: minute(103) }, true);
        assert_eq!(time.strip, Duration::from_secs(1200));
        time.fit(TimeRange { from: minute(0), to: minute(100) }, false);
        assert_eq!(time.strip, Duration::from_secs(6120), "a file is shown whole");
        time.strip_by_hand = true;
        time.fit(TimeRange { from: minute(100), to: minute(103) }, true);
        assert_eq!(time.strip, Duration::from_secs(6120));
    }
}
