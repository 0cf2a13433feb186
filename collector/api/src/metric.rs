//! Metrics that came in over OTLP.

use serde::{Deserialize, Serialize};

use crate::attr::Attributes;
use crate::{SpanId, TimeRange, TraceId, UnixNanos};

/// What kind of instrument a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// A value that goes up and down.
    #[default]
    Gauge,
    /// A sum.
    Sum,
    /// A histogram with explicit bounds.
    Histogram,
    /// A base-2 exponential histogram.
    ExponentialHistogram,
    /// Quantiles computed by the sender.
    Summary,
}

/// What a point of a sum or histogram counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Temporality {
    /// Not said, or without a meaning for the kind.
    #[default]
    Unspecified,
    /// What happened since the point before.
    Delta,
    /// What happened since the series began.
    Cumulative,
}

/// One instrument of one service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricInfo {
    /// `service.name`.
    pub service: String,
    /// The metric's name.
    pub name: String,
    /// Its kind.
    pub kind: MetricKind,
    /// Its unit, in UCUM as sent.
    pub unit: String,
    /// What it measures.
    pub description: String,
    /// How many attribute sets it has in the range.
    pub series: u32,
    /// Points stored in the range.
    pub points: u64,
    /// What its points count.
    pub temporality: Temporality,
    /// Whether it is a sum that only grows: a counter.
    pub monotonic: bool,
}

/// One point of one series. Histograms and summaries show their count, sum and mean.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricPoint {
    /// When.
    pub time: UnixNanos,
    /// Gauge or sum value; for the other kinds the mean.
    pub value: f64,
    /// The value exactly, where it was sent as a whole number: a double has 53 bits for it only.
    pub whole: Option<i64>,
    /// Observations, for histograms and summaries.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The least of them, where it was sent.
    pub min: Option<f64>,
    /// The greatest of them, where it was sent.
    pub max: Option<f64>,
    /// Since when it counts; zero when not sent.
    pub start: UnixNanos,
    /// There is no value at this time: the sender said so, or it was no finite number.
    pub gap: bool,
}

/// A figure drawn from points.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricValue {
    /// The end of the stretch that it stands for.
    pub time: UnixNanos,
    /// The figure.
    pub value: f64,
}

/// A quantile over time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricQuantile {
    /// Which, from 0 to 1.
    pub quantile: f64,
    /// By time; a stretch without observations has no value.
    pub values: Vec<MetricValue>,
}

/// One measurement that went into a point, with the span it was made in.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricExemplar {
    /// When it was made.
    pub time: UnixNanos,
    /// What was measured.
    pub value: f64,
    /// The value exactly, where it was sent as a whole number.
    pub whole: Option<i64>,
    /// Its trace.
    pub trace_id: Option<TraceId>,
    /// Its span.
    pub span_id: Option<SpanId>,
    /// The attributes that the series does not tell apart.
    pub attributes: Attributes,
}

/// One series of a metric.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricSeries {
    /// `service.instance.id`; empty when not sent.
    pub instance: String,
    /// The attribute set that tells this series from its sisters.
    pub attributes: Attributes,
    /// By time.
    pub points: Vec<MetricPoint>,
    /// What its points count.
    pub temporality: Temporality,
    /// Whether it is a sum that only grows: a counter.
    pub monotonic: bool,
    /// How much a second: of a counter its growth, of a histogram or summary its observations. By time, each over the
    /// stretch since the point before; a restart of the sender counts from zero, never as a fall. Empty for gauges and for
    /// sums that may fall.
    pub rate: Vec<MetricValue>,
    /// Quantiles of the observations since the point before, of histograms; of summaries as sent.
    pub quantiles: Vec<MetricQuantile>,
    /// Measurements with their spans, newest first; at most 100.
    pub exemplars: Vec<MetricExemplar>,
}

/// Which metrics are wanted: without `name` the list of instruments only.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricQuery {
    /// Time of the points.
    pub range: TimeRange,
    /// Of this service.
    pub service: Option<String>,
    /// The metric whose series are wanted.
    pub name: Option<String>,
    /// Which quantiles of histograms, from 0 to 1; empty means 0.5, 0.95 and 0.99. At most 20.
    pub quantiles: Vec<f64>,
}

/// The answer to a [`MetricQuery`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Instruments that match, by service and name.
    pub instruments: Vec<MetricInfo>,
    /// Series of the named metric; at most 50.
    pub series: Vec<MetricSeries>,
    /// How many more series the named metric has.
    pub left_out: u32,
}
