//! What a commit adds to the seconds of each series.

use std::collections::BTreeMap;

use fuseboard_api::histogram::LatencyHistogram;
use rusqlite::{Connection, params};

use super::folds::Folded;

/// Counters of one second of one series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) refused: u64,
    pub(super) attempts: u64,
    pub(super) cut: u64,
}

/// What was added to a stretch of a series. A call counts in the second in which it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) refused: u64,
    pub(crate) attempts: u64,
    pub(crate) cut: u64,
    pub(crate) latency: LatencyHistogram,
    pub(crate) attempt_latency: LatencyHistogram,
    pub(crate) deadline: LatencyHistogram,
}

impl Delta {
    /// Adds another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.refused += other.refused;
        self.attempts += other.attempts;
        self.cut += other.cut;
        self.latency.merge(&other.latency);
        self.attempt_latency.merge(&other.attempt_latency);
        self.deadline.merge(&other.deadline);
    }
}

/// Writes a histogram as pairs of (bucket step, count), each a base-128 number, low bits first. `None` when empty.
pub(crate) fn pack(histogram: &LatencyHistogram) -> Option<Vec<u8>> {
    if histogram.counts.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(histogram.counts.len() * 3);
    let mut last = 0;
    for (bucket, count) in &histogram.counts {
        push_number(&mut out, u64::from(bucket - last));
        push_number(&mut out, *count);
        last = *bucket;
    }
    Some(out)
}

pub(super) fn push_number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8 & 0x7f) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

pub(super) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

/// The buckets of a packed histogram with their counts, lowest first. A torn one is read as far as it goes.
fn unpack(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u64)> + use<'_> {
    let mut bucket = 0u16;
    std::iter::from_fn(move || {
        let (step, count) = (take_number(&mut bytes)?, take_number(&mut bytes)?);
        bucket = bucket.checked_add(u16::try_from(step).ok()?)?;
        Some((bucket, count))
    })
    .fuse()
}

/// Adds a packed histogram to `sum`.
pub(crate) fn unpack_into(bytes: &[u8], sum: &mut BTreeMap<u16, u64>) {
    unpack(bytes).for_each(|(bucket, count)| *sum.entry(bucket).or_insert(0) += count);
}

/// What a commit adds to one second of one series, ready to be written.
pub(super) struct Line<'a> {
    pub(super) second: i64,
    pub(super) series: i64,
    pub(super) stamp: i64,
    pub(super) counts: &'a Counts,
    /// Latency, latency of attempts, deadlines; as [`pack`] makes them.
    pub(super) packed: [Option<&'a [u8]>; 3],
}

/// Writes one line; `until` says up to which second stretches are folded.
pub(super) fn insert(conn: &Connection, line: &Line<'_>, until: Folded) -> rusqlite::Result<()> {
    let Line { second, series, stamp, counts: c, packed: [latency, attempts, deadline] } = line;
    conn.prepare_cached(
        "INSERT INTO rollup (second, series, arrival, late, calls, errors, refused, attempts, cut, latency,
             attempt_latency, deadline)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?
    .execute(params![
        second,
        series,
        stamp,
        until.late(*second),
        c.calls as i64,
        c.errors as i64,
        c.refused as i64,
        c.attempts as i64,
        c.cut as i64,
        latency,
        attempts,
        deadline
    ])?;
    Ok(())
}

/// Adds the counters and histograms of a row whose `calls` is column `at`.
pub(crate) fn add_row(sum: &mut Delta, row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<()> {
    let Delta { calls, errors, refused, attempts, cut, latency, attempt_latency, deadline } = sum;
    add_counters([calls, errors, refused, attempts, cut], row, at)?;
    for (i, histogram) in [latency, attempt_latency, deadline].into_iter().enumerate() {
        unpack_into(blob(row, at + 5 + i)?, &mut histogram.counts);
    }
    Ok(())
}

fn add_counters(counters: [&mut u64; 5], row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<()> {
    for (i, counter) in counters.into_iter().enumerate() {
        *counter += row.get::<_, i64>(at + i)?.max(0) as u64;
    }
    Ok(())
}

/// A packed histogram in a column, as buckets with their counts.
pub(crate) fn buckets<'a>(
    row: &'a rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<impl Iterator<Item = (u16, u64)> + use<'a>> {
    Ok(unpack(blob(row, column)?))
}

fn blob<'a>(row: &'a rusqlite::Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_blob_or_null().unwrap_or(None).unwrap_or_default())
}

