//! Following the chain, wherever its entries come from: the running collector's tables, a file, or exported lines.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use fuseboard_api::UnixNanos;
use fuseboard_api::fleet::{AuditChain, AuditEntry};
use rusqlite::{Connection, OpenFlags, Row};
use serde::{Deserialize, Serialize};

/// What stands for the hash before the first entry.
pub(super) const BEGIN: [u8; 32] = [0; 32];
/// The columns that [`Link::read`] reads.
pub(super) const COLUMNS: &str = "sequence, arrival, actor, action, target, reason, detail, fields, hash";
/// An exported line has at most so many bytes: a document may stand in it.
const LONGEST_LINE: u64 = 4 * 1024 * 1024;

/// Hash of each field, in the order of the schema.
pub(super) fn field_hashes(fields: [&str; 5]) -> Vec<u8> {
    fields.iter().flat_map(|f| *blake3::hash(f.as_bytes()).as_bytes()).collect()
}

/// The link of the chain: over the link before, the position, the time and the hashes of the fields.
pub(super) fn link(previous: &[u8], sequence: i64, at: i64, fields: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("fuseboard audit chain v1");
    hasher.update(previous);
    hasher.update(&sequence.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(fields);
    *hasher.finalize().as_bytes()
}

/// An entry as the chain sees it. A field that was taken out is `None`.
#[derive(Debug, Clone)]
pub(super) struct Link {
    sequence: i64,
    at: i64,
    words: [Option<String>; 5],
    fields: Vec<u8>,
    hash: Vec<u8>,
}

impl Link {
    /// Reads [`COLUMNS`].
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let words = [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?];
        Ok(Self { sequence: row.get(0)?, at: row.get(1)?, words, fields: row.get(7)?, hash: row.get(8)? })
    }
}

/// How far the chain was followed.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    pub(super) sequence: i64,
    pub(super) arrival: i64,
    pub(super) hash: [u8; 32],
}

impl Default for Walk {
    fn default() -> Self {
        Self { sequence: 0, arrival: i64::MIN, hash: BEGIN }
    }
}

impl Walk {
    /// Takes the next entry.
    ///
    /// # Errors
    /// The sequence at which the chain breaks, and how.
    pub(super) fn step(&mut self, next: &Link) -> Result<(), (i64, String)> {
        let expected = self.sequence + 1;
        if next.sequence != expected {
            let at = expected.min(next.sequence);
            return Err((at, format!("entry {expected} should follow, but entry {} does", next.sequence)));
        }
        let names = ["actor", "action", "target", "reason", "detail"];
        for (i, (word, name)) in next.words.iter().zip(names).enumerate() {
            let hash = next.fields.get(i * 32..(i + 1) * 32);
            if word.as_ref().is_some_and(|word| Some(blake3::hash(word.as_bytes()).as_bytes().as_slice()) != hash) {
                return Err((expected, format!("its {name} is not what was written")));
            }
        }
        let hash = link(&self.hash, next.sequence, next.at, &next.fields);
        if hash.as_slice() != next.hash {
            return Err((
                expected,
                "it does not fit the entry before it: one of them, or the time, was changed".to_owned(),
            ));
        }
        *self = Self { sequence: next.sequence, arrival: next.at, hash };
        Ok(())
    }
}

/// Follows a whole chain and says what it is like.
pub(super) fn verify<E>(links: impl Iterator<Item = Result<Link, E>>, expect: Option<&str>) -> Result<AuditChain, E> {
    let (mut walk, mut told) = (Walk::default(), AuditChain::default());
    for next in links {
        let next = next?;
        let hash = hex(&next.hash);
        if told.length == 0 {
            (told.first_at, told.first_hash) = (UnixNanos(next.at), hash.clone());
        }
        told.length += 1;
        told.bytes += next.words.iter().flatten().map(|w| w.len() as u64).sum::<u64>()
            + (next.fields.len() + next.hash.len() + 16) as u64;
        told.redacted += next.words.iter().filter(|w| w.is_none()).count() as u64;
        if told.broken_at.is_none() {
            match walk.step(&next) {
                Ok(()) if expect.is_some_and(|e| e.eq_ignore_ascii_case(&hash)) => {
                    told.expected_at = u64::try_from(next.sequence).ok();
                }
                Ok(()) => {}
                // A hash beyond the break says nothing.
                Err((at, how)) => (told.broken_at, told.broken_how) = (u64::try_from(at).ok(), how),
            }
        }
        (told.last_at, told.last_hash) = (UnixNanos(next.at), hash);
    }
    Ok(told)
}

