//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use fuseboard_api::histogram::{LatencyHistogram, bounds_of};

/// Upper ends of latency buckets in seconds: those of Tempo's span metrics, 2 ms doubled 13 times.
const BOUNDS: [f64; 14] =
    [0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];

/// What a family of samples is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Labels of a sample.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// An exposition in the making.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// The finished text.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// One sample.
    pub(super) fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    /// The samples of one histogram of durations. Ours is finer: each of its buckets counts below the first bound that is
    /// not less than its upper end, and towards the sum with its middle (1.6 % off at most).
    pub(super) fn histogram(&mut self, name: &str, labels: Labels<'_>, histogram: &LatencyHistogram) {
        let mut buckets = histogram.counts.iter().peekable();
        let (mut below, mut sum) = (0, 0.0);
        for bound in BOUNDS {
            while let Some((bucket, n)) = buckets.next_if(|(bucket, _)| bounds_of(**bucket).1 as f64 <= bound * 1e9) {
                below += n;
                sum += middle(*bucket) * *n as f64;
            }
            self.bucket(name, labels, &bound.to_string(), below);
        }
        for (bucket, n) in buckets {
            below += n;
            sum += middle(*bucket) * *n as f64;
        }
        self.bucket(name, labels, "+Inf", below);
        for (suffix, value) in [("_sum", sum), ("_count", below as f64)] {
            let _ = write!(self.0, "{name}{suffix}");
            self.labels(labels, None);
            let _ = writeln!(self.0, " {value}");
        }
    }

    fn bucket(&mut self, name: &str, labels: Labels<'_>, bound: &str, below: u64) {
        let _ = write!(self.0, "{name}_bucket");
        self.labels(labels, Some(bound));
        let _ = writeln!(self.0, " {below}");
    }

    fn labels(&mut self, labels: Labels<'_>, bound: Option<&str>) {
        let mut open = '{';
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(self.0, "{open}{name}=\"{}\"", escaped(value));
            open = ',';
        }
        if open == ',' {
            self.0.push('}');
        }
    }
}

/// The middle of a bucket in seconds.
fn middle(bucket: u16) -> f64 {
    let (lo, hi) = bounds_of(bucket);
    (lo as f64 + hi as f64) / 2e9
}

/// A label's value with what the format reserves escaped.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_written_with_labels_escaped() {
        let mut out = Exposition::default();
        out.family("a_total", Kind::Counter, "Two\nlines and a \\.");
        out.sample("a_total", &[("x", "q\"b\\n\n"), ("y", "")], 3);
        out.single("g", Kind::Gauge, "G.", 0.5);
        let expected = "# HELP a_total Two\\nlines and a \\\\.\n# TYPE a_total counter\n\
            a_total{x=\"q\\\"b\\\\n\\n\",y=\"\"} 3\n# HELP g G.\n# TYPE g gauge\ng 0.5\n";
        assert_eq!(out.into_text(), expected);
    }

    #[test]
    fn histograms_are_cumulative_and_whole() {
        let mut histogram = LatencyHistogram::default();
        for ms in [1, 3, 3, 100, 60_000] {
            histogram.record(ms * 1_000_000);
        }
        let mut out = Exposition::default();
        out.histogram("h", &[("s", "x")], &histogram);
        let text = out.into_text();
        for line in [
            "h_bucket{s=\"x\",le=\"0.002\"} 1\n",
            "h_bucket{s=\"x\",le=\"0.004\"} 3\n",
            "h_bucket{s=\"x\",le=\"0.064\"} 3\n",
            "h_bucket{s=\"x\",le=\"0.128\"} 4\n",
            "h_bucket{s=\"x\",le=\"16.384\"} 4\n",
            "h_bucket{s=\"x\",le=\"+Inf\"} 5\n",
            "h_count{s=\"x\"} 5\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let sum: f64 =
            text.lines().find_map(|l| l.strip_prefix("h_sum{s=\"x\"} ")).expect("a sum").parse().expect("a number");
        assert!((sum / 60.107 - 1.0).abs() < 0.016, "{sum}");
    }
}
