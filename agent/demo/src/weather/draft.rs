//! Writing schedules.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

use super::sky::{Failing, Place, Sky, Step, Trouble};

/// How much slower the bank answers when it is slow, in milliseconds; well above what payments waits for it.
pub(super) const BANK_SLOW_MS: u64 = 1_400;
/// The version of payments in a bad release.
const BAD_RELEASE: &str = "2.5.0";

/// A schedule under way. Starts calm.
pub(super) struct Draft {
    /// So far, in order of time.
    pub(super) steps: Vec<Step>,
}

impl Default for Draft {
    fn default() -> Self {
        Self { steps: vec![Step { at: Duration::ZERO, sky: Sky::default(), says: "all is calm".to_owned() }] }
    }
}

impl Draft {
    /// A new step with a clear sky; the result fills it.
    pub(super) fn step(&mut self, at_secs: u64, says: &str) -> SkyDraft<'_> {
        self.step_at(Duration::from_secs(at_secs), says)
    }

    fn step_at(&mut self, at: Duration, says: &str) -> SkyDraft<'_> {
        self.steps.push(Step { at, sky: Sky::default(), says: says.to_owned() });
        let last = self.steps.len() - 1;
        SkyDraft(&mut self.steps[last].sky)
    }

    /// A new step with a clear sky.
    pub(super) fn calm(&mut self, at_secs: u64, says: &str) {
        self.step(at_secs, says);
    }

    /// `payments-2` is slow and fails.
    pub(super) fn bad_instance(&mut self, at: u64) {
        let place = Place::instance("payments", "payments-2");
        self.step(at, "payments-2 turns slow and fails").slow(place.clone(), 250).errors(place, 0.7);
    }

    /// A new version of payments fails.
    pub(super) fn bad_release(&mut self, at: u64) {
        let place = Place::instance("payments", "payments-4");
        self.step(at, "payments 2.5.0 takes the place of payments-3, and has a bug")
            .release(BAD_RELEASE)
            .bug(place, 0.8);
    }

    /// Outages of 3 to 6 s with 5 to 9 s between them.
    pub(super) fn flaps(&mut self, from: u64, to: u64, dice: &mut SmallRng) {
        let (mut at, to) = (Duration::from_secs(from), Duration::from_secs(to));
        while at < to {
            let down = Duration::from_millis(dice.random_range(3_000..6_000));
            let up = Duration::from_millis(dice.random_range(5_000..9_000));
            self.step_at(at, "the bank fails").errors(Place::service("bank"), 0.95);
            self.step_at(at + down, "the bank is back");
            at += down + up;
        }
    }

    /// The story's five minutes.
    pub(super) fn story(&mut self, dice: &mut SmallRng) {
        self.step(12, "the bank slows to 1.4 s").slow(Place::service("bank"), BANK_SLOW_MS);
        self.calm(30, "the bank is quick again");
        self.bad_instance(65);
        self.calm(100, "payments-2 was repaired");
        self.step(125, "a sale begins: 2.5 times the traffic, and discounts to price").load(2.5);
        self.calm(155, "the sale is over");
        self.bad_release(180);
        self.calm(215, "the release was rolled back: payments-3 runs again");
        self.flaps(235, 270, dice);
    }
}

/// The sky of a step under way.
pub(super) struct SkyDraft<'a>(&'a mut Sky);

impl SkyDraft<'_> {
    /// A place answers later.
    pub(super) fn slow(self, place: Place, ms: u64) -> Self {
        self.trouble(place, Duration::from_millis(ms), 0.0, Failing::Unavailable)
    }

    fn errors(self, place: Place, errors: f64) -> Self {
        self.trouble(place, Duration::ZERO, errors, Failing::Unavailable)
    }

    fn bug(self, place: Place, errors: f64) -> Self {
        self.trouble(place, Duration::ZERO, errors, Failing::Bug)
    }

    fn trouble(self, place: Place, slower: Duration, errors: f64, failing: Failing) -> Self {
        self.0.troubles.push(Trouble { place, slower, errors, failing });
        self
    }

    /// More traffic than usual.
    pub(super) fn load(self, factor: f64) {
        self.0.load = factor;
    }

    fn release(self, version: &'static str) -> Self {
        self.0.release = Some(version);
        self
    }
}
