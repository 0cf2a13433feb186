//! Blocks of log records in their tables.

use std::collections::HashSet;

use fuseboard_api::TraceId;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::Recent;
use super::block::{self, Block};
use super::parts::Entry;
use super::recent::READ_BACK;
use crate::store::StoreError;
use crate::store::segment::TraceFilter;

/// Records from which on a block is not merged any more.
pub(super) const WHOLE: u32 = 8_192;

/// Bytes from which on a block is not merged any more.
const WHOLE_BYTES: u64 = 4 * 1024 * 1024;

/// Traces up to which their ids stand in the filter themselves.
const FEW: usize = 64;

/// Log records lie in blocks: what is said of each stands in `log_blocks`, its bytes in `log_data`, which traces it may have
/// records of in `log_filters` (no line there: of none). A block is never changed; a merge puts a larger one in the place of
/// several, and what was under an id is never under it again.
pub(crate) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS log_blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    min_time INTEGER NOT NULL, max_time INTEGER NOT NULL,
    min_arrival INTEGER NOT NULL, max_arrival INTEGER NOT NULL,
    min_severity INTEGER NOT NULL, max_severity INTEGER NOT NULL,
    origins BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS log_blocks_by_time ON log_blocks (max_time);
CREATE INDEX IF NOT EXISTS log_blocks_by_arrival ON log_blocks (max_arrival);
CREATE TABLE IF NOT EXISTS log_data (block INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS log_filters (block INTEGER PRIMARY KEY, traces BLOB NOT NULL) STRICT;
";

/// What the table says of a block. Times are Unix nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockRow {
    pub(crate) id: i64,
    pub(crate) rows: u32,
    pub(crate) bytes: u64,
    pub(crate) min_time: i64,
    pub(crate) max_time: i64,
    pub(crate) min_arrival: i64,
    pub(crate) max_arrival: i64,
    /// Numbers of its senders.
    origins: Vec<u8>,
}

const COLUMNS: &str = "id, rows, bytes, min_time, max_time, min_arrival, max_arrival, origins";

impl BlockRow {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            rows: u32::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
            bytes: row.get::<_, i64>(2)?.max(0) as u64,
            min_time: row.get(3)?,
            max_time: row.get(4)?,
            min_arrival: row.get(5)?,
            max_arrival: row.get(6)?,
            origins: row.get(7)?,
        })
    }

    /// Whether one of these senders has a record in it.
    pub(crate) fn has_any_of(&self, origins: &HashSet<i64>) -> bool {
        self.origins.as_chunks::<8>().0.iter().any(|o| origins.contains(&i64::from_le_bytes(*o)))
    }
}

/// Stores records as one block; none make none.
pub(crate) fn insert(conn: &Connection, entries: &[Entry<'_>]) -> Result<(), StoreError> {
    let Some(first) = entries.first() else { return Ok(()) };
    let data =
        block::encode(entries).map_err(|e| StoreError::Corrupt(format!("log records could not be packed: {e}")))?;
    let range = |of: fn(&Entry<'_>) -> i64| {
        let all = entries.iter().map(of);
        all.fold((of(first), of(first)), |(low, high), n| (low.min(n), high.max(n)))
    };
    let (times, arrivals, severities) = (range(|e| e.time), range(|e| e.arrival), range(|e| i64::from(e.severity)));
    let origins: std::collections::BTreeSet<i64> = entries.iter().map(|e| e.origin).collect();
    let origins: Vec<u8> = origins.iter().flat_map(|o| o.to_le_bytes()).collect();
    let id = conn
        .prepare_cached(
            "INSERT INTO log_blocks (rows, bytes, min_time, max_time, min_arrival, max_arrival, min_severity, max_severity, origins)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .insert(params![
            entries.len() as i64,
            data.len() as i64,
            times.0,
            times.1,
            arrivals.0,
            arrivals.1,
            severities.0,
            severities.1,
            origins
        ])?;
    conn.prepare_cached("INSERT INTO log_data (block, data) VALUES (?1, ?2)")?.execute(params![id, data])?;
    if let Some(filter) = filter(entries) {
        conn.prepare_cached("INSERT INTO log_filters (block, traces) VALUES (?1, ?2)")?.execute(params![id, filter])?;
    }
    Ok(())
}

