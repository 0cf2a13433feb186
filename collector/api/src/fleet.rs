//! Who runs what.

use serde::{Deserialize, Serialize};

use crate::stats::Stats;
use crate::{TimeRange, UnixNanos};

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
    /// Hashes of actor, action, target, reason and detail, in hex; only where [`AuditQuery::hashes`] asks for them. The
    /// chain covers these, so that an export without some of the words still verifies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// Which entries of the audit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditQuery {
    /// Only entries whose actor, action, target, reason or detail contains this text, in any case.
    pub text: Option<String>,
    /// Only entries whose actor contains this, in any case.
    pub actor: Option<String>,
    /// Only entries whose action begins with this: `policy.`, `override.set`.
    pub action: Option<String>,
    /// Only entries whose target contains this, in any case: `revision 12`.
    pub target: Option<String>,
    /// Only entries of this stretch.
    pub range: Option<TimeRange>,
    /// Only entries before this sequence: the next page of an answer whose last entry it was.
    pub before: Option<u64>,
    /// Only entries after this sequence, and then oldest first.
    pub after: Option<u64>,
    /// At most so many; absent or more than 500 means 500.
    pub limit: Option<u32>,
    /// Whether to tell the hashes of the fields.
    pub hashes: bool,
}

impl AuditQuery {
    /// The newest entries that contain a text.
    #[must_use]
    pub fn containing(text: Option<String>) -> Self {
        Self { text, ..Self::default() }
    }
}

/// The answer to [`crate::ask::Question::Audit`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Audit {
    /// Newest first, unless asked for those after one; at most 500.
    pub entries: Vec<AuditEntry>,
    /// Whether there are more entries that fit beyond the last one here.
    pub more: bool,
    /// Entries of the whole audit. It is never shortened: it grows by some hundred bytes with every deed.
    pub length: u64,
    /// `None` when the chain verifies, else the sequence at which it breaks. What was followed before is not read again
    /// while the collector runs; [`crate::ask::Question::AuditChain`] reads everything.
    pub broken_at: Option<u64>,
}

/// The answer to [`crate::ask::Question::AuditChain`].
///
/// A chain that holds says that no entry was changed, removed, inserted or moved *unless* everything from there to the end
/// was written anew. Whoever can write the file can do that, and can cut off the end. Only a hash that was kept elsewhere
/// shows it: write [`AuditChain::last_hash`] down from time to time and ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditChain {
    /// How many entries there are.
    pub length: u64,
    /// Their size in bytes, hashes included.
    pub bytes: u64,
    /// When the first was written.
    pub first_at: UnixNanos,
    /// When the last was written.
    pub last_at: UnixNanos,
    /// The first entry's hash, hex; empty when there is none.
    pub first_hash: String,
    /// The last entry's hash, hex: the one to keep elsewhere.
    pub last_hash: String,
    /// The sequence at which the chain breaks.
    pub broken_at: Option<u64>,
    /// How it breaks, in words.
    pub broken_how: String,
    /// Fields that were taken out; their hashes still stand in the chain.
    pub redacted: u64,
    /// The sequence of the entry with the hash that was asked for; `None` when it is not there, or none was asked for.
    pub expected_at: Option<u64>,
}

impl AuditChain {
    /// Whether every entry fits the one before it.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.broken_at.is_none()
    }
}
