//! Histograms of both kinds: what was added between two of them, and quantiles.
//!
//! A quantile `q` of `n` observations is at rank `q · n`. Within the bucket that holds the rank it is interpolated: of
//! explicit bounds linearly, from the bucket's lower to its upper bound; of exponential buckets geometrically, as
//! `lower · (upper / lower)^fraction`, which is linear in the scale that such buckets are equal in. Buckets without an end
//! take the least and greatest observation where the sender told them; else the first begins at zero (at its own bound
//! when that is not above zero) and the last ends where it begins. So the error is at most the width of the bucket.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point as otlp;

/// Buckets that an exponential side may have; what lies beyond is folded by the sender (160 is OpenTelemetry's default),
/// and a hostile one must not make us hold more.
const MOST: usize = 20_000;

/// Counts of observations by size.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Buckets {
    /// One count more than bounds: the last has no upper bound.
    Explicit { bounds: Vec<f64>, counts: Vec<u64> },
    /// Bounds that are powers of a base.
    Exponential(Exponential),
}

/// An exponential histogram. Bucket `i` holds what is above `base^i` and at most `base^(i+1)`, where `base = 2^(2^-scale)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exponential {
    scale: i32,
    zero: u64,
    threshold: f64,
    positive: BTreeMap<i32, u64>,
    negative: BTreeMap<i32, u64>,
}

impl Exponential {
    pub(super) fn new(
        scale: i32,
        zero: u64,
        threshold: f64,
        positive: Option<otlp::Buckets>,
        negative: Option<otlp::Buckets>,
    ) -> Self {
        let side = |side: Option<otlp::Buckets>| {
            let Some(side) = side else { return BTreeMap::new() };
            let counts = side.bucket_counts.into_iter().enumerate().filter(|(_, n)| *n > 0).take(MOST);
            let place = |(i, n): (usize, u64)| Some((side.offset.checked_add(i32::try_from(i).ok()?)?, n));
            counts.filter_map(place).collect()
        };
        Self { scale, zero, threshold: threshold.max(0.0), positive: side(positive), negative: side(negative) }
    }

    /// The same with coarser buckets: each step of the scale joins two.
    fn at_scale(&self, scale: i32) -> Self {
        let steps = u32::try_from(self.scale.saturating_sub(scale)).unwrap_or(0).min(31);
        let join = |side: &BTreeMap<i32, u64>| {
            let mut out = BTreeMap::new();
            for (i, n) in side {
                *out.entry(i >> steps).or_insert(0_u64) += n;
            }
            out
        };
        Self { scale, positive: join(&self.positive), negative: join(&self.negative), ..*self }
    }

    /// What was added since `earlier`; `None` when a count fell.
    fn since(&self, earlier: &Self) -> Option<Self> {
        let scale = self.scale.min(earlier.scale);
        let (now, then) = (self.at_scale(scale), earlier.at_scale(scale));
        let side = |now: BTreeMap<i32, u64>, then: &BTreeMap<i32, u64>| {
            let fell = then.iter().any(|(i, n)| now.get(i).is_none_or(|m| m < n));
            let less = |(i, n): (i32, u64)| (i, n - then.get(&i).copied().unwrap_or(0));
            (!fell).then(|| now.into_iter().map(less).collect())
        };
        // A grown threshold moves observations into the zero bucket: then it is no simple difference.
        if now.threshold != then.threshold {
            return None;
        }
        Some(Self {
            zero: now.zero.checked_sub(then.zero)?,
            positive: side(now.positive, &then.positive)?,
            negative: side(now.negative, &then.negative)?,
            ..now
        })
    }

    /// The lower bound of a bucket.
    fn bound(&self, index: i32) -> f64 {
        (f64::from(index) * f64::from(-self.scale).exp2()).exp2()
    }

