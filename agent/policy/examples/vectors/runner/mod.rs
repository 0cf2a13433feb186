//! Reads vectors, drives the engines with them and compares. What a vector says that is not known here is a failure.

mod backoff;
mod balance;
mod breaker;
mod concurrency;
mod deadline;
mod outlier;
mod rate;
mod retry_budget;
mod value;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::{Map, Value};
pub(crate) use value::Got;

/// Nanoseconds in a millisecond.
pub(crate) const MS: u64 = 1_000_000;

/// What went wrong, in words.
pub(crate) type Wrong = String;
/// What can be expected after a step, by name.
pub(crate) type Facts = BTreeMap<&'static str, Got>;

/// The answer of a machine to a step.
#[derive(Default)]
pub(crate) struct Answer {
    /// What can be expected.
    pub facts: Facts,
    /// For steps that repeat: the facts of the earlier repetitions, which the same expectations must meet.
    pub earlier: Vec<Facts>,
}

impl From<Facts> for Answer {
    fn from(facts: Facts) -> Self {
        Self { facts, earlier: Vec::new() }
    }
}

/// An engine under test.
pub(crate) trait Machine {
    /// The steps it knows and their arguments.
    fn steps(&self) -> &'static [(&'static str, &'static [&'static str])];
    /// Performs one.
    fn step(&mut self, step: &Step<'_>, now: u64, draws: &mut Draws) -> Result<Answer, Wrong>;
}

/// Runs one file.
///
/// # Errors
/// One line: the vector's name, the step and what differs.
pub(crate) fn run_file(path: &Path) -> Result<(), String> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let vector: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let vector = vector.as_object().ok_or("is no object")?;
        if vector.get("name").and_then(Value::as_str) != Some(&name) {
            return Err("its name is not the file's".to_owned());
        }
        run(vector)
    }));
    match outcome {
        Ok(result) => result.map_err(|wrong| format!("{name}: {wrong}")),
        Err(_) => Err(format!("{name}: the engine panicked")),
    }
}

fn run(vector: &Map<String, Value>) -> Result<(), Wrong> {
    only(vector, &["name", "kind", "source", "note", "start_ms", "settings", "draws", "steps"], "field")?;
    let steps = vector.get("steps").and_then(Value::as_array).ok_or("has no steps")?;
    if vector.contains_key("draws") && steps.iter().any(|step| step.get("draws").is_some()) {
        return Err("draws both for the vector and for a step".to_owned());
    }
    let start = match vector.get("start_ms") {
        None => 0,
        Some(ms) => ms.as_u64().and_then(|ms| ms.checked_mul(MS)).ok_or("start_ms is no time")?,
    };
    let mut draws = Draws::new();
    draws.load(vector.get("draws"))?;
    let settings = vector.get("settings").and_then(Value::as_object).cloned().ok_or("has no settings")?;
    let kind = vector.get("kind").and_then(Value::as_str).ok_or("has no kind")?;
    let mut machine: Box<dyn Machine> = match kind {
        "breaker" => Box::new(breaker::Machine::new(settings, start)?),
        "retry_budget" => Box::new(retry_budget::Machine::new(&settings)?),
        "backoff" => Box::new(backoff::Machine::new(&settings)?),
        "deadline" => Box::new(deadline::Machine::new(&settings)?),
        "rate_limit" => Box::new(rate::Machine::new(settings, start)?),
        "concurrency_limit" => Box::new(concurrency::Machine::new(settings, &mut draws)?),
        "balance" => Box::new(balance::Machine::new(settings, start)?),
        "outlier" => Box::new(outlier::Machine::new(settings, start)?),
        other => return Err(format!("kind not known: {other}")),
    };
    draws.checked()?;
    let mut last = start;
    for (index, step) in steps.iter().enumerate() {
        let fields = step.as_object().ok_or_else(|| format!("step {index} is no object"))?;
        let name = fields.get("do").and_then(Value::as_str).unwrap_or_default();
        run_step(machine.as_mut(), name, fields, &mut last, &mut draws)
            .map_err(|wrong| format!("step {index} ({name}): {wrong}"))?;
    }
    Ok(())
}

