//! What a commit adds to the seconds of each series.

use std::collections::BTreeMap;

use fuseboard_api::histogram::LatencyHistogram;
use rusqlite::{Connection, OptionalExtension as _, params};

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

/// Adds a packed histogram to `sum`. A torn one counts as far as it can be read.
pub(crate) fn unpack_into(mut bytes: &[u8], sum: &mut BTreeMap<u16, u64>) {
    let mut bucket = 0u16;
    while let (Some(step), Some(count)) = (take_number(&mut bytes), take_number(&mut bytes)) {
        let Some(next) = u16::try_from(step).ok().and_then(|s| bucket.checked_add(s)) else { return };
        bucket = next;
        *sum.entry(bucket).or_insert(0) += count;
    }
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

/// Writes one line; `until` says up to which second stretches of 5 and 60 s are folded.
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

/// Up to which second (exclusive) stretches are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Folded {
    /// Stretches of 5 s.
    pub(crate) fives: i64,
    /// Stretches of 60 s.
    pub(crate) minutes: i64,
}

impl Folded {
    /// As it was at the instant `as_of`.
    pub(crate) fn load(conn: &Connection, as_of: i64) -> rusqlite::Result<Self> {
        let mut read = conn.prepare_cached("SELECT max(until) FROM folded WHERE width = ?1 AND arrival <= ?2")?;
        let mut of = |width: i64| -> rusqlite::Result<i64> {
            Ok(read.query_row(params![width, as_of], |r| r.get::<_, Option<i64>>(0))?.unwrap_or(i64::MIN))
        };
        Ok(Self { fives: of(5)?, minutes: of(60)? })
    }

    fn late(self, second: i64) -> i64 {
        i64::from(second < self.fives) + 2 * i64::from(second < self.minutes)
    }
}

/// Sums of rows (second, series, counters…) by (first second of the stretch, series).
fn sum_up(mut rows: rusqlite::Rows<'_>, width: i64) -> rusqlite::Result<BTreeMap<(i64, i64), Delta>> {
    let mut sums: BTreeMap<(i64, i64), Delta> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let second: i64 = row.get(0)?;
        let sum = sums.entry((second.div_euclid(width) * width, row.get(1)?)).or_default();
        add_row(sum, row, 2)?;
    }
    Ok(sums)
}

/// Sums what came since the last fold for every whole stretch of `width` seconds that ended by `until`. Runs in its own
/// transaction: everything that commits after it and falls before `until` is late.
pub(super) fn fold(conn: &Connection, width: i64, from: i64, until: i64, stamp: i64) -> rusqlite::Result<()> {
    let mut read = conn.prepare_cached(
        "SELECT second, series, calls, errors, refused, attempts, cut, latency, attempt_latency, deadline
         FROM rollup WHERE second >= ?1 AND second < ?2",
    )?;
    let sums = sum_up(read.query(params![from, until])?, width)?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO folds (width, second, series, calls, errors, refused, attempts, cut, latency, attempt_latency, deadline)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for ((second, series), d) in &sums {
        insert.execute(params![
            width,
            second,
            series,
            d.calls as i64,
            d.errors as i64,
            d.refused as i64,
            d.attempts as i64,
            d.cut as i64,
            pack(&d.latency),
            pack(&d.attempt_latency),
            pack(&d.deadline),
        ])?;
    }
    conn.prepare_cached("INSERT INTO folded (width, until, arrival) VALUES (?1, ?2, ?3)")?
        .execute(params![width, until, stamp])?;
    Ok(())
}

/// Rows that one sum of what came late takes at most, so that telemetry waits half a second at most.
const LATE: i64 = 100_000;

/// Up to which arrival what came late is summed for a width, as it was at the instant `as_of`; `None` before the first sum.
pub(crate) fn late_until(conn: &Connection, width: i64, as_of: i64) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT max(upto) FROM late_folded WHERE width = ?1 AND arrival <= ?2")?
        .query_row(params![width, as_of], |r| r.get(0))
}

/// Sums what came late for stretches of `width` seconds since the last such sum, so that a graph over imported history need
/// not read it second by second. Takes so much at most and leaves the rest to the next time. Runs in its own transaction.
pub(super) fn fold_late(conn: &Connection, width: i64, stamp: i64) -> rusqlite::Result<()> {
    let last = late_until(conn, width, i64::MAX)?.unwrap_or(i64::MIN);
    let far = conn
        .prepare_cached(
            "SELECT arrival FROM rollup WHERE late > 0 AND arrival > ?1 ORDER BY arrival LIMIT 1 OFFSET ?2",
        )?
        .query_row(params![last, LATE], |r| r.get::<_, i64>(0))
        .optional()?;
    let upto = far.unwrap_or(stamp);
    let mut read = conn.prepare_cached(
        "SELECT second, series, calls, errors, refused, attempts, cut, latency, attempt_latency, deadline
         FROM rollup INDEXED BY rollup_late_by_arrival
         WHERE late > 0 AND arrival > ?1 AND arrival <= ?2 AND late & ?3 > 0",
    )?;
    let bit = if width == 5 { 1 } else { 2 };
    let sums = sum_up(read.query(params![last, upto, bit])?, width)?;
    if sums.is_empty() && far.is_none() {
        return Ok(());
    }
    let mut insert = conn.prepare_cached(
        "INSERT INTO late_folds (width, second, series, arrival, calls, errors, refused, attempts, cut, latency, attempt_latency, deadline)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for ((second, series), d) in &sums {
        insert.execute(params![
            width,
            second,
            series,
            stamp,
            d.calls as i64,
            d.errors as i64,
            d.refused as i64,
            d.attempts as i64,
            d.cut as i64,
            pack(&d.latency),
            pack(&d.attempt_latency),
            pack(&d.deadline),
        ])?;
    }
    conn.prepare_cached("INSERT INTO late_folded (width, upto, arrival) VALUES (?1, ?2, ?3)")?
        .execute(params![width, upto, stamp])?;
    Ok(())
}