/// Why a chain could not be followed at all.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is no Fuseboard file, or has no audit.
    #[error(
        "{path} has no audit that can be read: {cause}; give a data file, an incident file, or lines of `ctl audit export`"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        cause: rusqlite::Error,
    },
    /// A line of an export cannot be read.
    #[error("line {number} is no line of `ctl audit export`: {why}")]
    Line {
        /// Which, from 1.
        number: u64,
        /// What is wrong.
        why: String,
    },
}

/// One line of an exported audit. A field without a value was taken out; its hash still stands in the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Position in the chain, from 1.
    pub sequence: u64,
    /// When, in nanoseconds since 1970.
    pub at: i64,
    /// Who.
    pub actor: Option<String>,
    /// What.
    pub action: Option<String>,
    /// On what.
    pub target: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Details.
    pub detail: Option<String>,
    /// Hashes of actor, action, target, reason and detail, in hex.
    pub fields: Vec<String>,
    /// The entry's hash, in hex.
    pub hash: String,
}

impl From<AuditEntry> for Line {
    fn from(e: AuditEntry) -> Self {
        Self {
            sequence: e.sequence,
            at: e.at.0,
            actor: Some(e.actor),
            action: Some(e.action),
            target: Some(e.target),
            reason: Some(e.reason),
            detail: Some(e.detail),
            fields: e.fields,
            hash: e.hash,
        }
    }
}

impl Line {
    fn link(self) -> Result<Link, String> {
        let fields: Option<Vec<Vec<u8>>> = self.fields.iter().map(|f| bytes(f)).collect();
        let fields = fields.filter(|f| f.len() == 5 && f.iter().all(|h| h.len() == 32));
        Ok(Link {
            sequence: i64::try_from(self.sequence).map_err(|_| "its sequence is too large".to_owned())?,
            at: self.at,
            words: [self.actor, self.action, self.target, self.reason, self.detail],
            fields: fields.ok_or("fields must be five hashes of 64 hexadecimal digits")?.concat(),
            hash: bytes(&self.hash).ok_or("hash must have hexadecimal digits")?,
        })
    }
}

/// Follows the chain in lines of an export, redacted or not.
///
/// # Errors
/// When a line cannot be read.
pub fn verify_lines(mut lines: impl BufRead, expect: Option<&str>) -> Result<AuditChain, ChainError> {
    let mut number = 0;
    let links = std::iter::from_fn(|| {
        loop {
            number += 1;
            let bad = |why: String| ChainError::Line { number, why };
            let mut text = Vec::new();
            match std::io::Read::take(&mut lines, LONGEST_LINE).read_until(b'\n', &mut text) {
                Ok(0) => return None,
                Ok(_) if text.trim_ascii().is_empty() => {}
                Ok(_) => {
                    let line = serde_json::from_slice::<Line>(&text).map_err(|e| bad(e.to_string()));
                    return Some(line.and_then(|line| line.link().map_err(bad)));
                }
                Err(e) => return Some(Err(bad(e.to_string()))),
            }
        }
    });
    verify(links, expect)
}

/// Follows the chain in a file: a collector's data file, also while the collector runs, an incident file, or an export.
///
/// # Errors
/// When it cannot be read, or is something else.
pub fn verify_file(path: &Path, expect: Option<&str>) -> Result<AuditChain, ChainError> {
    let io = |cause| ChainError::Io { path: path.to_owned(), cause };
    let mut file = std::io::BufReader::new(std::fs::File::open(path).map_err(io)?);
    if !file.fill_buf().map_err(io)?.starts_with(b"SQLite format 3\0") {
        return verify_lines(file, expect);
    }
    let read = || {
        let conn =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        conn.busy_timeout(std::time::Duration::from_secs(5))?;
        stored(&conn, UnixNanos(i64::MAX), expect)
    };
    read().map_err(|cause| ChainError::Foreign { path: path.to_owned(), cause })
}