fn run_step(
    machine: &mut dyn Machine,
    name: &str,
    fields: &Map<String, Value>,
    last: &mut u64,
    draws: &mut Draws,
) -> Result<(), Wrong> {
    let known = machine.steps().iter().find(|(step, _)| *step == name);
    let (_, arguments) = known.ok_or("unknown step")?;
    let mut allowed = vec!["at_ms", "at_ns", "do", "expect", "note", "draws"];
    allowed.extend(*arguments);
    only(fields, &allowed, "argument")?;
    let step = Step(fields);
    let now = step.time()?;
    if now < *last {
        return Err("the clock goes backwards".to_owned());
    }
    *last = now;
    if fields.contains_key("draws") {
        draws.load(fields.get("draws"))?;
    }
    let answer = machine.step(&step, now, draws)?;
    draws.checked()?;
    if fields.contains_key("draws") {
        draws.load(None)?;
    }
    let Some(expect) = fields.get("expect") else { return Ok(()) };
    let expect = expect.as_object().ok_or("expect is no object")?;
    for (key, wanted) in expect {
        let got = answer.facts.get(key.as_str()).ok_or_else(|| format!("{key}: expectation not known here"))?;
        let wrong = |got: &Got| format!("{key}: expected {wanted}, got {got}");
        if !value::meets(key, wanted, got)? {
            return Err(wrong(got));
        }
        for earlier in answer.earlier.iter().filter_map(|facts| facts.get(key.as_str())) {
            if !value::meets(key, wanted, earlier)? {
                return Err(format!("{} in one of the repetitions", wrong(earlier)));
            }
        }
    }
    Ok(())
}

/// A step's arguments.
pub(crate) struct Step<'a>(&'a Map<String, Value>);

impl<'a> Step<'a> {
    fn time(&self) -> Result<u64, Wrong> {
        let nanos = match (self.0.get("at_ms"), self.0.get("at_ns")) {
            (Some(ms), None) => ms.as_u64().and_then(|ms| ms.checked_mul(MS)),
            (None, Some(ns)) => ns.as_u64(),
            _ => return Err("needs either at_ms or at_ns".to_owned()),
        };
        nanos.filter(|nanos| i64::try_from(*nanos).is_ok()).ok_or_else(|| "its time is none".to_owned())
    }

    /// What is to be done.
    pub(crate) fn name(&self) -> &'a str {
        self.0.get("do").and_then(Value::as_str).unwrap_or_default()
    }

    /// An argument as it stands.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name)
    }

    /// An argument that must be a text.
    pub(crate) fn text(&self, name: &str) -> Result<&'a str, Wrong> {
        self.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} must be a text"))
    }

    /// An argument that is a whole number, if present.
    pub(crate) fn whole(&self, name: &str) -> Result<Option<u64>, Wrong> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| format!("{name} must be a whole number")),
        }
    }

    /// An argument that is a whole number.
    pub(crate) fn whole_or(&self, name: &str, default: u64) -> Result<u64, Wrong> {
        Ok(self.whole(name)?.unwrap_or(default))
    }

    /// An argument that is an object.
    pub(crate) fn object(&self, name: &str) -> Result<&'a Map<String, Value>, Wrong> {
        self.get(name).and_then(Value::as_object).ok_or_else(|| format!("{name} must be an object"))
    }
}

/// Uniform numbers: those of the vector, or any.
pub(crate) struct Draws {
    given: Option<VecDeque<f64>>,
    wrong: Option<Wrong>,
    state: u64,
}

impl Draws {
    fn new() -> Self {
        Self { given: None, wrong: None, state: 0x9e37_79b9_7f4a_7c15 }
    }

    fn load(&mut self, draws: Option<&Value>) -> Result<(), Wrong> {
        self.given = match draws {
            None => None,
            Some(list) => {
                let list = list.as_array().ok_or("draws is no list")?;
                Some(list.iter().map(|x| x.as_f64().ok_or("a draw is no number")).collect::<Result<_, _>>()?)
            }
        };
        Ok(())
    }

    /// For engines that take a closure: the next one, with the error kept for [`Self::checked`].
    pub(crate) fn lend(&mut self) -> f64 {
        self.next().unwrap_or_else(|wrong| {
            self.wrong = Some(wrong);
            0.0
        })
    }

    /// The error of a draw that was lent, if any.
    pub(crate) fn checked(&mut self) -> Result<(), Wrong> {
        self.wrong.take().map_or(Ok(()), Err)
    }

    /// The next one; `Err` when the vector gives no more.
    pub(crate) fn next(&mut self) -> Result<f64, Wrong> {
        match &mut self.given {
            Some(given) => given.pop_front().ok_or_else(|| "asked for more draws than the vector gives".to_owned()),
            None => {
                // SplitMix64 (Steele, Lea, Flood 2014).
                self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = self.state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                Ok(((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64)
            }
        }
    }
}

/// Refuses fields that are not known.
pub(crate) fn only(object: &Map<String, Value>, known: &[&str], what: &str) -> Result<(), Wrong> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("unknown {what}: {key}")),
        None => Ok(()),
    }
}

/// Reads settings in their own type; unknown names are errors.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(object: &Map<String, Value>) -> Result<T, Wrong> {
    serde_json::from_value(Value::Object(object.clone())).map_err(|error| format!("settings: {error}"))
}

/// Lays a patch over settings, key by key; `null` takes one away.
pub(crate) fn patch(settings: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        if value.is_null() {
            settings.remove(key);
        } else {
            settings.insert(key.clone(), value.clone());
        }
    }
}
