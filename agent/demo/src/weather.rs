//! Scripted weather: what goes wrong in the shop, where and when. The same name and seed give the same schedule.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How much slower the bank answers when it is slow, in milliseconds; well above what payments waits for it.
const BANK_SLOW_MS: u64 = 1_400;
/// The version of payments in a bad release.
const BAD_RELEASE: &str = "2.5.0";

/// A kind of weather.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Weather {
    /// Nothing goes wrong but what always does.
    #[default]
    Calm,
    /// Every instance of payments becomes slow for half a minute.
    SlowPayments,
    /// The bank fails for a few seconds, again and again.
    FlappingBank,
    /// A sale brings several times the traffic.
    Overload,
    /// `payments-2` is slow and fails.
    BadInstance,
    /// A new version of payments takes an instance's place, and fails.
    BadRelease,
    /// Several of them in five minutes; the first breaker trips and recovers within the first minute.
    Story,
}

/// A name that is no weather's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no weather called `{given}`; choose one of {}", Weather::names().join(", "))]
pub struct UnknownWeather {
    /// What was given.
    pub given: String,
}

impl Weather {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Calm,
        Self::SlowPayments,
        Self::FlappingBank,
        Self::Overload,
        Self::BadInstance,
        Self::BadRelease,
        Self::Story,
    ];

    /// The name, as [`Weather::parse`] takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::SlowPayments => "slow-payments",
            Self::FlappingBank => "flapping-bank",
            Self::Overload => "overload",
            Self::BadInstance => "bad-instance",
            Self::BadRelease => "bad-release",
            Self::Story => "story",
        }
    }

    /// All names.
    #[must_use]
    pub fn names() -> [&'static str; 7] {
        Self::ALL.map(Self::name)
    }

    /// Reads a name.
    ///
    /// # Errors
    /// [`UnknownWeather`], which lists the names.
    pub fn parse(name: &str) -> Result<Self, UnknownWeather> {
        let wanted = name.trim().to_ascii_lowercase().replace('_', "-");
        let found = Self::ALL.into_iter().find(|weather| weather.name() == wanted);
        found.ok_or_else(|| UnknownWeather { given: name.to_owned() })
    }

    /// The whole schedule. The seed moves only what is meant to look random.
    #[must_use]
    pub fn script(self, seed: u64) -> Script {
        let mut dice = SmallRng::seed_from_u64(seed ^ 0x5EA5_0175);
        let mut draft = Draft::default();
        let period = match self {
            Self::Calm => 60,
            Self::SlowPayments => {
                draft.step(12, "payments slows by 900 ms").slow(Place::service("payments"), 900);
                draft.calm(42, "payments is back to normal");
                75
            }
            Self::FlappingBank => {
                draft.flaps(10, 110, &mut dice);
                120
            }
            Self::Overload => {
                draft.step(12, "a sale begins: 3 times the traffic").load(3.0);
                draft.calm(42, "the sale is over");
                75
            }
            Self::BadInstance => {
                draft.bad_instance(12);
                draft.calm(60, "payments-2 was repaired");
                90
            }
            Self::BadRelease => {
                draft.bad_release(12);
                draft.calm(60, "the release was rolled back: payments-3 runs again");
                90
            }
            Self::Story => {
                draft.story(&mut dice);
                300
            }
        };
        Script { steps: draft.steps, period: Duration::from_secs(period) }
    }

    /// The schedule's steps; see [`Weather::script`].
    #[must_use]
    pub fn steps(self, seed: u64) -> Vec<Step> {
        self.script(seed).steps
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Weather {
    type Err = UnknownWeather;

    fn from_str(name: &str) -> Result<Self, UnknownWeather> {
        Self::parse(name)
    }
}

/// A service, or one instance of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `service.name`.
    pub service: &'static str,
    /// `service.instance.id`; `None` means every instance.
    pub instance: Option<&'static str>,
}

impl Place {
    const fn service(service: &'static str) -> Self {
        Self { service, instance: None }
    }

    const fn instance(service: &'static str, instance: &'static str) -> Self {
        Self { service, instance: Some(instance) }
    }

