//! Reading spans and their senders.

use std::collections::HashMap;
use std::sync::Arc;

use fuseboard_api::span::{Origin, Span};
use fuseboard_api::{SpanId, TraceId, UnixNanos};
use rusqlite::{Connection, params};

use super::proto::{self, OriginRow, SpanRow};
use crate::store::StoreError;

/// Senders met in one answer, so that spans share them.
#[derive(Default)]
pub(super) struct Origins(HashMap<i64, Arc<Origin>>);

impl Origins {
    /// The sender with this number.
    pub(super) fn get(&mut self, conn: &Connection, id: i64) -> Result<Arc<Origin>, StoreError> {
        if let Some(origin) = self.0.get(&id) {
            return Ok(origin.clone());
        }
        let row = conn
            .prepare_cached(
                "SELECT service, instance, version, resource, resource_schema_url, scope, scope_schema_url
                 FROM origins WHERE id = ?1",
            )?
            .query_row([id], |r| {
                Ok(OriginRow {
                    service: r.get(0)?,
                    instance: r.get(1)?,
                    version: r.get(2)?,
                    resource: r.get(3)?,
                    resource_schema_url: r.get(4)?,
                    scope: r.get(5)?,
                    scope_schema_url: r.get(6)?,
                })
            })?;
        let origin = Arc::new(proto::origin(row)?);
        self.0.insert(id, origin.clone());
        Ok(origin)
    }
}

/// Calls `visit` with every whole span of a trace, by start.
pub(super) fn of_trace(
    conn: &Connection,
    trace: TraceId,
    as_of: UnixNanos,
    origins: &mut Origins,
    mut visit: impl FnMut(Span),
) -> Result<(), StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT s.span_id, s.parent, s.kind, n.text, s.start, s.end, s.arrival, s.origin, s.body
         FROM spans s JOIN names n ON n.id = s.name
         WHERE s.trace_id = ?1 AND s.arrival <= ?2 ORDER BY s.start, s.id",
    )?;
    let mut rows = read.query(params![&trace.0[..], as_of.0])?;
    while let Some(row) = rows.next()? {
        let columns = SpanRow {
            trace_id: trace,
            span_id: SpanId(row.get(0)?),
            parent: row.get::<_, Option<[u8; 8]>>(1)?.map(SpanId),
            kind: row.get(2)?,
            name: row.get(3)?,
            start: row.get(4)?,
            end: row.get(5)?,
            arrival: row.get(6)?,
        };
        let origin = origins.get(conn, row.get(7)?)?;
        let body = row.get_ref(8)?.as_blob().map_err(|e| StoreError::Corrupt(e.to_string()))?;
        visit(proto::span(columns, body, origin)?);
    }
    Ok(())
}
