//! Reading spans and their senders.

use std::collections::HashMap;
use std::sync::Arc;

use fuseboard_api::span::{Origin, Span};
use fuseboard_api::{TraceId, UnixNanos};
use rusqlite::Connection;

use super::proto::{self, OriginRow};
use crate::store::segment::Parts;
use crate::store::{Snapshot, StoreError};

/// Senders met in one answer, so that spans share them.
#[derive(Default)]
pub(crate) struct Origins(HashMap<i64, Arc<Origin>>);

impl Origins {
    /// The sender with this number.
    pub(crate) fn get(&mut self, conn: &Connection, id: i64) -> Result<Arc<Origin>, StoreError> {
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

/// Every whole span of a trace, by start.
pub(crate) fn of_trace(
    read: &Snapshot<'_>,
    trace: TraceId,
    as_of: UnixNanos,
    origins: &mut Origins,
) -> Result<Vec<Span>, StoreError> {
    let mut out = Vec::new();
    for (columns, rows) in read.trace(trace, as_of, &Parts::all())? {
        for row in rows {
            let origin = origins.get(read, columns.origin(row))?;
            out.push(columns.span(row, origin));
        }
    }
    // Nothing here depends on which segment a span lies in.
    out.sort_by_key(|s| (s.start, s.arrival, s.span_id, s.end));
    Ok(out)
}
