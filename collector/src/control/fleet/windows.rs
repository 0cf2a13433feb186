//! Breaker windows without repetition: an agent sends up to 64 calls a second again and again, each report stores only
//! those that are new, and a window as of an instant is put together from the newest reports up to then.

use std::collections::HashMap;

use fuseboard_api::UnixNanos;
use fuseboard_policy::wire::v1::{BreakerStatus, WindowCall};
use prost::Message;
use rusqlite::{Connection, Transaction, params};

/// So many breakers are remembered; beyond, all are forgotten and the next reports store whole windows.
const REMEMBERED: usize = 5_000;

/// Caller, its instance, callee, operation.
pub(super) type BreakerName = (String, String, String, String);

/// The window that each breaker told last.
#[derive(Debug, Default)]
pub(super) struct Windows(HashMap<BreakerName, Vec<WindowCall>>);

impl Windows {
    /// The calls of `window` that were not in the one told before.
    pub(super) fn new_calls(&mut self, name: &BreakerName, window: &[WindowCall]) -> Vec<WindowCall> {
        if self.0.len() >= REMEMBERED && !self.0.contains_key(name) {
            self.0.clear();
        }
        let before = self.0.insert(name.clone(), window.to_vec()).unwrap_or_default();
        // The longest end of the old window that the new one begins with.
        let known = (0..=before.len().min(window.len()))
            .rev()
            .find(|n| before[before.len() - n..] == window[..*n])
            .unwrap_or(0);
        window[known..].to_vec()
    }

    /// Forgets an instance that has gone.
    pub(super) fn forget(&mut self, service: &str, instance: &str) {
        self.0.retain(|(s, i, ..), _| s != service || i != instance);
    }
}

/// Calls as stored.
pub(super) fn encode(calls: Vec<WindowCall>) -> Vec<u8> {
    BreakerStatus { window: calls, ..BreakerStatus::default() }.encode_to_vec()
}

/// Stored calls; nothing when they cannot be read.
pub(crate) fn stored_window(bytes: &[u8]) -> Vec<WindowCall> {
    BreakerStatus::decode(bytes).map(|s| s.window).unwrap_or_default()
}

/// The last `n` calls that a breaker had told up to a report, oldest first.
///
/// # Errors
/// Only the database's own.
pub(crate) fn last_calls(conn: &Connection, breaker: i64, report: i64, n: usize) -> rusqlite::Result<Vec<WindowCall>> {
    calls_up_to(conn, "breaker_reports", breaker, report, n)
}

fn calls_up_to(
    conn: &Connection,
    table: &str,
    breaker: i64,
    report: i64,
    n: usize,
) -> rusqlite::Result<Vec<WindowCall>> {
    let mut select = conn.prepare_cached(&format!(
        "SELECT calls FROM {table} WHERE breaker = ?1 AND id <= ?2 AND new_calls > 0 ORDER BY id DESC",
    ))?;
    let mut rows = select.query(params![breaker, report])?;
    let mut newest_first = Vec::with_capacity(n);
    while newest_first.len() < n
        && let Some(row) = rows.next()?
    {
        let calls: Vec<u8> = row.get(0)?;
        newest_first.extend(stored_window(&calls).into_iter().rev());
    }
    newest_first.truncate(n);
    newest_first.reverse();
    Ok(newest_first)
}

/// In a file that begins at `from`, where `source` is the one it was cut from: the newest report of each breaker before
/// that gets its whole window, since the reports that held the rest of it are left behind.
///
/// # Errors
/// Only the database's own.
pub(crate) fn keep_breakers_whole(tx: &Transaction<'_>, from: UnixNanos) -> rusqlite::Result<()> {
    let mut select = tx.prepare("SELECT id, breaker FROM main.breaker_reports WHERE arrival <= ?1")?;
    let first: Vec<(i64, i64)> =
        select.query_map([from.0], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    first.into_iter().try_for_each(|(id, breaker)| whole_window(tx, "source", id, breaker))
}

/// Writes the whole window of a report into it, put together from the reports of `from` (`main` or `source`).
///
/// # Errors
/// Only the database's own.
pub(crate) fn whole_window(tx: &Transaction<'_>, from: &str, id: i64, breaker: i64) -> rusqlite::Result<()> {
    let calls: i64 = tx
        .prepare_cached("SELECT window_calls FROM main.breaker_reports WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    let table = format!("{from}.breaker_reports");
    let window = calls_up_to(tx, &table, breaker, id, usize::try_from(calls).unwrap_or(0))?;
    tx.prepare_cached("UPDATE main.breaker_reports SET new_calls = ?2, calls = ?3 WHERE id = ?1")?.execute(params![
        id,
        i64::try_from(window.len()).unwrap_or(i64::MAX),
        encode(window)
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(at: std::ops::Range<i64>) -> Vec<WindowCall> {
        at.map(|t| WindowCall { at_unix_nanos: t, ..WindowCall::default() }).collect()
    }

    #[test]
    fn only_new_calls_are_kept() {
        let name = ("orders".into(), "orders-1".into(), "payments".into(), "Charge".into());
        let mut windows = Windows::default();
        assert_eq!(windows.new_calls(&name, &calls(0..5)), calls(0..5));
        assert_eq!(windows.new_calls(&name, &calls(2..7)), calls(5..7));
        assert_eq!(windows.new_calls(&name, &calls(2..7)), []);
        assert_eq!(windows.new_calls(&name, &calls(20..22)), calls(20..22), "a clean window shares nothing");
        assert_eq!(windows.new_calls(&name, &[]), []);
        windows.forget("orders", "orders-1");
        assert_eq!(windows.new_calls(&name, &calls(20..22)), calls(20..22));
    }
}
