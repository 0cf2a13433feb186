//! What is older than everything else in the store goes, a little at a time. Revisions and their rollouts, overrides and
//! the audit stay: they are small, and they are the history.

use std::time::Duration;

use fuseboard_api::UnixNanos;
use rusqlite::{Transaction, params};

use super::fleet::whole_window;

/// Rows removed a table and a step: small, so that telemetry waits a few milliseconds at most.
const STEP: i64 = 2_000;
/// What was true a while before the oldest instant that can be asked for is still needed to answer it.
const MARGIN: Duration = Duration::from_secs(20 * 60);
/// Acknowledgements of so many newest revisions stay, however old.
const REVISIONS: i64 = 200;

/// Removes up to [`STEP`] rows a table of what no question can reach any more; gives how many. The store's own retention,
/// by age and by size, says how far back questions reach: to its oldest commit. What an incident pins stays.
///
/// # Errors
/// Only the database's own.
pub(crate) fn forget(tx: &Transaction<'_>) -> rusqlite::Result<usize> {
    let oldest: Option<i64> = tx.query_row("SELECT min(stamp) FROM commits", [], |row| row.get(0))?;
    let Some(oldest) = oldest else { return Ok(0) };
    let limit = (UnixNanos(oldest) - MARGIN).0;
    let margin = i64::try_from(MARGIN.as_nanos()).unwrap_or(0);
    let unpinned = |time: &str| {
        format!("NOT EXISTS (SELECT 1 FROM pins WHERE {time} >= pins.oldest - {margin} AND {time} < pins.newest)")
    };
    keep_windows(tx, limit)?;
    let free = unpinned("arrival");
    let of_sessions = format!(
        "session IN (SELECT e.session FROM session_ends e WHERE e.arrival < ?1 AND {} LIMIT ?2)",
        unpinned("e.arrival")
    );
    let steps = [
        format!(
            "DELETE FROM breaker_reports WHERE id IN (SELECT id FROM breaker_reports r WHERE arrival < ?1 AND {free}
             AND id < (SELECT max(id) FROM breaker_reports n WHERE n.breaker = r.breaker AND n.arrival < ?1) LIMIT ?2)"
        ),
        format!(
            "DELETE FROM breaker_transitions WHERE id IN
             (SELECT id FROM breaker_transitions WHERE arrival < ?1 AND {free} LIMIT ?2)"
        ),
        format!(
            "DELETE FROM statuses WHERE rowid IN (SELECT rowid FROM statuses WHERE arrival < ?1 AND {free} LIMIT ?2)"
        ),
        format!("DELETE FROM statuses WHERE {of_sessions}"),
        format!(
            "DELETE FROM rollout_looks WHERE (revision, arrival) IN
             (SELECT revision, arrival FROM rollout_looks l WHERE arrival < ?1 AND {free} AND arrival <
              (SELECT max(arrival) FROM rollout_looks n WHERE n.revision = l.revision) LIMIT ?2)"
        ),
        format!(
            "DELETE FROM acknowledgements WHERE (kind, change, service, instance, arrival) IN
             (SELECT kind, change, service, instance, arrival FROM acknowledgements WHERE arrival < ?1 AND {free} AND
              (kind = 'override' OR change < (SELECT max(number) FROM revisions) - {REVISIONS}) LIMIT ?2)"
        ),
    ];
    let mut removed = 0;
    for sql in &steps {
        removed += tx.execute(sql, params![limit, STEP])?;
    }
    // Streams last: nothing points at them any more.
    let over: Vec<i64> = tx
        .prepare(&format!("SELECT session FROM sessions WHERE {of_sessions}"))?
        .query_map(params![limit, STEP], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for session in over {
        tx.execute("DELETE FROM session_ends WHERE session = ?1", [session])?;
        removed += tx.execute("DELETE FROM sessions WHERE session = ?1", [session])?;
    }
    Ok(removed)
}

/// The newest report of each breaker before `limit` stays and gets its whole window, since the reports that hold the rest
/// of it go.
fn keep_windows(tx: &Transaction<'_>, limit: i64) -> rusqlite::Result<()> {
    let mut select = tx.prepare_cached(
        "SELECT max(id), breaker FROM breaker_reports WHERE arrival < ?1 GROUP BY breaker HAVING count(*) > 1",
    )?;
    let last: Vec<(i64, i64)> =
        select.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    last.into_iter().try_for_each(|(id, breaker)| whole_window(tx, "main", id, breaker))
}

#[cfg(test)]
mod tests {
    use fuseboard_policy::wire::v1::{BreakerStatus, WindowCall};
    use prost::Message;
    use rusqlite::Connection;

    use super::*;
    use crate::control::fleet::last_calls;
    use crate::control::{SCHEMA, schema};

    /// An hour, in nanoseconds.
    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn what_is_old_goes_and_the_last_window_before_stays_whole() {
        let mut conn = Connection::open_in_memory().unwrap();
        SCHEMA.iter().for_each(|piece| conn.execute_batch(piece).unwrap());
        conn.execute_batch(
            "CREATE TABLE commits (stamp INTEGER); CREATE TABLE pins (id INTEGER, oldest INTEGER, newest INTEGER);",
        )
        .unwrap();
        assert!(schema::SCHEMA.contains("breaker_reports"));
        conn.execute("INSERT INTO commits VALUES (?1)", [10 * HOUR]).unwrap();
        conn.execute_batch("INSERT INTO breakers VALUES (1, 'a', 'a-1', 'b', 'c')").unwrap();
        // One new call a report, one report an hour.
        for hour in 1..=12 {
            let call = WindowCall { at_unix_nanos: hour, ..WindowCall::default() };
            let calls = BreakerStatus { window: vec![call], ..BreakerStatus::default() }.encode_to_vec();
            conn.execute(
                "INSERT INTO breaker_reports VALUES (?1, 1, ?2, x'', 3, 1, ?3)",
                params![hour, hour * HOUR, calls],
            )
            .unwrap();
            conn.execute("INSERT INTO sessions VALUES (?1, ?2, 'a', 'a-1', '', '')", params![hour, hour * HOUR])
                .unwrap();
            conn.execute("INSERT INTO session_ends VALUES (?1, ?2, 'lost', '')", params![hour, hour * HOUR + 1])
                .unwrap();
            conn.execute(
                "INSERT INTO statuses VALUES (?1, ?2, 0, 0, NULL, NULL, x'', 0, 0, 0, 0)",
                params![hour, hour * HOUR],
            )
            .unwrap();
        }
        let windows = |conn: &Connection, id| -> Vec<i64> {
            last_calls(conn, 1, id, 3).unwrap().iter().map(|c| c.at_unix_nanos).collect()
        };
        let before: Vec<_> = (9..=12).map(|id| windows(&conn, id)).collect();
        let tx = conn.transaction().unwrap();
        assert!(forget(&tx).unwrap() > 0);
        assert_eq!(forget(&tx).unwrap(), 0, "nothing is left to do");
        tx.commit().unwrap();
        let count = |table: &str| -> i64 {
            conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!(count("breaker_reports"), 4, "9 is the last before the limit");
        assert_eq!((count("sessions"), count("session_ends"), count("statuses")), (3, 3, 3));
        assert_eq!((9..=12).map(|id| windows(&conn, id)).collect::<Vec<_>>(), before);
    }
}
