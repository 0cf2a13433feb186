//! What happened to a set of calls in a stretch of time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::histogram::LatencyHistogram;

/// Counters of calls over a range; two of them over the same range add up.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Length of the range in seconds; the divisor of rates.
    pub seconds: f64,
    /// Calls that ended in the range.
    pub calls: u64,
    /// Calls of those that ended in an error (refused ones among them).
    pub errors: u64,
    /// Calls of those that a local rule refused (breaker, limit, passed deadline) so that nothing was sent.
    pub refused: u64,
    /// Attempts put on the wire for those calls.
    pub attempts: u64,
    /// Calls that were under way when the last whole second of the range ended, as far as their spans have come since;
    /// a call of more than ten minutes counts in its last ten.
    pub in_flight: u64,
    /// How long the calls took.
    pub latency: LatencyHistogram,
}

impl Stats {
    /// Adds another set of calls of the same range.
    pub fn merge(&mut self, other: &Self) {
        self.seconds = self.seconds.max(other.seconds);
        self.calls += other.calls;
        self.errors += other.errors;
        self.refused += other.refused;
        self.attempts += other.attempts;
        self.in_flight += other.in_flight;
        self.latency.merge(&other.latency);
    }

    /// Calls a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.calls as f64 / self.seconds } else { 0.0 }
    }

    /// Share of calls in error, 0…1; 0 without calls.
    #[must_use]
    pub fn error_ratio(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.errors as f64 / self.calls as f64 }
    }

    /// Attempts a call; `None` without calls that reached the wire.
    #[must_use]
    pub fn attempts_per_call(&self) -> Option<f64> {
        let sent = self.calls.saturating_sub(self.refused);
        (sent > 0 && self.attempts > 0).then(|| self.attempts as f64 / sent as f64)
    }

    /// A latency quantile; `None` without calls.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        self.latency.quantile(q)
    }
}

/// One point of a rate/error/latency curve.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SparkPoint {
    /// Calls a second.
    pub rate: f32,
    /// Share of calls in error, 0…1.
    pub error_ratio: f32,
    /// 95th percentile in milliseconds; 0 without calls.
    pub p95_ms: f32,
}
