//! What is normal and what comes next.

use serde::{Deserialize, Serialize};

use crate::UnixNanos;
use crate::graph::{EdgeKey, Severity};

/// Which quantity of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Calls a second.
    Rate,
    /// Share of calls in error, 0…1.
    ErrorRatio,
    /// 95th percentile of latency in milliseconds.
    #[default]
    P95,
}

/// A value with its interval at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BandPoint {
    /// When.
    pub t: UnixNanos,
    /// Lower end of the interval.
    pub lo: f64,
    /// Middle.
    pub mid: f64,
    /// Upper end.
    pub hi: f64,
}

/// When a quantity is expected to cross its limit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Breach {
    /// Which limit, in words: `attempt timeout 800 ms`, `breaker threshold 50 %`.
    pub limit: String,
    /// Its value, in the quantity's unit.
    pub value: f64,
    /// Earliest crossing: when the upper end of the interval meets the limit.
    pub earliest: UnixNanos,
    /// Latest crossing inside the horizon; `None` when the middle never meets it.
    pub latest: Option<UnixNanos>,
    /// Share of the interval beyond the limit at the end of the horizon, 0…1.
    pub probability: f64,
}

/// How good earlier forecasts of this quantity were.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TrackRecord {
    /// Forecast points whose time has come.
    pub scored: u32,
    /// How many of them held what really came inside their interval.
    pub held: u32,
    /// The share that should hold, 0…1.
    pub target: f64,
    /// Mean absolute error of the middle, in the quantity's unit.
    pub mean_error: f64,
}

/// One quantity of one edge: past, normal band and future, as it was issued.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Forecast {
    /// The edge.
    pub key: EdgeKey,
    /// The quantity.
    pub quantity: Quantity,
    /// When it was issued.
    pub issued: UnixNanos,
    /// What was seen: (when, value), oldest first.
    pub seen: Vec<(UnixNanos, f64)>,
    /// What was normal at those times.
    pub band: Vec<BandPoint>,
    /// What is expected.
    pub ahead: Vec<BandPoint>,
    /// The limit that may be crossed.
    pub breach: Option<Breach>,
    /// How good earlier forecasts were.
    pub record: TrackRecord,
    /// The model behind it, in words.
    pub model: String,
    /// The sentence with its numbers.
    pub sentence: String,
    /// Whether it is outside its band now, and how bad that is.
    pub severity: Severity,
}

/// Something that left its normal band.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Anomaly {
    /// The edge.
    pub key: EdgeKey,
    /// The quantity.
    pub quantity: Quantity,
    /// Since when.
    pub from: UnixNanos,
    /// Until when; `None` while it goes on.
    pub to: Option<UnixNanos>,
    /// What, how much, since when, compared with what.
    pub sentence: String,
    /// How bad.
    pub severity: Severity,
    /// The edge further down that explains it, when this is only its echo.
    pub echo_of: Option<EdgeKey>,
}

/// The answer to [`crate::ask::Question::Forecasts`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Forecasts {
    /// By edge and quantity.
    pub forecasts: Vec<Forecast>,
    /// Newest first.
    pub anomalies: Vec<Anomaly>,
}
