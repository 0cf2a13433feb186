//! Log records.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::text::{Object, object};
use super::{any, attributes, resource, scope};

pub(super) fn write(request: &ExportLogsServiceRequest, out: &mut Vec<u8>) {
    object(out, |o| {
        o.list("resourceLogs", &request.resource_logs, |o, r| {
            if let Some(found) = &r.resource {
                o.object("resource", |o| resource(o, found));
            }
            o.list("scopeLogs", &r.scope_logs, |o, s| {
                if let Some(found) = &s.scope {
                    o.object("scope", |o| scope(o, found));
                }
                o.list("logRecords", &s.log_records, record);
                o.text("schemaUrl", &s.schema_url);
            });
            o.text("schemaUrl", &r.schema_url);
        });
    });
}

fn record(o: &mut Object<'_>, record: &LogRecord) {
    o.long("timeUnixNano", record.time_unix_nano);
    o.long("observedTimeUnixNano", record.observed_time_unix_nano);
    o.number("severityNumber", record.severity_number);
    o.text("severityText", &record.severity_text);
    if let Some(body) = &record.body {
        o.object("body", |o| any(o, body));
    }
    attributes(o, "attributes", &record.attributes);
    o.number("droppedAttributesCount", record.dropped_attributes_count);
    o.number("flags", record.flags);
    o.hex("traceId", &record.trace_id);
    o.hex("spanId", &record.span_id);
    o.text("eventName", &record.event_name);
}
