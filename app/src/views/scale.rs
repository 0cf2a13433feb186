//! Axes: from values to places, and the ticks between.

use std::time::Duration;

use fuseboard_api::{TimeRange, UnixNanos};

/// A straight map from values to places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    from: (f64, f64),
    to: (f32, f32),
}

impl Scale {
    /// Values `from.0`…`from.1` lie at `to.0`…`to.1`. An empty range of values is widened by one.
    pub(crate) fn new(from: (f64, f64), to: (f32, f32)) -> Self {
        let from = if (from.1 - from.0).abs() < f64::EPSILON { (from.0, from.0 + 1.0) } else { from };
        Self { from, to }
    }

    /// Where a value lies; outside the range it lies outside.
    pub(crate) fn place(&self, value: f64) -> f32 {
        let share = (value - self.from.0) / (self.from.1 - self.from.0);
        self.to.0 + (self.to.1 - self.to.0) * share as f32
    }

    /// Which value lies at a place.
    pub(crate) fn value(&self, place: f32) -> f64 {
        let share = f64::from((place - self.to.0) / (self.to.1 - self.to.0));
        self.from.0 + (self.from.1 - self.from.0) * share
    }
}

/// At most `most` round values (1, 2 or 5 times a power of ten apart) inside `lo`…`hi`.
pub(crate) fn ticks(lo: f64, hi: f64, most: usize) -> Vec<f64> {
    let span = hi - lo;
    if !span.is_finite() || span <= 0.0 || most == 0 {
        return Vec::new();
    }
    let raw = span / most as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|s| s * power).find(|s| *s >= raw).unwrap_or(raw);
    let first = (lo / step).ceil();
    (0..=most).map(|i| (first + i as f64) * step).take_while(|v| *v <= hi + step * 1e-9).collect()
}

/// At most `most` round instants inside `range`.
pub(crate) fn time_ticks(range: TimeRange, most: usize) -> Vec<UnixNanos> {
    const STEPS: [u64; 15] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 10_800, 86_400];
    let seconds = range.length().as_secs_f64();
    let fits = |step: &&u64| seconds / **step as f64 <= most as f64;
    let step = Duration::from_secs(STEPS.iter().find(fits).copied().unwrap_or(7 * 86_400));
    let mut out = Vec::new();
    let mut t = range.from.floor(step);
    while t < range.to && out.len() <= most {
        if t >= range.from {
            out.push(t);
        }
        t = t + step;
    }
    out
}

/// A value's range with a tenth of room on top, from zero when it is near zero.
pub(crate) fn room(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut lo, mut hi) = (f64::INFINITY, f64::NEG_INFINITY);
    for v in values.filter(|v| v.is_finite()) {
        (lo, hi) = (lo.min(v), hi.max(v));
    }
    if lo > hi {
        return (0.0, 1.0);
    }
    if lo >= 0.0 && lo <= hi * 0.6 {
        lo = 0.0;
    }
    let span = if hi > lo { hi - lo } else { hi.abs().max(1.0) };
    let under = if lo == 0.0 { 0.0 } else { lo - span * 0.1 };
    (under, hi + span * 0.1)
}

/// At most `2 × columns` points of a line: the lowest and the highest of each column in their order, so that no spike is lost.
pub(crate) fn thinned(points: &[(f64, f64)], columns: usize) -> Vec<(f64, f64)> {
    if points.len() <= columns * 2 || columns == 0 {
        return points.to_vec();
    }
    let per = points.len().div_ceil(columns);
    let mut out = Vec::with_capacity(columns * 2);
    for chunk in points.chunks(per) {
        let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (Some(lo), Some(hi)) = (chunk.iter().min_by(by), chunk.iter().max_by(by)) else { continue };
        if lo.0 <= hi.0 {
            out.extend([*lo, *hi]);
        } else {
            out.extend([*hi, *lo]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_values_are_inverse() {
        let s = Scale::new((0.0, 200.0), (10.0, 110.0));
        assert_eq!(s.place(50.0), 35.0);
        assert!((s.value(35.0) - 50.0).abs() < 1e-6);
        assert!(Scale::new((3.0, 3.0), (0.0, 1.0)).place(3.0).is_finite());
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(0.0, 100.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(0.13, 0.41, 3), [0.2, 0.4]);
        assert!(ticks(1.0, 1.0, 5).is_empty());
        let minute = 60_000_000_000;
        let range = TimeRange { from: UnixNanos(minute / 2), to: UnixNanos(minute * 21) };
        assert_eq!(time_ticks(range, 5).first(), Some(&UnixNanos(5 * minute)));
        assert!(time_ticks(range, 5).len() <= 5);
    }

    #[test]
    fn a_spike_survives_thinning() {
        let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 1.0)).collect();
        points[5_003].1 = 99.0;
        let thin = thinned(&points, 100);
        assert!(thin.len() <= 200 && thin.iter().any(|p| p.1 == 99.0));
    }

    #[test]
    fn a_range_starts_at_zero_unless_that_hides_the_line() {
        assert_eq!(room([10.0, 100.0].into_iter()).0, 0.0);
        assert!(room([95.0, 100.0].into_iter()).0 > 90.0);
        assert_eq!(room(std::iter::empty()), (0.0, 1.0));
    }
}