    fn is(&self, service: &str, instance: &str) -> bool {
        self.service == service && self.instance.is_none_or(|wanted| wanted == instance)
    }
}

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    /// Where.
    pub place: Place,
    /// By how much it answers later.
    pub slower: Duration,
    /// Share of requests that fail there, 0…1.
    pub errors: f64,
}

/// Everything that is unusual at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sky {
    /// What is wrong, and where.
    pub troubles: Vec<Trouble>,
    /// Factor on the usual traffic.
    pub load: f64,
    /// Version of payments that runs as `payments-4` in the place of `payments-3`.
    pub release: Option<&'static str>,
}

impl Default for Sky {
    fn default() -> Self {
        Self { troubles: Vec::new(), load: 1.0, release: None }
    }
}

impl Sky {
    /// Sum of what is wrong with an instance: how much later it answers, and the share of requests that fail.
    #[must_use]
    pub fn over(&self, service: &str, instance: &str) -> (Duration, f64) {
        let here = self.troubles.iter().filter(|trouble| trouble.place.is(service, instance));
        here.fold((Duration::ZERO, 0.0), |(slower, errors), t| (slower + t.slower, (errors + t.errors).min(1.0)))
    }
}

/// From one instant on, a sky.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When, after the traffic's start or after the script began anew.
    pub at: Duration,
    /// How it is from then on.
    pub sky: Sky,
    /// What happens, for people: `the bank slows to 1.4 s`.
    pub says: String,
}

/// A schedule that repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// In order of time; the first is at 0.
    pub steps: Vec<Step>,
    /// After this it begins anew.
    pub period: Duration,
}

impl Script {
    /// The step in force a time after the start: its place in the schedule counted over all repetitions, and the step.
    #[must_use]
    pub fn at(&self, elapsed: Duration) -> Option<(usize, &Step)> {
        let rounds = elapsed.as_millis() / self.period.as_millis().max(1);
        let rounds = usize::try_from(rounds).ok()?;
        let within = elapsed.saturating_sub(self.period.saturating_mul(u32::try_from(rounds).ok()?));
        let index = self.steps.iter().rposition(|step| step.at <= within)?;
        Some((rounds * self.steps.len() + index, self.steps.get(index)?))
    }
}

/// A schedule under way. Starts calm.
struct Draft {
    steps: Vec<Step>,
}

impl Default for Draft {
    fn default() -> Self {
        Self { steps: vec![Step { at: Duration::ZERO, sky: Sky::default(), says: "all is calm".to_owned() }] }
    }
}

impl Draft {
    /// A new step with a clear sky; the result fills it.
    fn step(&mut self, at_secs: u64, says: &str) -> SkyDraft<'_> {
        self.step_at(Duration::from_secs(at_secs), says)
    }

    fn step_at(&mut self, at: Duration, says: &str) -> SkyDraft<'_> {
        self.steps.push(Step { at, sky: Sky::default(), says: says.to_owned() });
        let last = self.steps.len() - 1;
        SkyDraft(&mut self.steps[last].sky)
    }

    fn calm(&mut self, at_secs: u64, says: &str) {
        self.step(at_secs, says);
    }

    fn bad_instance(&mut self, at: u64) {
        let place = Place::instance("payments", "payments-2");
        self.step(at, "payments-2 turns slow and fails").slow(place.clone(), 250).errors(place, 0.7);
    }

    fn bad_release(&mut self, at: u64) {
        let place = Place::instance("payments", "payments-4");
        self.step(at, "payments 2.5.0 takes the place of payments-3, and fails")
            .release(BAD_RELEASE)
            .errors(place, 0.6);
    }

    /// Outages of 3 to 6 s with 5 to 9 s between them.
    fn flaps(&mut self, from: u64, to: u64, dice: &mut SmallRng) {
        let (mut at, to) = (Duration::from_secs(from), Duration::from_secs(to));
        while at < to {
            let down = Duration::from_millis(dice.random_range(3_000..6_000));
            let up = Duration::from_millis(dice.random_range(5_000..9_000));
            self.step_at(at, "the bank fails").errors(Place::service("bank"), 0.95);
            self.step_at(at + down, "the bank is back");
            at += down + up;
        }
    }

    fn story(&mut self, dice: &mut SmallRng) {
        self.step(12, "the bank slows to 1.4 s").slow(Place::service("bank"), BANK_SLOW_MS);
        self.calm(30, "the bank is quick again");
        self.bad_instance(65);
        self.calm(100, "payments-2 was repaired");
        self.step(125, "a sale begins: 3 times the traffic").load(3.0);
        self.calm(155, "the sale is over");
        self.bad_release(180);
        self.calm(215, "the release was rolled back: payments-3 runs again");
        self.flaps(235, 270, dice);
    }
}

