//! Policies as the console shows them.

use std::collections::BTreeMap;

use fuseboard_policy::settings::EdgeSettings;
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
