//! Incidents: named ranges of time with everything recorded in them.

use serde::{Deserialize, Serialize};

use crate::graph::EdgeKey;
use crate::strip::Mark;
use crate::{TimeRange, UnixNanos};

/// Why an edge is suspected.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Suspect {
    /// The edge.
    pub key: EdgeKey,
    /// Weight, 0…1, highest first.
    pub score: f64,
    /// The evidence, in one sentence with numbers.
    pub evidence: String,
}

/// An incident, or a candidate that was found by itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Incident {
    /// Its id; 0 for a candidate that nobody has recorded.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// From when.
    pub from: UnixNanos,
    /// Until when; `None` while it is being recorded.
    pub to: Option<UnixNanos>,
    /// Who recorded it.
    pub actor: String,
    /// Spans inside.
    pub spans: u64,
    /// Failed calls inside.
    pub errors: u64,
    /// Calls inside.
    pub calls: u64,
    /// What happened, in order.
    pub story: Vec<Mark>,
    /// What may have caused it, most likely first.
    pub suspects: Vec<Suspect>,
}

/// The answer to [`crate::ask::Question::Incidents`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Incidents {
    /// Newest first.
    pub incidents: Vec<Incident>,
    /// Stretches with trips or anomalies that nobody has recorded, newest first.
    pub candidates: Vec<Incident>,
    /// Set when the source is an incident file: its name, range, and where it was recorded.
    pub file: Option<IncidentFile>,
}

/// What an incident file says of itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct IncidentFile {
    /// The incident's name.
    pub name: String,
    /// What it covers.
    pub range: TimeRange,
    /// When it was written.
    pub written: UnixNanos,
    /// By which version of Fuseboard.
    pub version: String,
    /// Its schema version.
    pub schema: u32,
}
