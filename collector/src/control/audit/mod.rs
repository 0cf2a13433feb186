//! The audit: an append-only chain of who did what to what, and why.
//!
//! Each entry's hash covers the entry before it and the *hashes* of its own fields, which are stored beside the fields.
//! An export that blanks a field but keeps its hash therefore still verifies, while a changed word does not. The schema
//! refuses updates and deletions; the chain shows when somebody went around the schema. Entries are never removed: an entry
//! has some hundred bytes, so a million deeds take less than a gigabyte, and [`AuditChain::bytes`] says how much it is.
//!
//! [`AuditChain::bytes`]: fuseboard_api::fleet::AuditChain::bytes

mod chain;
mod picture;

use fuseboard_api::UnixNanos;
use rusqlite::{OptionalExtension, Transaction, params};

pub use self::chain::{ChainError, Line, verify_file, verify_lines};
pub(crate) use self::picture::{chain, picture};

/// The audit's table.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS audit (
    sequence INTEGER PRIMARY KEY,
    arrival INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    fields BLOB NOT NULL, -- BLAKE3 of actor, action, target, reason, detail: five times 32 bytes
    hash BLOB NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS audit_keeps_entries BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_keeps_words BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
";

/// What is written down.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Who; `collector` and `agent SERVICE/INSTANCE` for what happens by itself.
    pub(crate) actor: String,
    /// What, as a dotted word: `policy.set`.
    pub(crate) action: &'static str,
    /// On what.
    pub(crate) target: String,
    /// Why.
    pub(crate) reason: String,
    /// Details.
    pub(crate) detail: String,
}

/// Appends an entry in the transaction of the deed itself.
///
/// # Errors
/// Only the database's own.
pub(crate) fn append(tx: &Transaction<'_>, at: UnixNanos, entry: &Entry) -> rusqlite::Result<()> {
    let last: Option<(i64, Vec<u8>)> = tx
        .prepare_cached("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (sequence, previous) = last.map_or_else(|| (1, chain::BEGIN.to_vec()), |(s, h)| (s + 1, h));
    let fields = chain::field_hashes([&entry.actor, entry.action, &entry.target, &entry.reason, &entry.detail]);
    let hash = chain::link(&previous, sequence, at.0, &fields);
    tx.prepare_cached("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(params![
        sequence,
        at.0,
        entry.actor,
        entry.action,
        entry.target,
        entry.reason,
        entry.detail,
        fields,
        hash.as_slice()
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// A chain of so many entries, ten nanoseconds apart.
    pub(super) fn chain(n: i64) -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(SCHEMA).unwrap();
        (1..=n).for_each(|i| append_to(&mut conn, i));
        conn
    }

    pub(super) fn append_to(conn: &mut Connection, i: i64) {
        let tx = conn.transaction().unwrap();
        let entry = Entry {
            actor: format!("person {i}"),
            action: "policy.set",
            target: "revision 1".into(),
            reason: "because".into(),
            detail: String::new(),
        };
        append(&tx, UnixNanos(i * 10), &entry).unwrap();
        tx.commit().unwrap();
    }

    /// Does what the schema forbids.
    pub(super) fn without_guards(conn: &Connection, sql: &str) {
        conn.execute_batch("DROP TRIGGER IF EXISTS audit_keeps_entries; DROP TRIGGER IF EXISTS audit_keeps_words;")
            .unwrap();
        conn.execute_batch(sql).unwrap();
    }

    #[test]
    fn the_schema_refuses_changes() {
        let conn = chain(3);
        assert!(conn.execute("UPDATE audit SET actor = 'x' WHERE sequence = 2", []).is_err());
        assert!(conn.execute("DELETE FROM audit", []).is_err());
    }
}
