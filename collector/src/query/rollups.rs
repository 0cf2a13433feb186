//! Sums of calls over ranges, from the rollups made on arrival: the widest stretches that are folded, single seconds elsewhere,
//! and what came late on top. Ranges are cut to whole seconds.

use std::collections::HashMap;

use fuseboard_api::graph::{EdgeKey, NodeKind};
use fuseboard_api::histogram::LatencyHistogram;
use fuseboard_api::stats::Stats;
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::{Connection, params};

use crate::store::LONGEST;
use crate::store::folds::{self, Folded, SUMS, WIDTHS};
use crate::store::kind_of;
use crate::store::rollup::{Delta, Heap, add_row};

const SECOND: i64 = 1_000_000_000;
/// Lets stretches of every width be read.
const WIDEST: i64 = WIDTHS[WIDTHS.len() - 1];

/// What a series counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// True: what an instance answered; false: what callers saw on an edge.
    pub(crate) inbound: bool,
    /// Caller, callee, operation; the caller is empty for inbound series.
    pub(crate) key: EdgeKey,
    /// The callee's instance, for inbound series.
    pub(crate) instance: String,
    /// Its version.
    pub(crate) version: String,
    /// What the caller is, as its first call said.
    pub(crate) caller_kind: NodeKind,
    /// What the callee is.
    pub(crate) callee_kind: NodeKind,
    /// `postgresql`, …
    pub(crate) system: String,
    /// Through a queue.
    pub(crate) asynchronous: bool,
}

/// All series known at `as_of`, by number.
pub(crate) fn series(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<HashMap<i64, Series>> {
    let mut read = conn.prepare_cached(
        "SELECT id, inbound, caller, callee, operation, instance, version, caller_kind, callee_kind, system, asynchronous
         FROM series WHERE arrival <= ?1",
    )?;
    let rows = read.query_map([as_of.0], |r| {
        Ok((
            r.get(0)?,
            Series {
                inbound: r.get(1)?,
                key: EdgeKey { caller: r.get(2)?, callee: r.get(3)?, operation: r.get(4)? },
                instance: r.get(5)?,
                version: r.get(6)?,
                caller_kind: kind_of(r.get(7)?),
                callee_kind: kind_of(r.get(8)?),
                system: r.get(9)?,
                asynchronous: r.get(10)?,
            },
        ))
    })?;
    rows.collect()
}

/// A stretch of whole seconds, read at one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    width: i64,
    from: i64,
    to: i64,
}

/// Cuts a range into pieces of the widest [`WIDTHS`] that are folded and fit, and single seconds. With `step`, no piece is wider
/// than what divides it.
fn pieces(from: i64, to: i64, folded: Folded, step: i64) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    let mut at = from;
    while at < to {
        let fits = |(width, until): &(i64, i64)| {
            step % width == 0 && at % width == 0 && at + width <= to && at + width <= *until
        };
        let widest = WIDTHS.into_iter().zip(folded.0).rev().find(fits);
        // The single seconds that follow go on to where something wider may fit.
        let (width, end) = match widest {
            Some((width, _)) => (width, at + width),
            None => (1, ((at.div_euclid(WIDTHS[0]) + 1) * WIDTHS[0]).min(to)),
        };
        match out.last_mut() {
            Some(last) if last.width == width => last.to = end,
            _ => out.push(Piece { width, from: at, to: end }),
        }
        at = end;
    }
    out
}

/// Whole seconds of a range: those that begin in it.
pub(crate) fn seconds(range: TimeRange) -> (i64, i64) {
    let up = |t: UnixNanos| t.0.div_euclid(SECOND) + i64::from(t.0.rem_euclid(SECOND) > 0);
    (range.from.0.div_euclid(SECOND), up(range.to))
}

