//! What the collector tells by itself, so that only the questions it touches are asked again.

use serde::{Deserialize, Serialize};

use crate::{TimeRange, UnixNanos};

/// What kind of data changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Touched {
    /// Spans, and with them rollups.
    Spans,
    /// Log records.
    Logs,
    /// Metric points.
    Metrics,
    /// Breaker reports.
    Breakers,
    /// Revisions, overrides and acknowledgements.
    Changes,
    /// Who is connected.
    Fleet,
    /// Incidents.
    Incidents,
    /// Forecasts.
    Forecasts,
    /// The audit.
    Audit,
}

/// Something was stored. The collector sends at most ten of these a second; what happens between two is joined.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LiveEvent {
    /// Counts up with every commit.
    pub generation: u64,
    /// The instant up to which everything is stored: safe to ask as of.
    pub as_of: UnixNanos,
    /// The event times that the new data covers.
    pub range: TimeRange,
    /// What changed.
    pub touched: Vec<Touched>,
}
