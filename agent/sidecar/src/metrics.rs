//! What `/metrics` tells besides the agent's own telemetry, which goes to the collector.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the buckets, in milliseconds.
pub(crate) const BUCKETS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

/// How requests of one listener or to one upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Answered, below 500.
    Fine = 0,
    /// Answered with 500 and more, or a gRPC status that says so in its headers.
    Failed = 1,
    /// By a rule, here.
    Refused = 2,
    /// Nobody could be reached, or the connection broke.
    Unreachable = 3,
    /// Not in time.
    Late = 4,
}

impl Ending {
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Fine, "ok"),
        (Self::Failed, "failed"),
        (Self::Refused, "refused"),
        (Self::Unreachable, "unreachable"),
        (Self::Late, "timeout"),
    ];
}

/// Counts of requests.
#[derive(Debug, Default)]
pub(crate) struct Books {
    endings: [AtomicU64; 5],
    buckets: [AtomicU64; BUCKETS_MS.len() + 1],
    micros: AtomicU64,
    open: AtomicU64,
}

/// A request under way; given up without an ending it counts as open no longer, and nothing else.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    books: &'a Books,
    started: Instant,
}

impl Books {
    /// A request begins.
    pub(crate) fn begin(&self) -> Entry<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Entry { books: self, started: Instant::now() }
    }

    /// How many ended so.
    pub(crate) fn ended(&self, how: Ending) -> u64 {
        self.endings[how as usize].load(Ordering::Relaxed)
    }

    /// How many wait for their answer.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// How many took at most as long as each bucket says, and in the end all; and the sum of their times.
    pub(crate) fn durations(&self) -> (Vec<u64>, Duration) {
        let mut sum = 0;
        let cumulative = self.buckets.iter().map(|bucket| {
            sum += bucket.load(Ordering::Relaxed);
            sum
        });
        (cumulative.collect(), Duration::from_micros(self.micros.load(Ordering::Relaxed)))
    }
}

impl Entry<'_> {
    /// The answer's headers are there, or there will be none.
    pub(crate) fn end(self, how: Ending) {
        let took = self.started.elapsed();
        let at = BUCKETS_MS.partition_point(|ms| Duration::from_millis(*ms) < took);
        self.books.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.books.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.books.endings[how as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.books.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_endings_and_durations() {
        let books = Books::default();
        books.begin().end(Ending::Fine);
        let open = books.begin();
        assert_eq!((books.open(), books.ended(Ending::Fine), books.durations().0.last()), (1, 1, Some(&1)));
        drop(open);
        assert_eq!((books.open(), books.ended(Ending::Fine)), (0, 1));
    }
}