/// Calls `visit` with (series, first second, row) for everything in the range; `step` bounds the width of a row.
fn scan(
    conn: &Connection,
    (from, to): (i64, i64),
    step: i64,
    as_of: UnixNanos,
    columns: &str,
    mut visit: impl FnMut(i64, i64, &rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    for piece in pieces(from, to, Folded::load(conn, as_of.0)?, step) {
        folds::read(conn, piece.width, (piece.from, piece.to), as_of.0, columns, &mut visit)?;
    }
    Ok(())
}

/// Sums by series over a range.
pub(crate) fn sums(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<HashMap<i64, Delta>> {
    let mut out: HashMap<i64, Heap> = HashMap::new();
    scan(conn, seconds(range), WIDEST, as_of, SUMS, |series, _, row| out.entry(series).or_default().add_row(row, 2))?;
    Ok(out.into_iter().map(|(series, sum)| (series, sum.into())).collect())
}

/// A range cut into steps of `step` seconds (multiples of 600, 60 or 5 s read fastest); the first begins at the range's start,
/// cut down to a multiple of the step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    from: i64,
    to: i64,
    step: i64,
}

impl Steps {
    /// Cuts a range.
    pub(crate) fn new(range: TimeRange, step: i64) -> Self {
        let ((from, to), step) = (seconds(range), step.max(1));
        Self { from: from.div_euclid(step) * step, to, step }
    }

    /// How many there are.
    pub(crate) fn count(self) -> usize {
        let length = (self.to - self.from).max(0);
        usize::try_from(length.div_euclid(self.step) + i64::from(length.rem_euclid(self.step) > 0)).unwrap_or(0)
    }

    /// Calls `visit` with (series, position of the step, row) for everything; the row's columns begin at 2.
    pub(crate) fn each(
        self,
        conn: &Connection,
        as_of: UnixNanos,
        columns: &str,
        mut visit: impl FnMut(i64, usize, &rusqlite::Row<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        scan(conn, (self.from, self.to), self.step, as_of, columns, |series, second, row| {
            match usize::try_from((second - self.from).div_euclid(self.step)) {
                Ok(position) => visit(series, position, row),
                Err(_) => Ok(()),
            }
        })
    }
}

/// Sums by series and step; see [`Steps`].
pub(crate) fn steps(
    conn: &Connection,
    range: TimeRange,
    step: i64,
    as_of: UnixNanos,
) -> rusqlite::Result<HashMap<i64, Vec<Delta>>> {
    let steps = Steps::new(range, step);
    let mut out: HashMap<i64, Vec<Delta>> = HashMap::new();
    steps.each(conn, as_of, SUMS, |series, position, row| {
        let sums = out.entry(series).or_insert_with(|| vec![Delta::default(); steps.count()]);
        sums.get_mut(position).map_or(Ok(()), |sum| add_row(sum, row, 2))
    })?;
    Ok(out)
}

/// (calls, errors) by series and second, without histograms; see [`Steps`].
pub(crate) fn counts(
    conn: &Connection,
    (from, to): (i64, i64),
    step: i64,
    as_of: UnixNanos,
    mut visit: impl FnMut(i64, i64, u64, u64),
) -> rusqlite::Result<()> {
    scan(conn, (from, to), step.max(1), as_of, "calls, errors", |series, second, row| {
        visit(series, second, row.get::<_, i64>(2)?.max(0) as u64, row.get::<_, i64>(3)?.max(0) as u64);
        Ok(())
    })
}

/// Counters of a stretch, without histograms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Calls that ended.
    pub(crate) calls: u64,
    /// Those that failed, refused ones among them.
    pub(crate) errors: u64,
    /// Those that a local rule refused.
    pub(crate) refused: u64,
    /// Attempts that ended.
    pub(crate) attempts: u64,
    /// Those that the attempt timeout cut.
    pub(crate) cut: u64,
}

impl Numbers {
    /// Adds another stretch.
    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.refused += other.refused;
        self.attempts += other.attempts;
        self.cut += other.cut;
    }
}

/// Counters by series and step; see [`steps`], which reads the histograms too.
pub(crate) fn numbers(
    conn: &Connection,
    range: TimeRange,
    step: i64,
    as_of: UnixNanos,
) -> rusqlite::Result<HashMap<i64, Vec<Numbers>>> {
    let step = step.max(1);
    let (from, to) = seconds(range);
    let from = from.div_euclid(step) * step;
    let count = usize::try_from((to - from).max(0) / step + i64::from((to - from) % step > 0)).unwrap_or(0);
    let mut out: HashMap<i64, Vec<Numbers>> = HashMap::new();
    scan(conn, (from, to), step, as_of, "calls, errors, refused, attempts, cut", |series, second, row| {
        let steps = out.entry(series).or_insert_with(|| vec![Numbers::default(); count]);
        if let Some(sum) = usize::try_from((second - from).div_euclid(step)).ok().and_then(|i| steps.get_mut(i)) {
            let number = |at: usize| -> rusqlite::Result<u64> { Ok(row.get::<_, i64>(at)?.max(0) as u64) };
            let (calls, errors, refused) = (number(2)?, number(3)?, number(4)?);
            sum.add(Numbers { calls, errors, refused, attempts: number(5)?, cut: number(6)? });
        }
        Ok(())
    })?;
    Ok(out)
}

