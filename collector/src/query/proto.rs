//! OTLP's encoded messages into the console's words.

use std::sync::Arc;

use fuseboard_api::log::LogRecord;
use fuseboard_api::span::{Origin, Span, SpanKind, StatusCode};
use fuseboard_api::{SpanId, TraceId, UnixNanos};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as traces;
use prost::Message;

pub(super) use crate::otlp::words::{attributes, value};
use crate::otlp::words::{event, link};
use crate::store::StoreError;

/// Decodes what the store holds; only a damaged file fails here.
pub(super) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, StoreError> {
    M::decode(bytes).map_err(|e| StoreError::Corrupt(e.to_string()))
}

/// The columns of a span's row.
pub(super) struct SpanRow {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) kind: i64,
    pub(super) name: String,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) arrival: i64,
}

/// A span from its columns and its encoded rest.
pub(super) fn span(row: SpanRow, body: &[u8], origin: Arc<Origin>) -> Result<Span, StoreError> {
    let rest: traces::Span = decode(body)?;
    let (status, status_message) = match rest.status {
        None => (StatusCode::Unset, String::new()),
        Some(s) => {
            let code = match s.code {
                1 => StatusCode::Ok,
                2 => StatusCode::Error,
                _ => StatusCode::Unset,
            };
            (code, s.message)
        }
    };
    Ok(Span {
        trace_id: row.trace_id,
        span_id: row.span_id,
        parent: row.parent,
        name: row.name,
        kind: kind(row.kind),
        start: UnixNanos(row.start),
        end: UnixNanos(row.end),
        status,
        status_message,
        attributes: attributes(rest.attributes),
        events: rest.events.into_iter().map(event).collect(),
        links: rest.links.into_iter().map(link).collect(),
        trace_state: rest.trace_state,
        flags: rest.flags,
        dropped_attributes: rest.dropped_attributes_count,
        dropped_events: rest.dropped_events_count,
        dropped_links: rest.dropped_links_count,
        origin,
        arrival: UnixNanos(row.arrival),
    })
}

fn kind(code: i64) -> SpanKind {
    match code {
        1 => SpanKind::Internal,
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}

/// A log record from its row.
pub(super) fn log(time: i64, arrival: i64, body: &[u8], origin: Arc<Origin>) -> Result<LogRecord, StoreError> {
    let r: logs::LogRecord = decode(body)?;
    Ok(LogRecord {
        time: UnixNanos(time),
        severity: u8::try_from(r.severity_number).unwrap_or(0).min(24),
        severity_text: r.severity_text,
        event_name: r.event_name,
        body: value(r.body),
        attributes: attributes(r.attributes),
        trace_id: TraceId::from_slice(&r.trace_id),
        span_id: SpanId::from_slice(&r.span_id),
        origin,
        arrival: UnixNanos(arrival),
    })
}

/// A sender from its row.
pub(super) struct OriginRow {
    pub(super) service: String,
    pub(super) instance: String,
    pub(super) version: String,
    pub(super) resource: Vec<u8>,
    pub(super) resource_schema_url: String,
    pub(super) scope: Vec<u8>,
    pub(super) scope_schema_url: String,
}

pub(super) fn origin(row: OriginRow) -> Result<Origin, StoreError> {
    let resource: Resource = decode(&row.resource)?;
    let scope: InstrumentationScope = decode(&row.scope)?;
    Ok(Origin {
        service: row.service,
        instance: row.instance,
        version: row.version,
        resource: attributes(resource.attributes),
        resource_schema_url: row.resource_schema_url,
        scope: scope.name,
        scope_version: scope.version,
        scope_attributes: attributes(scope.attributes),
        scope_schema_url: row.scope_schema_url,
    })
}