/// A filter over the traces: `I` and their ids when they are few, else as segments have it.
fn filter(entries: &[Entry<'_>]) -> Option<Vec<u8>> {
    let mut ids: Vec<[u8; 16]> = entries.iter().map(|e| e.context.0).filter(|t| *t != [0; 16]).collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.len() {
        0 => None,
        few if few <= FEW => Some(std::iter::once(&b'I').chain(ids.as_flattened()).copied().collect()),
        _ => Some(TraceFilter::of(&ids)),
    }
}

fn may_have(filter: &[u8], trace: &[u8; 16]) -> bool {
    match filter.split_first() {
        Some((b'I', ids)) => ids.as_chunks::<16>().0.binary_search(trace).is_ok(),
        _ => TraceFilter::contains(filter, trace),
    }
}

/// Which blocks are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Times from, up to and without, Unix nanoseconds.
    pub(crate) times: (i64, i64),
    /// Severity from, up to and with.
    pub(crate) severities: (u8, u8),
    pub(crate) as_of: i64,
}

impl Wanted {
    /// All there are as of an instant.
    pub(crate) fn all(as_of: i64) -> Self {
        Self { times: (i64::MIN, i64::MAX), severities: (0, u8::MAX), as_of }
    }
}

/// Blocks that may hold such records, the one with the newest first.
pub(crate) fn list(conn: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<BlockRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM log_blocks WHERE max_time >= ?1 AND min_time < ?2 AND min_arrival <= ?3
         AND max_severity >= ?4 AND min_severity <= ?5 ORDER BY max_time DESC, id DESC"
    );
    let mut read = conn.prepare_cached(&sql)?;
    let (from, to) = wanted.times;
    let rows =
        read.query_map(params![from, to, wanted.as_of, wanted.severities.0, wanted.severities.1], BlockRow::of)?;
    rows.collect()
}

/// Those of some blocks that may hold records of a trace.
pub(crate) fn of_trace(conn: &Connection, trace: TraceId, blocks: Vec<BlockRow>) -> Result<Vec<BlockRow>, StoreError> {
    let mut read = conn.prepare_cached("SELECT traces FROM log_filters WHERE block = ?1")?;
    let mut out = Vec::new();
    for row in blocks {
        let may = read.query_row([row.id], |r| Ok(may_have(r.get_ref(0)?.as_blob().unwrap_or_default(), &trace.0)));
        if may.optional()? == Some(true) {
            out.push(row);
        }
    }
    Ok(out)
}

/// Reads a block.
pub(crate) fn read(conn: &Connection, id: i64) -> Result<Block, StoreError> {
    let mut read = conn.prepare_cached("SELECT data FROM log_data WHERE block = ?1")?;
    let block = read.query_row([id], |r| Ok(Block::decode(r.get_ref(0)?.as_blob().unwrap_or_default())));
    match block.optional()? {
        Some(block) => block.map_err(damaged),
        None => Err(StoreError::Corrupt(format!("block {id} of log records has no data"))),
    }
}

pub(crate) fn damaged(e: block::Damaged) -> StoreError {
    StoreError::Corrupt(e.to_string())
}

fn remove(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM log_blocks WHERE id = ?1",
        "DELETE FROM log_data WHERE block = ?1",
        "DELETE FROM log_filters WHERE block = ?1",
    ] {
        conn.prepare_cached(sql)?.execute([id])?;
    }
    Ok(())
}

/// What was stored lately, read back.
pub(crate) fn recent(conn: &Connection, stamp: i64) -> Result<Recent, StoreError> {
    let since = Recent::since(stamp);
    let sql = format!("SELECT {COLUMNS} FROM log_blocks WHERE max_arrival >= ?1 ORDER BY max_arrival DESC");
    let mut read_rows = conn.prepare(&sql)?;
    let rows: Vec<BlockRow> = read_rows.query_map([since], BlockRow::of)?.collect::<Result<_, _>>()?;
    let mut found = Vec::new();
    for row in rows {
        if found.len() >= READ_BACK {
            break;
        }
        // What is damaged cannot be told from what comes; it is reported when it is asked for.
        let Ok(block) = read(conn, row.id) else { continue };
        let Ok(texts) = block.texts() else { continue };
        found.extend(block.entries(&texts).filter(|e| e.arrival >= since).map(|e| (e.arrival, e.identity())));
    }
    found.sort_unstable();
    let mut out = Recent::default();
    found.into_iter().for_each(|(stamp, identity)| out.note(stamp, std::iter::once(identity)));
    Ok(out)
}

/// Blocks merged at once, at most.
const AT_ONCE: usize = 64;

/// Blocks of about one size from which on they are merged.
const ENOUGH: usize = 8;

/// Nanoseconds within which what is merged arrived: what is too old goes in whole blocks.
const STRETCH: i64 = 3600 * 1_000_000_000;

