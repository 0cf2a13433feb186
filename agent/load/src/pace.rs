//! When requests are due.

use std::time::Duration;

use crate::LoadError;

/// Most requests of one run: a histogram and a ticket counter never overflow below it.
const MOST_REQUESTS: f64 = 1e10;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// At fixed instants, whatever the server does.
    Open {
        /// Requests due a second.
        rate: f64,
        /// The rate climbs evenly from 0 to `rate` within this time from the start; zero: at once.
        ramp: Duration,
    },
    /// Each connection sends when its last answer has come.
    Closed,
}

impl Pace {
    /// An even rate from the start.
    #[must_use]
    pub const fn steady(rate: f64) -> Self {
        Self::Open { rate, ramp: Duration::ZERO }
    }

    /// Requests a second after the ramp; `None` in a closed loop.
    #[must_use]
    pub const fn rate(&self) -> Option<f64> {
        match self {
            Self::Open { rate, .. } => Some(*rate),
            Self::Closed => None,
        }
    }

    /// How many requests fall due within a time from the start; in a closed loop nobody knows: `u64::MAX`.
    ///
    /// While the rate r climbs for a time c, r·t²/2c requests are due after t; from then on r·(t − c/2).
    #[must_use]
    pub fn due_by(&self, after: Duration) -> u64 {
        let Self::Open { rate, ramp } = *self else { return u64::MAX };
        let (t, c) = (after.as_secs_f64(), ramp.as_secs_f64());
        let due = if t < c { rate * t * t / (2.0 * c) } else { rate * (t - c / 2.0) };
        // An exact product like 0.2 · 200 must not lose its last request to rounding.
        if due > 0.0 { (due + 1e-9).floor().min(MOST_REQUESTS) as u64 } else { 0 }
    }

    /// When request `n`, from 0, is due after the start: the instant at which [`Self::due_by`] passes `n`, except that the first is
    /// due at once. Zero in a closed loop.
    #[must_use]
    pub fn due(&self, n: u64) -> Duration {
        let Self::Open { rate, ramp } = *self else { return Duration::ZERO };
        let (n, c) = (n as f64, ramp.as_secs_f64());
        let climbing = rate * c / 2.0;
        let t = if n < climbing { (2.0 * n * c / rate).sqrt() } else { n / rate + c / 2.0 };
        Duration::try_from_secs_f64(t).unwrap_or(Duration::MAX)
    }

    /// Checks the numbers against the time they are to hold for.
    pub(crate) fn check(&self, duration: Duration) -> Result<(), LoadError> {
        let number = |name, value: String, must| Err(LoadError::Number { name, value, must });
        if duration.is_zero() {
            return number("duration", "0".to_owned(), "longer than 0");
        }
        let Self::Open { rate, ramp } = *self else { return Ok(()) };
        if !(rate.is_finite() && rate > 0.0) {
            return number("rate", rate.to_string(), "a number of requests a second above 0");
        }
        if ramp > duration {
            return number("ramp", format!("{ramp:?}"), "no longer than the run");
        }
        let due = rate * duration.as_secs_f64();
        if self.due_by(duration) < 1 || due > MOST_REQUESTS {
            return number("rate × duration", format!("{due}"), "between 1 and 10 thousand million requests");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_even_rate_is_due_at_even_instants() {
        let pace = Pace::steady(200.0);
        assert_eq!(pace.due_by(Duration::from_millis(200)), 40);
        assert_eq!(pace.due(0), Duration::ZERO);
        assert_eq!(pace.due(100), Duration::from_millis(500));
    }

    #[test]
    fn a_ramp_sends_half_as_much_while_it_climbs() {
        let pace = Pace::Open { rate: 1_000.0, ramp: Duration::from_secs(2) };
        assert_eq!(pace.due_by(Duration::from_secs(2)), 1_000);
        assert_eq!(pace.due_by(Duration::from_secs(1)), 250, "at half the time a quarter");
        assert_eq!(pace.due_by(Duration::from_secs(4)), 3_000);
        assert_eq!(pace.due(1_000), Duration::from_secs(2));
        assert_eq!(pace.due(2_000), Duration::from_secs(3));
    }

    proptest! {
        /// Instants never go back, and a request is due exactly when the count has reached it.
        #[test]
        fn instants_and_counts_agree(rate in 0.5..50_000.0_f64, ramp_ms in 0..5_000_u64, n in 0..200_000_u64) {
            let pace = Pace::Open { rate, ramp: Duration::from_millis(ramp_ms) };
            let (at, next) = (pace.due(n), pace.due(n + 1));
            prop_assert!(at <= next);
            // A nanosecond's rounding either way.
            prop_assert!(pace.due_by(at + Duration::from_micros(1)) >= n);
            prop_assert!(pace.due_by(at.saturating_sub(Duration::from_micros(1))) <= n);
        }
    }
}
