//! What is drawn of a metric: a counter as a rate, a histogram as quantiles, everything else as it is.

use fuseboard_api::metric::{MetricKind, MetricSeries, MetricValue};

/// One line of the chart.
#[derive(Debug, PartialEq)]
pub(super) struct Drawn {
    /// What tells it from the others.
    pub(super) name: String,
    /// Seconds since 1970 and value, by time.
    pub(super) points: Vec<(f64, f64)>,
    /// It is how much a second.
    pub(super) rate: bool,
}

/// The lines of a metric's series; `names` are the series' own.
pub(super) fn of(series: &[MetricSeries], names: &[String]) -> Vec<Drawn> {
    let mut out = Vec::new();
    for (s, name) in series.iter().zip(names) {
        if !s.quantiles.is_empty() {
            for q in s.quantiles.iter().rev() {
                let word = format!("p{}", (q.quantile * 1e4).round() / 1e2);
                let name = if series.len() > 1 { format!("{word} · {name}") } else { word };
                out.push(Drawn { name, points: values(&q.values), rate: false });
            }
        } else if s.monotonic && !s.rate.is_empty() {
            out.push(Drawn { name: name.clone(), points: values(&s.rate), rate: true });
        } else {
            let points = s.points.iter().filter(|p| !p.gap).map(|p| (p.time.as_secs_f64(), p.value)).collect();
            out.push(Drawn { name: name.clone(), points, rate: false });
        }
    }
    out
}

fn values(values: &[MetricValue]) -> Vec<(f64, f64)> {
    values.iter().map(|v| (v.time.as_secs_f64(), v.value)).collect()
}

/// A metric's kind in words, as it is drawn.
pub(super) fn kind_word(kind: MetricKind, monotonic: bool) -> &'static str {
    match kind {
        MetricKind::Gauge => "gauge",
        MetricKind::Sum if monotonic => "counter, a second",
        MetricKind::Sum => "sum",
        MetricKind::Histogram | MetricKind::ExponentialHistogram => "histogram",
        MetricKind::Summary => "summary",
    }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::UnixNanos;
    use fuseboard_api::metric::{MetricPoint, MetricQuantile};

    use super::*;

    fn at(second: i64, value: f64) -> MetricValue {
        MetricValue { time: UnixNanos(second * 1_000_000_000), value }
    }

    #[test]
    fn counters_are_rates_histograms_quantiles_and_gaps_are_left_out() {
        let counter = MetricSeries { monotonic: true, rate: vec![at(2, 0.5)], ..MetricSeries::default() };
        let p = |quantile: f64| MetricQuantile { quantile, values: vec![at(1, quantile)] };
        let histogram = MetricSeries { quantiles: vec![p(0.5), p(0.999)], ..MetricSeries::default() };
        let points = vec![
            MetricPoint { time: UnixNanos(0), value: 3.0, ..MetricPoint::default() },
            MetricPoint { time: UnixNanos(1), gap: true, ..MetricPoint::default() },
        ];
        let gauge = MetricSeries { points, ..MetricSeries::default() };
        let of_one = |s: MetricSeries| of(&[s], &["a".to_owned()]);
        let line = |name: &str, x: f64, y: f64, rate| Drawn { name: name.into(), points: vec![(x, y)], rate };
        assert_eq!(of_one(counter), [line("a", 2.0, 0.5, true)]);
        assert_eq!(of_one(histogram.clone()), [line("p99.9", 1.0, 0.999, false), line("p50", 1.0, 0.5, false)]);
        assert_eq!(of_one(gauge.clone()), [line("a", 0.0, 3.0, false)]);
        let both = of(&[histogram, gauge], &["a".to_owned(), "b".to_owned()]);
        assert_eq!(both.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["p99.9 · a", "p50 · a", "b"]);
    }
}