/// Merges blocks that arrived in the same hour, once; true when there may be more to merge. To be called inside a
/// transaction, with its stamp.
///
/// While the hour goes on, eight of about one size are merged, where sizes are told apart by factors of eight: so a record is
/// packed again four times at most. When it is over, what is left of it is merged.
pub(crate) fn merge(conn: &Connection, stamp: i64) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM log_blocks WHERE rows < {WHOLE} AND bytes < {WHOLE_BYTES}
         ORDER BY min_arrival DESC, id DESC LIMIT 2000"
    );
    let mut small: Vec<BlockRow> = conn.prepare_cached(&sql)?.query_map([], BlockRow::of)?.collect::<Result<_, _>>()?;
    small.reverse();
    let hour = |b: &BlockRow| b.min_arrival.div_euclid(STRETCH);
    for of_hour in small.chunk_by(|a, b| hour(a) == hour(b)) {
        let over = of_hour.first().is_some_and(|b| hour(b) < stamp.div_euclid(STRETCH));
        let together = if over { fitting(of_hour.iter()) } else { of_a_size(of_hour) };
        if together.len() > 1 && join(conn, &together)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first of about one size that are enough to be merged.
fn of_a_size(blocks: &[BlockRow]) -> Vec<&BlockRow> {
    let of_size = |size: u32| blocks.iter().filter(move |b| b.rows.max(1).ilog2() / 3 == size);
    let enough = (0..5).find(|size| of_size(*size).count() >= ENOUGH);
    enough.map(|size| fitting(of_size(size))).unwrap_or_default()
}

/// As many as go into one block.
fn fitting<'a>(blocks: impl Iterator<Item = &'a BlockRow>) -> Vec<&'a BlockRow> {
    let (mut rows, mut bytes) = (0, 0);
    let fits = |b: &&BlockRow| {
        (rows, bytes) = (rows + b.rows, bytes + b.bytes);
        rows <= 2 * WHOLE && bytes <= 2 * WHOLE_BYTES
    };
    blocks.take(AT_ONCE).take_while(fits).collect()
}

/// Puts one block in the place of several; false when there is nothing to win. A block that cannot be read stays as it is.
fn join(conn: &Connection, blocks: &[&BlockRow]) -> Result<bool, StoreError> {
    let mut sound = Vec::with_capacity(blocks.len());
    for row in blocks {
        match read(conn, row.id).and_then(|b| Ok((b.texts().map_err(damaged)?, b))) {
            Ok((texts, block)) => sound.push((row.id, block, texts)),
            Err(StoreError::Corrupt(_)) => {}
            Err(e) => return Err(e),
        }
    }
    if sound.len() < 2 {
        return Ok(false);
    }
    let entries: Vec<Entry<'_>> = sound.iter().flat_map(|(_, b, t)| b.entries(t)).collect();
    insert(conn, &entries)?;
    for (id, ..) in &sound {
        remove(conn, *id)?;
    }
    Ok(true)
}

/// Removes up to `most` blocks all of whose records arrived before `limit`, unless something pins a stretch of time that they
/// reach into; gives how many blocks and records.
pub(crate) fn sweep(conn: &Connection, limit: i64, most: i64) -> rusqlite::Result<(usize, usize)> {
    let mut old = conn.prepare_cached(
        "SELECT id, rows FROM log_blocks b WHERE max_arrival < ?1
         AND NOT EXISTS (SELECT 1 FROM pins WHERE b.max_time >= pins.oldest AND b.min_time < pins.newest)
         ORDER BY max_arrival LIMIT ?2",
    )?;
    let old: Vec<(i64, i64)> =
        old.query_map(params![limit, most], |r| Ok((r.get(0)?, r.get(1)?)))?.collect::<Result<_, _>>()?;
    for (id, _) in &old {
        remove(conn, *id)?;
    }
    Ok((old.len(), old.iter().map(|(_, rows)| (*rows).max(0) as usize).sum()))
}

