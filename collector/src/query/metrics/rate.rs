//! Figures between points: rates and quantiles of what happened since the point before.

use fuseboard_api::UnixNanos;
use std::borrow::Cow;

use fuseboard_api::metric::{MetricQuantile, MetricValue, Temporality};

use super::point::Point;

/// What a series is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nature {
    pub(super) temporality: Temporality,
    /// A counter; false for histograms and summaries, whose observations are counted.
    pub(super) counter: bool,
    /// Where the asked range begins: points before it are only there to compare with.
    pub(super) from: UnixNanos,
}

/// What happened up to a point, since the one before.
struct Added<'a> {
    /// Growth of a counter, or observations.
    amount: f64,
    nanos: i64,
    point: &'a Point,
    /// The point before, where the difference is to be taken of it; `None` when the point stands for itself.
    earlier: Option<&'a Point>,
}

/// How much a second.
pub(super) fn rate(points: &[Point], nature: Nature) -> Vec<MetricValue> {
    let value = |a: Added<'_>| {
        let value = a.amount * 1e9 / a.nanos as f64;
        (a.nanos > 0 && value.is_finite()).then_some(MetricValue { time: a.point.shown.time, value })
    };
    added(points, nature).into_iter().filter_map(value).collect()
}

/// Quantiles of the observations of each stretch.
pub(super) fn quantiles(points: &[Point], nature: Nature, wanted: &[f64]) -> Vec<MetricQuantile> {
    let mut out: Vec<MetricQuantile> =
        wanted.iter().map(|q| MetricQuantile { quantile: *q, values: Vec::new() }).collect();
    for a in added(points, nature) {
        let Some(buckets) = &a.point.buckets else { continue };
        let stretch = match a.earlier.and_then(|e| e.buckets.as_ref()) {
            Some(earlier) => buckets.since(earlier).map(Cow::Owned),
            None => Some(Cow::Borrowed(buckets)),
        };
        // What is cut up differently than before cannot be compared.
        let Some(stretch) = stretch else { continue };
        for line in &mut out {
            if let Some(value) = stretch.quantile(line.quantile, a.point.shown.min, a.point.shown.max) {
                line.values.push(MetricValue { time: a.point.shown.time, value });
            }
        }
    }
    out.retain(|line| !line.values.is_empty());
    out
}

/// The quantiles that a sender computed itself.
pub(super) fn sent_quantiles(points: &[Point], from: UnixNanos) -> Vec<MetricQuantile> {
    let mut out: Vec<MetricQuantile> = Vec::new();
    for p in points.iter().filter(|p| p.shown.time >= from && !p.shown.gap) {
        for (quantile, value) in p.quantiles.iter().filter(|(q, v)| q.is_finite() && v.is_finite()).take(MOST) {
            let value = MetricValue { time: p.shown.time, value: *value };
            match out.iter().position(|line| line.quantile == *quantile) {
                Some(at) => out[at].values.push(value),
                None if out.len() < MOST => out.push(MetricQuantile { quantile: *quantile, values: vec![value] }),
                None => {}
            }
        }
    }
    out.sort_by(|a, b| a.quantile.total_cmp(&b.quantile));
    out
}

/// Quantiles of one series at most.
const MOST: usize = 20;

/// What each point of the range adds.
fn added(points: &[Point], nature: Nature) -> Vec<Added<'_>> {
    let mut out = Vec::with_capacity(points.len());
    let mut before: Option<&Point> = None;
    // Points that say there is no value are passed over: growth is counted across them.
    for point in points.iter().filter(|p| !p.shown.gap) {
        let earlier = before.replace(point);
        let found = match nature.temporality {
            Temporality::Delta => delta(point, earlier, nature),
            _ => cumulative(point, earlier, nature),
        };
        out.extend(found.filter(|a| a.point.shown.time >= nature.from));
    }
    out
}

/// A delta stands for itself, over the stretch since its start (or since the point before, when it does not say).
fn delta<'a>(point: &'a Point, earlier: Option<&Point>, nature: Nature) -> Option<Added<'a>> {
    let start = match point.shown.start {
        UnixNanos(0) => earlier?.shown.time,
        start => start,
    };
    Some(Added { amount: amount(point, nature), nanos: point.shown.time.0 - start.0, point, earlier: None })
}

