//! What the collector tells by itself, so that only the questions it touches are asked again.

use serde::{Deserialize, Serialize};

use crate::span::Span;
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

/// Spans that fit a filter, as they were stored: a line of `GET /v1/tail?q=FILTER`. The first line comes at once and is empty;
/// so is one every few seconds without a fitting span.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TailEvent {
    /// Everything that fits and was stored up to this instant has been told.
    pub as_of: UnixNanos,
    /// Those stored since the line before, by start, oldest first.
    pub spans: Vec<Span>,
    /// More than a line holds came since then: the oldest are left out.
    pub skipped: bool,
}
