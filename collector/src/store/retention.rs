//! Keeps the file within its limits: the oldest goes first, what an incident pins stays.

use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::cache::Cache;
use super::folds::WIDTHS;
use super::{logs, segments};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// What arrived longer ago goes; `None` keeps everything.
    pub max_age: Option<Duration>,
    /// The file's size above which the oldest goes, in bytes; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// How often limits are looked at.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age: Some(Duration::from_secs(72 * 3600)),
            max_bytes: Some(8 * 1024 * 1024 * 1024),
            every: Duration::from_secs(30),
        }
    }
}

/// Segments, and blocks of log records, removed a step.
const SEGMENTS: i64 = 8;

/// Rows removed a table and a step: small, so that telemetry waits a few milliseconds at most.
const STEP: i64 = 2_000;

/// Pages handed back to the file system a step.
const PAGES: i64 = 512;

/// One small step; `now` is what ages are judged by. True when more is left to do.
pub(super) fn sweep(conn: &Connection, cache: &Cache, limits: &Retention, now: i64) -> rusqlite::Result<bool> {
    let too_old =
        limits.max_age.map_or(i64::MIN, |age| now.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)));
    let over = limits.max_bytes.is_some_and(|max| used_bytes(conn).is_ok_and(|used| used > max));
    // By size: what arrived in the oldest twentieth of the stretch that is stored.
    let limit = if over { oldest_part(conn, now)?.max(too_old) } else { too_old };
    let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    let segments = remove_segments(&tx, limit)?;
    let removed = remove(&tx, limit)? + segments.len();
    if removed == 0 {
        tx.rollback()?;
        return Ok(false);
    }
    tx.commit()?;
    segments.into_iter().for_each(|id| cache.forget(id));
    conn.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    Ok(true)
}

/// Hands some of the free pages back to the file system where they are more than a quarter of the file: what merges leave
/// free is soon used again.
pub(super) fn give_back(conn: &Connection) -> rusqlite::Result<()> {
    let value = |name: &str| conn.pragma_query_value(None, name, |r| r.get::<_, i64>(0));
    let free = value("freelist_count")?;
    if free > PAGES && free > value("page_count")? / 4 {
        conn.execute_batch(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    }
    Ok(())
}

/// Bytes in use, free pages not counted.
fn used_bytes(conn: &Connection) -> rusqlite::Result<u64> {
    let value = |name: &str| conn.pragma_query_value(None, name, |r| r.get::<_, i64>(0));
    let pages = value("page_count")? - value("freelist_count")?;
    Ok(pages.saturating_mul(value("page_size")?).max(0) as u64)
}

fn oldest_part(conn: &Connection, stamp: i64) -> rusqlite::Result<i64> {
    let first: Option<i64> = conn.query_row("SELECT min(stamp) FROM commits", [], |r| r.get(0))?;
    let first = first.unwrap_or(stamp);
    Ok(first.saturating_add((stamp.saturating_sub(first) / 20).max(1)))
}

/// Removes up to [`STEP`] rows a table that arrived before `limit` and that nothing pins.
fn remove(tx: &Connection, limit: i64) -> rusqlite::Result<usize> {
    let unpinned = |time: &str, scale: i64| {
        format!(
            "NOT EXISTS (SELECT 1 FROM pins WHERE {time} * {scale} >= pins.oldest AND {time} * {scale} < pins.newest)"
        )
    };
    let mut removed = 0;
    let (blocks, logs) = logs::tables::sweep(tx, limit, SEGMENTS)?;
    lower_totals(tx, "all_logs", logs as i64)?;
    removed += blocks;
    let points = tx.execute(
        &format!(
            "DELETE FROM points WHERE (metric, time) IN
             (SELECT metric, time FROM points WHERE time < ?1 AND arrival < ?1 AND {} LIMIT ?2)",
            unpinned("time", 1)
        ),
        params![limit, STEP],
    )?;
    lower_totals(tx, "all_points", points as i64)?;
    removed += points;
    let scale = 1_000_000_000;
    let gone = limit.div_euclid(scale);
    removed += tx.execute(
        &format!(
            "DELETE FROM rollup WHERE (second, series, arrival) IN
             (SELECT second, series, arrival FROM rollup WHERE second < ?1 AND {} LIMIT ?2)",
            unpinned("second", scale)
        ),
        params![gone, STEP],
    )?;
    for (table, key) in [("folds", "width, second, series"), ("late_folds", "width, second, series, arrival")] {
        let sql = format!(
            "DELETE FROM {table} WHERE ({key}) IN
             (SELECT {key} FROM {table} WHERE width = ?3 AND second < ?1 AND {} LIMIT ?2)",
            unpinned("second", scale)
        );
        for width in WIDTHS {
            // A stretch goes when its last second does.
            removed += tx.execute(&sql, params![gone - width + 1, STEP, width])?;
        }
    }
    removed += tx.execute(
        &format!(
            "DELETE FROM calls_under_way WHERE (last, first, series, arrival) IN
             (SELECT last, first, series, arrival FROM calls_under_way WHERE last < ?1 AND {} LIMIT ?2)",
            unpinned("last", scale)
        ),
        params![limit.div_euclid(scale), STEP],
    )?;
    for (table, column) in [("commits", "stamp"), ("seen", "arrival")] {
        // The last commit carries the totals: it stays.
        let keep = if table == "commits" { "AND stamp < (SELECT max(stamp) FROM commits)" } else { "" };
        removed += tx.execute(&format!("DELETE FROM {table} WHERE {column} < ?1 {keep}"), params![limit])?;
    }
    Ok(removed)
}

/// Removes whole segments, oldest first, of which everything arrived before `limit` and nothing is pinned.
fn remove_segments(tx: &Connection, limit: i64) -> rusqlite::Result<Vec<i64>> {
    let mut read = tx.prepare_cached(
        "SELECT id, rows, new_traces FROM segments WHERE max_arrival < ?1 AND NOT EXISTS
             (SELECT 1 FROM pins WHERE max_end >= pins.oldest AND min_start < pins.newest)
         ORDER BY max_arrival LIMIT ?2",
    )?;
    let old = read.query_map([limit, SEGMENTS], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))?;
    let old: Vec<(i64, i64, i64)> = old.collect::<rusqlite::Result<_>>()?;
    for (id, spans, traces) in &old {
        segments::remove(tx, *id)?;
        lower_totals(tx, "all_spans", *spans)?;
        lower_totals(tx, "all_traces", *traces)?;
    }
    Ok(old.into_iter().map(|(id, ..)| id).collect())
}