/// A sum of many rows: adding to its histograms costs no look into a tree. Made into a [`Delta`] in the end.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    counters: [u64; 5],
    histograms: [Dense; 3],
}

impl Heap {
    /// Adds the counters and histograms of a row whose `calls` is column `at`.
    pub(crate) fn add_row(&mut self, row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<()> {
        add_counters(self.counters.each_mut(), row, at)?;
        for (i, histogram) in self.histograms.iter_mut().enumerate() {
            histogram.add(blob(row, at + 5 + i)?);
        }
        Ok(())
    }
}

impl From<Heap> for Delta {
    fn from(heap: Heap) -> Self {
        let [calls, errors, refused, attempts, cut] = heap.counters;
        let [latency, attempt_latency, deadline] = heap.histograms.map(Dense::sparse);
        Self { calls, errors, refused, attempts, cut, latency, attempt_latency, deadline }
    }
}

/// A histogram with a place for every bucket between the lowest and the highest that was counted.
#[derive(Debug, Default)]
struct Dense {
    first: u16,
    counts: Vec<u64>,
}

impl Dense {
    /// Adds a packed histogram.
    fn add(&mut self, bytes: &[u8]) {
        unpack(bytes).for_each(|(bucket, count)| *self.place(bucket) += count);
    }

    fn place(&mut self, bucket: u16) -> &mut u64 {
        if self.counts.is_empty() {
            self.first = bucket;
        } else if bucket < self.first {
            let more = usize::from(self.first - bucket);
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bucket;
        }
        let at = usize::from(bucket - self.first);
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        &mut self.counts[at]
    }

    fn sparse(self) -> LatencyHistogram {
        let all = (self.first..=u16::MAX).zip(self.counts);
        LatencyHistogram { counts: all.filter(|(_, count)| *count > 0).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_histograms_come_back_and_add_up() {
        let mut histogram = LatencyHistogram::default();
        for nanos in [0, 1, 900, 1_000_000, 1_000_001, 80_000_000_000, u64::MAX] {
            histogram.record(nanos);
        }
        let bytes = pack(&histogram).expect("not empty");
        let mut back = LatencyHistogram::default();
        unpack_into(&bytes, &mut back.counts);
        assert_eq!(back, histogram);
        unpack_into(&bytes, &mut back.counts);
        assert_eq!(back.count(), 14);
        assert_eq!(pack(&LatencyHistogram::default()), None);
    }

    #[test]
    fn torn_histograms_do_no_harm() {
        let mut sum = BTreeMap::new();
        unpack_into(&[0xff; 40], &mut sum);
        unpack_into(&[5], &mut sum);
        assert!(sum.is_empty());
        unpack_into(&[5, 2, 0x80], &mut sum);
        assert_eq!(sum, BTreeMap::from([(5, 2)]));
    }

    #[test]
    fn a_dense_histogram_counts_as_a_sparse_one() {
        let (mut dense, mut sparse) = (Dense::default(), BTreeMap::new());
        for nanos in [[5_000_000, 9_000_000], [40, 3], [u64::MAX, 7_000], [5_000_000, 5_000_000]] {
            let mut histogram = LatencyHistogram::default();
            nanos.into_iter().for_each(|n| histogram.record(n));
            let bytes = pack(&histogram).expect("not empty");
            dense.add(&bytes);
            unpack_into(&bytes, &mut sparse);
        }
        assert_eq!(dense.sparse().counts, sparse);
        let mut torn = Dense::default();
        torn.add(&[5, 2, 0x80]);
        torn.add(&[0xff; 40]);
        assert_eq!(torn.sparse().counts, BTreeMap::from([(5, 2)]));
    }
}
