//! What ingest hands to the writer: telemetry decoded once, with the facts that rollups need already drawn from it.

use fuseboard_api::graph::NodeKind;
use fuseboard_api::metric::MetricKind;
use fuseboard_api::span::SpanKind;
use fuseboard_api::{SpanId, TraceId};

/// Telemetry of one request.
#[derive(Debug, Default)]
pub struct Batch {
    /// Senders, referred to by position.
    pub origins: Vec<NewOrigin>,
    /// Spans.
    pub spans: Vec<NewSpan>,
    /// Log records.
    pub logs: Vec<NewLog>,
    /// Metrics with their points.
    pub metrics: Vec<NewMetric>,
    /// About how many bytes this holds; counted against the queue's limit.
    pub bytes: usize,
}

/// A resource and an instrumentation scope.
#[derive(Debug, Default)]
pub struct NewOrigin {
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`, or empty.
    pub instance: String,
    /// `service.version`, or empty.
    pub version: String,
    /// OTLP `Resource`, encoded.
    pub resource: Vec<u8>,
    /// Its schema URL.
    pub resource_schema_url: String,
    /// OTLP `InstrumentationScope`, encoded.
    pub scope: Vec<u8>,
    /// Its schema URL.
    pub scope_schema_url: String,
}

/// A node known only by what its callers or receivers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// What it is; [`NodeKind::Service`] when only a name was given.
    pub kind: NodeKind,
    /// `postgresql`, `rabbitmq`, …; may be empty.
    pub system: String,
}

/// What rollups want to know of a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallFacts {
    /// The operation as edges name it.
    pub operation: String,
    /// The other side, where the span names it.
    pub peer: Option<Peer>,
    /// Name for the other side when it never shows up by itself.
    pub fallback: String,
    /// A logical call whose attempts are its children.
    pub is_call: bool,
    /// One attempt of a logical call.
    pub is_attempt: bool,
    /// Refused locally: nothing was sent.
    pub refused: bool,
    /// Cut by a timeout.
    pub cut: bool,
    /// What the caller's deadline left when the span began, in nanoseconds.
    pub deadline_left: Option<u64>,
}

/// One span.
#[derive(Debug)]
pub struct NewSpan {
    /// Position of its sender in [`Batch::origins`].
    pub origin: usize,
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// Its parent.
    pub parent: Option<SpanId>,
    /// Its name.
    pub name: String,
    /// Its side.
    pub kind: SpanKind,
    /// Start, Unix nanoseconds.
    pub start: i64,
    /// End, Unix nanoseconds.
    pub end: i64,
    /// OTLP status code: 0 unset, 1 ok, 2 error.
    pub status: u8,
    /// Facts for rollups.
    pub facts: CallFacts,
    /// OTLP `Span`, encoded, without the fields that have a column.
    pub body: Vec<u8>,
    /// Its attribute keys that were not seen before in this batch, for completion.
    pub keys: Vec<String>,
}

/// One log record.
#[derive(Debug)]
pub struct NewLog {
    /// Position of its sender in [`Batch::origins`].
    pub origin: usize,
    /// Its time, Unix nanoseconds.
    pub time: i64,
    /// Severity number.
    pub severity: u8,
    /// Its trace.
    pub trace_id: Option<TraceId>,
    /// Its span.
    pub span_id: Option<SpanId>,
    /// OTLP `LogRecord`, encoded whole.
    pub body: Vec<u8>,
}

/// One metric of one sender.
#[derive(Debug)]
pub struct NewMetric {
    /// Position of its sender in [`Batch::origins`].
    pub origin: usize,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: MetricKind,
    /// Its unit.
    pub unit: String,
    /// Its description.
    pub description: String,
    /// OTLP aggregation temporality: 0 unspecified, 1 delta, 2 cumulative.
    pub temporality: u8,
    /// Whether a sum only grows.
    pub monotonic: bool,
    /// Its points.
    pub points: Vec<NewPoint>,
}

/// One point of a metric.
#[derive(Debug)]
pub struct NewPoint {
    /// OTLP `KeyValueList` of the attributes, encoded.
    pub attributes: Vec<u8>,
    /// Time, Unix nanoseconds.
    pub time: i64,
    /// Value, or mean.
    pub value: f64,
    /// Observations.
    pub count: u64,
    /// Sum of observations.
    pub sum: f64,
    /// The OTLP data point, encoded, without attributes and time.
    pub body: Vec<u8>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Records newly stored.
    pub stored: u64,
    /// Records that had been stored before and were ignored.
    pub duplicates: u64,
}
