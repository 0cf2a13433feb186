//! Sums of whole stretches, so that a graph over hours need not be added up second by second.
//!
//! Stretches of each width are summed once, some seconds after their end, each width from the one below it. What is added to a
//! stretch after that is late: it is marked so in `rollup`, added on top when read, and summed by the second into
//! `late_folds`, in bounded parts. Every sum carries the stamp of its commit, so that an answer as of an earlier instant does
//! without it.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::rollup::{Delta, Heap, pack};

/// The widths of stretches, in seconds. Each divides the next.
pub(crate) const WIDTHS: [i64; 3] = [5, 60, 600];

/// Rows that one sum of what came late takes at most, so that telemetry waits half a second at most.
const LATE: i64 = 100_000;

/// Seconds that one fold takes at most: a file of an earlier program, which lacks a width, is caught up with in parts.
const SPAN: i64 = 7_200;

/// The columns of a sum, in the order of [`super::rollup::add_row`].
pub(crate) const SUMS: &str = "calls, errors, refused, attempts, cut, latency, attempt_latency, deadline";

/// Up to which second (exclusive) stretches of each of [`WIDTHS`] are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Folded(pub(crate) [i64; WIDTHS.len()]);

impl Folded {
    /// Before the first fold.
    pub(crate) const NOTHING: Self = Self([i64::MIN; WIDTHS.len()]);

    /// As it was at the instant `as_of`.
    pub(crate) fn load(conn: &Connection, as_of: i64) -> rusqlite::Result<Self> {
        let mut read = conn.prepare_cached("SELECT max(until) FROM folded WHERE width = ?1 AND arrival <= ?2")?;
        let mut folded = Self::NOTHING;
        for (width, until) in WIDTHS.iter().zip(&mut folded.0) {
            let last: Option<i64> = read.query_row(params![width, as_of], |r| r.get(0))?;
            *until = last.unwrap_or(i64::MIN);
        }
        Ok(folded)
    }

    /// For which widths a second is late, as bits in the order of [`WIDTHS`].
    pub(super) fn late(self, second: i64) -> i64 {
        (0..).zip(self.0).map(|(nth, until)| i64::from(second < until) << nth).sum()
    }

    /// Folds every whole stretch that ended by the second `now`, a bounded part of them at once. Runs in its own transaction:
    /// everything that commits after it and falls before what was folded is late.
    pub(super) fn advance(&mut self, conn: &Connection, now: i64, stamp: i64) -> rusqlite::Result<()> {
        let (mut next, mut limit, mut narrower) = (*self, now, 1);
        for (width, until) in WIDTHS.into_iter().zip(&mut next.0) {
            let begin = if *until == i64::MIN { first(conn, narrower)?.unwrap_or(limit) } else { *until };
            let end = limit.min(begin.saturating_add(SPAN)).div_euclid(width) * width;
            if end > *until {
                fold(conn, (width, narrower), *until, end, stamp)?;
                *until = end;
            }
            (limit, narrower) = (*until, width);
        }
        *self = next;
        Ok(())
    }

    /// Whether a second `now` ends a stretch that is not folded yet.
    pub(super) fn is_due(self, now: i64) -> bool {
        WIDTHS.into_iter().zip(self.0).any(|(width, until)| now.div_euclid(width) * width > until)
    }
}

/// The bit of a width in `rollup.late`; 0 for single seconds.
fn bit(width: i64) -> i64 {
    (0..).zip(WIDTHS).find(|(_, w)| *w == width).map_or(0, |(nth, _)| 1 << nth)
}

