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
    /// The revision it was given last.
    pub attempted: u64,
    /// The revision it refused last, with the reason.
    pub last_failed: Option<(u64, String)>,
    /// Hash of the settings really in force, overrides included; hex.
    pub effective_hash: String,
    /// Newest generation of the overrides it has.
    pub overrides: u64,
    /// Telemetry records its export queue had to drop since it started.
    pub dropped: u64,
    /// What it answered in the range asked for.
    pub stats: Stats,
}

/// The answer to [`crate::ask::Question::Fleet`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fleet {
    /// By service and instance.
    pub members: Vec<Member>,
    /// The revision that everyone should run.
    pub revision: u64,
    /// The newest generation of overrides.
    pub overrides: u64,
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
