//! Files of schema 1, which had a row a span and a log record, into those of today. It goes on where it was interrupted: each
//! step takes some rows out of the old tables and puts a segment or a block in, in one transaction.

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior};

use super::logs::{Entry, LogParts, tables};
use super::rebuild::Rebuild;
use super::segments::{self, ROWS};
use super::{StoreError, schema};

/// Bytes of encoded spans that become one segment at most.
const BYTES: usize = 24 * 1024 * 1024;

/// Brings a file of schema 1 up to date. Halves of calls that waited for the other one are no longer waited for.
pub(super) fn from_1(conn: &Connection) -> Result<(), StoreError> {
    tracing::info!("the file is of schema 1 and is brought up to date; this may take a while");
    let begin = || Transaction::new_unchecked(conn, TransactionBehavior::Immediate);
    let tx = begin()?;
    // Of the same name, with other columns.
    tx.execute_batch("DROP TABLE IF EXISTS pending")?;
    add_metadata(&tx)?;
    schema::create(&tx)?;
    tx.commit()?;
    loop {
        let tx = begin()?;
        let (segment, last) = some(&tx)?;
        let Some(last) = last else { break };
        let packed = segment.finish()?;
        segments::insert(&tx, &packed, u64::from(packed.summary.traces))?;
        tx.execute("DELETE FROM spans WHERE id <= ?1", [last])?;
        tx.commit()?;
    }
    loop {
        let tx = begin()?;
        let Some(last) = some_logs(&tx)? else { break };
        tx.execute("DELETE FROM logs WHERE id <= ?1", [last])?;
        tx.commit()?;
    }
    let tx = begin()?;
    tx.execute_batch("DROP TABLE spans; DROP TABLE names; DROP TABLE logs;")?;
    tx.pragma_update(None, "user_version", schema::VERSION)?;
    Ok(tx.commit()?)
}

/// The first rows, and the number of the last of them; `None` when there are no more.
fn some(conn: &Connection) -> Result<(Rebuild, Option<i64>), StoreError> {
    let mut out = Rebuild::default();
    let mut last = None;
    let mut read = conn.prepare_cached(
        "SELECT s.id, s.origin, s.arrival, s.trace_id, s.span_id, s.parent, n.text, s.kind, s.start, s.end, s.body
         FROM spans s JOIN names n ON n.id = s.name ORDER BY s.id LIMIT ?1",
    )?;
    let mut rows = read.query([ROWS as i64])?;
    while let Some(row) = rows.next()? {
        out.add(row.get(1)?, row.get(2)?, &whole(row)?);
        last = Some(row.get(0)?);
        if out.bytes() >= BYTES {
            break;
        }
    }
    Ok((out, last))
}

/// Records of the old table that become one block.
const RECORDS: i64 = 8_192;

/// Makes a block of the first log records, gives the number of the last of them; `None` when there are no more.
fn some_logs(conn: &Connection) -> Result<Option<i64>, StoreError> {
    let mut last = None;
    let mut bytes = 0;
    let mut found = Vec::new();
    let mut read = conn.prepare_cached("SELECT id, origin, arrival, time, body FROM logs ORDER BY id LIMIT ?1")?;
    let mut rows = read.query([RECORDS])?;
    while let Some(row) = rows.next()? {
        let body = row.get_ref(4)?.as_blob().unwrap_or_default();
        let record = LogRecord::decode(body).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let (origin, arrival): (i64, i64) = (row.get(1)?, row.get(2)?);
        // What one commit brought stays together: records of equal times are told apart by their order in it.
        if bytes >= BYTES && found.last().is_some_and(|(_, before, _)| *before != arrival) {
            break;
        }
        bytes += body.len();
        found.push((origin, arrival, LogParts::of(record, row.get(3)?)));
        last = Some(row.get(0)?);
    }
    let entries: Vec<Entry<'_>> = found.iter().map(|(origin, arrival, p)| Entry::of(p, *origin, *arrival)).collect();
    tables::insert(conn, &entries)?;
    Ok(last)
}

/// Adds what metrics did not have then.
fn add_metadata(conn: &Connection) -> rusqlite::Result<()> {
    let there = "SELECT count(*) FROM pragma_table_info('metrics') WHERE name = 'metadata'";
    if conn.query_row(there, [], |r| r.get::<_, i64>(0))? == 0 {
        conn.execute_batch("ALTER TABLE metrics ADD COLUMN metadata BLOB NOT NULL DEFAULT x''")?;
    }
    Ok(())
}

