//! Vectors of the kind `balance`.

use std::collections::{BTreeMap, HashMap};

use fuseboard_policy::balance::{Balancer, Busy};
use fuseboard_policy::settings::{Algorithm, Balance};
use serde_json::{Map, Value};

use super::{Answer, Draws, Facts, Got, Step, Wrong, only, typed};

pub(crate) struct Machine {
    balancer: Balancer,
    algorithm: Algorithm,
    endpoints: Vec<String>,
    calls: HashMap<String, Busy>,
    saved: HashMap<String, Vec<Option<String>>>,
}

impl Machine {
    pub(crate) fn new(mut settings: Map<String, Value>, now: u64) -> Result<Self, Wrong> {
        only(&settings, &["policy", "endpoints", "default_rtt_ms", "decay_ms"], "setting")?;
        let endpoints = settings.remove("endpoints").ok_or("settings: no endpoints")?;
        let policy = settings.remove("policy").ok_or("settings: no policy")?;
        settings.insert("algorithm".to_owned(), policy);
        let settings: Balance = typed(&settings)?;
        let (calls, saved) = (HashMap::new(), HashMap::new());
        let algorithm = settings.algorithm;
        let mut machine = Self { balancer: Balancer::new(settings), algorithm, endpoints: Vec::new(), calls, saved };
        for endpoint in endpoints.as_array().ok_or("settings: endpoints must be a list")? {
            machine.add(endpoint, now)?;
        }
        Ok(machine)
    }

    fn add(&mut self, endpoint: &Value, now: u64) -> Result<(), Wrong> {
        let endpoint = endpoint.as_object().ok_or("an endpoint must be an object")?;
        only(endpoint, &["id", "weight"], "endpoint field")?;
        let id = endpoint.get("id").and_then(Value::as_str).ok_or("an endpoint has no id")?;
        let weight = match endpoint.get("weight") {
            None => 1,
            Some(weight) => weight.as_u64().ok_or("a weight must be a whole number")?,
        };
        self.balancer.add(id, weight, now);
        self.endpoints.push(id.to_owned());
        Ok(())
    }

    fn one(&self, key: &str, now: u64, draws: &mut Draws) -> Option<String> {
        self.balancer.pick(now, key.as_bytes(), || draws.lend()).map(|id| id.to_string())
    }

    fn count(&self, picks: &[Option<String>]) -> BTreeMap<String, f64> {
        let mut counts: BTreeMap<String, f64> = self.endpoints.iter().map(|id| (id.clone(), 0.0)).collect();
        for id in picks.iter().flatten() {
            *counts.entry(id.clone()).or_default() += 1.0;
        }
        counts
    }

    fn pick(&self, step: &Step<'_>, now: u64, draws: &mut Draws) -> Result<Facts, Wrong> {
        let key = match self.algorithm {
            Algorithm::ConsistentHash => step.text("key")?,
            _ => "",
        };
        let picks: Vec<Option<String>> = (0..step.whole_or("times", 1)?).map(|_| self.one(key, now, draws)).collect();
        let first: Got = picks.first().cloned().flatten().into();
        Ok(Facts::from([
            ("counts", Got::Map(self.count(&picks))),
            ("endpoint", first.clone()),
            ("endpoint_in", first),
            ("sequence", Got::List(picks.clone())),
            ("rotation_of", Got::List(picks.clone())),
            ("never", Got::List(picks)),
        ]))
    }

    fn map_keys(&mut self, step: &Step<'_>, now: u64, draws: &mut Draws) -> Result<Facts, Wrong> {
        let (prefix, count) = (step.text("prefix")?, step.whole("count")?.ok_or("count is missing")?);
        let picks: Vec<Option<String>> = (0..count).map(|i| self.one(&format!("{prefix}{i}"), now, draws)).collect();
        let n = picks.len().max(1) as f64;
        let share = self.count(&picks).into_iter().map(|(id, count)| (id, count / n)).collect();
        let mut facts = Facts::from([("share", Got::Map(share)), ("never", Got::List(picks.clone()))]);
        if step.get("compare_to").is_some() {
            let before =
                self.saved.get(step.text("compare_to")?).ok_or("compare_to: nothing is saved under that name")?;
            let moved = before.iter().zip(&picks).filter(|(before, now)| before != now).count();
            facts.insert("moved", Got::Real(moved as f64 / n));
        }
        if step.get("save_as").is_some() {
            self.saved.insert(step.text("save_as")?.to_owned(), picks);
        }
        Ok(facts)
    }
}

impl super::Machine for Machine {
    fn steps(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[
            ("pick", &["key", "times"]),
            ("start", &["id", "endpoint"]),
            ("finish", &["id"]),
            ("cost", &["endpoint"]),
            ("add", &["endpoint"]),
            ("remove", &["endpoint"]),
            ("map_keys", &["prefix", "count", "save_as", "compare_to"]),
        ]
    }

    fn step(&mut self, step: &Step<'_>, now: u64, draws: &mut Draws) -> Result<Answer, Wrong> {
        let mut facts = Facts::new();
        match step.name() {
            "pick" => facts = self.pick(step, now, draws)?,
            "map_keys" => facts = self.map_keys(step, now, draws)?,
            "start" => {
                let call = self.balancer.start(step.text("endpoint")?, now).ok_or("no such endpoint")?;
                self.calls.insert(step.text("id")?.to_owned(), call);
            }
            "finish" => {
                let call = self.calls.remove(step.text("id")?).ok_or("no such call")?;
                call.finish(now);
            }
            "cost" => {
                let cost = self.balancer.cost(step.text("endpoint")?, now).ok_or("no such endpoint")?;
                facts.insert("cost_ms", Got::Real(cost));
            }
            "add" => self.add(step.get("endpoint").ok_or("endpoint is missing")?, now)?,
            _ => {
                let id = step.text("endpoint")?;
                self.balancer.remove(id);
                self.endpoints.retain(|endpoint| endpoint != id);
            }
        }
        Ok(facts.into())
    }
}
