//! The rival: a plain SQLite store with one row a span, as one would write it in an afternoon, and not badly. Decoded by
//! prost; names and senders are numbers; what has a column is not in the body again; statements are prepared once; indexes
//! on the trace id and on service and start; the same durability and the same settings as ours.

use std::collections::HashMap;
use std::path::Path;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use rusqlite::{Connection, params};

const TABLES: &str = "
PRAGMA page_size = 8192;
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536;
PRAGMA wal_autocheckpoint = 4096; PRAGMA journal_size_limit = 67108864;
CREATE TABLE resources (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE names (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE spans (
    id INTEGER PRIMARY KEY,
    trace_id BLOB NOT NULL, span_id BLOB NOT NULL, parent BLOB,
    service INTEGER NOT NULL, resource INTEGER NOT NULL, name INTEGER NOT NULL, kind INTEGER NOT NULL,
    start INTEGER NOT NULL, end INTEGER NOT NULL, status INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX spans_by_trace ON spans (trace_id);
CREATE INDEX spans_by_service ON spans (service, start);
";

const INSERT: &str = "INSERT INTO spans
    (trace_id, span_id, parent, service, resource, name, kind, start, end, status, body)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// A row store.
pub(crate) struct Rows {
    conn: Connection,
    names: HashMap<String, i64>,
    resources: HashMap<Vec<u8>, i64>,
}

impl Rows {
    /// A new file.
    pub(crate) fn create(path: &Path) -> rusqlite::Result<Self> {
        let conn = Connection::open(path)?;
        conn.execute_batch(TABLES)?;
        Ok(Self { conn, names: HashMap::new(), resources: HashMap::new() })
    }

    /// Stores requests in one transaction; durable when it returns. Gives the number of spans.
    pub(crate) fn commit(&mut self, requests: &[impl AsRef<[u8]>]) -> rusqlite::Result<u64> {
        let Self { conn, names, resources } = self;
        let tx = conn.transaction()?;
        let mut spans = 0;
        {
            let mut insert = tx.prepare_cached(INSERT)?;
            for request in requests {
                let request = ExportTraceServiceRequest::decode(request.as_ref()).expect("what was encoded");
                for of in request.resource_spans {
                    let resource = of.resource.unwrap_or_default();
                    let service = number(&tx, names, service(&resource))?;
                    let resource = resource_number(&tx, resources, resource.encode_to_vec())?;
                    for mut span in of.scope_spans.into_iter().flat_map(|s| s.spans) {
                        let name = number(&tx, names, &span.name)?;
                        let (trace_id, span_id) =
                            (std::mem::take(&mut span.trace_id), std::mem::take(&mut span.span_id));
                        let parent = std::mem::take(&mut span.parent_span_id);
                        let (start, end) = (span.start_time_unix_nano as i64, span.end_time_unix_nano as i64);
                        let kind = span.kind;
                        (span.kind, span.start_time_unix_nano, span.end_time_unix_nano) = (0, 0, 0);
                        span.name.clear();
                        let status = span.status.as_ref().map_or(0, |s| s.code);
                        let body = span.encode_to_vec();
                        insert.execute(params![
                            trace_id, span_id, parent, service, resource, name, kind, start, end, status, body
                        ])?;
                        spans += 1;
                    }
                }
            }
        }
        tx.commit()?;
        Ok(spans)
    }

    /// Closes the file, its log folded in.
    pub(crate) fn close(self) -> rusqlite::Result<()> {
        self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);")?;
        self.conn.close().map_err(|(_, e)| e)
    }
}

fn service(resource: &Resource) -> &str {
    let named = resource.attributes.iter().find(|kv| kv.key == "service.name");
    match named.and_then(|kv| kv.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(name)) => name,
        _ => "",
    }
}

fn number(conn: &Connection, known: &mut HashMap<String, i64>, text: &str) -> rusqlite::Result<i64> {
    if let Some(id) = known.get(text) {
        return Ok(*id);
    }
    conn.prepare_cached("INSERT INTO names (text) VALUES (?1)")?.execute([text])?;
    known.insert(text.to_owned(), conn.last_insert_rowid());
    Ok(conn.last_insert_rowid())
}

fn resource_number(conn: &Connection, known: &mut HashMap<Vec<u8>, i64>, body: Vec<u8>) -> rusqlite::Result<i64> {
    if let Some(id) = known.get(&body) {
        return Ok(*id);
    }
    conn.prepare_cached("INSERT INTO resources (body) VALUES (?1)")?.execute([&body])?;
    known.insert(body, conn.last_insert_rowid());
    Ok(conn.last_insert_rowid())
}
