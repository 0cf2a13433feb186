//! Vectors of the kind `breaker`.

use std::collections::HashMap;

use fuseboard_policy::breaker::{Admission, Breaker, Outcome, Permit};
use fuseboard_policy::settings;
use serde_json::{Map, Value};

use super::{Answer, Draws, Facts, MS, Step, Wrong, only, patch, typed};

const KNOWN: [&str; 12] = [
    "window",
    "min_calls",
    "failure_ratio",
    "slow_ms",
    "slow_ratio",
    "consecutive_failures",
    "open_ms",
    "open_backoff",
    "half_open_permits",
    "half_open_successes",
    "probe_lease_ms",
    "mode",
];

pub(crate) struct Machine {
    settings: Map<String, Value>,
    breaker: Breaker,
    shadow: bool,
    permits: HashMap<String, Permit>,
}

impl Machine {
    pub(crate) fn new(settings: Map<String, Value>, now: u64) -> Result<Self, Wrong> {
        let typed = read(&settings)?;
        let shadow = typed.mode == Some(settings::BreakerMode::Shadow);
        Ok(Self { settings, breaker: Breaker::new(&typed, now), shadow, permits: HashMap::new() })
    }

    fn start(&mut self, step: &Step<'_>, now: u64) -> Result<Facts, Wrong> {
        let mut facts = Facts::new();
        match self.breaker.admit(now) {
            Admission::Admitted(permit) => {
                facts.insert("admitted", true.into());
                facts.insert("probe", permit.is_probe().into());
                if self.shadow {
                    facts.insert("would_reject", permit.would_refuse().into());
                }
                self.permits.insert(step.text("id")?.to_owned(), permit);
            }
            Admission::Refused(_) => {
                facts.insert("admitted", false.into());
                facts.insert("probe", false.into());
            }
        }
        Ok(facts)
    }

    fn finish(&mut self, step: &Step<'_>, now: u64) -> Result<Facts, Wrong> {
        let permit = self.permits.remove(step.text("id")?).ok_or("finish of a call that was not admitted")?;
        let outcome = match step.text("result")? {
            "success" => Outcome::Success,
            "failure" => Outcome::Failure,
            "cancelled" | "dropped" => Outcome::Cancelled,
            other => return Err(format!("unknown result: {other}")),
        };
        self.breaker.finish(permit, now, outcome);
        Ok(Facts::new())
    }

    /// The facts and the time of the last call.
    fn calls(&self, step: &Step<'_>, now: u64) -> Result<(Facts, u64), Wrong> {
        let (pattern, repeat) = (step.text("pattern")?, step.whole_or("repeat", 1)?);
        let every = step.whole_or("every_ms", 0)?.checked_mul(MS).ok_or("every_ms is too large")?;
        let outcomes: Vec<Outcome> = pattern.chars().map(outcome).collect::<Result<_, _>>()?;
        let (mut admissions, mut would_refuse, mut at, mut first) = (String::new(), 0u64, now, true);
        for _ in 0..repeat {
            for outcome in &outcomes {
                if !std::mem::take(&mut first) {
                    at = at.checked_add(every).ok_or("the clock overflows")?;
                }
                match self.breaker.admit(at) {
                    Admission::Admitted(permit) => {
                        admissions.push('A');
                        would_refuse += u64::from(permit.would_refuse());
                        self.breaker.finish(permit, at, *outcome);
                    }
                    Admission::Refused(_) => admissions.push('R'),
                }
            }
        }
        let admitted = admissions.bytes().filter(|c| *c == b'A').count() as u64;
        let facts = Facts::from([
            ("admissions", admissions.into()),
            ("admitted_count", admitted.into()),
            ("would_reject_count", would_refuse.into()),
        ]);
        Ok((facts, at))
    }

    fn reconfigure(&mut self, step: &Step<'_>, now: u64) -> Result<Facts, Wrong> {
        patch(&mut self.settings, step.object("settings")?);
        let typed = read(&self.settings)?;
        self.shadow = typed.mode == Some(settings::BreakerMode::Shadow);
        self.breaker.reconfigure(&typed, now);
        Ok(Facts::new())
    }
}

fn read(settings: &Map<String, Value>) -> Result<settings::Breaker, Wrong> {
    only(settings, &KNOWN, "setting")?;
    typed(settings)
}

fn outcome(letter: char) -> Result<Outcome, Wrong> {
    match letter {
        'S' => Ok(Outcome::Success),
        'F' => Ok(Outcome::Failure),
        'C' => Ok(Outcome::Cancelled),
        other => Err(format!("unknown letter in pattern: {other}")),
    }
}

impl super::Machine for Machine {
    fn steps(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[
            ("start", &["id"]),
            ("finish", &["id", "result"]),
            ("calls", &["pattern", "repeat", "every_ms"]),
            ("state", &[]),
            ("reconfigure", &["settings"]),
        ]
    }

    fn step(&mut self, step: &Step<'_>, now: u64, _draws: &mut Draws) -> Result<Answer, Wrong> {
        let mut at = now;
        let mut facts = match step.name() {
            "start" => self.start(step, now)?,
            "finish" => self.finish(step, now)?,
            "calls" => {
                let (facts, last) = self.calls(step, now)?;
                at = last;
                facts
            }
            "reconfigure" => self.reconfigure(step, now)?,
            _ => {
                self.breaker.tick(now);
                Facts::new()
            }
        };
        let snapshot = self.breaker.snapshot(at);
        let state = self.breaker.state_name();
        facts.insert("state", state.into());
        facts.insert("trips", snapshot.trips.into());
        if state == "closed" {
            facts.insert("calls", snapshot.calls.into());
            facts.insert("failures", snapshot.failures.into());
            facts.insert("slow", snapshot.slow.into());
        }
        Ok(facts.into())
    }
}
