//! Delays between attempts.
//!
//! The n-th retry waits `d = min(max, base · multiplier^(n−1))`, spread by the chosen jitter: `none`, `full`, `equal` and
//! `decorrelated` after "Exponential Backoff And Jitter" (AWS Architecture Blog), `grpc` after gRPC proposal A6 (±20 %).
//! A reply's `grpc-retry-pushback-ms` overrides it (A6).

use std::time::Duration;

use crate::fraction::{Decimal, geometric};
use crate::settings::{self, Jitter};

/// First delay where none is set, in milliseconds.
pub const DEFAULT_BASE_MS: u64 = 25;
/// Longest delay where none is set, in milliseconds.
pub const DEFAULT_MAX_MS: u64 = 1_000;
/// Growth where none is set.
pub const DEFAULT_MULTIPLIER: f64 = 2.0;

/// What a reply says about retrying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushback {
    /// Retry after exactly this.
    After(Duration),
    /// Do not retry.
    Stop,
}

impl Pushback {
    /// Reads `grpc-retry-pushback-ms`. Negative or unreadable means: do not retry.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
            return Self::Stop;
        }
        // Only digits: the only way to fail is to be larger than 64 bits.
        Self::After(Duration::from_millis(text.parse().unwrap_or(u64::MAX)))
    }
}

/// How delays grow and spread.
#[derive(Debug, Clone)]
struct Delays {
    base: u128,
    max: u128,
    multiplier: Decimal,
    jitter: Jitter,
}

/// Delays taken so far.
#[derive(Debug, Clone, Copy)]
struct Taken {
    count: u64,
    previous: f64,
}

impl Delays {
    fn new(settings: &settings::Backoff) -> Self {
        let nanos = |ms: u64| u128::from(ms) * 1_000_000;
        Self {
            base: nanos(settings.base_ms.unwrap_or(DEFAULT_BASE_MS)),
            max: nanos(settings.max_ms.unwrap_or(DEFAULT_MAX_MS)),
            multiplier: Decimal::new(settings.multiplier.unwrap_or(DEFAULT_MULTIPLIER)).unwrap_or(Decimal::ONE),
            jitter: settings.jitter.unwrap_or_default(),
        }
    }

    fn begin(&self) -> Taken {
        Taken { count: 0, previous: self.base as f64 }
    }

    fn next(&self, taken: &mut Taken, draw: f64) -> Duration {
        let plain =
            if self.base >= self.max { self.max } else { geometric(self.base, self.multiplier, taken.count, self.max) };
        taken.count = taken.count.saturating_add(1);
        let d = plain as f64;
        match self.jitter {
            Jitter::None => duration(plain),
            Jitter::Full => duration((draw * d) as u128),
            Jitter::Equal => duration((d / 2.0 + draw * d / 2.0) as u128),
            Jitter::Grpc => duration((d * (0.8 + 0.4 * draw)) as u128),
            Jitter::Decorrelated => {
                let base = self.base as f64;
                taken.previous = (base + draw * (3.0 * taken.previous - base)).min(self.max as f64);
                duration(taken.previous as u128)
            }
        }
    }
}

/// The delays of one call.
#[derive(Debug, Clone)]
pub struct Backoff {
    delays: Delays,
    taken: Taken,
}

impl Backoff {
    /// A new call. A multiplier that is no number counts as 1.
    #[must_use]
    pub fn new(settings: &settings::Backoff) -> Self {
        let delays = Delays::new(settings);
        Self { taken: delays.begin(), delays }
    }

    /// Whether the next delay needs a draw.
    #[must_use]
    pub fn needs_draw(&self) -> bool {
        self.delays.jitter != Jitter::None
    }

    /// The delay before the next retry. `draw` is a uniform number in [0, 1); `jitter = "none"` does not look at it.
    pub fn next_delay(&mut self, draw: f64) -> Duration {
        self.delays.next(&mut self.taken, draw)
    }

    /// Back to the start, as after a pushback.
    pub fn restart(&mut self) {
        self.taken = self.delays.begin();
    }
}

/// How many attempts a call may have and how long it waits between them: the same for all calls of an edge.
#[derive(Debug, Clone)]
pub struct AttemptRules {
    most: Option<u64>,
    delays: Delays,
}

impl AttemptRules {
    /// `most` counts the first attempt too; `None` is no limit. A multiplier that is no number counts as 1.
    #[must_use]
    pub fn new(most: Option<u64>, settings: &settings::Backoff) -> Self {
        Self { most, delays: Delays::new(settings) }
    }

    /// A new call, before its first attempt.
    #[must_use]
    pub fn begin(&self) -> Attempts {
        Attempts { made: 1, taken: self.delays.begin() }
    }
}

/// The attempts of one call and the waits between them; asked with the rules that it began with.
#[derive(Debug, Clone)]
pub struct Attempts {
    made: u64,
    taken: Taken,
}

impl Attempts {
    /// The number of the attempt that is being made, from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.made
    }

    /// Whether `max_attempts` leaves none.
    #[must_use]
    pub fn used_up(&self, rules: &AttemptRules) -> bool {
        rules.most.is_some_and(|most| self.made >= most)
    }

    /// The attempt failed in a way worth another: how long to wait for that, or `None` if there is none. A pushback is the
    /// exact wait and puts the backoff back to its start. `draw` is asked for at most one uniform number in [0, 1).
    pub fn failed(
        &mut self,
        rules: &AttemptRules,
        pushback: Option<Pushback>,
        draw: impl FnOnce() -> f64,
    ) -> Option<Duration> {
        if self.used_up(rules) || pushback == Some(Pushback::Stop) {
            return None;
        }
        self.made = self.made.saturating_add(1);
        if let Some(Pushback::After(delay)) = pushback {
            self.taken = rules.delays.begin();
            return Some(delay);
        }
        let draw = if rules.delays.jitter == Jitter::None { 0.0 } else { draw() };
        Some(rules.delays.next(&mut self.taken, draw))
    }
}

fn duration(nanos: u128) -> Duration {
    let secs = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    Duration::new(secs, u32::try_from(nanos % 1_000_000_000).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(jitter: Jitter) -> Backoff {
        Backoff::new(&settings::Backoff {
            base_ms: Some(100),
            max_ms: Some(1_000),
            multiplier: Some(2.0),
            jitter: Some(jitter),
        })
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        let mut backoff = with(Jitter::None);
        let got: Vec<u128> = (0..6).map(|_| backoff.next_delay(0.0).as_millis()).collect();
        assert_eq!(got, [100, 200, 400, 800, 1_000, 1_000]);
        backoff.restart();
        assert_eq!(backoff.next_delay(0.0).as_millis(), 100);
    }

    #[test]
    fn extremes_saturate() {
        let mut backoff = Backoff::new(&settings::Backoff {
            base_ms: Some(u64::MAX),
            max_ms: Some(u64::MAX),
            multiplier: Some(1e308),
            jitter: Some(Jitter::None),
        });
        for _ in 0..1_100 {
            assert_eq!(backoff.next_delay(0.0), Duration::from_millis(u64::MAX));
        }
    }

    #[test]
    fn pushback_reads_only_digits() {
        assert_eq!(Pushback::parse("15"), Pushback::After(Duration::from_millis(15)));
        for text in ["-1", "", "x", "1.5", "+1", " 1", "-"] {
            assert_eq!(Pushback::parse(text), Pushback::Stop, "{text:?}");
        }
    }
}
