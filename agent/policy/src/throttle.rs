//! Client-side adaptive throttling: a caller whose callee refuses most calls stops sending most of them.
//!
//! Google, *Site Reliability Engineering*, chapter 21 ("Handling Overload"): over a window, `requests` counts what the
//! application asked for (what is refused here included) and `accepts` what the callee took; a new request is refused with
//! the chance max(0, (requests − k · accepts) / (requests + 1)). With k = 2 up to half of what is sent may be refused by
//! the callee before anything is refused here.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ms_to_nanos;
use crate::settings::Throttle as Settings;

/// Slices of the window: what is counted is forgotten a twentieth of the window at a time.
const SLICES: usize = 20;

/// The throttle of one edge.
#[derive(Debug)]
pub struct Throttle {
    inner: Mutex<Inner>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    requests: u64,
    accepts: u64,
}

#[derive(Debug)]
struct Inner {
    k: f64,
    /// Length of a slice, in nanoseconds.
    slice: u64,
    slices: [Counts; SLICES],
    sum: Counts,
    /// Number of the present slice since the clock's zero.
    at: u64,
}

impl Throttle {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(settings: &Settings, now: u64) -> Self {
        let Settings::Sre { k, window_ms } = *settings;
        let slice = slice_of(window_ms);
        let inner = Inner { k, slice, slices: [Counts::default(); SLICES], sum: Counts::default(), at: now / slice };
        Self { inner: Mutex::new(inner) }
    }

    /// The application asks for a call. `Err` with the chance of refusal when it is refused; `draw` is a uniform number in
    /// [0, 1).
    ///
    /// # Errors
    /// The share of requests that are refused just now.
    pub fn admit(&self, now: u64, draw: f64) -> Result<(), f64> {
        let mut inner = self.lock();
        inner.turn(now);
        let chance = inner.chance();
        inner.count(|counts| counts.requests += 1);
        if draw < chance { Err(chance) } else { Ok(()) }
    }

    /// The callee took a call, whatever it answered.
    pub fn accepted(&self, now: u64) {
        let mut inner = self.lock();
        inner.turn(now);
        inner.count(|counts| counts.accepts += 1);
    }

    /// The chance that a request is refused now.
    #[must_use]
    pub fn chance(&self, now: u64) -> f64 {
        let mut inner = self.lock();
        inner.turn(now);
        inner.chance()
    }

    /// Other settings. What was counted stays; with another window it counts as made now.
    pub fn reconfigure(&self, settings: &Settings, now: u64) {
        let Settings::Sre { k, window_ms } = *settings;
        let mut inner = self.lock();
        inner.turn(now);
        inner.k = k;
        let slice = slice_of(window_ms);
        if slice != inner.slice {
            (inner.slice, inner.at) = (slice, now / slice);
            let (sum, at) = (inner.sum, inner.position());
            inner.slices = [Counts::default(); SLICES];
            if let Some(counts) = inner.slices.get_mut(at) {
                *counts = sum;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slice_of(window_ms: u64) -> u64 {
    (ms_to_nanos(window_ms) / SLICES as u64).max(1)
}

impl Inner {
    fn position(&self) -> usize {
        (self.at % SLICES as u64) as usize
    }

    /// Forgets the slices that have passed; at most all of them, however long nothing happened.
    fn turn(&mut self, now: u64) {
        let at = now / self.slice;
        let passed = at.saturating_sub(self.at).min(SLICES as u64);
        if passed == 0 {
            return;
        }
        for step in (0..passed).rev() {
            self.at = at - step;
            let position = self.position();
            if let Some(counts) = self.slices.get_mut(position) {
                let old = std::mem::take(counts);
                self.sum.requests -= old.requests;
                self.sum.accepts -= old.accepts;
            }
        }
    }

    fn count(&mut self, add: impl Fn(&mut Counts)) {
        let position = self.position();
        if let Some(counts) = self.slices.get_mut(position) {
            add(counts);
        }
        add(&mut self.sum);
    }

    fn chance(&self) -> f64 {
        let (requests, accepts) = (self.sum.requests as f64, self.sum.accepts as f64);
        ((requests - self.k * accepts) / (requests + 1.0)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    fn settings(k: f64, window_ms: u64) -> Settings {
        Settings::Sre { k, window_ms }
    }

    #[test]
    fn refuses_the_share_that_the_book_gives() {
        let throttle = Throttle::new(&settings(2.0, 1_000), 0);
        for _ in 0..10 {
            assert_eq!(throttle.admit(0, 0.0), Ok(()), "all that was asked for so far was taken");
            throttle.accepted(0);
        }
        for _ in 0..20 {
            // Draws of almost 1 let everything pass that can.
            assert_eq!(throttle.admit(0, 0.999), Ok(()));
        }
        let chance = (30.0 - 2.0 * 10.0) / 31.0;
        assert!((throttle.chance(0) - chance).abs() < 1e-12);
        assert_eq!(throttle.admit(0, chance), Ok(()));
        assert!(throttle.admit(0, 0.2).is_err());
        assert!(throttle.chance(999 * MS) > 0.0);
        assert_eq!(throttle.admit(1_000 * MS, 0.0), Ok(()), "the window has passed");
    }

    proptest! {
        /// The sum is always that of the slices that are left, and as in a plain list of what happened.
        #[test]
        fn a_window_is_its_naive_model(steps in prop::collection::vec((0..400u64, any::<bool>()), 1..200)) {
            let throttle = Throttle::new(&settings(1.5, 1_000), 0);
            let slice = 50 * MS;
            let (mut now, mut seen) = (0, Vec::new());
            for (ms, taken) in steps {
                now += ms * MS;
                // A draw of 1 never comes; here it lets every request pass.
                let _ = throttle.admit(now, 1.0);
                if taken {
                    throttle.accepted(now);
                }
                seen.push((now / slice, taken));
                let alive = |(at, _): &&(u64, bool)| now / slice - *at < SLICES as u64;
                let requests = seen.iter().filter(alive).count() as f64;
                let accepts = seen.iter().filter(alive).filter(|(_, taken)| *taken).count() as f64;
                let expected = ((requests - 1.5 * accepts) / (requests + 1.0)).max(0.0);
                prop_assert!((throttle.chance(now) - expected).abs() < 1e-12);
            }
        }
    }
}
