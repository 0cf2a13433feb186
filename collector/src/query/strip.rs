//! The time strip: how many calls ended and failed, column by column.

use fuseboard_api::strip::{Density, Strip};
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::Connection;

use super::{rollups, totals};
use crate::control::picture;
use crate::incident;

/// Widths of a column in seconds.
const STEPS: [i64; 12] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];

/// Columns at most, whoever asks.
const COLUMNS: i64 = 10_000;

pub(super) fn strip(conn: &Connection, range: TimeRange, columns: u32, as_of: UnixNanos) -> rusqlite::Result<Strip> {
    let (from, to) = rollups::seconds(range);
    let columns = i64::from(columns).clamp(1, COLUMNS);
    let length = (to - from).max(0);
    let widest = STEPS[STEPS.len() - 1];
    let step = STEPS
        .into_iter()
        .find(|s| length.div_euclid(*s) < columns)
        .unwrap_or_else(|| (length / columns / widest + 1) * widest);
    let from = from.div_euclid(step) * step;
    let count = (to - from).max(0).div_euclid(step) + i64::from((to - from).max(0).rem_euclid(step) > 0);
    let mut density = vec![Density::default(); usize::try_from(count).unwrap_or(0)];
    let known = rollups::series(conn, as_of)?;
    rollups::counts(conn, (from, to), step, as_of, |series, second, calls, errors| {
        let edge = known.get(&series).is_some_and(|s| !s.inbound);
        let column = usize::try_from((second - from).div_euclid(step)).ok();
        if edge && let Some(d) = column.and_then(|i| density.get_mut(i)) {
            d.calls += calls;
            d.errors += errors;
        }
    })?;
    let begin = UnixNanos(from.saturating_mul(1_000_000_000));
    Ok(Strip {
        range: TimeRange { from: begin, to: range.to },
        step_ms: u64::try_from(step).unwrap_or(1) * 1000,
        density,
        marks: picture::marks(conn, TimeRange { from: begin, to: range.to }, as_of)?,
        stored: totals::stored(conn, as_of)?,
        incidents: incident::touching(conn, range, as_of)?,
    })
}
