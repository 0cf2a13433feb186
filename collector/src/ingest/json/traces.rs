//! Spans.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::reader::{Object, Read, attributes, resource, scope};

const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// Reads a request.
pub(crate) fn traces(body: &[u8]) -> Read<ExportTraceServiceRequest> {
    traces_in(&serde_json::from_slice(body)?)
}

/// Reads a request that is parsed already.
pub(crate) fn traces_in(json: &serde_json::Value) -> Read<ExportTraceServiceRequest> {
    let resource_spans = Object::of("body", json)?.each("resourceSpans", |o| {
        Ok(ResourceSpans {
            resource: o.object("resource", resource)?,
            scope_spans: o.each("scopeSpans", |o| {
                Ok(ScopeSpans {
                    scope: o.object("scope", scope)?,
                    spans: o.each("spans", span)?,
                    schema_url: o.text("schemaUrl")?,
                })
            })?,
            schema_url: o.text("schemaUrl")?,
        })
    })?;
    Ok(ExportTraceServiceRequest { resource_spans })
}

fn span(o: Object<'_>) -> Read<Span> {
    Ok(Span {
        trace_id: o.hex("traceId")?,
        span_id: o.hex("spanId")?,
        trace_state: o.text("traceState")?,
        parent_span_id: o.hex("parentSpanId")?,
        flags: o.u32("flags")?,
        name: o.text("name")?,
        kind: o.number_or_name("kind", &KINDS)?,
        start_time_unix_nano: o.u64("startTimeUnixNano")?,
        end_time_unix_nano: o.u64("endTimeUnixNano")?,
        attributes: attributes(o, "attributes")?,
        dropped_attributes_count: o.u32("droppedAttributesCount")?,
        events: o.each("events", |e| {
            Ok(Event {
                time_unix_nano: e.u64("timeUnixNano")?,
                name: e.text("name")?,
                attributes: attributes(e, "attributes")?,
                dropped_attributes_count: e.u32("droppedAttributesCount")?,
            })
        })?,
        dropped_events_count: o.u32("droppedEventsCount")?,
        links: o.each("links", |l| {
            Ok(Link {
                trace_id: l.hex("traceId")?,
                span_id: l.hex("spanId")?,
                trace_state: l.text("traceState")?,
                attributes: attributes(l, "attributes")?,
                dropped_attributes_count: l.u32("droppedAttributesCount")?,
                flags: l.u32("flags")?,
            })
        })?,
        dropped_links_count: o.u32("droppedLinksCount")?,
        status: o.object("status", |s| {
            Ok(Status { message: s.text("message")?, code: s.number_or_name("code", &CODES)? })
        })?,
    })
}
