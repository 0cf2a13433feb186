//! The time strip under every view.

use serde::{Deserialize, Serialize};

use crate::graph::{EdgeKey, Severity};
use crate::{TimeRange, UnixNanos};

/// What happened at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// A breaker opened.
    #[default]
    BreakerOpened,
    /// A breaker began to probe.
    BreakerProbing,
    /// A breaker closed again.
    BreakerClosed,
    /// A revision was published.
    Revision,
    /// An override was set.
    Override,
    /// An override ended or expired.
    OverrideEnded,
    /// A quantity left its normal band.
    Anomaly,
    /// An incident began.
    IncidentBegan,
    /// An incident ended.
    IncidentEnded,
    /// A new `service.version` was first seen.
    Deployment,
    /// An instance's control stream broke.
    AgentLost,
}

/// A flag on the strip and a line of an incident's story.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Mark {
    /// When.
    pub at: UnixNanos,
    /// What.
    pub kind: MarkKind,
    /// One or two letters or a revision for the flag: `open`, `½`, `r41`.
    pub label: String,
    /// The sentence.
    pub text: String,
    /// How bad.
    pub severity: Severity,
    /// The edge it concerns.
    pub edge: Option<EdgeKey>,
}

/// One column of the density chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Density {
    /// Calls that ended in it (all edges and services' own entries, each call once).
    pub calls: u64,
    /// Failed ones of those.
    pub errors: u64,
}

/// The answer to [`crate::ask::Question::Strip`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Strip {
    /// The range shown.
    pub range: TimeRange,
    /// Width of a column in milliseconds.
    pub step_ms: u64,
    /// Columns from the start of the range on.
    pub density: Vec<Density>,
    /// By time.
    pub marks: Vec<Mark>,
    /// The stretch for which anything is stored.
    pub stored: TimeRange,
    /// Incidents that touch the range: id, name, range (`to` is the asked instant while it goes on).
    pub incidents: Vec<(u64, String, TimeRange)>,
}
