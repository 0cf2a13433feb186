//! Policies as the console shows them.

use std::collections::BTreeMap;

use fuseboard_policy::settings::{EdgeSettings, Fault};
use serde::{Deserialize, Serialize};

use crate::UnixNanos;
use crate::graph::EdgeKey;
use crate::histogram::LatencyHistogram;
use crate::stats::Stats;

/// One immutable version of the whole policy set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Revision {
    /// Its number; 0 is the empty set before anything was set.
    pub number: u64,
    /// The revision it was made from.
    pub base: u64,
    /// When.
    pub at: UnixNanos,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// For a rollback: the revision whose content it restores.
    pub restores: Option<u64>,
}

/// The settings in force on one observed edge.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EffectiveEdge {
    /// The edge.
    pub key: EdgeKey,
    /// The merged settings.
    pub settings: EdgeSettings,
    /// Setting path (`timeout.attempt_ms`) → the rule or preset it came from (`payments/payments.v1.Payments/Charge`, `*`).
    pub provenance: BTreeMap<String, String>,
    /// Whether the caller runs an agent, so that a change can reach it.
    pub steered: bool,
    /// Instances of the caller that are connected.
    pub instances: u32,
    /// What its callers saw in the range asked for.
    pub stats: Stats,
    /// How long single attempts took in the range asked for, cut ones at the time of their cut.
    pub attempts: LatencyHistogram,
    /// Attempts that the attempt timeout cut in the range.
    pub cut: u64,
    /// Median of what the caller's own deadline left when calls began, in milliseconds.
    pub deadline_left_ms: Option<f64>,
}

/// The settings in force on an edge of one instance, worked out from what the instance says it runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceEdge {
    /// The edge.
    pub key: EdgeKey,
    /// The caller's `service.instance.id`.
    pub instance: String,
    /// Whether its control stream is up; else this is what it had when it was heard last.
    pub connected: bool,
    /// The revision it runs.
    pub running: u64,
    /// The overrides on this edge that it has said it obeys, in the order in which they apply.
    pub overrides: Vec<u64>,
    /// The merged settings.
    pub settings: EdgeSettings,
    /// An injected fault; only overrides give one.
    pub fault: Option<Fault>,
    /// Setting path → the rule, preset or override it came from (`payments`, `preset rpc-50`, `override 7`).
    pub provenance: BTreeMap<String, String>,
    /// Whether the hash that the instance tells is the hash of these settings over all its edges of the range. `false` also
    /// where it has edges that were not called in the range: widen it to be sure.
    pub verified: bool,
}

/// The answer to [`crate::ask::Question::Policies`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Policies {
    /// The revision in force.
    pub revision: Revision,
    /// Its document, TOML.
    pub document: String,
    /// Every observed edge, by key.
    pub edges: Vec<EffectiveEdge>,
    /// Revisions, newest first; at most 100.
    pub history: Vec<Revision>,
}
