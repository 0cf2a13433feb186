//! Log records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::attr::{AttrValue, Attributes};
use crate::span::Origin;
use crate::{SpanId, TimeRange, TraceId, UnixNanos};

/// One OpenTelemetry log record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// When it happened (observed time where the event's own is missing).
    pub time: UnixNanos,
    /// OpenTelemetry's severity number, 1 (trace) … 24 (fatal); 0 unknown.
    pub severity: u8,
    /// The sender's own severity text.
    pub severity_text: String,
    /// The event's name; empty for a plain line.
    pub event_name: String,
    /// The message.
    pub body: AttrValue,
    /// Attributes.
    pub attributes: Attributes,
    /// The trace it belongs to.
    pub trace_id: Option<TraceId>,
    /// The span it belongs to.
    pub span_id: Option<SpanId>,
    /// Who sent it.
    pub origin: Arc<Origin>,
    /// When the collector had stored it.
    pub arrival: UnixNanos,
}

/// Which log records are wanted. Every condition that is set must hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogQuery {
    /// Their time.
    pub range: TimeRange,
    /// Their service.
    pub service: Option<String>,
    /// At least this severity number.
    pub min_severity: u8,
    /// Text in the body or event name; case does not matter.
    pub text: Option<String>,
    /// Of this trace.
    pub trace_id: Option<TraceId>,
    /// At most so many, newest first; 0 means 500.
    pub limit: u32,
}

/// The answer to a [`LogQuery`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogList {
    /// Newest first.
    pub rows: Vec<LogRecord>,
    /// Whether more match beyond the limit.
    pub more: bool,
}