/// Calls that were under way when the last whole second before `at` ended, by series.
pub(crate) fn under_way(conn: &Connection, at: UnixNanos, as_of: UnixNanos) -> rusqlite::Result<HashMap<i64, u64>> {
    let second = at.0.div_euclid(SECOND) - 1;
    let mut read = conn.prepare_cached(
        "SELECT series, sum(calls) FROM calls_under_way WHERE last > ?1 AND last <= ?1 + ?2 AND first <= ?1 AND arrival <= ?3
         GROUP BY series",
    )?;
    let rows =
        read.query_map(params![second, LONGEST, as_of.0], |r| Ok((r.get(0)?, r.get::<_, i64>(1)?.max(0) as u64)))?;
    rows.collect()
}

/// A sum as the console's words have it.
pub(crate) fn stats(sum: Delta, range: TimeRange) -> Stats {
    Stats {
        seconds: range.length().as_secs_f64(),
        calls: sum.calls,
        errors: sum.errors,
        refused: sum.refused,
        attempts: sum.attempts,
        in_flight: 0,
        latency: sum.latency,
    }
}

/// What callers saw on one edge.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeSum {
    /// The edge.
    pub key: EdgeKey,
    /// Its calls.
    pub stats: Stats,
    /// How long single attempts took.
    pub attempts: LatencyHistogram,
    /// Attempts cut by a timeout.
    pub cut: u64,
    /// Median of what the caller's own deadline left when calls began, in milliseconds.
    pub deadline_left_ms: Option<f64>,
}

/// Every edge with a call in the range, by key.
///
/// # Errors
/// What the database says.
pub fn edges(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<EdgeSum>> {
    let known = series(conn, as_of)?;
    let under_way = under_way(conn, range.to, as_of)?;
    let mut out: Vec<EdgeSum> = sums(conn, range, as_of)?
        .into_iter()
        .filter_map(|(id, sum)| {
            let series = known.get(&id).filter(|s| !s.inbound)?;
            Some(EdgeSum {
                key: series.key.clone(),
                attempts: sum.attempt_latency.clone(),
                cut: sum.cut,
                deadline_left_ms: sum.deadline.quantile(0.5).map(|d| d.as_secs_f64() * 1e3),
                stats: Stats { in_flight: under_way.get(&id).copied().unwrap_or(0), ..stats(sum, range) },
            })
        })
        .collect();
    out.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(out)
}

/// Every edge with a call in the range, in steps of `step` seconds: for curves and forecasts. The first step begins at
/// the range's start, cut down to a multiple of the step.
///
/// # Errors
/// What the database says.
pub fn edge_steps(
    conn: &Connection,
    range: TimeRange,
    step: u32,
    as_of: UnixNanos,
) -> rusqlite::Result<Vec<(EdgeKey, Vec<Stats>)>> {
    let known = series(conn, as_of)?;
    let one = TimeRange { from: UnixNanos(0), to: UnixNanos(i64::from(step.max(1)) * SECOND) };
    let mut out: Vec<_> = steps(conn, range, i64::from(step), as_of)?
        .into_iter()
        .filter_map(|(id, sums)| {
            let series = known.get(&id).filter(|s| !s.inbound)?;
            Some((series.key.clone(), sums.into_iter().map(|d| stats(d, one)).collect()))
        })
        .collect();
    out.sort_by(|(a, _): &(EdgeKey, Vec<Stats>), (b, _)| a.cmp(b));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_at_the_widest_widths_that_are_folded() {
        let folded = Folded([1_380, 1_320, 1_200]);
        let piece = |width, from, to| Piece { width, from, to };
        let all =
            [piece(1, 3, 5), piece(5, 5, 60), piece(60, 60, 600), piece(600, 600, 1_200), piece(60, 1_200, 1_320)];
        assert_eq!(
            pieces(3, 1_395, folded, 600),
            [&all[..], &[piece(5, 1_320, 1_380), piece(1, 1_380, 1_395)]].concat()
        );
        assert_eq!(pieces(0, 120, folded, 10), [piece(5, 0, 120)]);
        assert_eq!(pieces(0, 1_200, folded, 60), [piece(60, 0, 1_200)]);
        assert_eq!(pieces(0, 12, folded, 1), [piece(1, 0, 12)]);
        assert_eq!(pieces(7, 7, folded, 60), []);
    }

    #[test]
    fn parts_of_seconds_at_the_ends_belong_to_the_range() {
        let range = TimeRange { from: UnixNanos(1_500_000_000), to: UnixNanos(3_000_000_001) };
        assert_eq!(seconds(range), (1, 4));
    }
}