    /// All buckets by size: lower bound, upper bound, count.
    fn spans(&self) -> Vec<Span> {
        let mut out = Vec::new();
        for (i, n) in self.negative.iter().rev() {
            out.push(Span { lower: -self.bound(i.saturating_add(1)), upper: -self.bound(*i), count: *n, log: true });
        }
        if self.zero > 0 {
            let lower = if self.negative.is_empty() { 0.0 } else { -self.threshold };
            let upper = if self.positive.is_empty() && !self.negative.is_empty() { 0.0 } else { self.threshold };
            out.push(Span { lower, upper, count: self.zero, log: false });
        }
        for (i, n) in &self.positive {
            out.push(Span { lower: self.bound(*i), upper: self.bound(i.saturating_add(1)), count: *n, log: true });
        }
        out
    }
}

/// A bucket with both ends.
#[derive(Debug, Clone, Copy)]
struct Span {
    lower: f64,
    upper: f64,
    count: u64,
    /// Both ends have the same sign, and values between them are taken as equally likely by their logarithm.
    log: bool,
}

impl Span {
    fn at(self, fraction: f64) -> f64 {
        let Self { lower, upper, log, .. } = self;
        if log && lower != 0.0 && upper / lower > 0.0 && (upper / lower).is_finite() {
            lower * (upper / lower).powf(fraction)
        } else {
            lower + (upper - lower) * fraction
        }
    }
}

impl Buckets {
    /// What was added since `earlier` of the same series; `None` when it began anew or is cut up differently.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        match (self, earlier) {
            (Self::Explicit { bounds, counts }, Self::Explicit { bounds: old_bounds, counts: old }) => {
                if bounds != old_bounds || counts.len() != old.len() {
                    return None;
                }
                let added: Option<Vec<u64>> = counts.iter().zip(old).map(|(n, o)| n.checked_sub(*o)).collect();
                Some(Self::Explicit { bounds: bounds.clone(), counts: added? })
            }
            (Self::Exponential(now), Self::Exponential(then)) => now.since(then).map(Self::Exponential),
            _ => None,
        }
    }

    /// A quantile; `None` without observations. `min` and `max`, where known, bound all observations.
    pub(super) fn quantile(&self, q: f64, min: Option<f64>, max: Option<f64>) -> Option<f64> {
        let spans = match self {
            Self::Explicit { bounds, counts } => explicit(bounds, counts, min, max),
            Self::Exponential(e) => e.spans(),
        };
        let total: u64 = spans.iter().fold(0, |sum, s| sum.saturating_add(s.count));
        if total == 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * total as f64;
        let mut below = 0.0;
        let mut found = None;
        for span in spans.iter().filter(|s| s.count > 0) {
            let count = span.count as f64;
            found = Some(span.at(((rank - below) / count).clamp(0.0, 1.0)));
            if below + count >= rank {
                break;
            }
            below += count;
        }
        let value = found?;
        // The ends as sent may be a little off the buckets' own.
        let value = min.map_or(value, |min| value.max(min));
        let value = max.map_or(value, |max| value.min(max));
        value.is_finite().then_some(value)
    }
}

