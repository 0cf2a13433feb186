//! Counters in SQLite, which has signed numbers only.

use rusqlite::Row;

/// A counter as SQLite holds it.
pub(crate) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A counter from a row.
///
/// # Errors
/// When the column holds no whole number.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}
