//! Client-side adaptive throttling: a caller whose callee refuses most calls stops sending most of them.
//!
//! Google, *Site Reliability Engineering*, chapter 21 ("Handling Overload"): over a window, `requests` counts what the
//! application asked for (what is refused here included) and `accepts` what the callee took; a new request is refused with
//! the chance max(0, (requests − k · accepts) / (requests + 1)). With k = 2 up to half of what is sent may be refused by
//! the callee before anything is refused here.
//!
//! Nothing waits: a request is one compare-and-swap on the present slice, and the sum of the slices before it is made once a
//! slice.

use std::sync::atomic::Ordering;

use portable_atomic::AtomicU128;

use crate::handover::Line;
use crate::ms_to_nanos;
use crate::settings::Throttle as Settings;
use crate::slots::{self, Slots, Stretch};

/// Slices of the window: what is counted is forgotten a twentieth of the window at a time.
const SLICES: usize = 20;

/// The throttle of one edge: settings and what was counted under them.
#[derive(Debug, Clone)]
pub struct Throttle {
    line: Line<Window>,
}

/// Requests and accepts of one or more slices, each saturating at 32 bits.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    requests: u32,
    accepts: u32,
}

impl Counts {
    const fn from_bits(bits: u64) -> Self {
        Self { requests: (bits >> 32) as u32, accepts: bits as u32 }
    }

    const fn bits(self) -> u64 {
        (self.requests as u64) << 32 | self.accepts as u64
    }

    const fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            accepts: self.accepts.saturating_add(other.accepts),
        }
    }
}

const REQUEST: Counts = Counts { requests: 1, accepts: 0 };
const ACCEPT: Counts = Counts { requests: 0, accepts: 1 };

#[derive(Debug)]
struct Window {
    k: f64,
    stretch: Stretch,
    slices: Slots<SLICES>,
    /// A slice (high half) and the sum of those before it (low half).
    before: AtomicU128,
}

impl Throttle {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(settings: &Settings, now: u64) -> Self {
        let Settings::Sre { k, window_ms } = *settings;
        let stretch = Stretch::new(slice_of(window_ms), 0);
        stretch.at(now);
        Self { line: Line::new(Window::new(k, stretch, slots::Held::default())) }
    }

    /// The application asks for a call. `Err` with the chance of refusal when it is refused; `draw` is a uniform number in
    /// [0, 1).
    ///
    /// # Errors
    /// The share of requests that are refused just now.
    pub fn admit(&self, now: u64, draw: f64) -> Result<(), f64> {
        let chance = self.line.with(|window| {
            let chance = window.chance(now)?;
            window.count(now, REQUEST)?;
            Some(chance)
        });
        if draw < chance { Err(chance) } else { Ok(()) }
    }

    /// The callee took a call, whatever it answered.
    pub fn accepted(&self, now: u64) {
        self.line.with(|window| window.count(now, ACCEPT));
    }

    /// The chance that a request is refused now.
    #[must_use]
    pub fn chance(&self, now: u64) -> f64 {
        self.line.with(|window| window.chance(now))
    }

    /// The throttle under other settings; from now on this one is but another name of it. What was counted stays; with
    /// another window it counts as made now.
    #[must_use]
    pub fn reconfigured(&self, settings: &Settings, now: u64) -> Self {
        let Settings::Sre { k, window_ms } = *settings;
        let make = |old: &Window, held: slots::Held<SLICES>| {
            let (latest, width) = (old.stretch.at(now), slice_of(window_ms));
            if width == old.stretch.width() {
                return Window::new(k, Stretch::new(width, latest), held);
            }
            let alive = held.iter().filter(|(at, _)| latest.saturating_sub(*at) < SLICES as u64);
            let sum = alive.fold(Counts::default(), |sum, (_, bits)| sum.and(Counts::from_bits(*bits)));
            let (stretch, mut held) = (Stretch::new(width, 0), slots::Held::default());
            let at = stretch.at(now);
            if let Some(slice) = held.get_mut((at % SLICES as u64) as usize) {
                *slice = (at, sum.bits());
            }
            Window::new(k, stretch, held)
        };
        Self { line: self.line.follow(|window| window.slices.close(), make) }
    }
}

fn slice_of(window_ms: u64) -> u64 {
    (ms_to_nanos(window_ms) / SLICES as u64).max(1)
}

impl Window {
    fn new(k: f64, stretch: Stretch, held: slots::Held<SLICES>) -> Self {
        // No slice has this number, so that the first request makes the sum.
        let before = AtomicU128::new(u128::MAX);
        Self { k, stretch, slices: Slots::new(held), before }
    }

    fn count(&self, now: u64, one: Counts) -> Option<()> {
        self.slices.change(self.stretch.at(now), |bits| Counts::from_bits(bits).and(one).bits())
    }

    /// `None` once closed.
    fn chance(&self, now: u64) -> Option<f64> {
        let at = self.stretch.at(now);
        let sum = self.before(at)?.and(Counts::from_bits(self.slices.value(at)?));
        let (requests, accepts) = (f64::from(sum.requests), f64::from(sum.accepts));
        Some(((requests - self.k * accepts) / (requests + 1.0)).max(0.0))
    }

    /// What the slices before one hold.
    fn before(&self, at: u64) -> Option<Counts> {
        let known = self.before.load(Ordering::Relaxed);
        if (known >> 64) as u64 == at {
            return Some(Counts::from_bits(known as u64));
        }
        let add = |sum: Counts, index, bits| if index < at { sum.and(Counts::from_bits(bits)) } else { sum };
        let sum = self.slices.fold(at, Counts::default(), add)?;
        let made = u128::from(at) << 64 | u128::from(sum.bits());
        // Whoever was faster has the same.
        let _ = self.before.compare_exchange(known, made, Ordering::Relaxed, Ordering::Relaxed);
        Some(sum)
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
