//! Keeps a storm of one kind of event from becoming a storm of log records.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lets through so many events a second, and counts the others.
#[derive(Debug)]
pub(crate) struct Seldom {
    since: Instant,
    per_sec: u64,
    /// The second that is counted, in the upper half; how many it had, in the lower.
    window: AtomicU64,
    skipped: AtomicU64,
}

impl Seldom {
    pub(crate) fn new(per_sec: u32) -> Self {
        let per_sec = u64::from(per_sec);
        Self { since: Instant::now(), per_sec, window: AtomicU64::new(0), skipped: AtomicU64::new(0) }
    }

    /// Whether this event is let through: if so, how many were not since the last one that was.
    pub(crate) fn pass(&self) -> Option<u64> {
        let second = self.since.elapsed().as_secs() << 32;
        let count = |window: u64| {
            let had = if window & !0xffff_ffff == second { window & 0xffff_ffff } else { 0 };
            (had < self.per_sec).then_some(second | (had + 1))
        };
        if self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok() {
            Some(self.skipped.swap(0, Ordering::Relaxed))
        } else {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// A text with how many of its kind were left out.
pub(crate) fn and_others(mut text: String, skipped: u64) -> String {
    if skipped > 0 {
        text.push_str(&format!(" (and {skipped} more of its kind, not written)"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_a_few_records_and_a_count() {
        let seldom = Seldom::new(3);
        let passed: Vec<_> = (0..1000).filter_map(|_| seldom.pass()).collect();
        // The storm may fall on the edge of a second.
        assert!((3..=9).contains(&passed.len()), "{passed:?}");
        let left = seldom.skipped.load(Ordering::Relaxed);
        assert_eq!(passed.iter().sum::<u64>() + left + passed.len() as u64, 1000);
    }
}
