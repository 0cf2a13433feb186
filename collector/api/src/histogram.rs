//! A mergeable latency histogram.
//!
//! Log-linear buckets: every power of two of nanoseconds is cut into 32 equal parts, values below 32 ns are exact. A bucket
//! is at most 1/32 of its lower end wide and quantiles answer with its middle, so they are off by at most 1/64 (1.6 %)
//! of the true value. Adding two histograms is adding their counts: nothing is lost, in whatever order.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const PARTS_LOG2: u32 = 5;
const PARTS: u64 = 1 << PARTS_LOG2;

/// Counts of durations by bucket; sparse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LatencyHistogram {
    /// Bucket index (see [`bucket_of`]) → count; never zero.
    pub counts: BTreeMap<u16, u64>,
}

/// The bucket of a duration of `nanos`.
#[must_use]
pub fn bucket_of(nanos: u64) -> u16 {
    if nanos < PARTS {
        return nanos as u16;
    }
    let octave = nanos.ilog2() - PARTS_LOG2;
    let part = (nanos >> octave) - PARTS;
    ((u64::from(octave) + 1) * PARTS + part) as u16
}

/// Lower end (inclusive) and upper end (exclusive) of a bucket, in nanoseconds.
#[must_use]
pub fn bounds_of(bucket: u16) -> (u64, u64) {
    let (octave, part) = (u64::from(bucket) / PARTS, u64::from(bucket) % PARTS);
    if octave == 0 {
        return (part, part + 1);
    }
    let shift = (octave - 1).min(58) as u32;
    ((PARTS + part) << shift, (PARTS + part + 1).checked_shl(shift).filter(|v| *v != 0).unwrap_or(u64::MAX))
}

impl LatencyHistogram {
    /// Counts one duration.
    pub fn record(&mut self, nanos: u64) {
        *self.counts.entry(bucket_of(nanos)).or_insert(0) += 1;
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, n) in &other.counts {
            *self.counts.entry(*bucket).or_insert(0) += n;
        }
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The smallest duration that at least the share `q` (0…1) of the counted ones do not exceed, within 1.6 %; `None`
    /// when nothing was counted.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let total = self.count();
        let rank = ((q.clamp(0.0, 1.0) * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        self.counts.iter().find_map(|(bucket, n)| {
            seen += n;
            (seen >= rank).then(|| {
                let (lo, hi) = bounds_of(*bucket);
                Duration::from_nanos(lo + (hi - lo) / 2)
            })
        })
    }

    /// The share (0…1) of counted durations longer than `limit`, linear inside the bucket that holds it; 0 when nothing
    /// was counted.
    #[must_use]
    pub fn share_above(&self, limit: Duration) -> f64 {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let total = self.count();
        if total == 0 {
            return 0.0;
        }
        let above: f64 = self
            .counts
            .iter()
            .map(|(bucket, n)| {
                let (lo, hi) = bounds_of(*bucket);
                let part = if limit <= lo {
                    1.0
                } else if limit >= hi {
                    0.0
                } else {
                    (hi - limit) as f64 / (hi - lo) as f64
                };
                part * *n as f64
            })
            .sum();
        above / total as f64
    }
}
