//! What the weather is made of: skies, the steps that bring them, the script of steps.

use std::time::Duration;

/// A service, or one instance of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `service.name`.
    pub service: &'static str,
    /// `service.instance.id`; `None` means every instance.
    pub instance: Option<&'static str>,
}

impl Place {
    pub(super) const fn service(service: &'static str) -> Self {
        Self { service, instance: None }
    }

    pub(super) const fn instance(service: &'static str, instance: &'static str) -> Self {
        Self { service, instance: Some(instance) }
    }

    fn is(&self, service: &str, instance: &str) -> bool {
        self.service == service && self.instance.is_none_or(|wanted| wanted == instance)
    }
}

/// How requests fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failing {
    /// The service is not available: worth another try.
    #[default]
    Unavailable,
    /// The service has a bug: another try would not help, and callers do not try.
    Bug,
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
    /// How they fail.
    pub failing: Failing,
}

/// What the weather does to one instance.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Effect {
    /// By how much it answers later.
    pub slower: Duration,
    /// Share of requests that fail, 0…1.
    pub errors: f64,
    /// How they fail.
    pub failing: Failing,
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
    /// Everything that is wrong with an instance, together.
    #[must_use]
    pub fn over(&self, service: &str, instance: &str) -> Effect {
        let here = self.troubles.iter().filter(|trouble| trouble.place.is(service, instance));
        here.fold(Effect::default(), |sum, trouble| Effect {
            slower: sum.slower + trouble.slower,
            errors: (sum.errors + trouble.errors).min(1.0),
            failing: if trouble.errors > 0.0 { trouble.failing } else { sum.failing },
        })
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
