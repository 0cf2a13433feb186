//! The call graph.

use serde::{Deserialize, Serialize};

use crate::breaker::{BreakerMode, BreakerState};
use crate::stats::{SparkPoint, Stats};
use crate::{TimeRange, UnixNanos};

/// An edge: caller service → callee service + operation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EdgeKey {
    /// `service.name` of the caller; [`OUTSIDE`] for callers that send no spans.
    pub caller: String,
    /// `service.name` of the callee, or the name of a database, queue or third party.
    pub callee: String,
    /// The callee's operation.
    pub operation: String,
}

/// The caller's name on edges whose caller sends no spans.
pub const OUTSIDE: &str = "clients";

impl EdgeKey {
    /// A key from its three parts.
    pub fn new(caller: impl Into<String>, callee: impl Into<String>, operation: impl Into<String>) -> Self {
        Self { caller: caller.into(), callee: callee.into(), operation: operation.into() }
    }
}

impl std::fmt::Display for EdgeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}/{}", self.caller, self.callee, self.operation)
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A service that sends spans.
    #[default]
    Service,
    /// A database seen only from its clients.
    Database,
    /// A queue or topic.
    Queue,
    /// Anything else that is called or calls but sends no spans.
    External,
}

/// One instance of a service in the range.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceStats {
    /// `service.instance.id`.
    pub instance: String,
    /// `service.version`.
    pub version: String,
    /// What it answered.
    pub stats: Stats,
}

/// One operation that a service answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationStats {
    /// Its name.
    pub operation: String,
    /// What it answered.
    pub stats: Stats,
}

/// A service, database, queue or third party.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// A short word about a node without spans: `postgresql`, `rabbitmq`, …; empty otherwise.
    pub system: String,
    /// What it answered, all operations (for nodes without spans: what its callers saw).
    pub stats: Stats,
    /// By id.
    pub instances: Vec<InstanceStats>,
    /// By name.
    pub operations: Vec<OperationStats>,
    /// The last minutes, oldest first, one point per [`Board::spark_step_ms`].
    pub spark: Vec<SparkPoint>,
}

/// The breaker of one edge over all instances of the caller.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EdgeBreaker {
    /// The worst state that an instance reports.
    pub state: BreakerState,
    /// The mode in force.
    pub mode: BreakerMode,
    /// How many instances report each state: closed, half open, open.
    pub closed: u32,
    /// See `closed`.
    pub half_open: u32,
    /// See `closed`.
    pub open: u32,
    /// Since when the worst state holds.
    pub since: UnixNanos,
}

/// One edge of the graph.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Edge {
    /// Which.
    pub key: EdgeKey,
    /// What its callers saw.
    pub stats: Stats,
    /// Whether it goes through a queue.
    pub asynchronous: bool,
    /// The attempt timeout that applies, in milliseconds; `None` without an agent or a timeout.
    pub attempt_timeout_ms: Option<u64>,
    /// The overall timeout that applies, in milliseconds.
    pub overall_timeout_ms: Option<u64>,
    /// Its breaker; `None` when the caller has no agent or the edge no breaker.
    pub breaker: Option<EdgeBreaker>,
    /// The last minutes, oldest first, one point per [`Board::spark_step_ms`].
    pub spark: Vec<SparkPoint>,
}

/// How bad a headline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing to do.
    #[default]
    Well,
    /// May become a failure.
    AtRisk,
    /// Calls fail.
    Failed,
}

/// The sentence on top: what is wrong, since when, with numbers, and which alarms are only echoes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Headline {
    /// How bad.
    pub severity: Severity,
    /// The sentence.
    pub text: String,
    /// The edge it speaks of.
    pub edge: Option<EdgeKey>,
    /// Since when.
    pub since: UnixNanos,
}

/// The call graph over a range.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Board {
    /// The range that counts were taken over.
    pub range: TimeRange,
    /// By name.
    pub nodes: Vec<Node>,
    /// By key; one per operation.
    pub edges: Vec<Edge>,
    /// What is wrong.
    pub headline: Option<Headline>,
    /// Milliseconds between two spark points.
    pub spark_step_ms: u64,
}