fn lower_totals(tx: &Connection, column: &str, by: i64) -> rusqlite::Result<()> {
    if by > 0 {
        let sql = format!(
            "UPDATE commits SET {column} = max(0, {column} - ?1) WHERE stamp = (SELECT max(stamp) FROM commits)"
        );
        tx.execute(&sql, [by])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::folds::Folded;
    use crate::store::insert::{State, Tally};
    use crate::store::snapshot::Snapshot;
    use crate::store::{schema, testing, writer};

    const HOUR: i64 = 3_600_000_000_000;

    /// A database with one root span an hour, from hour 1 to 10.
    fn ten_hours() -> Connection {
        let conn = Connection::open_in_memory().expect("a database");
        schema::migrate(&conn, 0).expect("tables");
        let cache = Cache::new(0);
        let read = Snapshot::new(&conn, &cache);
        let mut state = State::load(&read).expect("empty");
        for hour in 1..=10 {
            let batch = testing::batch("shop", vec![testing::span(hour as u8, 1, 2, hour * HOUR - 1_000)]);
            let mut tally = Tally::at(hour * HOUR + 1);
            state.append(&read, batch, &mut tally).expect("stored");
            let nothing = Folded::NOTHING;
            state.finish(&conn, &mut tally, nothing).expect("counted");
            writer::write_commit(&conn, &tally).expect("written");
        }
        conn
    }

    fn hours(conn: &Connection, table: &str, time: &str) -> Vec<i64> {
        let mut read = conn.prepare(&format!("SELECT DISTINCT {time} FROM {table} ORDER BY 1")).expect("a query");
        read.query_map([], |r| r.get(0)).expect("rows").map(|h| h.expect("a row")).collect()
    }

    #[test]
    fn the_oldest_goes_and_what_is_pinned_stays() {
        let conn = ten_hours();
        conn.execute("INSERT INTO pins (oldest, newest) VALUES (?1, ?2)", [2 * HOUR - HOUR / 2, 2 * HOUR + HOUR / 2])
            .expect("pinned");
        let limits = Retention { max_age: Some(Duration::from_secs(5 * 3600)), max_bytes: None, every: Duration::ZERO };
        while sweep(&conn, &Cache::new(0), &limits, 10 * HOUR + 1).expect("swept") {}
        assert_eq!(hours(&conn, "segments", "max_end / 3600000000000"), [2, 5, 6, 7, 8, 9, 10]);
        assert_eq!(hours(&conn, "rollup", "second / 3600"), [2, 5, 6, 7, 8, 9, 10]);
        let sql = "SELECT all_spans, all_traces FROM commits ORDER BY stamp DESC LIMIT 1";
        let totals: (i64, i64) = conn.query_row(sql, [], |r| Ok((r.get(0)?, r.get(1)?))).expect("totals");
        assert_eq!(totals, (7, 7));
    }

    #[test]
    fn a_file_above_its_size_loses_its_oldest_part() {
        let conn = ten_hours();
        let limits = Retention { max_age: None, max_bytes: Some(1), every: Duration::ZERO };
        sweep(&conn, &Cache::new(0), &limits, 10 * HOUR + 2).expect("swept");
        assert_eq!(
            hours(&conn, "segments", "max_end / 3600000000000").first(),
            Some(&2),
            "the first twentieth of the stretch"
        );
        let limits = Retention { max_bytes: Some(u64::MAX), ..limits };
        assert!(!sweep(&conn, &Cache::new(0), &limits, 10 * HOUR + 2).expect("swept"), "small enough");
    }
}
