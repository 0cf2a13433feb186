//! Vectors of the kind `rate_limit`.

use fuseboard_policy::rate::RateLimiter;
use fuseboard_policy::settings::Rate;
use serde_json::{Map, Value};

use super::{Answer, Draws, Facts, MS, Step, Wrong, patch, typed};

pub(crate) struct Machine {
    settings: Map<String, Value>,
    limiter: RateLimiter,
}

impl Machine {
    pub(crate) fn new(settings: Map<String, Value>, now: u64) -> Result<Self, Wrong> {
        let typed: Rate = typed(&settings)?;
        Ok(Self { settings, limiter: RateLimiter::new(&typed, now) })
    }

    fn acquire(&self, step: &Step<'_>, now: u64) -> Result<Facts, Wrong> {
        let n = step.whole_or("n", 1)?;
        let every = step.whole_or("every_ms", 0)?.checked_mul(MS).ok_or("every_ms is too large")?;
        let every = every.checked_add(step.whole_or("every_ns", 0)?).ok_or("every_ns is too large")?;
        let times = step.whole("times")?;
        let (mut admitted, mut at) = (0u64, now);
        for i in 0..times.unwrap_or(1) {
            if i > 0 {
                at = at.checked_add(every).ok_or("the clock overflows")?;
            }
            admitted += u64::from(self.limiter.acquire(at, n));
        }
        let mut facts = Facts::from([("admitted_count", admitted.into())]);
        if times.is_none() {
            facts.insert("admitted", (admitted == 1).into());
        }
        Ok(facts)
    }
}

impl super::Machine for Machine {
    fn steps(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[("acquire", &["n", "times", "every_ns", "every_ms"]), ("reconfigure", &["settings"])]
    }

    fn step(&mut self, step: &Step<'_>, now: u64, _draws: &mut Draws) -> Result<Answer, Wrong> {
        if step.name() == "acquire" {
            return Ok(self.acquire(step, now)?.into());
        }
        patch(&mut self.settings, step.object("settings")?);
        self.limiter = self.limiter.reconfigured(&typed(&self.settings)?, now);
        Ok(Answer::default())
    }
}
