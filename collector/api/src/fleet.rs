//! Who runs what.

use serde::{Deserialize, Serialize};

use crate::UnixNanos;
use crate::stats::Stats;

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`.
    pub instance: String,
    /// `service.version`.
    pub version: String,
    /// Whether its control stream is up; `None` for instances that only send telemetry.
    pub connected: Option<bool>,
    /// When its control stream came up last, or its first span for instances without an agent.
    pub since: UnixNanos,
    /// When it last said anything.
    pub last_seen: UnixNanos,
    /// The revision it runs.
    pub running: u64,
    /// Since when it runs that revision; `None` when it has not said.
    pub since_running: Option<UnixNanos>,
    /// The revision it is meant to run: while a change is rolled out by stages, not all are meant to run the same.
    pub desired: u64,
    /// The revision it was given last.
    pub attempted: u64,
    /// The revision it refused last, with the reason.
    pub last_failed: Option<(u64, String)>,
    /// The revision from which it went back by itself last, because nobody confirmed it in time.
    pub reverted_from: Option<u64>,
    /// Hash of the settings really in force, overrides included; hex.
    pub effective_hash: String,
    /// Newest generation of the overrides it has.
    pub overrides: u64,
    /// Telemetry records its export queue had to drop since it started.
    pub dropped: u64,
    /// What it answered in the range asked for.
    pub stats: Stats,
}

/// Instances of a service that were given the same revision and overrides, but have other settings in force than most.
///
/// Agents work out what is in force by themselves and tell a hash of it. The same rules give the same hash, so a difference
/// comes from what an instance has of its own: defaults in its code, another version of the agent that knows other settings,
/// or an edge that only it has used yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Drift {
    /// `service.name`.
    pub service: String,
    /// The revision they all run.
    pub revision: u64,
    /// Those that differ from most of the others, sorted.
    pub instances: Vec<String>,
    /// How many instances of the service were compared.
    pub of: u32,
    /// What it means, a sentence.
    pub text: String,
}

/// The answer to [`crate::ask::Question::Fleet`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fleet {
    /// By service and instance.
    pub members: Vec<Member>,
    /// The revision in force: what everyone should run who is not among the first to get a newer one.
    pub revision: u64,
    /// The newest generation of overrides.
    pub overrides: u64,
    /// Where instances of one service differ that should not.
    pub drift: Vec<Drift>,
}

/// One entry of the audit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditEntry {
    /// Position in the chain, from 1.
    pub sequence: u64,
    /// When.
    pub at: UnixNanos,
    /// Who; `collector` and `agent …` for what happens by itself.
    pub actor: String,
    /// What: `policy.set`, `override.set`, `override.expired`, `agent.applied`, `incident.recorded`, …
    pub action: String,
    /// On what.
    pub target: String,
    /// Why.
    pub reason: String,
    /// Details, a sentence or a diff.
    pub detail: String,
    /// Hash over this entry and the one before it; hex.
    pub hash: String,
}

/// The answer to [`crate::ask::Question::Audit`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// Newest first; at most 500.
    pub entries: Vec<AuditEntry>,
    /// `None` when the whole chain verifies, else the sequence at which it breaks.
    pub broken_at: Option<u64>,
}
