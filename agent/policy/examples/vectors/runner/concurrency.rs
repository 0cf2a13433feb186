//! Vectors of the kind `concurrency_limit`.

use std::collections::HashMap;

use fuseboard_policy::concurrency::{ConcurrencyLimiter, Ended, Ticket};
use serde_json::{Map, Value};

use super::{Answer, Draws, Facts, MS, Step, Wrong, patch, typed};

pub(crate) struct Machine {
    settings: Map<String, Value>,
    limiter: ConcurrencyLimiter,
    tickets: HashMap<String, Ticket>,
}

impl Machine {
    pub(crate) fn new(settings: Map<String, Value>, draws: &mut Draws) -> Result<Self, Wrong> {
        let limiter = ConcurrencyLimiter::new(&typed(&settings)?, || draws.lend());
        Ok(Self { settings, limiter, tickets: HashMap::new() })
    }

    fn acquire(&mut self, step: &Step<'_>, now: u64) -> Result<Facts, Wrong> {
        let (id, times) = (step.text("id")?, step.whole("times")?);
        let mut admitted = 0u64;
        for i in 0..times.unwrap_or(1) {
            if let Some(ticket) = self.limiter.acquire(now) {
                admitted += 1;
                let name = if times.is_some() { format!("{id}{i}") } else { id.to_owned() };
                self.tickets.insert(name, ticket);
            }
        }
        let mut facts = Facts::from([("admitted_count", admitted.into())]);
        if times.is_none() {
            facts.insert("admitted", (admitted == 1).into());
        }
        Ok(facts)
    }

    fn release(&mut self, step: &Step<'_>, now: u64, draws: &mut Draws) -> Result<Facts, Wrong> {
        let ticket = self.tickets.remove(step.text("id")?).ok_or("release of a call that was not admitted")?;
        let ended = match step.text("result")? {
            "success" => Ended::Success,
            "dropped" => Ended::Dropped,
            "ignored" => Ended::Ignored,
            other => return Err(format!("unknown result: {other}")),
        };
        self.limiter.release(ticket, now, ended, || draws.lend());
        Ok(Facts::new())
    }

    fn sample(&self, step: &Step<'_>, draws: &mut Draws) -> Result<Facts, Wrong> {
        let rtt = step.get("rtt_ms").and_then(Value::as_f64).ok_or("rtt_ms must be a number")?;
        let rtt = step.whole("rtt_ms").ok().flatten().map_or((rtt * 1e6) as u64, |ms| ms.saturating_mul(MS));
        let in_flight = step.whole("inflight")?.ok_or("inflight is missing")?;
        let dropped = match step.get("dropped") {
            None => false,
            Some(dropped) => dropped.as_bool().ok_or("dropped must be true or false")?,
        };
        for _ in 0..step.whole_or("times", 1)? {
            self.limiter.sample(rtt, in_flight, dropped, || draws.lend());
        }
        Ok(Facts::new())
    }
}

impl super::Machine for Machine {
    fn steps(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[
            ("acquire", &["id", "times"]),
            ("release", &["id", "result"]),
            ("sample", &["rtt_ms", "inflight", "dropped", "times"]),
            ("reconfigure", &["settings"]),
            ("state", &[]),
        ]
    }

    fn step(&mut self, step: &Step<'_>, now: u64, draws: &mut Draws) -> Result<Answer, Wrong> {
        let mut facts = match step.name() {
            "acquire" => self.acquire(step, now)?,
            "release" => self.release(step, now, draws)?,
            "sample" => self.sample(step, draws)?,
            "reconfigure" => {
                patch(&mut self.settings, step.object("settings")?);
                self.limiter.reconfigure(&typed(&self.settings)?, || draws.lend());
                Facts::new()
            }
            _ => Facts::new(),
        };
        facts.insert("limit", self.limiter.limit().into());
        facts.insert("in_flight", self.limiter.in_flight().into());
        Ok(facts.into())
    }
}
