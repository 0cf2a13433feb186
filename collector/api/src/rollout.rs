//! How a policy change reaches the instances, and how far that has come.
//!
//! A change without stages is given to everyone at once. With stages it is given to a share of each service's instances
//! first; the calls of those are held against the calls of the others, and whatever [`Guard`] finds them worse takes the
//! change back from everyone. Too few calls to say mean that it waits, never that it goes on.

use serde::{Deserialize, Serialize};

use crate::UnixNanos;
use crate::graph::EdgeKey;

/// How a policy change is delivered. The default: to everyone at once, with nothing to confirm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// Shares of the instances, ascending, the last one 1; at most 20. Empty: everyone at once, and no guard looks.
    pub stages: Vec<Stage>,
    /// What must not become worse in any stage; at most one a measure. Default: [`Guard::usual`]. Empty: only time decides.
    pub guards: Vec<Guard>,
    /// So many calls must be known of the changed instances, and of those they are compared with, before a stage may end
    /// well; 1 to 1,000,000, default 100.
    pub min_samples: u64,
    /// Unless somebody confirms the revision within this time of its being published, every agent goes back by itself,
    /// in milliseconds; 1 s to 24 h. `None`: nothing to confirm.
    pub confirm_within_ms: Option<u64>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { stages: Vec::new(), guards: Guard::usual(), min_samples: 100, confirm_within_ms: None }
    }
}

/// One step of a staged delivery.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stage {
    /// Share of each service's instances that have the change in this stage, 0…1; at least one instance of each.
    pub share: f64,
    /// How long it must have gone well before the next stage, in milliseconds; at most 24 h.
    pub bake_ms: u64,
}

/// What a guard watches. Only calls that changed instances make are watched, on edges that the change touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Share of calls that failed, refused ones among them, 0…1.
    #[default]
    Errors,
    /// 99th percentile of the calls' duration, in milliseconds.
    P99,
    /// Share of calls that a local rule refused, 0…1.
    Refused,
}

/// What must not become worse, and what is still tolerated: the larger of the two tolerances.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Guard {
    /// What it watches.
    pub measure: Measure,
    /// So much more than the others have is tolerated, in the measure's own unit (0.01 is one call more in a hundred).
    pub absolute: f64,
    /// So much more in proportion to what the others have is tolerated: 0.25 is a quarter more.
    pub relative: f64,
}

impl Guard {
    /// What guards a staged change unless it says otherwise: one call in a hundred more may fail or be refused, and the
    /// 99th percentile may grow by a quarter, but by 20 ms at least.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        let share = |measure| Self { measure, absolute: 0.01, relative: 0.25 };
        vec![
            share(Measure::Errors),
            Self { measure: Measure::P99, absolute: 20.0, relative: 0.25 },
            share(Measure::Refused),
        ]
    }

    /// The largest value that is tolerated beside a value of the others.
    #[must_use]
    pub fn limit(&self, control: f64) -> f64 {
        control + self.absolute.max(self.relative * control)
    }
}

/// Where a rollout stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// The stage goes well and its time has not passed.
    #[default]
    Baking,
    /// The stage's time has passed, but something is missing to go on: calls, or an instance that has the change.
    Holding,
    /// Stopped by hand. Guards go on watching.
    Paused,
    /// Everyone has it, but it is not confirmed yet.
    Confirming,
    /// Over: everyone has it for good.
    Done,
    /// Over: a guard failed, and it was taken back.
    Reverted,
    /// Over: it was taken back by hand.
    Aborted,
    /// Over: nobody confirmed it in time, and it was taken back.
    Lapsed,
}

impl RolloutState {
    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Reverted | Self::Aborted | Self::Lapsed)
    }
}

/// How a revision with a plan of delivery fares.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Rollout {
    /// The revision that is delivered.
    pub revision: u64,
    /// The revision that the others have, and that everyone gets again when it is taken back.
    pub base: u64,
    /// The plan.
    pub delivery: Delivery,
    /// The stage it is in, or ended in: an index into the plan's stages.
    pub stage: u32,
    /// Where it stands.
    pub state: RolloutState,
    /// Why it stands there, a sentence: which guard failed with which numbers, what it waits for.
    pub why: String,
    /// When the stage began; for one that is over: when it ended.
    pub since: UnixNanos,
    /// When the stage's time has passed; `None` while it is paused or when it is over.
    pub next_at: Option<UnixNanos>,
    /// Who has the change and who not, by service; empty when it is over.
    pub groups: Vec<Group>,
    /// What the guards saw last; one a guard, the worst of the edges it watches.
    pub readings: Vec<Reading>,
    /// When they looked last; 0 for never.
    pub looked: UnixNanos,
    /// Guards look on, but no longer take the change back: somebody promoted it by force.
    pub waived: bool,
    /// Until when it must be confirmed; `None` when it needs no confirmation.
    pub confirm_by: Option<UnixNanos>,
    /// When somebody confirmed it.
    pub confirmed: Option<UnixNanos>,
}

/// The connected instances of a service, as a rollout divides them. Both lists are sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// `service.name`.
    pub service: String,
    /// Instances that are given the change.
    pub changed: Vec<String>,
    /// Those of them that run it, as far as they have said so.
    pub running: Vec<String>,
    /// Instances that are not given it yet.
    pub others: Vec<String>,
}

/// With what the changed instances are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// With the calls that the instances not yet changed made in the same time.
    #[default]
    Others,
    /// With the calls that the same instances made in a stretch just before the change: no instance is left without it.
    Before,
}

/// What a guard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The changed instances are not worse than is tolerated, as far as one can tell.
    Passes,
    /// Too few calls to say.
    #[default]
    TooFew,
    /// The changed instances are worse than is tolerated, beyond chance.
    Fails,
}

/// What a guard saw.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// The guard.
    pub guard: Guard,
    /// The edge that is worst; `None` for all watched edges together.
    pub edge: Option<EdgeKey>,
    /// With what the changed instances are compared.
    pub against: Against,
    /// The value of the changed instances, in the measure's unit.
    pub changed: f64,
    /// The value that it is compared with.
    pub control: f64,
    /// The largest value that is tolerated.
    pub limit: f64,
    /// Calls of the changed instances.
    pub changed_calls: u64,
    /// Calls that they are compared with.
    pub control_calls: u64,
    /// What follows.
    pub verdict: Verdict,
    /// The same in words: `errors 12.4 % of 480 calls, the others 0.3 % of 4,310 (at most 1.3 %)`.
    pub text: String,
}
