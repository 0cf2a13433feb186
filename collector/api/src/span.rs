//! One span, with every field that OTLP carries.

use serde::{Deserialize, Serialize};

use crate::attr::{self, AttrValue, Attributes};
use crate::{SpanId, TraceId, UnixNanos};

/// OpenTelemetry's span kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// Sent without a kind.
    #[default]
    Unspecified,
    /// Work inside the service.
    Internal,
    /// Answers a remote call.
    Server,
    /// Makes a remote call.
    Client,
    /// Puts a message into a queue.
    Producer,
    /// Takes a message from a queue.
    Consumer,
}

/// OpenTelemetry's span status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusCode {
    /// Nothing said: neither failed nor asserted to be well.
    #[default]
    Unset,
    /// Asserted by the application.
    Ok,
    /// Failed.
    Error,
}

/// Something that happened at an instant inside a span.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SpanEvent {
    /// When.
    pub time: UnixNanos,
    /// What.
    pub name: String,
    /// Details.
    pub attributes: Attributes,
    /// Attributes the sender left out.
    pub dropped_attributes: u32,
}

/// A pointer to a span of this or another trace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SpanLink {
    /// The other trace.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
    /// W3C trace state of the other span.
    pub trace_state: String,
    /// Details.
    pub attributes: Attributes,
    /// Attributes the sender left out.
    pub dropped_attributes: u32,
    /// W3C flags and OTLP's remote bits.
    pub flags: u32,
}

/// Who sent the span: OpenTelemetry's resource and instrumentation scope.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`; empty when not sent.
    pub instance: String,
    /// `service.version`; empty when not sent.
    pub version: String,
    /// All resource attributes.
    pub resource: Attributes,
    /// Schema URL of the resource.
    pub resource_schema_url: String,
    /// Instrumentation scope's name.
    pub scope: String,
    /// Instrumentation scope's version.
    pub scope_version: String,
    /// Instrumentation scope's attributes.
    pub scope_attributes: Attributes,
    /// Schema URL of the scope.
    pub scope_schema_url: String,
}

/// One span.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Span {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id inside the trace.
    pub span_id: SpanId,
    /// The span that caused it; `None` for a root.
    pub parent: Option<SpanId>,
    /// The operation's name.
    pub name: String,
    /// Its side of a call.
    pub kind: SpanKind,
    /// When it began, on the sender's clock.
    pub start: UnixNanos,
    /// When it ended, on the sender's clock.
    pub end: UnixNanos,
    /// How it ended.
    pub status: StatusCode,
    /// The sender's words about the status.
    pub status_message: String,
    /// Attributes.
    pub attributes: Attributes,
    /// Events.
    pub events: Vec<SpanEvent>,
    /// Links.
    pub links: Vec<SpanLink>,
    /// W3C trace state.
    pub trace_state: String,
    /// W3C flags and OTLP's remote bits.
    pub flags: u32,
    /// Attributes the sender left out.
    pub dropped_attributes: u32,
    /// Events the sender left out.
    pub dropped_events: u32,
    /// Links the sender left out.
    pub dropped_links: u32,
    /// Who sent it.
    pub origin: std::sync::Arc<Origin>,
    /// When the collector had stored it.
    pub arrival: UnixNanos,
}

impl Span {
    /// Duration in nanoseconds; 0 when the end is before the start.
    #[must_use]
    pub fn duration_nanos(&self) -> u64 {
        u64::try_from(self.end.0.saturating_sub(self.start.0)).unwrap_or(0)
    }

    /// The value of an attribute.
    #[must_use]
    pub fn attr(&self, key: &str) -> Option<&AttrValue> {
        attr::get(&self.attributes, key)
    }

    /// Whether it failed.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.status == StatusCode::Error
    }
}