/// Adds the counters and histograms of a row whose `calls` is column `at`.
pub(crate) fn add_row(sum: &mut Delta, row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<()> {
    let number = |i: usize| -> rusqlite::Result<u64> { Ok(row.get::<_, i64>(at + i)?.max(0) as u64) };
    sum.calls += number(0)?;
    sum.errors += number(1)?;
    sum.refused += number(2)?;
    sum.attempts += number(3)?;
    sum.cut += number(4)?;
    for (i, histogram) in [&mut sum.latency, &mut sum.attempt_latency, &mut sum.deadline].into_iter().enumerate() {
        if let Some(bytes) = row.get_ref(at + 5 + i)?.as_blob_or_null().unwrap_or(None) {
            unpack_into(bytes, &mut histogram.counts);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use fuseboard_api::{TimeRange, UnixNanos};
    use proptest::prelude::*;

    use super::*;
    use crate::query::rollups;
    use crate::store::schema;

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

    /// One commit or fold of the generated history.
    #[derive(Debug, Clone)]
    enum Step {
        Add { series: i64, second: i64, nanos: u64, failed: bool },
        Fold { until: i64 },
        Late { width: i64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let add = (1..4i64, 0..300i64, 1..5_000_000_000u64, any::<bool>())
            .prop_map(|(series, second, nanos, failed)| Step::Add { series, second, nanos, failed });
        let fold = (0..310i64).prop_map(|until| Step::Fold { until });
        let late = prop_oneof![Just(5), Just(60)].prop_map(|width| Step::Late { width });
        prop::collection::vec(prop_oneof![8 => add, 1 => fold, 1 => late], 1..80)
    }

    /// Plays a history; the position of a step is its stamp.
    fn play(steps: &[Step]) -> Connection {
        let conn = Connection::open_in_memory().expect("a database");
        schema::migrate(&conn, 0).expect("tables");
        let mut folded = Folded { fives: i64::MIN, minutes: i64::MIN };
        for (stamp, step) in (1..).zip(steps) {
            match step {
                Step::Add { series, second, nanos, failed } => {
                    let counts = Counts { calls: 1, errors: u64::from(*failed), ..Counts::default() };
                    let mut latency = LatencyHistogram::default();
                    latency.record(*nanos);
                    let packed = [pack(&latency), None, None];
                    let packed = packed.each_ref().map(Option::as_deref);
                    let line = Line { second: *second, series: *series, stamp, counts: &counts, packed };
                    insert(&conn, &line, folded).expect("written");
                }
                Step::Late { width } => {
                    fold_late(&conn, *width, stamp).expect("folded");
                }
                Step::Fold { until } => {
                    for (width, from) in [(5, &mut folded.fives), (60, &mut folded.minutes)] {
                        let end = until / width * width;
                        if end > *from {
                            fold(&conn, width, *from, end, stamp).expect("folded");
                            *from = end;
                        }
                    }
                }
            }
        }
        conn
    }

    proptest! {
        /// However stretches were folded and whatever came late: sums over any range as of any instant are those of the
        /// single calls that had arrived.
        #[test]
        fn folds_change_no_answer(history in steps(), at in 0..90i64, from in 0..300i64, length in 0..300i64) {
            let conn = play(&history);
            let at = UnixNanos(at);
            let range = TimeRange { from: UnixNanos(from * 1_000_000_000), to: UnixNanos((from + length) * 1_000_000_000) };
            let mut expected: HashMap<i64, Delta> = HashMap::new();
            for (stamp, step) in (1..).zip(&history) {
                if let Step::Add { series, second, nanos, failed } = step
                    && stamp <= at.0
                    && (from..from + length).contains(second)
                {
                    let sum = expected.entry(*series).or_default();
                    sum.calls += 1;
                    sum.errors += u64::from(*failed);
                    sum.latency.record(*nanos);
                }
            }
            prop_assert_eq!(&rollups::sums(&conn, range, at).expect("sums"), &expected);
            for step in [1, 10, 15, 60] {
                let steps = rollups::steps(&conn, range, step, at).expect("steps");
                let calls: u64 = steps.values().flatten().map(|d| d.calls).sum();
                if from % step == 0 {
                    prop_assert_eq!(calls, expected.values().map(|d| d.calls).sum::<u64>());
                }
            }
        }
    }
}
