//! What a run is held against: `p99<200ms,errors<1%,rps>=5000`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::report::{Check, Report, Verdict};

/// A figure of a report that can be held against a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Good answers a second.
    Rps,
    /// Share of requests that failed or were never sent, 0…1.
    Errors,
    /// Mean latency, in milliseconds.
    Mean,
    /// Median latency, in milliseconds.
    P50,
    /// 90th percentile, in milliseconds.
    P90,
    /// 95th percentile, in milliseconds.
    P95,
    /// 99th percentile, in milliseconds.
    P99,
    /// 99.9th percentile, in milliseconds.
    P999,
    /// Longest latency, in milliseconds.
    Max,
}

/// Every metric with the name it is written by.
const NAMES: [(&str, Metric); 10] = [
    ("rps", Metric::Rps),
    ("errors", Metric::Errors),
    ("mean", Metric::Mean),
    ("p50", Metric::P50),
    ("p90", Metric::P90),
    ("p95", Metric::P95),
    ("p99", Metric::P99),
    ("p99.9", Metric::P999),
    ("p999", Metric::P999),
    ("max", Metric::Max),
];

impl Metric {
    /// The name it is written by.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, metric)| *metric == self).map_or("", |(name, _)| name)
    }

    fn is_latency(self) -> bool {
        !matches!(self, Self::Rps | Self::Errors)
    }

    fn of(self, report: &Report) -> f64 {
        let latency = &report.latency;
        match self {
            Self::Rps => report.achieved_rate,
            Self::Errors => report.error_ratio,
            Self::Mean => latency.mean_ms,
            Self::P50 => latency.p50_ms,
            Self::P90 => latency.p90_ms,
            Self::P95 => latency.p95_ms,
            Self::P99 => latency.p99_ms,
            Self::P999 => latency.p999_ms,
            Self::Max => latency.max_ms,
        }
    }

    /// A value as people write it.
    fn show(self, value: f64) -> String {
        match self {
            Self::Rps => format!("{value}"),
            Self::Errors => format!("{}%", value * 100.0),
            _ => format!("{value}ms"),
        }
    }
}

/// How a figure must stand to the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Comparison {
    /// Smaller.
    #[serde(rename = "<")]
    Below,
    /// Smaller or equal.
    #[serde(rename = "<=")]
    AtMost,
    /// Greater.
    #[serde(rename = ">")]
    Above,
    /// Greater or equal.
    #[serde(rename = ">=")]
    AtLeast,
}

/// Longer ones first, so that `<=` is not read as `<`.
const COMPARISONS: [(&str, Comparison); 4] =
    [("<=", Comparison::AtMost), (">=", Comparison::AtLeast), ("<", Comparison::Below), (">", Comparison::Above)];

impl Comparison {
    fn sign(self) -> &'static str {
        COMPARISONS.iter().find(|(_, comparison)| *comparison == self).map_or("", |(sign, _)| sign)
    }

    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
        }
    }
}

/// One figure, the value it is held against, and the one from which on missing it is an alarm.
///
/// Written `p99<200ms`, with an alarm `p99<200ms!500ms`. Latencies take `us`, `ms` or `s`; shares `%` or a number from 0 to 1;
/// `rps` a number, or one followed by `k`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Threshold {
    /// What is looked at.
    pub metric: Metric,
    /// How it must stand.
    pub comparison: Comparison,
    /// To this: requests a second, a share, or milliseconds.
    pub value: f64,
    /// A miss by this much is an alarm; `None`: never.
    pub alarm: Option<f64>,
}

/// A threshold that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no threshold: {why}; write them like p99<200ms,errors<1%,rps>=5000")]
pub struct ThresholdError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

impl Threshold {
    const fn new(metric: Metric, comparison: Comparison, value: f64, alarm: Option<f64>) -> Self {
        Self { metric, comparison, value, alarm }
    }

    /// Holds a report against it.
    pub(crate) fn judge(&self, report: &Report) -> Check {
        let value = self.metric.of(report);
        // Without a good answer there is no latency to speak of.
        let measured = report.ok > 0 || !self.metric.is_latency();
        let verdict = if measured && self.comparison.holds(value, self.value) {
            Verdict::Met
        } else if !measured || self.alarm.is_some_and(|alarm| !self.comparison.holds(value, alarm)) {
            Verdict::Alarm
        } else {
            Verdict::Missed
        };
        Check { name: self.metric.name(), threshold: self.to_string(), value, verdict }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.metric.show(self.value);
        write!(f, "{}{}{shown}", self.metric.name(), self.comparison.sign())?;
        match self.alarm {
            Some(alarm) => write!(f, "!{}", self.metric.show(alarm)),
            None => Ok(()),
        }
    }
}

