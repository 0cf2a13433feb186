//! Spans.

use std::collections::HashSet;

use fuseboard_api::span::SpanKind;
use fuseboard_api::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::{Decoded, nanos, reasonable, short};
use crate::ingest::facts;
use crate::store::rows::NewSpan;

/// Decodes a request.
pub(in crate::ingest) fn traces(request: ExportTraceServiceRequest) -> Decoded {
    let mut out = Decoded::default();
    let mut keys = HashSet::new();
    for resource in request.resource_spans {
        for scope in resource.scope_spans {
            if scope.spans.is_empty() {
                continue;
            }
            let origin =
                out.origin(resource.resource.as_ref(), &resource.schema_url, scope.scope.as_ref(), &scope.schema_url);
            for span in scope.spans {
                let name = span.name.clone();
                match decode(span, origin, &mut keys) {
                    Ok(row) => {
                        out.batch.bytes += row.body.len() + row.name.len() + 300;
                        out.batch.spans.push(row);
                    }
                    Err(reason) => out.refused.add(reason, &name),
                }
            }
        }
    }
    out
}

fn decode(mut span: Span, origin: usize, keys: &mut HashSet<String>) -> Result<NewSpan, &'static str> {
    let trace_id = TraceId::from_slice(&span.trace_id).ok_or("whose trace id is not 16 bytes, or all zeros")?;
    let span_id = SpanId::from_slice(&span.span_id).ok_or("whose span id is not 8 bytes, or all zeros")?;
    // All zeros means none, as in W3C trace context.
    let parent = match span.parent_span_id.len() {
        0 | 8 => SpanId::from_slice(&span.parent_span_id),
        _ => return Err("whose parent's id is not 8 bytes"),
    };
    if span.start_time_unix_nano == 0 {
        return Err("without a start time");
    }
    if span.end_time_unix_nano == 0 {
        return Err("without an end time");
    }
    let start = nanos(span.start_time_unix_nano).ok_or("that starts after the year 2262")?;
    let end = nanos(span.end_time_unix_nano).ok_or("that ends after the year 2262")?;
    let all = || {
        let events = span.events.iter().map(|e| &e.attributes);
        events.chain(span.links.iter().map(|l| &l.attributes)).chain([&span.attributes])
    };
    if !all().all(|attributes| reasonable(attributes)) {
        return Err("with more than 10,000 attributes, or values nested deeper than 64");
    }
    let kind = kind(span.kind);
    let mut facts = facts::of(kind, &span.name, &span.attributes);
    facts.operation = short(facts.operation);
    facts.fallback = short(facts.fallback);
    if let Some(peer) = &mut facts.peer {
        (peer.name, peer.system) = (short(std::mem::take(&mut peer.name)), short(std::mem::take(&mut peer.system)));
    }
    let mut fresh = Vec::new();
    for kv in &span.attributes {
        if keys.len() < 2_000 && !keys.contains(&kv.key) {
            keys.insert(kv.key.clone());
            fresh.push(kv.key.clone());
        }
    }
    let name = short(std::mem::take(&mut span.name));
    let status = span.status.as_ref().map_or(0, |s| u8::try_from(s.code).unwrap_or(0).min(2));
    // What has a column of its own is not stored twice.
    span.trace_id.clear();
    span.span_id.clear();
    span.parent_span_id.clear();
    (span.kind, span.start_time_unix_nano, span.end_time_unix_nano) = (0, 0, 0);
    let body = span.encode_to_vec();
    Ok(NewSpan { origin, trace_id, span_id, parent, name, kind, start, end, status, facts, body, keys: fresh })
}

fn kind(code: i32) -> SpanKind {
    match code {
        1 => SpanKind::Internal,
        2 => SpanKind::Server,
        3 => SpanKind::Client,
        4 => SpanKind::Producer,
        5 => SpanKind::Consumer,
        _ => SpanKind::Unspecified,
    }
}
