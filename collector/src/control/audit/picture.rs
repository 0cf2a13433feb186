//! The audit as of an instant.

use std::sync::{Mutex, PoisonError};

use fuseboard_api::UnixNanos;
use fuseboard_api::fleet::{Audit, AuditChain, AuditEntry, AuditQuery};
use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::chain::{self, COLUMNS, Link, Walk, hex};
use crate::control::sql::{signed, unsigned};
use crate::store::Followed;

/// At most so many entries are answered.
const ANSWERED: u32 = 500;

/// The entries that fit, and whether the chain holds.
///
/// # Errors
/// Only the database's own.
pub(crate) fn picture(
    conn: &Connection,
    followed: &Mutex<Followed>,
    query: &AuditQuery,
    as_of: UnixNanos,
) -> rusqlite::Result<Audit> {
    let (entries, more) = entries(conn, query, as_of)?;
    let length = conn
        .prepare_cached("SELECT coalesce(max(sequence), 0) FROM audit WHERE arrival <= ?1")?
        .query_row([as_of.0], |row| unsigned(row, 0))?;
    let (broken_at, _) = broken_at(conn, followed, as_of)?;
    Ok(Audit { entries, more, length, broken_at })
}

/// The whole chain, every entry of it.
///
/// # Errors
/// Only the database's own.
pub(crate) fn chain(conn: &Connection, expect: Option<&str>, as_of: UnixNanos) -> rusqlite::Result<AuditChain> {
    chain::stored(conn, as_of, expect)
}

/// The entries that fit, and whether there are more of them.
pub(super) fn entries(
    conn: &Connection,
    query: &AuditQuery,
    as_of: UnixNanos,
) -> rusqlite::Result<(Vec<AuditEntry>, bool)> {
    let limit = query.limit.unwrap_or(ANSWERED).clamp(1, ANSWERED);
    let order = if query.after.is_some() { "ASC" } else { "DESC" };
    let mut select = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM audit
         WHERE arrival <= :as_of AND arrival >= :from AND arrival < :to AND sequence > :after AND sequence < :before
            AND (:actor = '' OR instr(lower(actor), lower(:actor)) > 0)
            AND substr(action, 1, length(:action)) = :action
            AND (:target = '' OR instr(lower(target), lower(:target)) > 0)
            AND (:text = '' OR instr(lower(actor || char(10) || action || char(10) || target || char(10)
            || reason || char(10) || detail), lower(:text)) > 0)
         ORDER BY sequence {order} LIMIT :limit"
    ))?;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let rows = select.query_map(
        named_params! {
            ":as_of": as_of.0,
            ":from": query.range.map_or(i64::MIN, |r| r.from.0),
            ":to": query.range.map_or(i64::MAX, |r| r.to.0),
            ":after": query.after.map_or(0, signed),
            ":before": query.before.map_or(i64::MAX, signed),
            ":actor": text(&query.actor),
            ":action": text(&query.action),
            ":target": text(&query.target),
            ":text": text(&query.text),
            ":limit": limit + 1,
        },
        |row| {
            let (fields, hash): (Vec<u8>, Vec<u8>) = (row.get(7)?, row.get(8)?);
            Ok(AuditEntry {
                sequence: unsigned(row, 0)?,
                at: UnixNanos(row.get(1)?),
                actor: row.get(2)?,
                action: row.get(3)?,
                target: row.get(4)?,
                reason: row.get(5)?,
                detail: row.get(6)?,
                hash: hex(&hash),
                fields: if query.hashes { fields.chunks(32).map(hex).collect() } else { Vec::new() },
            })
        },
    )?;
    let mut entries: Vec<AuditEntry> = rows.collect::<rusqlite::Result<_>>()?;
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    Ok((entries, more))
}

/// The sequence at which the chain breaks as of an instant, and how many entries were read to say so. What was followed
/// before is not read again, as long as its last entry still stands.
fn broken_at(conn: &Connection, followed: &Mutex<Followed>, as_of: UnixNanos) -> rusqlite::Result<(Option<u64>, u64)> {
    let mut known = *followed.lock().unwrap_or_else(PoisonError::into_inner);
    if !stands(conn, &known, as_of)? {
        known = Followed::default();
    }
    if let Some((sequence, seen)) = known.broken {
        return Ok(((seen <= as_of.0).then_some(sequence), 0));
    }
    let mut walk = Walk { sequence: known.sequence, arrival: known.arrival, hash: known.hash };
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE sequence > ?1 AND arrival <= ?2 ORDER BY sequence");
    let mut select = conn.prepare_cached(&sql)?;
    let mut read = 0;
    for next in select.query_map(params![known.sequence, as_of.0], |row| Ok((Link::read(row)?, row.get(1)?)))? {
        let (next, arrival): (Link, i64) = next?;
        read += 1;
        if let Err((at, _)) = walk.step(&next) {
            known.broken = u64::try_from(at).ok().map(|at| (at, arrival));
            break;
        }
    }
    (known.sequence, known.arrival, known.hash) = (walk.sequence, walk.arrival, walk.hash);
    // Two who asked at once found the same.
    *followed.lock().unwrap_or_else(PoisonError::into_inner) = known;
    Ok((known.broken.map(|(at, _)| at), read))
}

