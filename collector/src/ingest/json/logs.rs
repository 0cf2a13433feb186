//! Log records.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};

use super::reader::{Object, Read, any, attributes, resource, scope};

/// Reads a request.
pub(crate) fn logs(body: &[u8]) -> Read<ExportLogsServiceRequest> {
    logs_in(&serde_json::from_slice(body)?)
}

/// Reads a request that is parsed already.
pub(crate) fn logs_in(json: &serde_json::Value) -> Read<ExportLogsServiceRequest> {
    let resource_logs = Object::of("body", json)?.each("resourceLogs", |o| {
        Ok(ResourceLogs {
            resource: o.object("resource", resource)?,
            scope_logs: o.each("scopeLogs", |o| {
                Ok(ScopeLogs {
                    scope: o.object("scope", scope)?,
                    log_records: o.each("logRecords", record)?,
                    schema_url: o.text("schemaUrl")?,
                })
            })?,
            schema_url: o.text("schemaUrl")?,
        })
    })?;
    Ok(ExportLogsServiceRequest { resource_logs })
}

fn record(o: Object<'_>) -> Read<LogRecord> {
    Ok(LogRecord {
        time_unix_nano: o.u64("timeUnixNano")?,
        observed_time_unix_nano: o.u64("observedTimeUnixNano")?,
        severity_number: o.i32("severityNumber")?,
        severity_text: o.text("severityText")?,
        body: o.object("body", any)?,
        attributes: attributes(o, "attributes")?,
        dropped_attributes_count: o.u32("droppedAttributesCount")?,
        flags: o.u32("flags")?,
        trace_id: o.hex("traceId")?,
        span_id: o.hex("spanId")?,
        event_name: o.text("eventName")?,
    })
}
