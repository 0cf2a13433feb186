//! Metrics that came in over OTLP.

use serde::{Deserialize, Serialize};

use crate::attr::Attributes;
use crate::{TimeRange, UnixNanos};

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
}

/// One point of one series. Histograms and summaries show their count, sum and mean.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricPoint {
    /// When.
    pub time: UnixNanos,
    /// Gauge or sum value; for the other kinds the mean.
    pub value: f64,
    /// Observations, for histograms and summaries.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
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
}

/// The answer to a [`MetricQuery`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metrics {
    /// Instruments that match, by service and name.
    pub instruments: Vec<MetricInfo>,
    /// Series of the named metric; at most 50.
    pub series: Vec<MetricSeries>,
}
