//! Limits of the rate: a token bucket or an exact sliding log. All arithmetic is exact.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ms_to_nanos;
use crate::settings::Rate;

const NANOS: u128 = 1_000_000_000;

/// The rate limiter of one edge.
#[derive(Debug)]
pub struct RateLimiter {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Rate,
    /// Latest time seen.
    now: u64,
    /// Bucket: tokens times 10^9, so that a nanosecond's refill is a whole number.
    level: u128,
    /// Log: when, and how many; each request one entry, so at most `limit` of them.
    log: VecDeque<(u64, u64)>,
    logged: u64,
}

impl RateLimiter {
    /// A full bucket, or an empty log.
    #[must_use]
    pub fn new(settings: &Rate, now: u64) -> Self {
        let level = match settings {
            Rate::TokenBucket { burst, .. } => u128::from(*burst) * NANOS,
            Rate::SlidingWindow { .. } => 0,
        };
        let inner = Inner { settings: settings.clone(), now, level, log: VecDeque::new(), logged: 0 };
        Self { inner: Mutex::new(inner) }
    }

    /// Asks for `n` tokens at once. What is refused takes nothing and is not remembered.
    pub fn acquire(&self, now: u64, n: u64) -> bool {
        self.lock().acquire(now, n)
    }

    /// Other settings. Up to now the old ones applied; nothing is topped up, and a narrower rate holds at once. A bucket
    /// that becomes a log, or the other way round, takes over what is used.
    pub fn reconfigure(&self, settings: &Rate, now: u64) {
        self.lock().reconfigure(settings, now);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn settle(&mut self, now: u64) {
        let passed = now.saturating_sub(self.now);
        self.now = self.now.max(now);
        match self.settings {
            Rate::TokenBucket { per_sec, burst } => {
                let refill = u128::from(per_sec) * u128::from(passed);
                self.level = self.level.saturating_add(refill).min(u128::from(burst) * NANOS);
            }
            Rate::SlidingWindow { window_ms, .. } => {
                let window = ms_to_nanos(window_ms);
                let now = self.now;
                while let Some((_, n)) = self.log.pop_front_if(|(at, _)| now - *at >= window) {
                    self.logged -= n;
                }
            }
        }
    }

    fn acquire(&mut self, now: u64, n: u64) -> bool {
        self.settle(now);
        match self.settings {
            Rate::TokenBucket { .. } => {
                let cost = u128::from(n) * NANOS;
                let granted = self.level >= cost;
                if granted {
                    self.level -= cost;
                }
                granted
            }
            Rate::SlidingWindow { limit, .. } => {
                let Some(count) = self.logged.checked_add(n).filter(|count| *count <= limit) else { return false };
                if n > 0 {
                    self.log.push_back((self.now, n));
                }
                self.logged = count;
                true
            }
        }
    }

    fn reconfigure(&mut self, settings: &Rate, now: u64) {
        self.settle(now);
        match (&self.settings, settings) {
            (Rate::TokenBucket { burst, .. }, Rate::SlidingWindow { .. }) => {
                let used = u128::from(*burst) - self.level / NANOS;
                self.logged = u64::try_from(used).unwrap_or(u64::MAX);
                self.log.extend((self.logged > 0).then_some((self.now, self.logged)));
            }
            (Rate::SlidingWindow { .. }, Rate::TokenBucket { burst, .. }) => {
                self.level = u128::from(burst.saturating_sub(self.logged)) * NANOS;
                (self.logged, self.log) = (0, VecDeque::new());
            }
            _ => {}
        }
        self.settings = settings.clone();
        self.settle(now);
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
        limiter.reconfigure(&log, 0);
        assert!(!limiter.acquire(0, 1));
        assert!(limiter.acquire(1_000_000_000, 4));
        limiter.reconfigure(&bucket, 1_000_000_000);
        assert!(limiter.acquire(1_000_000_000, 6) && !limiter.acquire(1_000_000_000, 1));
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