/// Follows the whole chain that had arrived by an instant.
///
/// # Errors
/// Only the database's own.
pub(super) fn stored(conn: &Connection, as_of: UnixNanos, expect: Option<&str>) -> rusqlite::Result<AuditChain> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE arrival <= ?1 ORDER BY sequence");
    verify(conn.prepare_cached(&sql)?.query_map([as_of.0], Link::read)?, expect)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Hexadecimal digits as bytes.
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|d| d.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{chain, without_guards};
    use super::*;

    /// All that the chain of `conn` says.
    fn whole(conn: &Connection) -> AuditChain {
        stored(conn, UnixNanos(i64::MAX), None).unwrap()
    }

    fn lines(conn: &Connection) -> Vec<Line> {
        let query = fuseboard_api::fleet::AuditQuery { after: Some(0), hashes: true, ..Default::default() };
        let entries = super::super::picture::entries(conn, &query, UnixNanos(i64::MAX)).unwrap().0;
        entries.into_iter().map(Line::from).collect()
    }

    fn verified(lines: &[Line], expect: Option<&str>) -> AuditChain {
        let text: String = lines.iter().map(|l| serde_json::to_string(l).unwrap() + "\n").collect();
        verify_lines(text.as_bytes(), expect).unwrap()
    }

    #[test]
    fn an_honest_chain_holds_and_says_how_long_it_is() {
        let conn = chain(5);
        let told = whole(&conn);
        assert_eq!((told.length, told.broken_at), (5, None));
        assert_eq!((told.first_at, told.last_at), (UnixNanos(10), UnixNanos(50)));
        assert_eq!(told.first_hash.len(), 64);
        assert!(told.bytes > 5 * 200, "{told:?}");
        assert_eq!(whole(&chain(0)), AuditChain::default());
    }

    #[test]
    fn a_changed_word_breaks_the_chain_where_it_stands() {
        let conn = chain(5);
        without_guards(&conn, "UPDATE audit SET reason = 'another' WHERE sequence = 3");
        let told = whole(&conn);
        assert_eq!((told.broken_at, told.broken_how.as_str()), (Some(3), "its reason is not what was written"));
    }

    #[test]
    fn a_changed_word_with_its_own_hash_made_right_breaks_the_link() {
        let conn = chain(5);
        let forged = field_hashes(["someone else", "policy.set", "revision 1", "because", ""]);
        conn.execute_batch("DROP TRIGGER audit_keeps_words").unwrap();
        conn.execute("UPDATE audit SET actor = 'someone else', fields = ?1 WHERE sequence = 2", [forged]).unwrap();
        assert_eq!(whole(&conn).broken_at, Some(2));
    }

    #[test]
    fn a_missing_or_moved_entry_breaks_the_chain() {
        let conn = chain(5);
        without_guards(&conn, "DELETE FROM audit WHERE sequence = 2");
        assert_eq!(whole(&conn).broken_at, Some(2));
        let conn = chain(5);
        without_guards(&conn, "UPDATE audit SET arrival = 31 WHERE sequence = 3");
        assert_eq!(whole(&conn).broken_at, Some(3));
    }

    #[test]
    fn only_a_hash_kept_elsewhere_shows_that_the_end_was_cut_off_or_all_was_written_anew() {
        let conn = chain(5);
        let head = whole(&conn).last_hash;
        assert_eq!(stored(&conn, UnixNanos(i64::MAX), Some(&head.to_uppercase())).unwrap().expected_at, Some(5));
        without_guards(&conn, "DELETE FROM audit WHERE sequence > 3");
        let cut = stored(&conn, UnixNanos(i64::MAX), Some(&head)).unwrap();
        assert_eq!((cut.length, cut.broken_at, cut.expected_at), (3, None, None), "nothing but the head tells");
    }

    #[test]
    fn an_export_verifies_also_without_its_words() {
        let conn = chain(7);
        let mut lines = lines(&conn);
        let head = lines[6].hash.clone();
        assert_eq!(verified(&lines, Some(&head)).expected_at, Some(7));
        for line in &mut lines {
            (line.reason, line.detail) = (None, None);
        }
        let redacted = verified(&lines, Some(&head));
        assert_eq!((redacted.broken_at, redacted.redacted, redacted.expected_at), (None, 14, Some(7)));
        lines[3].actor = Some("somebody".into());
        assert_eq!(verified(&lines, Some(&head)).broken_at, Some(4));
        lines.remove(3);
        assert_eq!(verified(&lines, None).broken_at, Some(4));
    }

    #[test]
    fn what_is_no_export_is_told_by_line() {
        let wrong = verify_lines(&b"\n{\"sequence\":1}\n"[..], None).unwrap_err();
        assert!(wrong.to_string().starts_with("line 2 is no line"), "{wrong}");
        let mut short = lines(&chain(1)).remove(0);
        short.fields.pop();
        let text = serde_json::to_string(&short).unwrap();
        assert!(verify_lines(text.as_bytes(), None).unwrap_err().to_string().contains("five hashes"));
        assert!(bytes("abc").is_none() && bytes("zz").is_none());
        assert_eq!(bytes("0aF0"), Some(vec![0x0a, 0xf0]));
    }
}
