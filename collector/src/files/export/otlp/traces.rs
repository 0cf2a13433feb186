//! Spans.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::text::{Object, object};
use super::{attributes, resource, scope};

pub(super) fn write(request: &ExportTraceServiceRequest, out: &mut Vec<u8>) {
    object(out, |o| {
        o.list("resourceSpans", &request.resource_spans, |o, r| {
            if let Some(found) = &r.resource {
                o.object("resource", |o| resource(o, found));
            }
            o.list("scopeSpans", &r.scope_spans, |o, s| {
                if let Some(found) = &s.scope {
                    o.object("scope", |o| scope(o, found));
                }
                o.list("spans", &s.spans, span);
                o.text("schemaUrl", &s.schema_url);
            });
            o.text("schemaUrl", &r.schema_url);
        });
    });
}

fn span(o: &mut Object<'_>, span: &Span) {
    o.hex("traceId", &span.trace_id);
    o.hex("spanId", &span.span_id);
    o.text("traceState", &span.trace_state);
    o.hex("parentSpanId", &span.parent_span_id);
    o.number("flags", span.flags);
    o.text("name", &span.name);
    o.number("kind", span.kind);
    o.long("startTimeUnixNano", span.start_time_unix_nano);
    o.long("endTimeUnixNano", span.end_time_unix_nano);
    attributes(o, "attributes", &span.attributes);
    o.number("droppedAttributesCount", span.dropped_attributes_count);
    o.list("events", &span.events, |o, event| {
        o.long("timeUnixNano", event.time_unix_nano);
        o.text("name", &event.name);
        attributes(o, "attributes", &event.attributes);
        o.number("droppedAttributesCount", event.dropped_attributes_count);
    });
    o.number("droppedEventsCount", span.dropped_events_count);
    o.list("links", &span.links, |o, link| {
        o.hex("traceId", &link.trace_id);
        o.hex("spanId", &link.span_id);
        o.text("traceState", &link.trace_state);
        attributes(o, "attributes", &link.attributes);
        o.number("droppedAttributesCount", link.dropped_attributes_count);
        o.number("flags", link.flags);
    });
    o.number("droppedLinksCount", span.dropped_links_count);
    if let Some(status) = &span.status {
        o.object("status", |o| {
            o.text("message", &status.message);
            o.number("code", status.code);
        });
    }
}