fn explicit(bounds: &[f64], counts: &[u64], min: Option<f64>, max: Option<f64>) -> Vec<Span> {
    let of = |(i, count): (usize, &u64)| {
        let below = i.checked_sub(1).and_then(|i| bounds.get(i)).copied();
        let above = bounds.get(i).copied();
        let upper = above.or(max.filter(|max| below.is_none_or(|b| *max >= b))).or(below).unwrap_or(0.0);
        let lower = below.or(min.filter(|min| *min <= upper)).unwrap_or(if upper > 0.0 { 0.0 } else { upper });
        Span { lower, upper, count: *count, log: false }
    };
    counts.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, expected: f64) {
        let found = found.expect("a quantile");
        assert!((found - expected).abs() <= expected.abs() * 1e-9 + 1e-12, "{found}, not {expected}");
    }

    fn side(offset: i32, counts: &[u64]) -> Option<otlp::Buckets> {
        Some(otlp::Buckets { offset, bucket_counts: counts.to_vec() })
    }

    #[test]
    fn explicit_quantiles_are_interpolated_linearly() {
        let all = Buckets::Explicit { bounds: vec![10.0, 20.0, 50.0], counts: vec![10, 20, 10, 10] };
        near(all.quantile(0.1, None, None), 5.0);
        near(all.quantile(0.5, None, None), 17.5);
        near(all.quantile(0.7, None, None), 35.0);
        near(all.quantile(0.99, None, None), 50.0);
        near(all.quantile(0.99, None, Some(100.0)), 97.5);
        near(all.quantile(0.0, Some(4.0), None), 4.0);
        let below = Buckets::Explicit { bounds: vec![-5.0, 0.0], counts: vec![4, 4, 0] };
        near(below.quantile(0.25, None, None), -5.0);
        near(below.quantile(0.25, Some(-9.0), None), -7.0);
        let none = Buckets::Explicit { bounds: vec![1.0], counts: vec![0, 0] };
        assert_eq!(none.quantile(0.5, None, None), None);
    }

    #[test]
    fn exponential_quantiles_are_interpolated_geometrically() {
        // Base 2: buckets (1, 2], (2, 4], (4, 8].
        let all = Buckets::Exponential(Exponential::new(0, 0, 0.0, side(0, &[10, 0, 10]), None));
        near(all.quantile(0.25, None, None), 2.0_f64.sqrt());
        near(all.quantile(0.5, None, None), 2.0);
        near(all.quantile(0.75, None, None), 4.0 * 2.0_f64.sqrt());
        near(all.quantile(1.0, None, Some(7.0)), 7.0);
        // Below zero, about zero, above zero.
        let mixed = Exponential::new(1, 2, 0.5, side(2, &[2]), side(2, &[2]));
        let mixed = Buckets::Exponential(mixed);
        near(mixed.quantile(0.0, None, None), -(8.0_f64.sqrt()));
        near(mixed.quantile(0.5, None, None), 0.0);
        near(mixed.quantile(1.0, None, None), 8.0_f64.sqrt());
    }

    #[test]
    fn differences_join_scales_and_find_restarts() {
        let fine = Exponential::new(1, 1, 0.0, side(-1, &[1, 2, 3, 4]), None);
        let coarse = Exponential::new(0, 1, 0.0, side(-1, &[1, 4, 9]), None);
        // At scale 0 the finer is -1: 1, 0: 5, 1: 4.
        assert_eq!(coarse.since(&fine), None, "4 is less than 5");
        let grown = Exponential::new(0, 3, 0.0, side(-1, &[1, 6, 9]), None);
        let added = grown.since(&fine).expect("grew");
        assert_eq!((added.zero, added.positive), (2, BTreeMap::from([(-1, 0), (0, 1), (1, 5)])));
        let of = |counts: &[u64]| Buckets::Explicit { bounds: vec![1.0], counts: counts.to_vec() };
        assert_eq!(of(&[3, 5]).since(&of(&[1, 5])), Some(of(&[2, 0])));
        assert_eq!(of(&[3, 5]).since(&of(&[4, 0])), None);
    }

    #[test]
    fn absurd_buckets_do_no_harm() {
        let far = Exponential::new(20, u64::MAX, f64::NAN, side(i32::MAX, &[1, 1]), side(i32::MIN, &[u64::MAX]));
        let far = Buckets::Exponential(far);
        assert!(far.quantile(0.5, None, None).is_none_or(f64::is_finite));
        assert!(far.since(&far.clone()).is_none_or(|d| d.quantile(0.5, None, None).is_none()));
        let tiny = Exponential::new(-10, 0, 0.0, side(-5, &[1]), None);
        assert!(Buckets::Exponential(tiny).quantile(0.5, None, None).is_none_or(f64::is_finite));
    }
}
