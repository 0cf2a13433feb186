//! What a run is held against.

use serde::Serialize;

use crate::Report;

/// Goals, and the bounds beyond which a miss is an alarm. The defaults are common load-test goals of RPC services:
/// 5,000 requests a second, 99 of 100 within 200 ms (alarm above 500 ms), no errors (alarm at 1 %).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goals {
    /// Good answers a second, at least.
    pub min_rate: f64,
    /// 99th percentile of the latency from the due instant, in milliseconds, at most.
    pub p99_ms: f64,
    /// Above this the p99 is an alarm, in milliseconds.
    pub p99_alarm_ms: f64,
    /// Share of requests that fail, 0…1, at most.
    pub error_ratio: f64,
    /// From this on the share of failures is an alarm, 0…1.
    pub error_alarm_ratio: f64,
}

impl Default for Goals {
    fn default() -> Self {
        Self { min_rate: 5_000.0, p99_ms: 200.0, p99_alarm_ms: 500.0, error_ratio: 0.0, error_alarm_ratio: 0.01 }
    }
}

/// How a figure stands to its goal.
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

/// One figure beside its goal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// `rate`, `p99_ms` or `error_ratio`.
    pub name: &'static str,
    /// What was measured.
    pub value: f64,
    /// What was wanted.
    pub goal: f64,
    /// How the two stand.
    pub verdict: Verdict,
}

/// Share of the offered rate that the achieved rate may miss: the last requests of a run are answered after its end.
const RATE_SLACK: f64 = 0.01;

impl Goals {
    /// Holds a report against the goals.
    #[must_use]
    pub(crate) fn judge(&self, report: &Report) -> Vec<Check> {
        let rate = report.achieved_rate;
        let p99 = report.latency.p99_ms;
        let errors = report.error_ratio;
        let verdict = |met: bool, alarm: bool| match (met, alarm) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::Alarm,
            (false, false) => Verdict::Missed,
        };
        vec![
            Check {
                name: "rate",
                value: rate,
                goal: self.min_rate,
                verdict: verdict(rate >= self.min_rate * (1.0 - RATE_SLACK), false),
            },
            Check {
                name: "p99_ms",
                value: p99,
                goal: self.p99_ms,
                verdict: verdict(report.ok > 0 && p99 <= self.p99_ms, report.ok == 0 || p99 > self.p99_alarm_ms),
            },
            Check {
                name: "error_ratio",
                value: errors,
                goal: self.error_ratio,
                verdict: verdict(errors <= self.error_ratio, errors >= self.error_alarm_ratio),
            },
        ]
    }
}
