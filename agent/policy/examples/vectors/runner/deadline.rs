//! Vectors of the kind `deadline`.

use std::time::Duration;

use fuseboard_policy::deadline::{Deadline, Outbound, format_timeout, parse_timeout};
use fuseboard_policy::settings::Timeout;
use serde_json::{Map, Value};

use super::value::millis;
use super::{Answer, Draws, Facts, Got, Step, Wrong, only, typed};

pub(crate) struct Machine {
    timeout: Timeout,
    deadline: Deadline,
}

impl Machine {
    pub(crate) fn new(settings: &Map<String, Value>) -> Result<Self, Wrong> {
        only(settings, &["attempt_ms", "overall_ms"], "setting")?;
        Ok(Self { timeout: typed(settings)?, deadline: Deadline::default() })
    }

    fn left(&self, now: u64) -> Facts {
        let left = self.deadline.left(now);
        Facts::from([
            ("remaining_ns", nanos(left)),
            ("remaining_ms", left.map_or(Got::Null, |left| millis(left.as_nanos()))),
            ("expired", self.deadline.expired(now).into()),
        ])
    }

    fn begin(&mut self, step: &Step<'_>, now: u64) -> Result<Facts, Wrong> {
        let inbound = match step.get("inbound") {
            None | Some(Value::Null) => None,
            Some(_) => Some(parse_timeout(step.text("inbound")?).ok_or("inbound: is no timeout")?),
        };
        self.deadline = Deadline::begin(now, &self.timeout, inbound);
        Ok(self.left(now))
    }

    fn attempt(&self, now: u64) -> Facts {
        let expired = self.deadline.expired(now);
        let limit = self.deadline.attempt_limit(now, &self.timeout).filter(|_| !expired);
        Facts::from([
            ("expired", expired.into()),
            ("timeout_ns", nanos(limit)),
            ("timeout_ms", limit.map_or(Got::Null, |limit| millis(limit.as_nanos()))),
        ])
    }
}

fn nanos(duration: Option<Duration>) -> Got {
    duration.map_or(Got::Null, |d| i128::try_from(d.as_nanos()).map_or(Got::Real(f64::INFINITY), Got::Whole))
}

impl super::Machine for Machine {
    fn steps(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[
            ("parse", &["header"]),
            ("format", &["timeout_ns"]),
            ("begin", &["inbound"]),
            ("remaining", &[]),
            ("attempt", &[]),
            ("retry", &["delay_ms"]),
            ("outbound", &["offset_ms"]),
        ]
    }

    fn step(&mut self, step: &Step<'_>, now: u64, _draws: &mut Draws) -> Result<Answer, Wrong> {
        let facts = match step.name() {
            "parse" => {
                let timeout = parse_timeout(step.text("header")?);
                Facts::from([("ok", timeout.is_some().into()), ("timeout_ns", nanos(timeout))])
            }
            "format" => {
                let timeout = step.whole("timeout_ns")?.ok_or("timeout_ns is missing")?;
                Facts::from([("header", format_timeout(Duration::from_nanos(timeout)).into())])
            }
            "begin" => self.begin(step, now)?,
            "attempt" => self.attempt(now),
            "retry" => {
                let delay = step.whole("delay_ms")?.ok_or("delay_ms is missing")?;
                let allowed = self.deadline.allows_retry(now, Duration::from_millis(delay));
                Facts::from([("allowed", allowed.into())])
            }
            "outbound" => {
                let offset = Duration::from_millis(step.whole_or("offset_ms", 0)?);
                let (header, expired) = match self.deadline.outbound(now, offset) {
                    Outbound::Unlimited => (None, false),
                    Outbound::Left(left) => (Some(format_timeout(left)), false),
                    Outbound::Expired => (None, true),
                };
                Facts::from([("header", header.into()), ("expired", expired.into())])
            }
            _ => self.left(now),
        };
        Ok(facts.into())
    }
}
