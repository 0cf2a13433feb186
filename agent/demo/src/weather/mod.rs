//! Scripted weather: what goes wrong in the shop, where and when. The same name and seed give the same schedule.

mod draft;
mod sky;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use draft::Draft;
pub use sky::{Effect, Failing, Place, Script, Sky, Step, Trouble};

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
                draft.step(12, "a sale begins: 2.5 times the traffic, and discounts to price").load(2.5);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weather::draft::BANK_SLOW_MS;

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
        assert_eq!(bank(11), Effect::default());
        assert_eq!(bank(12), Effect { slower: Duration::from_millis(BANK_SLOW_MS), ..Effect::default() });
        assert_eq!(bank(31), Effect::default());
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
        assert!(step.sky.over("payments", "payments-2").errors > 0.5);
        assert_eq!(step.sky.over("payments", "payments-1"), Effect::default());
        assert_eq!(step.sky.over("bank", "payments-2"), Effect::default());
    }
}
