//! Forecasts that no question can reach any more go, a few each round.

use rusqlite::{Transaction, params};

/// Rows removed a round; twice what the busiest round appends.
const STEP: i64 = 1_200;
/// A picture looks back from its instant for so long, in nanoseconds.
const MARGIN: i64 = 20 * 60 * 1_000_000_000;

/// Removes what is older than everything that the store's retention kept and that no incident pins.
pub(super) fn forget(tx: &Transaction<'_>) -> rusqlite::Result<usize> {
    let oldest: Option<i64> = tx.query_row("SELECT min(stamp) FROM commits", [], |row| row.get(0))?;
    let Some(oldest) = oldest else { return Ok(0) };
    let free = format!(
        "arrival < ?1 AND NOT EXISTS (SELECT 1 FROM pins WHERE arrival >= pins.oldest - {MARGIN} AND arrival < pins.newest)"
    );
    let limit = oldest.saturating_sub(MARGIN);
    let removed = tx
        .prepare_cached(&format!(
            "DELETE FROM forecasts WHERE (series, step) IN (SELECT series, step FROM forecasts WHERE {free} LIMIT ?2)"
        ))?
        .execute(params![limit, STEP])?;
    // An anomaly goes when its end does.
    let over = format!("SELECT id FROM anomaly_ends WHERE {free} LIMIT ?2");
    let ids: Vec<i64> = tx
        .prepare_cached(&over)?
        .query_map(params![limit, STEP], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &ids {
        tx.prepare_cached("DELETE FROM anomaly_ends WHERE id = ?1")?.execute([id])?;
        tx.prepare_cached("DELETE FROM anomalies WHERE id = ?1")?.execute([id])?;
    }
    Ok(removed + ids.len())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::analyze::SCHEMA;

    #[test]
    fn only_what_is_old_and_unpinned_goes() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(SCHEMA).unwrap();
        conn.execute_batch(
            "CREATE TABLE commits (stamp INTEGER); CREATE TABLE pins (id INTEGER, oldest INTEGER, newest INTEGER);
             INSERT INTO forecast_series VALUES (1, 'a', 'b', 'c', 0, 0);",
        )
        .unwrap();
        let hour = 3_600_000_000_000_i64;
        conn.execute("INSERT INTO commits VALUES (?1)", [10 * hour]).unwrap();
        conn.execute("INSERT INTO pins VALUES (1, ?1, ?2)", params![3 * hour, 3 * hour + 1]).unwrap();
        for at in 1..=12 {
            conn.execute(
                "INSERT INTO forecasts VALUES (1, ?1, ?2, 0, 0, 0, 0, 0, x'', NULL, 0, 0, 0, '', '', 0)",
                params![at, at * hour],
            )
            .unwrap();
            conn.execute("INSERT INTO anomalies VALUES (?1, 1, 0, '', 0, ?2)", params![at, at * hour]).unwrap();
            conn.execute("INSERT INTO anomaly_ends VALUES (?1, 0, ?2)", params![at, at * hour]).unwrap();
        }
        let tx = conn.transaction().unwrap();
        assert_eq!(forget(&tx).unwrap(), 16);
        let left: Vec<i64> =
            tx.prepare("SELECT step FROM forecasts").unwrap().query_map([], |r| r.get(0)).unwrap().flatten().collect();
        assert_eq!(left, [3, 10, 11, 12]);
    }
}
