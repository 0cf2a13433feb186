//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{Check, Goals, Verdict};

/// Quantiles of a latency, in milliseconds; 0 when nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Quantiles {
    /// Mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Longest.
    pub max_ms: f64,
}

impl Quantiles {
    /// Of a histogram of microseconds.
    #[must_use]
    pub(crate) fn of(micros: &Histogram<u64>) -> Self {
        if micros.is_empty() {
            return Self::default();
        }
        let at = |q: f64| micros.value_at_quantile(q) as f64 / 1_000.0;
        Self {
            mean_ms: micros.mean() / 1_000.0,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: micros.max() as f64 / 1_000.0,
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Where the requests went.
    pub url: String,
    /// Requests a second that were due.
    pub offered_rate: f64,
    /// Good answers a second, over the time the run really took.
    pub achieved_rate: f64,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// Requests sent.
    pub sent: u64,
    /// Requests that were due but never sent: no connection became free in time, or the run was cancelled.
    pub unsent: u64,
    /// Answers below 400 that came whole.
    pub ok: u64,
    /// Failed requests by kind: `connect`, `timeout`, `http_503`, `body`, `other`.
    pub errors: BTreeMap<String, u64>,
    /// Failed and, unless cancelled, unsent requests of all that were due, 0…1.
    pub error_ratio: f64,
    /// Latency of every answered request from the instant it was due.
    pub latency: Quantiles,
    /// Latency of every answered request from its sending: what a closed loop would have claimed.
    pub service: Quantiles,
    /// Whether the run was cancelled before its end.
    pub cancelled: bool,
    /// Each figure beside its goal.
    pub checks: Vec<Check>,
    /// Whether every goal was met.
    pub passed: bool,
}

impl Report {
    /// Fills what follows from the rest.
    #[must_use]
    pub(crate) fn judged(mut self, goals: &Goals) -> Self {
        let failed: u64 = self.errors.values().sum();
        let missing = if self.cancelled { 0 } else { self.unsent };
        let all = self.sent + missing;
        self.error_ratio = if all == 0 { 0.0 } else { (failed + missing) as f64 / all as f64 };
        self.achieved_rate = if self.seconds > 0.0 { self.ok as f64 / self.seconds } else { 0.0 };
        self.checks = goals.judge(&self);
        self.passed = self.checks.iter().all(|check| check.verdict == Verdict::Met);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let early = if self.cancelled { ", cancelled" } else { "" };
        writeln!(f, "{}  {:.1} s{early}", self.url, self.seconds)?;
        writeln!(f, "  rate     {:.0}/s good of {:.0}/s offered", self.achieved_rate, self.offered_rate)?;
        write!(f, "  requests {} sent, {} good", self.sent, self.ok)?;
        if self.unsent > 0 {
            write!(f, ", {} never sent", self.unsent)?;
        }
        writeln!(f)?;
        for (kind, count) in &self.errors {
            writeln!(f, "  error    {kind}: {count}")?;
        }
        for (name, q) in [("latency", &self.latency), ("service", &self.service)] {
            writeln!(
                f,
                "  {name}  p50 {:.1} · p90 {:.1} · p99 {:.1} · p99.9 {:.1} · max {:.1} ms",
                q.p50_ms, q.p90_ms, q.p99_ms, q.p999_ms, q.max_ms
            )?;
        }
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Met => "met",
                Verdict::Missed => "missed",
                Verdict::Alarm => "ALARM",
            };
            writeln!(f, "  goal     {} {:.4} against {:.4}: {verdict}", check.name, check.value, check.goal)?;
        }
        write!(f, "  {}", if self.passed { "passed" } else { "not passed" })
    }
}