/// The sky of a step under way.
struct SkyDraft<'a>(&'a mut Sky);

impl SkyDraft<'_> {
    fn slow(self, place: Place, ms: u64) -> Self {
        self.0.troubles.push(Trouble { place, slower: Duration::from_millis(ms), errors: 0.0 });
        self
    }

    fn errors(self, place: Place, errors: f64) -> Self {
        self.0.troubles.push(Trouble { place, slower: Duration::ZERO, errors });
        self
    }

    fn load(self, factor: f64) {
        self.0.load = factor;
    }

    fn release(self, version: &'static str) -> Self {
        self.0.release = Some(version);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back_and_others_are_refused_with_the_list() {
        for weather in Weather::ALL {
            assert_eq!(Weather::parse(weather.name()), Ok(weather));
        }
        assert_eq!(Weather::parse(" Slow_Payments "), Ok(Weather::SlowPayments));
        let error = Weather::parse("hail").unwrap_err().to_string();
        assert!(error.contains("`hail`") && error.contains("flapping-bank") && error.contains("story"), "{error}");
    }

    #[test]
    fn schedules_are_in_order_within_their_period_and_end_calm() {
        for weather in Weather::ALL {
            for seed in 0..50 {
                let script = weather.script(seed);
                assert_eq!(script.steps[0].at, Duration::ZERO);
                assert!(script.steps.is_sorted_by(|a, b| a.at < b.at), "{weather} {seed}");
                assert!(script.steps.iter().all(|step| step.at < script.period), "{weather} {seed}");
                assert_eq!(script.steps.last().unwrap().sky, Sky::default(), "{weather} {seed}");
            }
        }
    }

    #[test]
    fn a_seed_decides_and_only_where_chance_is_meant() {
        assert_eq!(Weather::Story.script(7), Weather::Story.script(7));
        assert_ne!(Weather::FlappingBank.script(1), Weather::FlappingBank.script(2));
        assert_eq!(Weather::Overload.script(1), Weather::Overload.script(2));
    }

    #[test]
    fn the_story_breaks_and_mends_in_its_first_minute() {
        let script = Weather::Story.script(1);
        let bank = |secs| script.at(Duration::from_secs(secs)).unwrap().1.sky.over("bank", "bank-1");
        assert_eq!(bank(11), (Duration::ZERO, 0.0));
        assert_eq!(bank(12), (Duration::from_millis(BANK_SLOW_MS), 0.0));
        assert_eq!(bank(31), (Duration::ZERO, 0.0));
        assert!(script.steps.len() >= 10 && script.period == Duration::from_secs(300));
    }

    #[test]
    fn a_script_begins_anew_after_its_period() {
        let script = Weather::SlowPayments.script(1);
        let (first, step) = script.at(Duration::from_secs(20)).unwrap();
        let (second, again) = script.at(script.period + Duration::from_secs(20)).unwrap();
        assert_eq!(step, again);
        assert_eq!(second, first + script.steps.len());
    }

    #[test]
    fn trouble_stays_where_it_belongs() {
        let script = Weather::BadInstance.script(1);
        let (_, step) = script.at(Duration::from_secs(20)).unwrap();
        assert!(step.sky.over("payments", "payments-2").1 > 0.5);
        assert_eq!(step.sky.over("payments", "payments-1"), (Duration::ZERO, 0.0));
        assert_eq!(step.sky.over("bank", "payments-2"), (Duration::ZERO, 0.0));
    }
}