/// Whether the last entry that was followed is still what it was; what came after the instant asked for is not looked at.
fn stands(conn: &Connection, known: &Followed, as_of: UnixNanos) -> rusqlite::Result<bool> {
    if known.sequence == 0 || known.arrival > as_of.0 {
        return Ok(true);
    }
    let found: Option<(i64, Vec<u8>)> = conn
        .prepare_cached("SELECT arrival, hash FROM audit WHERE sequence = ?1")?
        .query_row([known.sequence], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.is_some_and(|(at, hash)| at == known.arrival && hash == known.hash))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append_to, chain, without_guards};
    use super::*;

    fn look(conn: &Connection, query: &AuditQuery) -> Audit {
        picture(conn, &Mutex::default(), query, UnixNanos(i64::MAX)).unwrap()
    }

    fn sequences(audit: &Audit) -> Vec<u64> {
        audit.entries.iter().map(|e| e.sequence).collect()
    }

    #[test]
    fn only_what_had_arrived_is_told_newest_first() {
        let conn = chain(5);
        let audit = picture(&conn, &Mutex::default(), &AuditQuery::default(), UnixNanos(30)).unwrap();
        assert_eq!((sequences(&audit), audit.length, audit.more), (vec![3, 2, 1], 3, false));
    }

    #[test]
    fn entries_are_found_by_who_what_where_and_when() {
        let conn = chain(12);
        let count = |query: AuditQuery| look(&conn, &query).entries.len();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(count(AuditQuery::containing(some("PERSON 12"))), 1);
        assert_eq!(count(AuditQuery::containing(some("nobody"))), 0);
        assert_eq!(count(AuditQuery { actor: some("person 1"), ..AuditQuery::default() }), 4);
        assert_eq!(count(AuditQuery { actor: some("because"), ..AuditQuery::default() }), 0);
        assert_eq!(count(AuditQuery { action: some("policy."), ..AuditQuery::default() }), 12);
        assert_eq!(count(AuditQuery { action: some("olicy"), ..AuditQuery::default() }), 0);
        assert_eq!(count(AuditQuery { target: some("REVISION"), ..AuditQuery::default() }), 12);
        let range = fuseboard_api::TimeRange { from: UnixNanos(30), to: UnixNanos(50) };
        assert_eq!(count(AuditQuery { range: Some(range), ..AuditQuery::default() }), 2);
    }

    #[test]
    fn pages_follow_each_other_without_gap_in_both_directions() {
        let conn = chain(7);
        let page = |before| {
            let audit = look(&conn, &AuditQuery { before, limit: Some(3), ..AuditQuery::default() });
            (sequences(&audit), audit.more)
        };
        assert_eq!(page(None), (vec![7, 6, 5], true));
        assert_eq!(page(Some(5)), (vec![4, 3, 2], true));
        assert_eq!(page(Some(2)), (vec![1], false));
        let forward = look(&conn, &AuditQuery { after: Some(4), limit: Some(2), ..AuditQuery::default() });
        assert_eq!((sequences(&forward), forward.more), (vec![5, 6], true));
    }

    #[test]
    fn what_was_followed_is_not_read_again() {
        let mut conn = chain(1000);
        let followed = Mutex::default();
        let ask = |conn: &Connection, at| broken_at(conn, &followed, UnixNanos(at)).unwrap();
        assert_eq!(ask(&conn, 4_000), (None, 400), "an earlier instant first");
        assert_eq!(ask(&conn, i64::MAX), (None, 600));
        assert_eq!(ask(&conn, i64::MAX), (None, 0));
        assert_eq!(ask(&conn, 50), (None, 0), "what led there was followed");
        append_to(&mut conn, 1001);
        assert_eq!(ask(&conn, i64::MAX), (None, 1));
        without_guards(&conn, "UPDATE audit SET actor = 'x' WHERE sequence = 1001");
        append_to(&mut conn, 1002);
        assert_eq!(ask(&conn, i64::MAX), (None, 1), "what was followed is trusted while the collector runs");
        without_guards(&conn, "DELETE FROM audit WHERE sequence > 900");
        assert_eq!(ask(&conn, i64::MAX), (None, 900), "unless its end is gone");
    }

    #[test]
    fn a_break_is_told_from_the_instant_on_at_which_it_shows() {
        let conn = chain(10);
        without_guards(&conn, "UPDATE audit SET actor = 'x' WHERE sequence = 6");
        let followed = Mutex::default();
        let ask = |at| broken_at(&conn, &followed, UnixNanos(at)).unwrap().0;
        assert_eq!((ask(50), ask(60), ask(i64::MAX), ask(50)), (None, Some(6), Some(6), None));
    }
}