/// Copies records for which `keep` holds (time, arrival, trace), from one database into another.
pub(crate) fn copy(
    from: &Connection,
    to: &Connection,
    as_of: i64,
    keep: impl Fn(i64, TraceId) -> bool,
) -> Result<(), StoreError> {
    for row in list(from, &Wanted::all(as_of))? {
        let block = read(from, row.id)?;
        let kept: Vec<usize> = (0..block.len())
            .filter(|at| block.arrival(*at) <= as_of && keep(block.time(*at), TraceId(block.context(*at).0)))
            .collect();
        if !kept.is_empty() {
            let texts = block.texts().map_err(damaged)?;
            let entries: Vec<Entry<'_>> = kept.into_iter().map(|at| block.entry(&texts, at)).collect();
            insert(to, &entries)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::logs::LogParts;

    const SECOND: i64 = 1_000_000_000;

    fn tables() -> Connection {
        let conn = Connection::open_in_memory().expect("a database");
        conn.execute_batch(TABLES).expect("tables");
        conn.execute_batch("CREATE TABLE pins (id INTEGER PRIMARY KEY, oldest INTEGER, newest INTEGER)")
            .expect("a table");
        conn
    }

    /// Every record there is, in no order.
    fn all(conn: &Connection) -> Vec<(i64, i64, u64)> {
        let mut out = Vec::new();
        for row in list(conn, &Wanted::all(i64::MAX)).expect("listed") {
            let block = read(conn, row.id).expect("sound");
            let texts = block.texts().expect("sound");
            assert_eq!(row.rows as usize, block.len());
            out.extend(block.entries(&texts).map(|e| (e.time, e.arrival, e.identity())));
        }
        out.sort_unstable();
        out
    }

    /// `commits` commits a second apart, each with `each` records.
    fn filled(commits: i64, each: i64) -> Connection {
        let conn = tables();
        for commit in 1..=commits {
            let parts: Vec<LogParts> = (0..each)
                .map(|i| LogParts {
                    time: commit * SECOND - i,
                    severity: (commit % 25) as u8,
                    context: ([(commit % 200) as u8; 16], [i as u8; 8]),
                    text: Some(format!("record {i}")),
                    ..LogParts::default()
                })
                .collect();
            let entries: Vec<Entry<'_>> = parts.iter().map(|p| Entry::of(p, commit % 3, commit * SECOND)).collect();
            insert(&conn, &entries).expect("stored");
        }
        conn
    }

    #[test]
    fn merging_leaves_few_blocks_and_the_same_records() {
        let conn = filled(3_000, 3);
        let before = all(&conn);
        let trace = TraceId([7; 16]);
        let mut merges = 0;
        while merge(&conn, 3_001 * SECOND).expect("merged") {
            merges += 1;
        }
        assert_eq!(all(&conn), before);
        let blocks = list(&conn, &Wanted::all(i64::MAX)).expect("listed");
        assert!(blocks.len() < 40, "{} blocks after {merges} merges", blocks.len());
        // The hour is over: what is left becomes one.
        while merge(&conn, 2 * STRETCH).expect("merged") {}
        let blocks = list(&conn, &Wanted::all(i64::MAX)).expect("listed");
        assert_eq!((blocks.len(), all(&conn)), (1, before));
        assert_eq!(of_trace(&conn, trace, blocks.clone()).expect("filtered").len(), 1);
        assert!(blocks[0].has_any_of(&HashSet::from([2])) && !blocks[0].has_any_of(&HashSet::from([3])));
    }

    #[test]
    fn blocks_are_listed_by_time_severity_arrival_and_trace() {
        let conn = filled(20, 2);
        let count = |wanted: Wanted| list(&conn, &wanted).expect("listed").len();
        let ever = Wanted::all(i64::MAX);
        assert_eq!(count(Wanted { times: (5 * SECOND, 9 * SECOND - 1), ..ever }), 4);
        assert_eq!(count(Wanted { severities: (19, 255), ..ever }), 2);
        assert_eq!(count(Wanted { severities: (0, 3), ..ever }), 3);
        assert_eq!(count(Wanted { as_of: 7 * SECOND, ..ever }), 7);
        let found = of_trace(&conn, TraceId([4; 16]), list(&conn, &ever).expect("listed")).expect("filtered");
        assert_eq!(found.iter().map(|b| b.max_time).collect::<Vec<_>>(), [4 * SECOND]);
    }

    #[test]
    fn old_blocks_go_and_what_is_pinned_stays() {
        let conn = filled(10, 2);
        conn.execute("INSERT INTO pins (oldest, newest) VALUES (?1, ?2)", [2 * SECOND, 3 * SECOND - 5])
            .expect("pinned");
        assert_eq!(sweep(&conn, 6 * SECOND, 3).expect("swept"), (3, 6));
        assert_eq!(sweep(&conn, 6 * SECOND, 3).expect("swept"), (1, 2));
        assert_eq!(sweep(&conn, 6 * SECOND, 3).expect("swept"), (0, 0));
        let left: Vec<i64> = all(&conn).iter().map(|r| r.1 / SECOND).collect();
        assert_eq!(left, [2, 2, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10]);
    }

    #[test]
    fn what_was_stored_lately_is_known_after_a_restart() {
        let conn = filled(10, 2);
        let known = recent(&conn, 10 * SECOND).expect("read back");
        assert!(all(&conn).iter().all(|(_, _, identity)| known.knows(*identity)));
        let later = recent(&conn, 8 * SECOND + 15 * 60 * SECOND).expect("read back");
        assert_eq!(later.len(), 6);
    }

    #[test]
    fn records_are_copied_by_time_trace_and_arrival() {
        let (from, to) = (filled(10, 2), tables());
        let keep = |time: i64, trace: TraceId| time > 8 * SECOND || trace == TraceId([2; 16]);
        copy(&from, &to, 9 * SECOND, keep).expect("copied");
        assert_eq!(all(&to).iter().map(|r| r.1 / SECOND).collect::<Vec<_>>(), [2, 2, 9, 9]);
    }
}
