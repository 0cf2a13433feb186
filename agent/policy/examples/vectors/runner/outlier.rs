//! Vectors of the kind `outlier`.

use fuseboard_policy::outlier::{OutlierDetector, Sweep};
use serde_json::{Map, Value};

use super::{Answer, Draws, Facts, Got, Step, Wrong, patch, typed};

pub(crate) struct Machine {
    settings: Map<String, Value>,
    detector: OutlierDetector,
}

impl Machine {
    pub(crate) fn new(mut settings: Map<String, Value>, now: u64) -> Result<Self, Wrong> {
        let endpoints = settings.remove("endpoints").ok_or("settings: no endpoints")?;
        let detector = OutlierDetector::new(&typed(&settings)?, now);
        for id in endpoints.as_array().ok_or("settings: endpoints must be a list")? {
            detector.add(id.as_str().ok_or("settings: an endpoint must be a text")?);
        }
        Ok(Self { settings, detector })
    }

    fn report(&self, step: &Step<'_>, now: u64) -> Result<(), Wrong> {
        let (ok, failed) = (step.whole_or("ok", 0)?, step.whole_or("failed", 0)?);
        self.detector.report(step.text("endpoint")?, ok, failed, now);
        Ok(())
    }

    fn reconfigure(&mut self, step: &Step<'_>) -> Result<(), Wrong> {
        patch(&mut self.settings, step.object("settings")?);
        self.detector.reconfigure(&typed(&self.settings)?);
        Ok(())
    }
}

fn ids(ids: Vec<String>) -> Got {
    Got::List(ids.into_iter().map(Some).collect())
}

fn swept(facts: &mut Facts, sweep: Sweep) {
    facts.insert("detected", ids(sweep.detected));
    if let Some((mean, threshold)) = sweep.success_rate {
        facts.insert("mean_percent", Got::Real(mean));
        facts.insert("threshold_percent", Got::Real(threshold));
    }
}

impl super::Machine for Machine {
    fn steps(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[
            ("report", &["endpoint", "ok", "failed"]),
            ("sweep", &[]),
            ("tick", &[]),
            ("state", &[]),
            ("reconfigure", &["settings"]),
            ("add", &["endpoint"]),
            ("remove", &["endpoint"]),
        ]
    }

    fn step(&mut self, step: &Step<'_>, now: u64, draws: &mut Draws) -> Result<Answer, Wrong> {
        let mut facts = Facts::new();
        match step.name() {
            "report" => self.report(step, now)?,
            "sweep" => swept(&mut facts, self.detector.sweep(now, || draws.lend())),
            "tick" => {
                let sweep = self.detector.tick(now, || draws.lend());
                facts.insert("swept", sweep.is_some().into());
                if let Some(sweep) = sweep {
                    swept(&mut facts, sweep);
                }
            }
            "reconfigure" => self.reconfigure(step)?,
            "add" => self.detector.add(step.text("endpoint")?),
            "remove" => self.detector.remove(step.text("endpoint")?),
            _ => {}
        }
        let ejected = self.detector.ejected();
        facts.insert("ejected_count", (ejected.len() as u64).into());
        facts.insert("ejected", ids(ejected));
        Ok(facts.into())
    }
}
