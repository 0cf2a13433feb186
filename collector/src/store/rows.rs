//! What ingest hands to the writer: spans on tapes, logs and metrics decoded once.

use fuseboard_api::metric::MetricKind;

pub use super::logs::LogParts;
use crate::otlp::SpanTape;

/// Telemetry of one request.
#[derive(Debug, Default)]
pub struct Batch {
    /// Spans, with their senders.
    pub tapes: Vec<SpanTape>,
    /// Senders of logs and metrics, referred to by position.
    pub origins: Vec<NewOrigin>,
    /// Log records.
    pub logs: Vec<NewLog>,
    /// Metrics with their points.
    pub metrics: Vec<NewMetric>,
    /// About how many bytes this holds; counted against the queue's limit.
    pub bytes: usize,
}

impl Batch {
    /// Whether there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty() && self.tapes.iter().all(|t| t.spans.is_empty())
    }
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

/// One log record.
#[derive(Debug)]
pub struct NewLog {
    /// Position of its sender in [`Batch::origins`].
    pub origin: usize,
    /// The record.
    pub parts: LogParts,
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
    /// OTLP `KeyValueList` of its metadata, encoded.
    pub metadata: Vec<u8>,
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
