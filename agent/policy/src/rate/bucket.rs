//! The token bucket as one number: the generic cell rate algorithm (ITU-T I.371), in units of a billionth of a token, so
//! that a nanosecond's refill is a whole number and nothing is ever rounded.

use std::sync::atomic::Ordering;

use portable_atomic::AtomicU128;

/// Units in a token.
pub(super) const TOKEN: u128 = 1_000_000_000;
/// In place of the number once the bucket is closed.
const CLOSED: u128 = u128::MAX;

#[derive(Debug)]
pub(super) struct Bucket {
    /// Units refilled a nanosecond: tokens a second.
    per_sec: u64,
    /// Units it holds.
    size: u128,
    /// What will have been refilled since the clock's zero when it is full again; full where that is past.
    full_at: AtomicU128,
}

impl Bucket {
    /// A bucket that lacks `lacks` units at `now`.
    pub(super) fn new(per_sec: u64, burst: u64, lacks: u128, now: u64) -> Self {
        let size = u128::from(burst) * TOKEN;
        let full_at = (u128::from(per_sec) * u128::from(now)).saturating_add(lacks).min(CLOSED - 1);
        Self { per_sec, size, full_at: AtomicU128::new(full_at) }
    }

    fn refilled(&self, now: u64) -> u128 {
        u128::from(self.per_sec) * u128::from(now)
    }

    /// Whether `n` tokens are granted; `None` once closed.
    #[inline]
    pub(super) fn acquire(&self, now: u64, n: u64) -> Option<bool> {
        let (refilled, cost) = (self.refilled(now), u128::from(n) * TOKEN);
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            if full_at == CLOSED {
                return None;
            }
            let lacks = full_at.saturating_sub(refilled).saturating_add(cost);
            if lacks > self.size {
                return Some(false);
            }
            let after = refilled.saturating_add(lacks).min(CLOSED - 1);
            match self.full_at.compare_exchange_weak(full_at, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(true),
                Err(changed) => full_at = changed,
            }
        }
    }

    /// Ends it; tells how many units are there at `now`, and how many are missing. `None` if it was closed already.
    pub(super) fn close(&self, now: u64) -> Option<(u128, u128)> {
        let full_at = self.full_at.swap(CLOSED, Ordering::AcqRel);
        (full_at != CLOSED).then(|| {
            let lacks = full_at.saturating_sub(self.refilled(now)).min(self.size);
            (self.size - lacks, lacks)
        })
    }
}
