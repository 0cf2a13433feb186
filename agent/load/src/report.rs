//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::Thresholds;

/// Quantiles of a latency, in milliseconds; 0 when nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Quantiles {
    /// Mean.
    pub mean_ms: f64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
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
            p95_ms: at(0.95),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: micros.max() as f64 / 1_000.0,
        }
    }
}

/// How a figure stands to its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Reached.
    Met,
    /// Not reached.
    Missed,
    /// Not reached by so much that somebody must look.
    Alarm,
}

/// One figure beside its threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// `rps`, `errors`, `p99`….
    pub name: &'static str,
    /// As it was asked for: `p99<200ms`.
    pub threshold: String,
    /// What was measured: requests a second, a share, or milliseconds.
    pub value: f64,
    /// How the two stand.
    pub verdict: Verdict,
}

/// Which loop was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Requests were due at fixed instants.
    Open,
    /// Each connection waited for its answers.
    Closed,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Where the requests went.
    pub url: String,
    /// Which loop was run.
    pub mode: Mode,
    /// Requests a second that were due (after the ramp); `null` in a closed loop.
    pub offered_rate: Option<f64>,
    /// Good answers a second, over the time the run really took.
    pub achieved_rate: f64,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// Requests sent.
    pub sent: u64,
    /// Requests that were due but never sent: no connection became free in time, or the run was cancelled.
    pub unsent: u64,
    /// Good answers that came whole: HTTP below 400, gRPC `OK`.
    pub ok: u64,
    /// Failed requests by kind: `connect`, `timeout`, `http_503`, `grpc_unavailable`, `body`, `reset`.
    pub errors: BTreeMap<String, u64>,
    /// Failed and, unless cancelled, unsent requests of all that were due, 0…1.
    pub error_ratio: f64,
    /// Latency of every answered request from the instant it was due (in a closed loop: from its sending).
    pub latency: Quantiles,
    /// Latency of every answered request from its sending: what a closed loop would have claimed.
    pub service: Quantiles,
    /// How late the generator itself was with due requests.
    pub generator_lag: Quantiles,
    /// Whether the run was cancelled before its end.
    pub cancelled: bool,
    /// Each figure beside its threshold.
    pub checks: Vec<Check>,
    /// Whether every threshold was met.
    pub passed: bool,
}

/// A generator that is later than this at its 99th percentile measures itself, in milliseconds.
const LATE_MS: f64 = 2.0;

impl Report {
    /// Fills what follows from the rest.
    #[must_use]
    pub(crate) fn judged(mut self, thresholds: &Thresholds) -> Self {
        let failed: u64 = self.errors.values().sum();
        let missing = if self.cancelled { 0 } else { self.unsent };
        let all = self.sent + missing;
        self.error_ratio = if all == 0 { 0.0 } else { (failed + missing) as f64 / all as f64 };
        self.achieved_rate = if self.seconds > 0.0 { self.ok as f64 / self.seconds } else { 0.0 };
        self.checks = thresholds.0.iter().map(|threshold| threshold.judge(&self)).collect();
        self.passed = self.checks.iter().all(|check| check.verdict == Verdict::Met);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let early = if self.cancelled { ", cancelled" } else { "" };
        let offered = match self.offered_rate {
            Some(rate) => format!("open loop, {rate:.0}/s offered"),
            None => "closed loop".to_owned(),
        };
        writeln!(f, "{}  {offered}, {:.1} s{early}", self.url, self.seconds)?;
        write!(f, "\n  {:.0} good answers a second; {} sent, {} good", self.achieved_rate, self.sent, self.ok)?;
        if self.unsent > 0 {
            write!(f, ", {} never sent", self.unsent)?;
        }
        writeln!(f)?;
        for (kind, count) in &self.errors {
            writeln!(f, "  error {kind}: {count}")?;
        }
        let head = ["ms", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"];
        writeln!(f)?;
        write!(f, "  {:<10}", head[0])?;
        head[1..].iter().try_for_each(|name| write!(f, "{name:>10}"))?;
        writeln!(f)?;
        let mut rows = vec![("latency", &self.latency)];
        if self.mode == Mode::Open {
            rows.extend([("service", &self.service), ("our lag", &self.generator_lag)]);
        }
        for (name, q) in rows {
            let cells = [q.mean_ms, q.p50_ms, q.p90_ms, q.p95_ms, q.p99_ms, q.p999_ms, q.max_ms];
            write!(f, "  {name:<10}")?;
            cells.iter().try_for_each(|ms| write!(f, "{ms:>10.3}"))?;
            writeln!(f)?;
        }
        if self.generator_lag.p99_ms > LATE_MS {
            writeln!(f, "\n  The generator itself was late: lower the rate, or give it a machine of its own.")?;
        }
        writeln!(f)?;
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Met => "met",
                Verdict::Missed => "MISSED",
                Verdict::Alarm => "ALARM",
            };
            writeln!(f, "  {:<24} {:>12.4}   {verdict}", check.threshold, check.value)?;
        }
        write!(f, "  {}", if self.passed { "passed" } else { "not passed" })
    }
}
