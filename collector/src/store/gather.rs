//! What a commit adds to the seconds of each series, gathered without a map a call: counters in an array, observations as
//! numbers that are sorted once.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use fuseboard_api::histogram::bucket_of;

use super::names::Series;
use super::rollup::{Counts, push_number};

/// Which histogram an observation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// How long calls took.
    Latency = 0,
    /// How long attempts took.
    Attempts = 1,
    /// What callers' deadlines left.
    Deadline = 2,
}

/// Sums of one commit.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// (series in memory, second, counters).
    rows: Vec<(u32, i64, Counts)>,
    places: HashMap<(u32, i64), u32, FixedState>,
    /// Observations: row, histogram and bucket from the highest bit down.
    seen: Vec<u64>,
    /// Calls that went on from one second into another: by series, first and last second.
    pub(super) under_way: HashMap<(u32, i64, i64), u32, FixedState>,
}

/// A call counts as under way for so many seconds at most, so that a reader need not look further.
pub(crate) const LONGEST: i64 = 600;

/// Bits of a bucket's number, and of the histogram beside it.
const BUCKET: u32 = 16;
const WHICH: u32 = 2;

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Where a second of a series stands.
    pub(super) fn place(&mut self, series: &mut [Series], number: u32, second: i64) -> u32 {
        let known = series.get_mut(number as usize);
        if let Some((last, place)) = known.as_ref().and_then(|s| s.last)
            && last == second
        {
            return place;
        }
        let rows = &mut self.rows;
        let place = *self.places.entry((number, second)).or_insert_with(|| {
            rows.push((number, second, Counts::default()));
            rows.len() as u32 - 1
        });
        if let Some(series) = known {
            series.last = Some((second, place));
        }
        place
    }

    /// Lets the series forget where they stand in here.
    pub(super) fn release(&self, series: &mut [Series]) {
        for (number, ..) in &self.rows {
            if let Some(series) = series.get_mut(*number as usize) {
                series.last = None;
            }
        }
    }

    /// The counters at a place.
    pub(super) fn at(&mut self, place: u32) -> &mut Counts {
        &mut self.rows[place as usize].2
    }

    /// Notes a duration.
    pub(super) fn observe(&mut self, place: u32, which: Which, nanos: u64) {
        self.seen.push(u64::from(place) << (BUCKET + WHICH) | (which as u64) << BUCKET | u64::from(bucket_of(nanos)));
    }

    /// Notes a call that lasted from one second to another.
    pub(super) fn last(&mut self, series: u32, from: i64, to: i64) {
        if from < to {
            *self.under_way.entry((series, from.max(to - LONGEST), to)).or_insert(0) += 1;
        }
    }

    /// Calls `write` with series, second, counters and packed histograms of every row, by second and series.
    pub(super) fn finish<E>(
        &mut self,
        mut write: impl FnMut(u32, i64, &Counts, [Option<&[u8]>; 3]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.seen.sort_unstable();
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        order.sort_unstable_by_key(|at| {
            let (series, second, _) = self.rows[*at as usize];
            (second, series)
        });
        let mut packed = [Vec::new(), Vec::new(), Vec::new()];
        for at in order {
            let (series, second, counts) = &self.rows[at as usize];
            let of = |which: u64| {
                let from = u64::from(at) << (BUCKET + WHICH) | which << BUCKET;
                let first = self.seen.partition_point(|n| *n < from);
                let rest = &self.seen[first..];
                &rest[..rest.partition_point(|n| n >> BUCKET == from >> BUCKET)]
            };
            for (which, out) in packed.iter_mut().enumerate() {
                out.clear();
                pack(of(which as u64), out);
            }
            let blob = |i: usize| Some(packed[i].as_slice()).filter(|b: &&[u8]| !b.is_empty());
            write(*series, *second, counts, [blob(0), blob(1), blob(2)])?;
        }
        Ok(())
    }
}

/// Sorted observations of one histogram, as [`super::rollup::pack`] writes them.
fn pack(mut seen: &[u64], out: &mut Vec<u8>) {
    let mut last = 0;
    while let Some(first) = seen.first() {
        let count = seen.partition_point(|n| n == first);
        let bucket = first & ((1 << BUCKET) - 1);
        push_number(out, bucket - last);
        push_number(out, count as u64);
        last = bucket;
        seen = &seen[count..];
    }
}

/// Durations of one kind, counted in an array.
#[derive(Debug, Default)]
pub(super) struct Dense(Vec<u32>);

impl Dense {
    /// Counts a duration.
    pub(super) fn record(&mut self, nanos: u64) {
        let bucket = usize::from(bucket_of(nanos));
        if bucket >= self.0.len() {
            self.0.resize(bucket + 1, 0);
        }
        self.0[bucket] += 1;
    }

    /// As [`super::rollup::pack`] writes it; `None` when empty.
    pub(super) fn pack(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut last = 0;
        for (bucket, count) in self.0.iter().enumerate().filter(|(_, n)| **n > 0) {
            push_number(&mut out, (bucket - last) as u64);
            push_number(&mut out, u64::from(*count));
            last = bucket;
        }
        (!out.is_empty()).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::histogram::LatencyHistogram;

    use super::*;
    use crate::store::rollup;

    #[test]
    fn observations_come_out_as_histograms_of_their_rows() {
        let mut sums = Gathered::default();
        let mut expected = [[LatencyHistogram::default(), LatencyHistogram::default()], Default::default()];
        for n in 0..3_000u64 {
            let (series, second) = (n % 2, n % 3 % 2);
            let place = sums.place(&mut [], series as u32, second as i64);
            sums.at(place).calls += 1;
            sums.observe(place, Which::Latency, n * n * 977);
            expected[series as usize][second as usize].record(n * n * 977);
        }
        let mut met = Vec::new();
        sums.finish(|series, second, counts, packed| {
            let expected = &expected[series as usize][second as usize];
            assert_eq!(packed, [rollup::pack(expected).as_deref(), None, None]);
            assert_eq!(counts.calls, expected.count());
            met.push((second, series));
            Ok::<(), ()>(())
        })
        .expect("written");
        assert_eq!(met, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    }

    #[test]
    fn an_array_packs_as_a_histogram_does() {
        let (mut dense, mut histogram) = (Dense::default(), LatencyHistogram::default());
        for nanos in [5, 5, 77, 1_000_000, u64::MAX] {
            dense.record(nanos);
            histogram.record(nanos);
        }
        assert_eq!(dense.pack(), rollup::pack(&histogram));
        assert_eq!(Dense::default().pack(), None);
    }
}
