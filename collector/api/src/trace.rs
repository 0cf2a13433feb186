//! Lists of traces and one trace whole.

use serde::{Deserialize, Serialize};

use crate::breaker::BreakerBand;
use crate::log::LogRecord;
use crate::span::Span;
use crate::{TimeRange, TraceId, UnixNanos};

/// Which traces are wanted. Every condition that is set must hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceQuery {
    /// Traces with a span that started in this range.
    pub range: TimeRange,
    /// With a span of this service.
    pub service: Option<String>,
    /// With a span of this name (of that service, when one is given).
    pub operation: Option<String>,
    /// With a call over this edge: caller, callee.
    pub edge: Option<(String, String)>,
    /// Lasting at least so many milliseconds.
    pub min_ms: Option<f64>,
    /// Lasting at most so many milliseconds.
    pub max_ms: Option<f64>,
    /// Only with a failed span.
    pub errors_only: bool,
    /// Span attributes that must be equal, value as text.
    pub attributes: Vec<(String, String)>,
    /// Text in a span's name, status message or attribute value; case does not matter.
    pub text: Option<String>,
    /// At most so many, newest first; 0 means 200.
    pub limit: u32,
    /// Only traces that started before this instant: the next page begins where the last one ended.
    pub before: Option<UnixNanos>,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceRow {
    /// Its id.
    pub trace_id: TraceId,
    /// Service of the root span, or of the earliest span while the root is missing.
    pub service: String,
    /// Name of that span.
    pub operation: String,
    /// Start of the earliest span.
    pub start: UnixNanos,
    /// From the earliest start to the latest end.
    pub duration_nanos: u64,
    /// How many spans came so far.
    pub spans: u32,
    /// How many of them failed.
    pub errors: u32,
    /// How many calls were refused locally.
    pub refused: u32,
    /// Whether the root span failed.
    pub failed: bool,
    /// The services in it, by name.
    pub services: Vec<String>,
}

/// The answer to a [`TraceQuery`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceList {
    /// Newest first.
    pub rows: Vec<TraceRow>,
    /// Whether more match beyond the limit.
    pub more: bool,
}

/// A whole trace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// Its id.
    pub trace_id: TraceId,
    /// All spans, by start.
    pub spans: Vec<Span>,
    /// Log records tied to it, by time.
    pub logs: Vec<LogRecord>,
    /// The states that the breakers on its path were in while it ran.
    pub bands: Vec<BreakerBand>,
}