/// A span as it was sent: what had a column of its own was not in the body.
fn whole(row: &Row<'_>) -> Result<Vec<u8>, StoreError> {
    let body = row.get_ref(10)?.as_blob().unwrap_or_default();
    let mut span = Span::decode(body).map_err(|e| StoreError::Corrupt(e.to_string()))?;
    span.trace_id = row.get(3)?;
    span.span_id = row.get(4)?;
    span.parent_span_id = row.get::<_, Option<Vec<u8>>>(5)?.unwrap_or_default();
    span.name = row.get(6)?;
    span.kind = row.get(7)?;
    span.start_time_unix_nano = row.get::<_, i64>(8)?.max(0) as u64;
    span.end_time_unix_nano = row.get::<_, i64>(9)?.max(0) as u64;
    Ok(span.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use fuseboard_api::{TraceId, UnixNanos};
    use rusqlite::params;

    use super::*;
    use crate::store::segment::Parts;
    use crate::store::{OpenMode, Store, testing};

    /// What schema 1 had and today's has not.
    const OLD: &str = "
        CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
        CREATE TABLE spans (
            id INTEGER PRIMARY KEY,
            trace_id BLOB NOT NULL, span_id BLOB NOT NULL, side INTEGER NOT NULL, parent BLOB,
            origin INTEGER NOT NULL, name INTEGER NOT NULL, kind INTEGER NOT NULL,
            start INTEGER NOT NULL, end INTEGER NOT NULL, status INTEGER NOT NULL, marks INTEGER NOT NULL, peer INTEGER,
            arrival INTEGER NOT NULL, body BLOB NOT NULL
        ) STRICT;
        CREATE TABLE pending (span INTEGER PRIMARY KEY, server INTEGER NOT NULL) STRICT;
        CREATE TABLE logs (
            id INTEGER PRIMARY KEY, time INTEGER NOT NULL, severity INTEGER NOT NULL, origin INTEGER NOT NULL,
            trace_id BLOB, span_id BLOB, arrival INTEGER NOT NULL, body BLOB NOT NULL
        ) STRICT;
        ALTER TABLE metrics DROP COLUMN metadata;
        ALTER TABLE statuses DROP COLUMN reverted_from;
        ALTER TABLE statuses DROP COLUMN since;
        INSERT INTO names VALUES (1, 'work');
        PRAGMA user_version = 1;";

    #[tokio::test]
    async fn an_older_file_is_brought_up_to_date() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("data.fuseboard");
        let store = Store::open(&path, OpenMode::ReadWrite).expect("made");
        store.append(testing::batch("shop", vec![testing::span(9, 9, 2, 9_000)])).await.expect("stored");
        drop(store);
        let conn = Connection::open(&path).expect("opened");
        for table in [
            "segments",
            "segment_data",
            "segment_filters",
            "pending",
            "trace_filters",
            "calls_under_way",
            "log_blocks",
            "log_data",
            "log_filters",
        ] {
            conn.execute_batch(&format!("DROP TABLE {table}")).expect("dropped");
        }
        conn.execute_batch(OLD).expect("made old");
        conn.execute_batch("BEGIN").expect("begun");
        for id in 1..=20_000_i64 {
            let rest = testing::with(Span::default(), "n", &id.to_string());
            let trace = [(id % 100) as u8 + 1; 16];
            let values =
                params![id, &trace[..], &id.to_be_bytes()[..], id * 1_000, id * 1_000 + 7, rest.encode_to_vec()];
            let sql = "INSERT INTO spans VALUES (?1, ?2, ?3, 0, NULL, 1, 1, 3, ?4, ?5, 0, 0, NULL, ?1, ?6)";
            conn.execute(sql, values).expect("put in");
        }
        for id in 1..=10_000_i64 {
            let record =
                LogRecord { time_unix_nano: id as u64, event_name: format!("event {id}"), ..LogRecord::default() };
            let sql = "INSERT INTO logs VALUES (?1, ?1, 9, 1, NULL, NULL, ?2, ?3)";
            conn.execute(sql, params![id, id / 2, record.encode_to_vec()]).expect("put in");
        }
        conn.execute_batch("COMMIT").expect("committed");
        drop(conn);
        let said = Store::open(&path, OpenMode::ReadOnly).expect_err("old").to_string();
        assert!(said.contains("older Fuseboard (schema 1, this program reads 3); start a collector on it"), "{said}");
        let store = Store::open(&path, OpenMode::ReadWrite).expect("converts");
        let found = store.read(|s| s.trace(TraceId([8; 16]), UnixNanos(507), &Parts::all())).await.expect("read");
        let rows: Vec<(i64, String)> = found
            .iter()
            .flat_map(|(columns, rows)| rows.iter().map(|at| (columns.start(*at).0, columns.name(*at).to_owned())))
            .collect();
        let expected: Vec<_> = [7, 107, 207, 307, 407, 507].map(|id| (id * 1_000, "work".to_owned())).into();
        assert_eq!(rows, expected, "those that had arrived");
        let logs = store.read(|s| -> Result<_, StoreError> {
            let mut out = Vec::new();
            for row in tables::list(s, &tables::Wanted::all(i64::MAX))?.into_iter().rev() {
                let block = tables::read(s, row.id)?;
                let texts = block.texts().map_err(tables::damaged)?;
                let event = |e: Entry<'_>| (e.time, e.arrival, e.whole().expect("whole").event_name);
                out.extend(block.entries(&texts).map(event));
            }
            Ok(out)
        });
        let expected: Vec<_> = (1..=10_000_i64).map(|id| (id, id / 2, format!("event {id}"))).collect();
        assert_eq!(logs.await.expect("read"), expected);
        let again = Span { span_id: 7_i64.to_be_bytes().to_vec(), ..testing::span(8, 1, 3, 7_000) };
        let appended = store.append(testing::batch("shop", vec![again])).await.expect("stored");
        assert_eq!((appended.stored, appended.duplicates), (0, 1));
        drop(store);
        Store::open(&path, OpenMode::ReadOnly).expect("up to date");
        let conn = Connection::open(&path).expect("opened");
        conn.execute_batch("SELECT reverted_from, since FROM statuses").expect("columns that came later are there");
    }
}
