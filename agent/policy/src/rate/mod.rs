//! Limits of the rate: a token bucket or an exact sliding log. All arithmetic is exact, and nothing waits: an admission is
//! one compare-and-swap.

mod bucket;
mod log;

use self::bucket::{Bucket, TOKEN};
use self::log::Log;
use crate::handover::Line;
use crate::ms_to_nanos;
use crate::settings::Rate;

/// The rate limiter of one edge: settings and what was granted under them.
///
/// Memory: a bucket is one number; a log grows to 16 bytes for each of its `limit` calls, a few kibibytes at a time, while
/// the first of them come.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    line: Line<Kind>,
}

#[derive(Debug)]
enum Kind {
    Bucket(Bucket),
    Log(Log),
}

/// What a limiter held when it was closed.
enum Held {
    /// Units there and units missing.
    Bucket(u128, u128),
    Log(log::Kept),
}

impl RateLimiter {
    /// A full bucket, or an empty log.
    #[must_use]
    pub fn new(settings: &Rate, now: u64) -> Self {
        Self { line: Line::new(Kind::new(settings, None, now)) }
    }

    /// Asks for `n` tokens at once. What is refused takes nothing and is not remembered.
    #[inline]
    #[must_use]
    pub fn acquire(&self, now: u64, n: u64) -> bool {
        self.line.with(|kind| match kind {
            Kind::Bucket(bucket) => bucket.acquire(now, n),
            Kind::Log(log) => log.acquire(now, n),
        })
    }

    /// The limiter under other settings; from now on this one is but another name of it. Up to now the old settings
    /// applied; nothing is topped up, and a narrower rate holds at once. A bucket that becomes a log, or the other way
    /// round, takes over what is used.
    #[must_use]
    pub fn reconfigured(&self, settings: &Rate, now: u64) -> Self {
        let close = |kind: &Kind| match kind {
            Kind::Bucket(bucket) => bucket.close(now).map(|(there, missing)| Held::Bucket(there, missing)),
            Kind::Log(log) => log.close(now).map(Held::Log),
        };
        Self { line: self.line.follow(close, |_, held| Kind::new(settings, Some(held), now)) }
    }
}

impl Kind {
    fn new(settings: &Rate, held: Option<Held>, now: u64) -> Self {
        match *settings {
            Rate::TokenBucket { per_sec, burst } => {
                let size = u128::from(burst) * TOKEN;
                let lacks = match held {
                    None => 0,
                    Some(Held::Bucket(there, _)) => size - there.min(size),
                    Some(Held::Log(kept)) => {
                        let used = kept.iter().fold(0u64, |used, (_, n)| used.saturating_add(*n));
                        u128::from(used.min(burst)) * TOKEN
                    }
                };
                Self::Bucket(Bucket::new(per_sec, burst, lacks, now))
            }
            Rate::SlidingWindow { limit, window_ms } => {
                let kept = match held {
                    None => log::Kept::new(),
                    Some(Held::Log(kept)) => kept,
                    Some(Held::Bucket(_, missing)) => {
                        let used = u64::try_from(missing.div_ceil(TOKEN)).unwrap_or(u64::MAX);
                        (used > 0).then_some((now, used)).into_iter().collect()
                    }
                };
                Self::Log(Log::new(limit, ms_to_nanos(window_ms), &kept))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_algorithm_gives_nothing_extra() {
        let bucket = Rate::TokenBucket { per_sec: 1, burst: 10 };
        let log = Rate::SlidingWindow { limit: 10, window_ms: 1_000 };
        let limiter = RateLimiter::new(&bucket, 0);
        assert!(limiter.acquire(0, 10));
        let as_log = limiter.reconfigured(&log, 0);
        assert!(!as_log.acquire(0, 1) && !limiter.acquire(0, 1));
        assert!(as_log.acquire(1_000_000_000, 4));
        let again = as_log.reconfigured(&bucket, 1_000_000_000);
        assert!(limiter.acquire(1_000_000_000, 6), "an old name of it");
        assert!(!again.acquire(1_000_000_000, 1));
    }

    #[test]
    fn extremes_saturate() {
        let limiter = RateLimiter::new(&Rate::TokenBucket { per_sec: u64::MAX, burst: u64::MAX }, 0);
        assert!(limiter.acquire(0, u64::MAX));
        assert!(!limiter.acquire(0, 1));
        assert!(limiter.acquire(u64::MAX, u64::MAX));
        let limiter = RateLimiter::new(&Rate::SlidingWindow { limit: u64::MAX, window_ms: u64::MAX }, 0);
        assert!(limiter.acquire(0, u64::MAX) && !limiter.acquire(u64::MAX - 1, 1));
    }
}
