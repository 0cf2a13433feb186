//! The token bucket of gRPC proposal A6, in thousandths of a token.

use std::sync::atomic::Ordering;

use portable_atomic::AtomicU128;

use super::TokenOutcome;

/// Thousandths in a token.
pub(super) const MILLI: u128 = 1_000;
/// In place of the tokens once the bucket is closed; no bucket holds so many.
const CLOSED: u128 = u128::MAX;

#[derive(Debug)]
pub(super) struct Tokens {
    now: AtomicU128,
    most: u128,
    gain: u128,
}

impl Tokens {
    /// A bucket from which `spent` is missing.
    pub(super) fn new(most: u128, gain: u128, spent: u128) -> Self {
        Self { now: AtomicU128::new(most.saturating_sub(spent)), most, gain }
    }

    /// Thousandths there. `None` once closed.
    pub(super) fn millis(&self) -> Option<u128> {
        let now = self.now.load(Ordering::Relaxed);
        (now != CLOSED).then_some(now)
    }

    pub(super) fn allows(&self) -> Option<bool> {
        self.millis().map(|now| now * 2 > self.most)
    }

    #[inline]
    pub(super) fn outcome(&self, outcome: TokenOutcome, count: u64) -> Option<()> {
        let count = u128::from(count);
        let next = |now: u128| match outcome {
            TokenOutcome::Success => now.saturating_add(self.gain.saturating_mul(count)).min(self.most),
            TokenOutcome::Retryable => now.saturating_sub(MILLI * count),
            TokenOutcome::Other => now,
        };
        let mut now = self.now.load(Ordering::Relaxed);
        loop {
            if now == CLOSED {
                return None;
            }
            let next = next(now);
            // Mostly the bucket is full and a success changes nothing: then nothing is written.
            if next == now {
                return Some(());
            }
            match self.now.compare_exchange_weak(now, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(()),
                Err(changed) => now = changed,
            }
        }
    }

    /// Ends it; tells what is missing. `None` if it was closed already.
    pub(super) fn close(&self) -> Option<u128> {
        let now = self.now.swap(CLOSED, Ordering::AcqRel);
        (now != CLOSED).then(|| self.most - now)
    }
}
