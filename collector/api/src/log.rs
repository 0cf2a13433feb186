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
    /// When it was observed, where that was sent.
    #[serde(default)]
    pub observed: Option<UnixNanos>,
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
    /// W3C trace flags, as sent.
    #[serde(default)]
    pub flags: u32,
    /// Attributes that the sender left out.
    #[serde(default)]
    pub dropped_attributes: u32,
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
    /// Their `service.instance.id`.
    pub instance: Option<String>,
    /// At least this severity number.
    pub min_severity: u8,
    /// At most this severity number; 0 for any.
    pub max_severity: u8,
    /// Text in the body or event name; case does not matter.
    pub text: Option<String>,
    /// Of this trace.
    pub trace_id: Option<TraceId>,
    /// Of this span.
    pub span_id: Option<SpanId>,
    /// With these attributes, their own or their sender's resource's.
    pub attributes: Vec<LogAttribute>,
    /// Only those whose place lies before this one: the next page begins at [`LogList::next`].
    pub before: Option<LogPlace>,
    /// At most so many, newest first; 0 means 500. At most 10,000.
    pub limit: u32,
}

/// An attribute that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogAttribute {
    /// Its key.
    pub key: String,
    /// Its value as it is shown; `None`: whatever it is.
    pub value: Option<String>,
}

/// A place in a list of log records, newest first: lists are sorted by all three, falling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogPlace {
    /// Time of the record.
    pub time: UnixNanos,
    /// When it was stored.
    pub arrival: UnixNanos,
    /// How many records of that time were stored before it in the same instant.
    pub nth: u32,
}

/// The answer to a [`LogQuery`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogList {
    /// Newest first.
    pub rows: Vec<LogRecord>,
    /// Whether there may be more: the page is full, or so many records have been looked at that it ends here, whatever was
    /// found by then.
    pub more: bool,
    /// Where the next page begins, when there may be more.
    pub next: Option<LogPlace>,
    /// Records in the parts of the store that were read.
    pub examined: u64,
}