impl FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let wrong = |why: String| ThresholdError { text: text.trim().to_owned(), why };
        let Some(at) = text.find(['<', '>']) else { return Err(wrong("it has no <, <=, > or >=".to_owned())) };
        let (name, rest) = text.split_at(at);
        let name = name.trim();
        let Some((_, metric)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = NAMES.iter().map(|(known, _)| *known).collect();
            return Err(wrong(format!("there is no figure `{name}`; there are {}", known.join(", "))));
        };
        let Some((sign, comparison)) = COMPARISONS.iter().find(|(sign, _)| rest.starts_with(sign)) else {
            return Err(wrong("it has no <, <=, > or >=".to_owned()));
        };
        let rest = &rest[sign.len()..];
        let (value, alarm) = match rest.split_once('!') {
            Some((value, alarm)) => (value, Some(read(*metric, alarm).map_err(wrong)?)),
            None => (rest, None),
        };
        let value = read(*metric, value).map_err(wrong)?;
        if alarm.is_some_and(|alarm| comparison.holds(alarm, value)) {
            return Err(wrong("its alarm would ring while it is met".to_owned()));
        }
        Ok(Self::new(*metric, *comparison, value, alarm))
    }
}

/// Reads a value with the unit that fits the metric.
fn read(metric: Metric, text: &str) -> Result<f64, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%' || c == 'µ');
    let unit = &text[digits.len()..];
    let number: f64 = digits.trim().parse().map_err(|_| format!("`{text}` is not a number with a unit"))?;
    if !number.is_finite() || number < 0.0 {
        return Err(format!("`{text}` is not a number from 0 on"));
    }
    match (metric, unit) {
        (Metric::Rps, "") => Ok(number),
        (Metric::Rps, "k") => Ok(number * 1e3),
        (Metric::Rps, _) => Err(format!("`{text}` should be a number of requests a second, like 5000 or 5k")),
        (Metric::Errors, "%") => Ok(number / 100.0),
        (Metric::Errors, "") if number <= 1.0 => Ok(number),
        (Metric::Errors, _) => Err(format!("`{text}` should be a share, like 1% or 0.01")),
        (_, "us" | "µs") => Ok(number / 1e3),
        (_, "ms") => Ok(number),
        (_, "s") => Ok(number * 1e3),
        (_, _) => Err(format!("`{text}` should be a time with its unit, like 200ms, 1.5s or 80us")),
    }
}

/// All that a run is held against.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Thresholds(pub Vec<Threshold>);

/// Share of the asked rate that may be missed: the last answers of a run come after its end.
const RATE_SLACK: f64 = 0.01;

impl Thresholds {
    /// Common load-test goals of RPC services: 99 of 100 answers within 200 ms (alarm above 500 ms), no errors (alarm at 1 %), and
    /// the rate that was asked for (in a closed loop 5,000 a second), less a hundredth.
    #[must_use]
    pub fn usual(rate: Option<f64>) -> Self {
        let rps = rate.map_or(5_000.0, |rate| rate * (1.0 - RATE_SLACK));
        Self(vec![
            Threshold::new(Metric::Rps, Comparison::AtLeast, rps, None),
            Threshold::new(Metric::P99, Comparison::AtMost, 200.0, Some(500.0)),
            Threshold::new(Metric::Errors, Comparison::AtMost, 0.0, Some(0.01)),
        ])
    }
}

impl FromStr for Thresholds {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        text.split(',').filter(|part| !part.trim().is_empty()).map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_as_they_are_written() {
        let all: Thresholds = "p99<200ms, errors<1%,rps>=5000 ,max<=1.5s,p50<80us".parse().unwrap();
        let shown: Vec<_> = all.0.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["p99<200ms", "errors<1%", "rps>=5000", "max<=1500ms", "p50<0.08ms"]);
        assert_eq!("p99.9<1s!2s".parse::<Threshold>().unwrap().alarm, Some(2_000.0));
        assert_eq!("rps>5k".parse::<Threshold>().unwrap().value, 5_000.0);
        for threshold in all.0 {
            assert_eq!(threshold.to_string().parse::<Threshold>(), Ok(threshold));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |text: &str| text.parse::<Thresholds>().unwrap_err().to_string();
        assert!(refused("p98<200ms").contains("p99.9"), "names what there is");
        assert!(refused("p99=200ms").contains("<="));
        assert!(refused("p99<200").contains("200ms"), "asks for a unit");
        assert!(refused("errors<5").contains('%'));
        assert!(refused("rps>=fast").contains("`fast`"));
        assert!(refused("p99<200ms!100ms").contains("alarm"));
        assert!(refused("p99<-1ms").contains("-1ms"));
    }
}
