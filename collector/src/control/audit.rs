//! The audit: an append-only chain of who did what to what, and why.
//!
//! Each entry's hash covers the entry before it and the *hashes* of its own fields, which are stored beside the fields.
//! An export that blanks a field but keeps its hash therefore still verifies, while a changed word does not. The schema
//! refuses updates and deletions; the chain shows when somebody went around the schema.

use super::sql::unsigned;
use fuseboard_api::UnixNanos;
use fuseboard_api::fleet::{Audit, AuditEntry};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

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

/// At most so many entries are answered.
const ANSWERED: u32 = 500;

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

/// Hash of each field, in the order of the schema.
fn field_hashes(fields: [&str; 5]) -> Vec<u8> {
    fields.iter().flat_map(|f| *blake3::hash(f.as_bytes()).as_bytes()).collect()
}

/// The link of the chain: over the link before, the position, the time and the hashes of the fields.
fn link(previous: &[u8], sequence: i64, at: i64, fields: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("fuseboard audit chain v1");
    hasher.update(previous);
    hasher.update(&sequence.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(fields);
    *hasher.finalize().as_bytes()
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
    let (sequence, previous) = last.map_or((1, vec![0; 32]), |(s, h)| (s + 1, h));
    let fields = field_hashes([&entry.actor, entry.action, &entry.target, &entry.reason, &entry.detail]);
    let hash = link(&previous, sequence, at.0, &fields);
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

/// Follows the chain up to `as_of`; the sequence at which it breaks, or `None` when it holds.
fn broken_at(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Option<u64>> {
    let mut select = conn.prepare_cached(
        "SELECT sequence, arrival, actor, action, target, reason, detail, fields, hash FROM audit
         WHERE arrival <= ?1 ORDER BY sequence",
    )?;
    let mut rows = select.query([as_of.0])?;
    let (mut expected, mut previous) = (1_i64, vec![0_u8; 32]);
    while let Some(row) = rows.next()? {
        let sequence: i64 = row.get(0)?;
        let fields: Vec<u8> = row.get(7)?;
        let hash: Vec<u8> = row.get(8)?;
        let text = |i: usize| row.get_ref(i).and_then(|v| v.as_str().map_err(Into::into));
        let told = field_hashes([text(2)?, text(3)?, text(4)?, text(5)?, text(6)?]);
        if sequence != expected || told != fields || link(&previous, sequence, row.get(1)?, &fields) != hash.as_slice()
        {
            return Ok(u64::try_from(expected.min(sequence)).ok());
        }
        (expected, previous) = (sequence + 1, hash);
    }
    Ok(None)
}

/// The audit as of an instant: the newest entries that contain `text`, and whether the whole chain holds.
///
/// # Errors
/// Only the database's own.
pub(crate) fn picture(conn: &Connection, text: Option<&str>, as_of: UnixNanos) -> rusqlite::Result<Audit> {
    let mut select = conn.prepare_cached(
        "SELECT sequence, arrival, actor, action, target, reason, detail, hash FROM audit
         WHERE arrival <= ?1 AND (?2 = '' OR instr(lower(actor || char(10) || action || char(10) || target || char(10)
            || reason || char(10) || detail), lower(?2)) > 0)
         ORDER BY sequence DESC LIMIT ?3",
    )?;
    let entries = select.query_map(params![as_of.0, text.unwrap_or_default(), ANSWERED], |row| {
        let hash: Vec<u8> = row.get(7)?;
        Ok(AuditEntry {
            sequence: unsigned(row, 0)?,
            at: UnixNanos(row.get(1)?),
            actor: row.get(2)?,
            action: row.get(3)?,
            target: row.get(4)?,
            reason: row.get(5)?,
            detail: row.get(6)?,
            hash: hash.iter().map(|b| format!("{b:02x}")).collect(),
        })
    })?;
    Ok(Audit { entries: entries.collect::<rusqlite::Result<_>>()?, broken_at: broken_at(conn, as_of)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(n: i64) -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(SCHEMA).unwrap();
        let tx = conn.transaction().unwrap();
        for i in 1..=n {
            let entry = Entry {
                actor: format!("person {i}"),
                action: "policy.set",
                target: "revision 1".into(),
                reason: "because".into(),
                detail: String::new(),
            };
            append(&tx, UnixNanos(i * 10), &entry).unwrap();
        }
        tx.commit().unwrap();
        conn
    }

    fn without_guards(conn: &Connection, sql: &str) {
        conn.execute_batch("DROP TRIGGER audit_keeps_entries; DROP TRIGGER audit_keeps_words;").unwrap();
        conn.execute_batch(sql).unwrap();
    }

    #[test]
    fn an_honest_chain_holds() {
        let audit = picture(&chain(5), None, UnixNanos(100)).unwrap();
        assert_eq!(audit.broken_at, None);
        assert_eq!(audit.entries.iter().map(|e| e.sequence).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
    }

    #[test]
    fn only_what_had_arrived_is_told() {
        let audit = picture(&chain(5), None, UnixNanos(30)).unwrap();
        assert_eq!(audit.entries.len(), 3);
    }

    #[test]
    fn text_is_looked_for_everywhere_in_any_case() {
        let conn = chain(12);
        assert_eq!(picture(&conn, Some("PERSON 12"), UnixNanos(999)).unwrap().entries.len(), 1);
        assert_eq!(picture(&conn, Some("nobody"), UnixNanos(999)).unwrap().entries.len(), 0);
    }

    #[test]
    fn the_schema_refuses_changes() {
        let conn = chain(3);
        assert!(conn.execute("UPDATE audit SET actor = 'x' WHERE sequence = 2", []).is_err());
        assert!(conn.execute("DELETE FROM audit", []).is_err());
    }

    #[test]
    fn a_changed_word_breaks_the_chain_where_it_stands() {
        let conn = chain(5);
        without_guards(&conn, "UPDATE audit SET reason = 'another' WHERE sequence = 3");
        assert_eq!(picture(&conn, None, UnixNanos(999)).unwrap().broken_at, Some(3));
    }

    #[test]
    fn a_changed_word_with_its_own_hash_made_right_breaks_the_link() {
        let conn = chain(5);
        let forged = field_hashes(["someone else", "policy.set", "revision 1", "because", ""]);
        conn.execute_batch("DROP TRIGGER audit_keeps_words").unwrap();
        conn.execute("UPDATE audit SET actor = 'someone else', fields = ?1 WHERE sequence = 2", [forged]).unwrap();
        assert_eq!(picture(&conn, None, UnixNanos(999)).unwrap().broken_at, Some(2));
    }

    #[test]
    fn a_missing_entry_breaks_the_chain() {
        let conn = chain(5);
        without_guards(&conn, "DELETE FROM audit WHERE sequence = 2");
        assert_eq!(picture(&conn, None, UnixNanos(999)).unwrap().broken_at, Some(2));
    }
}
