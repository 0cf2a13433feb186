//! Vectors of the kind `backoff`.

use std::collections::HashSet;
use std::time::Duration;

use fuseboard_policy::backoff::{AttemptRules, Attempts, Pushback};
use fuseboard_policy::settings;
use serde_json::{Map, Value};

use super::value::millis;
use super::{Answer, Draws, Facts, Got, Step, Wrong, only, typed};

pub(crate) struct Machine {
    rules: AttemptRules,
    call: Attempts,
}

impl Machine {
    pub(crate) fn new(settings: &Map<String, Value>) -> Result<Self, Wrong> {
        only(settings, &["max_attempts", "backoff"], "setting")?;
        let most = match settings.get("max_attempts") {
            None => None,
            Some(most) => Some(most.as_u64().ok_or("settings: max_attempts must be a whole number")?),
        };
        let backoff = settings.get("backoff").and_then(Value::as_object).ok_or("settings: no backoff")?;
        let backoff: settings::Backoff = typed(backoff)?;
        let rules = AttemptRules::new(most, &backoff);
        Ok(Self { call: rules.begin(), rules })
    }

    fn reset(&mut self) {
        self.call = self.rules.begin();
    }

    fn failed(&mut self, pushback: Option<&str>, draws: &mut Draws) -> Result<Option<Duration>, Wrong> {
        let delay = self.call.failed(&self.rules, pushback.map(Pushback::parse), || draws.lend());
        draws.checked()?;
        Ok(delay)
    }

    fn repeat(&mut self, step: &Step<'_>, draws: &mut Draws) -> Result<Answer, Wrong> {
        let pushback = match step.get("pushback") {
            None | Some(Value::Null) => None,
            Some(_) => Some(step.text("pushback")?),
        };
        let mut all = Vec::new();
        for _ in 0..step.whole_or("times", 1)? {
            let delay = self.failed(pushback, draws)?;
            all.push(Facts::from([
                ("retry", delay.is_some().into()),
                ("delay_ms", delay.map_or(Got::Null, |delay| millis(delay.as_nanos()))),
            ]));
        }
        let mut facts = all.pop().unwrap_or_default();
        let retried = facts.get("retry") == Some(&Got::Bool(true));
        facts.insert("attempt", retried.then(|| self.call.number()).into());
        Ok(Answer { facts, earlier: all })
    }

    fn sample(&mut self, step: &Step<'_>, draws: &mut Draws) -> Result<Answer, Wrong> {
        let (retry, times) = (step.whole_or("retry", 1)?, step.whole_or("times", 1)?);
        let mut delays = Vec::new();
        for _ in 0..times {
            self.reset();
            let mut last = None;
            for _ in 0..retry {
                last = self.failed(None, draws)?;
            }
            delays.push(last.ok_or("there is no such retry")?.as_nanos());
        }
        self.reset();
        let mean = delays.iter().map(|nanos| *nanos as f64 / 1e6).sum::<f64>() / delays.len().max(1) as f64;
        let distinct = delays.iter().collect::<HashSet<_>>().len() as u64;
        let fact = |nanos: &u128| Facts::from([("delay_ms", millis(*nanos))]);
        let mut facts = delays.last().map(fact).unwrap_or_default();
        facts.insert("mean_ms", Got::Real(mean));
        facts.insert("distinct", distinct.into());
        Ok(Answer { facts, earlier: delays.iter().map(fact).collect() })
    }
}

impl super::Machine for Machine {
    fn steps(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[("failed", &["pushback", "times"]), ("reset", &[]), ("sample", &["retry", "times"])]
    }

    fn step(&mut self, step: &Step<'_>, _now: u64, draws: &mut Draws) -> Result<Answer, Wrong> {
        match step.name() {
            "failed" => self.repeat(step, draws),
            "sample" => self.sample(step, draws),
            _ => {
                self.reset();
                Ok(Answer::default())
            }
        }
    }
}