/// Calls `visit` with (series, first second, row) for everything in whole stretches of `width` seconds (1: single seconds), as
/// of an instant. The row's columns begin at 2 and are those asked for.
pub(crate) fn read(
    conn: &Connection,
    width: i64,
    (from, to): (i64, i64),
    as_of: i64,
    columns: &str,
    mut visit: impl FnMut(i64, i64, &rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let late = bit(width);
    // Of what came late only that which is not summed yet.
    let summed = if late > 0 { late_until(conn, width, as_of)? } else { None };
    let fresh = format!(
        "SELECT series, second, {columns} FROM rollup {}
         WHERE second >= ?1 AND second < ?2 AND arrival <= ?3 AND arrival > ?4 {}",
        if summed.is_some() { "INDEXED BY rollup_late_by_arrival" } else { "" },
        if late > 0 { format!("AND late > 0 AND late & {late} > 0") } else { String::new() },
    );
    let mut select = conn.prepare_cached(&fresh)?;
    let mut rows = select.query(params![from, to, as_of, summed.unwrap_or(i64::MIN)])?;
    while let Some(row) = rows.next()? {
        visit(row.get(0)?, row.get(1)?, row)?;
    }
    if late == 0 {
        return Ok(());
    }
    let folds = format!(
        "SELECT series, second, {columns} FROM folds WHERE width = ?1 AND second >= ?2 AND second < ?3
         UNION ALL
         SELECT series, second, {columns} FROM late_folds
         WHERE width = ?1 AND second >= ?2 AND second < ?3 AND arrival <= ?4"
    );
    let mut select = conn.prepare_cached(&folds)?;
    let mut rows = select.query(params![width, from, to, as_of])?;
    while let Some(row) = rows.next()? {
        visit(row.get(0)?, row.get(1)?, row)?;
    }
    Ok(())
}

/// The first second that is known at a width.
fn first(conn: &Connection, width: i64) -> rusqlite::Result<Option<i64>> {
    match width {
        1 => conn.prepare_cached("SELECT min(second) FROM rollup")?.query_row([], |r| r.get(0)),
        _ => conn.prepare_cached("SELECT min(second) FROM folds WHERE width = ?1")?.query_row([width], |r| r.get(0)),
    }
}

/// Sums for a width what lies from `from` to `until`, read at the one below.
fn fold(conn: &Connection, (width, narrower): (i64, i64), from: i64, until: i64, stamp: i64) -> rusqlite::Result<()> {
    let mut sums: BTreeMap<(i64, i64), Heap> = BTreeMap::new();
    read(conn, narrower, (from, until), i64::MAX, SUMS, |series, second, row| {
        sums.entry((second.div_euclid(width) * width, series)).or_default().add_row(row, 2)
    })?;
    let mut insert = conn.prepare_cached(
        "INSERT INTO folds (width, second, series, calls, errors, refused, attempts, cut, latency, attempt_latency, deadline)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for ((second, series), sum) in sums {
        let d = Delta::from(sum);
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
    if from == i64::MIN {
        // What was there by now is in this sum, late for another width or not.
        conn.prepare_cached("INSERT INTO late_folded (width, upto, arrival) VALUES (?1, ?2, ?2)")?
            .execute(params![width, stamp])?;
    }
    Ok(())
}

/// Up to which arrival what came late is summed for a width, as it was at the instant `as_of`; `None` before the first sum.
fn late_until(conn: &Connection, width: i64, as_of: i64) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT max(upto) FROM late_folded WHERE width = ?1 AND arrival <= ?2")?
        .query_row(params![width, as_of], |r| r.get(0))
}

/// What came late, summed by width, first second of the stretch, and series.
type LateSums = BTreeMap<(i64, i64, i64), Delta>;

/// Sums what came late since the last such sum, for all widths, so that a graph over imported history need not read it second
/// by second. Takes so much at most; true when it leaves some to the next time. Runs in its own transaction.
pub(super) fn fold_late(conn: &Connection, stamp: i64) -> rusqlite::Result<bool> {
    let mut last = [i64::MIN; WIDTHS.len()];
    for (width, last) in WIDTHS.iter().zip(&mut last) {
        *last = late_until(conn, *width, i64::MAX)?.unwrap_or(i64::MIN);
    }
    let first = last.into_iter().min().unwrap_or(i64::MIN);
    let far = conn
        .prepare_cached(
            "SELECT arrival FROM rollup WHERE late > 0 AND arrival > ?1 ORDER BY arrival LIMIT 1 OFFSET ?2",
        )?
        .query_row(params![first, LATE], |r| r.get::<_, i64>(0))
        .optional()?;
    let upto = far.unwrap_or(stamp);
    let sums = late_sums(conn, last, first, upto)?;
    if sums.is_empty() && far.is_none() {
        return Ok(false);
    }
    let mut insert = conn.prepare_cached(
        "INSERT INTO late_folds (width, second, series, arrival, calls, errors, refused, attempts, cut, latency, attempt_latency, deadline)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for ((width, second, series), d) in &sums {
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
    let mut insert = conn.prepare_cached("INSERT INTO late_folded (width, upto, arrival) VALUES (?1, ?2, ?3)")?;
    for (width, last) in WIDTHS.iter().zip(last) {
        if upto > last {
            insert.execute(params![width, upto, stamp])?;
        }
    }
    Ok(far.is_some())
}

fn late_sums(conn: &Connection, last: [i64; WIDTHS.len()], first: i64, upto: i64) -> rusqlite::Result<LateSums> {
    let mut read = conn.prepare_cached(&format!(
        "SELECT second, series, arrival, late, {SUMS} FROM rollup INDEXED BY rollup_late_by_arrival
         WHERE late > 0 AND arrival > ?1 AND arrival <= ?2"
    ))?;
    let mut rows = read.query(params![first, upto])?;
    let mut sums = LateSums::new();
    while let Some(row) = rows.next()? {
        let (second, series, arrival, late): (i64, i64, i64, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        for (width, last) in WIDTHS.into_iter().zip(last) {
            if late & bit(width) > 0 && arrival > last {
                let sum = sums.entry((width, second.div_euclid(width) * width, series)).or_default();
                super::rollup::add_row(sum, row, 4)?;
            }
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use fuseboard_api::histogram::LatencyHistogram;
    use fuseboard_api::{TimeRange, UnixNanos};
    use proptest::prelude::*;

    use super::*;
    use crate::query::rollups;
    use crate::store::rollup::{Counts, Line, insert};
    use crate::store::schema;

    /// One commit or fold of the generated history.
    #[derive(Debug, Clone)]
    enum Step {
        Add { series: i64, second: i64, nanos: u64, failed: bool },
        Fold { until: i64 },
        Late,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let add = (1..4i64, 0..1_500i64, 1..5_000_000_000u64, any::<bool>())
            .prop_map(|(series, second, nanos, failed)| Step::Add { series, second, nanos, failed });
        let fold = (0..1_510i64).prop_map(|until| Step::Fold { until });
        prop::collection::vec(prop_oneof![8 => add, 1 => fold, 1 => Just(Step::Late)], 1..80)
    }

    /// Plays a history; the position of a step is its stamp.
    fn play(steps: &[Step]) -> Connection {
        let conn = Connection::open_in_memory().expect("a database");
        schema::migrate(&conn, 0).expect("tables");
        let mut folded = Folded::NOTHING;
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
                Step::Late => {
                    fold_late(&conn, stamp).expect("folded");
                }
                Step::Fold { until } => folded.advance(&conn, *until, stamp).expect("folded"),
            }
        }
        conn
    }

    proptest! {
        /// However stretches were folded and whatever came late: sums over any range as of any instant are those of the
        /// single calls that had arrived.
        #[test]
        fn folds_change_no_answer(history in steps(), at in 0..90i64, from in 0..1_500i64, length in 0..1_500i64) {
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
            for step in [1, 10, 15, 60, 600] {
                let steps = rollups::steps(&conn, range, step, at).expect("steps");
                let calls: u64 = steps.values().flatten().map(|d| d.calls).sum();
                if from % step == 0 {
                    prop_assert_eq!(calls, expected.values().map(|d| d.calls).sum::<u64>());
                }
            }
        }
    }
}
