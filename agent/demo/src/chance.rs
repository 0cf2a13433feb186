//! Seeded chance: how long things take, and whether they go wrong.

use std::f64::consts::TAU;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Dice of one instance. Each draw is a few nanoseconds under a lock that nobody holds longer.
#[derive(Debug)]
pub(crate) struct Dice(Mutex<SmallRng>);

impl Dice {
    /// Dice that fall the same for the same seed and name.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (seed, name).hash(&mut hasher);
        Self(Mutex::new(SmallRng::seed_from_u64(hasher.finish())))
    }

    /// The generator itself, for a draw or two.
    pub(crate) fn lock(&self) -> MutexGuard<'_, SmallRng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A share, 0…1.
    pub(crate) fn share(&self) -> f64 {
        self.lock().random()
    }

    /// A number for an id.
    pub(crate) fn id(&self) -> u32 {
        self.lock().random()
    }

    /// Whether something of probability `p` happens.
    pub(crate) fn happens(&self, p: f64) -> bool {
        p > 0.0 && self.share() < p
    }

    /// A service time: lognormal around a median, `sigma` the spread of its logarithm. Never above 20 medians.
    pub(crate) fn takes(&self, median_ms: f64, sigma: f64) -> Duration {
        let ms = median_ms * (sigma * normal(&mut *self.lock())).exp();
        Duration::from_secs_f64(ms.min(median_ms * 20.0) / 1_000.0)
    }

    /// The time to the next of `rate` arrivals a second, at random (a Poisson process).
    pub(crate) fn until_next(&self, rate: f64) -> Duration {
        let uniform: f64 = self.lock().random();
        Duration::from_secs_f64(-(1.0 - uniform).ln() / rate)
    }
}

/// A draw from the standard normal distribution (Box and Muller's).
fn normal(dice: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (dice.random(), dice.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_of_a_name_fall_the_same_and_others_differ() {
        let draws = |seed, name| {
            let dice = Dice::new(seed, name);
            (0..8).map(|_| dice.takes(10.0, 0.4)).collect::<Vec<_>>()
        };
        assert_eq!(draws(1, "orders-1"), draws(1, "orders-1"));
        assert_ne!(draws(1, "orders-1"), draws(1, "orders-2"));
        assert_ne!(draws(1, "orders-1"), draws(2, "orders-1"));
    }

    #[test]
    fn service_times_lie_around_their_median() {
        let dice = Dice::new(3, "test");
        let below = (0..10_000).filter(|_| dice.takes(20.0, 0.5) < Duration::from_millis(20)).count();
        assert!((4_800..5_200).contains(&below), "{below} of 10000 below the median");
    }

    #[test]
    fn arrivals_come_at_their_rate() {
        let dice = Dice::new(4, "test");
        let total: Duration = (0..10_000).map(|_| dice.until_next(50.0)).sum();
        assert!((190.0..210.0).contains(&total.as_secs_f64()), "{total:?} for 10000 arrivals at 50/s");
    }
}
