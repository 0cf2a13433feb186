//! OTLP's encoded messages into the console's words.

use std::sync::Arc;

use fuseboard_api::log::LogRecord;
use fuseboard_api::span::Origin;
use fuseboard_api::{SpanId, TraceId, UnixNanos};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

pub(super) use crate::otlp::words::{attributes, value};
use crate::store::StoreError;
use crate::store::logs::Entry;

/// Decodes what the store holds; only a damaged file fails here.
pub(super) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, StoreError> {
    M::decode(bytes).map_err(|e| StoreError::Corrupt(e.to_string()))
}

/// A log record in the console's words.
pub(super) fn log(entry: &Entry<'_>, origin: Arc<Origin>) -> Result<LogRecord, StoreError> {
    let r = entry.whole().map_err(|e| StoreError::Corrupt(e.to_string()))?;
    Ok(LogRecord {
        time: UnixNanos(entry.time),
        severity: entry.severity,
        severity_text: r.severity_text,
        observed: entry.observed.and_then(|t| i64::try_from(t).ok()).map(UnixNanos),
        event_name: r.event_name,
        body: value(r.body),
        attributes: attributes(r.attributes),
        trace_id: TraceId::from_slice(&r.trace_id),
        span_id: SpanId::from_slice(&r.span_id),
        flags: r.flags,
        dropped_attributes: r.dropped_attributes_count,
        origin,
        arrival: UnixNanos(entry.arrival),
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
