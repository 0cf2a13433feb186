//! OTLP's encoded messages into the console's words.

use std::sync::Arc;

use fuseboard_api::log::LogRecord;
use fuseboard_api::span::Origin;
use fuseboard_api::{SpanId, TraceId, UnixNanos};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1 as logs;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

pub(super) use crate::otlp::words::{attributes, value};
use crate::store::StoreError;

/// Decodes what the store holds; only a damaged file fails here.
pub(super) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, StoreError> {
    M::decode(bytes).map_err(|e| StoreError::Corrupt(e.to_string()))
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
