//! Spans out of the store, in the messages that they came in.

use std::collections::HashMap;
use std::sync::Arc;

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use rusqlite::Connection;

use super::{ExportError, Selection};
use crate::query;
use crate::store::segment::{Columns, Part, Parts};
use crate::store::{Snapshot, StoreError};

/// Traces of a page of the list that an export walks along.
const PAGE: u32 = 1_000;

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, StoreError> {
    M::decode(bytes).map_err(|e| StoreError::Corrupt(e.to_string()))
}

/// A resource and a scope as they came.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    resource: Option<Resource>,
    resource_schema_url: String,
    scope: Option<InstrumentationScope>,
    scope_schema_url: String,
}

/// Senders met so far, by their number.
#[derive(Default)]
pub(super) struct Senders(HashMap<i64, Arc<Sender>>);

impl Senders {
    pub(super) fn get(&mut self, conn: &Connection, id: i64) -> Result<Arc<Sender>, StoreError> {
        if let Some(known) = self.0.get(&id) {
            return Ok(known.clone());
        }
        let mut read = conn.prepare_cached(
            "SELECT resource, resource_schema_url, scope, scope_schema_url FROM origins WHERE id = ?1",
        )?;
        let (resource, resource_schema_url, scope, scope_schema_url) =
            read.query_row([id], |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get(1)?, r.get::<_, Vec<u8>>(2)?, r.get(3)?)))?;
        let sender = Arc::new(Sender {
            // None, and one without a field, are the same to OTLP.
            resource: (!resource.is_empty()).then(|| decode(&resource)).transpose()?,
            resource_schema_url,
            scope: (!scope.is_empty()).then(|| decode(&scope)).transpose()?,
            scope_schema_url,
        });
        self.0.insert(id, sender.clone());
        Ok(sender)
    }
}

/// Rows of a segment that are wanted.
pub(super) type Rows = (Arc<Columns>, Vec<usize>);

/// Hands over the rows of every span that was started in a range, segment by segment, oldest first.
pub(super) fn spans(
    snapshot: &Snapshot<'_>,
    range: TimeRange,
    as_of: UnixNanos,
    mut visit: impl FnMut(Rows) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut segments = snapshot.segments(range, as_of)?;
    segments.sort_by_key(|s| (s.min_start, s.id));
    for segment in &segments {
        let columns = snapshot.columns_unkept(segment, &Parts::all().with(&[Part::Arrival]))?;
        let wanted = |row: &usize| range.contains(columns.start(*row)) && columns.arrival(*row) <= as_of;
        let mut rows: Vec<usize> = (0..columns.rows()).filter(wanted).collect();
        rows.sort_by_key(|row| (columns.start(*row), *row));
        visit((columns, rows))?;
    }
    Ok(())
}

/// Hands over the number of every trace that the selection names, newest first.
pub(super) fn traces(
    snapshot: &Snapshot<'_>,
    selection: &Selection,
    as_of: UnixNanos,
    mut visit: impl FnMut(TraceId) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    if let Some(one) = selection.trace {
        return visit(one);
    }
    let mut query =
        TraceQuery { range: selection.range, filter: selection.filter.clone(), limit: PAGE, ..TraceQuery::default() };
    loop {
        let Answer::Traces(list) = query::answer(snapshot, &Question::Traces(query.clone()), as_of)? else {
            return Ok(());
        };
        list.rows.iter().try_for_each(|row| visit(row.trace_id))?;
        let Some(next) = list.next else { return Ok(()) };
        query.before = Some(next);
    }
}

/// Spans of some rows as a request, those of one sender together.
pub(super) fn request(
    conn: &Connection,
    senders: &mut Senders,
    columns: &Columns,
    rows: &[usize],
) -> Result<ExportTraceServiceRequest, StoreError> {
    let mut groups: Vec<(i64, ResourceSpans)> = Vec::new();
    let mut bytes = Vec::new();
    for row in rows {
        bytes.clear();
        columns.message(*row, &mut bytes);
        let span: Span = decode(&bytes)?;
        let origin = columns.origin(*row);
        let at = match groups.iter().position(|(known, _)| *known == origin) {
            Some(at) => at,
            None => {
                let sender = senders.get(conn, origin)?.as_ref().clone();
                let scope = ScopeSpans { scope: sender.scope, spans: Vec::new(), schema_url: sender.scope_schema_url };
                let schema_url = sender.resource_schema_url;
                groups
                    .push((origin, ResourceSpans { resource: sender.resource, scope_spans: vec![scope], schema_url }));
                groups.len() - 1
            }
        };
        if let Some(scope) = groups.get_mut(at).and_then(|(_, group)| group.scope_spans.first_mut()) {
            scope.spans.push(span);
        }
    }
    Ok(ExportTraceServiceRequest { resource_spans: groups.into_iter().map(|(_, group)| group).collect() })
}
