//! Sums of calls over ranges, from the rollups made on arrival: whole minutes and stretches of 5 s where they are
//! folded, single seconds elsewhere, and what came late on top. Ranges are cut to whole seconds.

use std::collections::HashMap;

use fuseboard_api::graph::{EdgeKey, NodeKind};
use fuseboard_api::histogram::LatencyHistogram;
use fuseboard_api::stats::Stats;
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::{Connection, params};

use crate::store::LONGEST;
use crate::store::kind_of;
use crate::store::rollup::{self, Delta, Folded, add_row};

const SECOND: i64 = 1_000_000_000;

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

/// Cuts a range into pieces of 60, 5 and 1 s, the widest that are folded and fit. With `step`, no piece is wider than what
/// divides it.
fn pieces(from: i64, to: i64, folded: Folded, step: i64) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    let mut at = from;
    while at < to {
        let fits =
            |width: i64, until: i64| step % width == 0 && at % width == 0 && at + width <= to && at + width <= until;
        let width = if fits(60, folded.minutes) {
            60
        } else if fits(5, folded.fives) {
            5
        } else {
            1
        };
        // The single seconds that follow go on to where something wider may fit.
        let end = if width > 1 { at + width } else { ((at.div_euclid(5) + 1) * 5).min(to) };
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
    let folded = Folded::load(conn, as_of.0)?;
    for piece in pieces(from, to, folded, step) {
        let late = match piece.width {
            60 => "AND late >= 2",
            5 => "AND late IN (1, 3)",
            _ => "",
        };
        // Of what came late only that which is not summed yet.
        let summed = if piece.width > 1 { rollup::late_until(conn, piece.width, as_of.0)? } else { None };
        let fresh = format!(
            "SELECT series, second, {columns} FROM rollup {}
             WHERE second >= ?1 AND second < ?2 AND arrival <= ?3 AND arrival > ?4 {late} {}",
            if summed.is_some() { "INDEXED BY rollup_late_by_arrival" } else { "" },
            if late.is_empty() { "" } else { "AND late > 0" }
        );
        let mut read = conn.prepare_cached(&fresh)?;
        let mut rows = read.query(params![piece.from, piece.to, as_of.0, summed.unwrap_or(i64::MIN)])?;
        while let Some(row) = rows.next()? {
            visit(row.get(0)?, row.get(1)?, row)?;
        }
        if piece.width > 1 {
            let folds = format!(
                "SELECT series, second, {columns} FROM folds WHERE width = ?1 AND second >= ?2 AND second < ?3
                 UNION ALL
                 SELECT series, second, {columns} FROM late_folds
                 WHERE width = ?1 AND second >= ?2 AND second < ?3 AND arrival <= ?4"
            );
            let mut read = conn.prepare_cached(&folds)?;
            let mut rows = read.query(params![piece.width, piece.from, piece.to, as_of.0])?;
            while let Some(row) = rows.next()? {
                visit(row.get(0)?, row.get(1)?, row)?;
            }
        }
    }
    Ok(())
}

const WHOLE: &str = "calls, errors, refused, attempts, cut, latency, attempt_latency, deadline";

/// Sums by series over a range.
pub(crate) fn sums(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<HashMap<i64, Delta>> {
    let mut out: HashMap<i64, Delta> = HashMap::new();
    scan(conn, seconds(range), 60, as_of, WHOLE, |series, _, row| add_row(out.entry(series).or_default(), row, 2))?;
    Ok(out)
}

/// Sums by series and step of `step` seconds (a divisor or multiple of 60 s reads fastest); position 0 begins at the
/// range's start, cut down to a multiple of the step.
pub(crate) fn steps(
    conn: &Connection,
    range: TimeRange,
    step: i64,
    as_of: UnixNanos,
) -> rusqlite::Result<HashMap<i64, Vec<Delta>>> {
    let step = step.max(1);
    let (from, to) = seconds(range);
    let from = from.div_euclid(step) * step;
    let count =
        usize::try_from((to - from).max(0).div_euclid(step) + i64::from((to - from).rem_euclid(step) > 0)).unwrap_or(0);
    let mut out: HashMap<i64, Vec<Delta>> = HashMap::new();
    scan(conn, (from, to), step, as_of, WHOLE, |series, second, row| {
        let steps = out.entry(series).or_insert_with(|| vec![Delta::default(); count]);
        match usize::try_from((second - from).div_euclid(step)).ok().and_then(|i| steps.get_mut(i)) {
            Some(sum) => add_row(sum, row, 2),
            None => Ok(()),
        }
    })?;
    Ok(out)
}

/// (calls, errors) by series and step, without histograms; see [`steps`].
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
        let folded = Folded { fives: 180, minutes: 120 };
        let piece = |width, from, to| Piece { width, from, to };
        assert_eq!(
            pieces(3, 195, folded, 60),
            [piece(1, 3, 5), piece(5, 5, 60), piece(60, 60, 120), piece(5, 120, 180), piece(1, 180, 195)]
        );
        assert_eq!(pieces(0, 120, folded, 10), [piece(5, 0, 120)]);
        assert_eq!(pieces(0, 12, folded, 1), [piece(1, 0, 12)]);
        assert_eq!(pieces(7, 7, folded, 60), []);
    }

    #[test]
    fn parts_of_seconds_at_the_ends_belong_to_the_range() {
        let range = TimeRange { from: UnixNanos(1_500_000_000), to: UnixNanos(3_000_000_001) };
        assert_eq!(seconds(range), (1, 4));
    }
}
