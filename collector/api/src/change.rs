//! Changes on their way to the agents: revisions and overrides, and who has them.

pub use fuseboard_policy::overrides::{OverrideAction, Selector};
use serde::{Deserialize, Serialize};

use crate::UnixNanos;
use crate::rollout::Rollout;

/// How far a change has come. The console draws *requested* until the data says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// Accepted and published; some targeted instances have not acknowledged yet.
    #[default]
    Requested,
    /// Every targeted instance has acknowledged it.
    Applied,
    /// Some instance refused it.
    Refused,
    /// Its time ran out.
    Expired,
    /// Ended by hand, or replaced by a newer one.
    Ended,
    /// A revision that is given to its instances by stages, or that waits to be confirmed; see [`Change::rollout`].
    Rolling,
    /// A revision that was taken back from everyone: a guard failed, somebody aborted it, or nobody confirmed it in time;
    /// [`Change::rollout`] says which.
    Reverted,
}

/// One instance's word on a change.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Acknowledgement {
    /// `service.name` of the instance.
    pub service: String,
    /// `service.instance.id`.
    pub instance: String,
    /// When the collector had it.
    pub at: UnixNanos,
    /// Time from publishing to acknowledgement, in milliseconds.
    pub latency_ms: f64,
    /// Why it refused; `None` when applied.
    pub refused: Option<String>,
}

/// A revision or an override, and who has it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// The revision's number or the override's id.
    pub id: u64,
    /// Set for overrides.
    pub override_spec: Option<OverrideSpec>,
    /// How far it has come.
    pub state: ChangeState,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What, in words: `orders → payments/…Charge forced open`.
    pub summary: String,
    /// When it was published.
    pub at: UnixNanos,
    /// When it ends by itself.
    pub expires: Option<UnixNanos>,
    /// When its end was put off last; for overrides that were renewed.
    pub renewed: Option<UnixNanos>,
    /// When it ended.
    pub ended: Option<UnixNanos>,
    /// Instances it was meant for: connected when it was published, or connected since while it is in force.
    pub targeted: u32,
    /// Instances that have it.
    pub applied: u32,
    /// Their words.
    pub acknowledgements: Vec<Acknowledgement>,
    /// How its delivery fares, for a revision that was published with stages or with a time to confirm it.
    pub rollout: Option<Rollout>,
}

impl Change {
    /// The 99th percentile of the acknowledgements' latency, in milliseconds.
    #[must_use]
    pub fn p99_ms(&self) -> Option<f64> {
        let mut all: Vec<f64> = self.acknowledgements.iter().map(|a| a.latency_ms).collect();
        all.sort_by(f64::total_cmp);
        let rank = (all.len() as f64 * 0.99).ceil() as usize;
        all.get(rank.max(1) - 1).copied()
    }
}

/// What an override does and to whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverrideSpec {
    /// The edges it is for.
    pub selector: Selector,
    /// What it does there.
    pub action: OverrideAction,
}

/// The answer to [`crate::ask::Question::Changes`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// Overrides in force or ended in the range, newest first.
    pub overrides: Vec<Change>,
    /// Revisions, newest first; at most 100.
    pub revisions: Vec<Change>,
    /// Set while the collector takes no changes.
    pub read_only: Option<ReadOnly>,
}

/// That the collector takes no changes, who said so, and why; see [`crate::command::Action::SetReadOnly`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadOnly {
    /// Since when.
    pub at: UnixNanos,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Changes {
    /// The rollout that is under way; there is at most one.
    #[must_use]
    pub fn rollout(&self) -> Option<&Rollout> {
        self.revisions.iter().filter_map(|c| c.rollout.as_ref()).find(|r| !r.state.is_over())
    }
}
