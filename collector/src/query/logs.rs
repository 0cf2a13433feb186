//! Log records, newest first.

use fuseboard_api::UnixNanos;
use fuseboard_api::log::{LogList, LogQuery, LogRecord};
use rusqlite::{Connection, params};

use super::proto;
use super::spans::Origins;
use crate::store::StoreError;

const DEFAULT_LIMIT: u32 = 500;
const MAX_LIMIT: u32 = 10_000;

pub(super) fn logs(conn: &Connection, query: &LogQuery, as_of: UnixNanos) -> Result<LogList, StoreError> {
    let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MAX_LIMIT) } as usize;
    let text = query.text.as_ref().map(|t| t.to_lowercase());
    // With a trace the short index wins, without one the one by time.
    let of_trace = if query.trace_id.is_some() { "trace_id = ?1" } else { "?1 IS NULL" };
    let mut read = conn.prepare_cached(&format!(
        "SELECT time, arrival, origin, body FROM logs
         WHERE {of_trace} AND time >= ?2 AND time < ?3 AND arrival <= ?4 AND severity >= ?5 ORDER BY time DESC, id DESC"
    ))?;
    let trace = query.trace_id.as_ref().map(|t| &t.0[..]);
    let (from, to) = (query.range.from.0, query.range.to.0);
    let mut rows = read.query(params![trace, from, to, as_of.0, query.min_severity])?;
    let mut origins = Origins::default();
    let mut out = LogList::default();
    while let Some(row) = rows.next()? {
        let origin = origins.get(conn, row.get(2)?)?;
        if query.service.as_ref().is_some_and(|s| *s != origin.service) {
            continue;
        }
        let body = row.get_ref(3)?.as_blob().map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let record = proto::log(row.get(0)?, row.get(1)?, body, origin)?;
        if !text.as_ref().is_none_or(|t| says(&record, t)) {
            continue;
        }
        if out.rows.len() == limit {
            out.more = true;
            break;
        }
        out.rows.push(record);
    }
    Ok(out)
}

fn says(record: &LogRecord, text: &str) -> bool {
    record.body.to_string().to_lowercase().contains(text) || record.event_name.to_lowercase().contains(text)
}