/// A sum since the start: the difference to the point before, or all of it when it began anew.
fn cumulative<'a>(point: &'a Point, earlier: Option<&'a Point>, nature: Nature) -> Option<Added<'a>> {
    let (shown, start) = (&point.shown, point.shown.start);
    let Some(earlier) = earlier else {
        // The first that is known: it counts when it began within what is asked for.
        let begins = start.0 > 0 && start >= nature.from && start < shown.time;
        let nanos = shown.time.0 - start.0;
        return begins.then(|| Added { amount: amount(point, nature), nanos, point, earlier: None });
    };
    let nanos = shown.time.0 - earlier.shown.time.0;
    let fell = match (shown.whole, earlier.shown.whole) {
        (Some(now), Some(then)) if nature.counter => now < then,
        _ => amount(point, nature) < amount(earlier, nature),
    };
    let restarted = fell || (start.0 > 0 && earlier.shown.start.0 > 0 && start > earlier.shown.start);
    if restarted {
        return Some(Added { amount: amount(point, nature), nanos, point, earlier: None });
    }
    let amount = match (shown.whole, earlier.shown.whole) {
        // Exact also where a double is not.
        (Some(now), Some(then)) if nature.counter => (i128::from(now) - i128::from(then)) as f64,
        _ => amount(point, nature) - amount(earlier, nature),
    };
    Some(Added { amount, nanos, point, earlier: Some(earlier) })
}

fn amount(point: &Point, nature: Nature) -> f64 {
    if nature.counter { point.shown.value } else { point.shown.count as f64 }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::metric::MetricPoint;

    use super::*;
    use crate::query::metrics::buckets::Buckets;

    const SECOND: i64 = 1_000_000_000;

    fn nature(temporality: Temporality, counter: bool) -> Nature {
        Nature { temporality, counter, from: UnixNanos(0) }
    }

    fn count(second: i64, start: i64, value: i64) -> Point {
        let shown = MetricPoint {
            time: UnixNanos(second * SECOND),
            start: UnixNanos(start * SECOND),
            value: value as f64,
            whole: Some(value),
            ..MetricPoint::default()
        };
        Point { shown, ..Point::default() }
    }

    fn values(values: &[MetricValue]) -> Vec<(i64, f64)> {
        values.iter().map(|v| (v.time.0 / SECOND, v.value)).collect()
    }

    #[test]
    fn a_counter_grows_by_differences_and_a_restart_counts_from_zero() {
        let mut points =
            vec![count(10, 5, 100), count(20, 5, 150), count(30, 28, 20), count(40, 28, 10), count(50, 0, 30)];
        let rates = rate(&points, nature(Temporality::Cumulative, true));
        // From its start; by difference; a new start; a fall; no start told.
        assert_eq!(values(&rates), [(10, 20.0), (20, 5.0), (30, 2.0), (40, 1.0), (50, 2.0)]);
        points[1].shown.gap = true;
        let rates =
            rate(&points[..3], Nature { from: UnixNanos(15 * SECOND), ..nature(Temporality::Cumulative, true) });
        assert_eq!(values(&rates), [(30, 1.0)], "across the gap");
    }

    #[test]
    fn whole_numbers_beyond_doubles_still_differ() {
        let big = 1_i64 << 60;
        let rates = rate(&[count(10, 1, big), count(11, 1, big + 3)], nature(Temporality::Cumulative, true));
        assert_eq!(values(&rates).last(), Some(&(11, 3.0)));
    }

    #[test]
    fn a_delta_stands_for_itself() {
        let points = [count(10, 5, 10), count(20, 0, 30), count(30, 29, 4)];
        let rates = rate(&points, nature(Temporality::Delta, true));
        assert_eq!(values(&rates), [(10, 2.0), (20, 3.0), (30, 4.0)]);
    }

    #[test]
    fn quantiles_are_of_the_stretch_alone() {
        let at = |second: i64, start: i64, counts: [u64; 3]| {
            let shown = MetricPoint {
                time: UnixNanos(second * SECOND),
                start: UnixNanos(start * SECOND),
                count: counts.iter().sum(),
                ..MetricPoint::default()
            };
            let buckets = Some(Buckets::Explicit { bounds: vec![10.0, 20.0], counts: counts.to_vec() });
            Point { shown, buckets, ..Point::default() }
        };
        let points = [at(10, 1, [100, 0, 0]), at(20, 1, [100, 10, 0]), at(30, 1, [100, 10, 0]), at(40, 35, [2, 0, 0])];
        let nature = Nature { from: UnixNanos(15 * SECOND), ..nature(Temporality::Cumulative, false) };
        let found = quantiles(&points, nature, &[0.5]);
        assert_eq!(values(&found[0].values), [(20, 15.0), (40, 5.0)]);
        assert_eq!(values(&rate(&points, nature)), [(20, 1.0), (30, 0.0), (40, 0.2)]);
    }
}
