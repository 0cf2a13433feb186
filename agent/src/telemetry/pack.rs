//! Packs spans as an OTLP request (`opentelemetry/proto/collector/trace/v1/trace_service.proto`), from where they lie.

use std::time::SystemTime;

use bytes::Bytes;
use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::protobuf::Writer;
use super::queue::Told;
use super::span::Now;

/// The buffer that is kept for the next batch, at most, in bytes; one that grew beyond was for spans that say uncommonly much.
const KEPT: usize = 512 * 1024;
/// What a span usually takes, in bytes.
const USUAL: usize = 512;
/// Whether a flag of a span tells that its parent is remote, and that it is.
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// A span, whoever made it.
pub(super) struct Row<'a> {
    pub(super) ids: &'a SpanContext,
    pub(super) parent: SpanId,
    pub(super) parent_is_remote: bool,
    pub(super) kind: &'a SpanKind,
    pub(super) name: &'a str,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    /// What it has in common with others, then its own.
    pub(super) attributes: [&'a [KeyValue]; 2],
    pub(super) dropped_attributes: u32,
    pub(super) events: &'a SpanEvents,
    pub(super) links: &'a SpanLinks,
    pub(super) status: &'a Status,
}

impl<'a> From<&'a SpanData> for Row<'a> {
    fn from(span: &'a SpanData) -> Self {
        Self {
            ids: &span.span_context,
            parent: span.parent_span_id,
            parent_is_remote: span.parent_span_is_remote,
            kind: &span.span_kind,
            name: &span.name,
            start: span.start_time,
            end: span.end_time,
            attributes: [&span.attributes, &[]],
            dropped_attributes: span.dropped_attributes_count,
            events: &span.events,
            links: &span.links,
            status: &span.status,
        }
    }
}

/// Packs batches, in one buffer after the other's end.
pub(super) struct Packer {
    /// The resource and its schema, as they are in each request.
    resource: Vec<u8>,
    /// The scope of the agent's own spans.
    ours: Vec<u8>,
    /// The last request, for its room.
    last: Bytes,
}

impl Packer {
    /// For the spans of one agent.
    pub(super) fn new(resource: &Resource, ours: &InstrumentationScope) -> Self {
        let (mut own, mut scoped) = (Vec::new(), Vec::new());
        let mut w = Writer(&mut own);
        w.message(1, 2, |w| resource.iter().for_each(|(key, value)| attribute(w, 1, key.as_str(), value)));
        w.bytes(3, resource.schema_url().unwrap_or_default().as_bytes());
        scope(&mut Writer(&mut scoped), ours);
        Self { resource: own, ours: scoped, last: Bytes::new() }
    }

    /// A request with all of a batch. The spans of one scope are together in it, each scope's in their order.
    pub(super) fn pack(&mut self, batch: &[Told], now: Now) -> Bytes {
        let last = std::mem::take(&mut self.last);
        // Usually it is gone by now.
        let mut buffer = if last.is_unique() { Vec::from(last) } else { Vec::new() };
        buffer.clear();
        buffer.reserve(batch.len() * USUAL);
        let (resource, ours) = (&self.resource, &self.ours);
        Writer(&mut buffer).message(1, 3, |w| {
            w.raw(resource);
            let mut records = batch.iter().filter_map(Told::ours).peekable();
            if records.peek().is_some() {
                w.message(2, 3, |w| {
                    w.raw(ours);
                    records.for_each(|record| span(w, &record.row(now)));
                });
            }
            let mut rest: Vec<_> = batch.iter().filter_map(Told::sdks).collect();
            while let Some(of) = rest.first().map(|first| &first.instrumentation_scope) {
                w.message(2, 3, |w| {
                    scope(w, of);
                    let these = rest.iter().filter(|other| other.instrumentation_scope == *of);
                    these.for_each(|one| span(w, &Row::from(*one)));
                });
                rest.retain(|other| other.instrumentation_scope != *of);
            }
        });
        let packed = Bytes::from(buffer);
        if packed.len() <= KEPT {
            self.last = packed.clone();
        }
        packed
    }
}

/// The fields of `ScopeSpans` that are not spans.
fn scope(w: &mut Writer<'_>, of: &InstrumentationScope) {
    w.message(1, 1, |w| {
        w.bytes(1, of.name().as_bytes());
        w.bytes(2, of.version().unwrap_or_default().as_bytes());
        attributes(w, 3, of.attributes());
    });
    w.bytes(3, of.schema_url().unwrap_or_default().as_bytes());
}

fn span(w: &mut Writer<'_>, row: &Row<'_>) {
    w.message(2, 2, |w| {
        ids(w, row.ids);
        if row.parent != SpanId::INVALID {
            w.bytes(4, &row.parent.to_bytes());
        }
        w.bytes(5, row.name.as_bytes());
        w.number(6, kind(row.kind));
        w.fixed64(7, nanos(row.start));
        w.fixed64(8, nanos(row.end));
        row.attributes.iter().for_each(|some| attributes(w, 9, some.iter()));
        w.number(10, row.dropped_attributes.into());
        row.events.iter().for_each(|one| event(w, one));
        w.number(12, row.events.dropped_count.into());
        row.links.iter().for_each(|one| link(w, one));
        w.number(14, row.links.dropped_count.into());
        w.message(15, 1, |w| status(w, row.status));
        w.fixed32(16, flags(row.ids, row.parent_is_remote));
    });
}

fn event(w: &mut Writer<'_>, event: &Event) {
    w.message(11, 1, |w| {
        w.fixed64(1, nanos(event.timestamp));
        w.bytes(2, event.name.as_bytes());
        attributes(w, 3, event.attributes.iter());
        w.number(4, event.dropped_attributes_count.into());
    });
}

fn link(w: &mut Writer<'_>, link: &Link) {
    w.message(13, 1, |w| {
        ids(w, &link.span_context);
        attributes(w, 4, link.attributes.iter());
        w.number(5, link.dropped_attributes_count.into());
        w.fixed32(6, flags(&link.span_context, link.span_context.is_remote()));
    });
}

/// The first fields of a span and of a link.
fn ids(w: &mut Writer<'_>, of: &SpanContext) {
    w.bytes(1, &of.trace_id().to_bytes());
    w.bytes(2, &of.span_id().to_bytes());
    w.bytes(3, of.trace_state().header().as_bytes());
}

fn flags(of: &SpanContext, remote: bool) -> u32 {
    u32::from(of.trace_flags().to_u8()) | KNOWS_REMOTE | if remote { IS_REMOTE } else { 0 }
}

fn kind(kind: &SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn status(w: &mut Writer<'_>, status: &Status) {
    match status {
        Status::Unset => {}
        Status::Ok => w.number(3, 1),
        Status::Error { description } => {
            w.bytes(2, description.as_bytes());
            w.number(3, 2);
        }
    }
}

/// Nanoseconds since 1970; before that is 0.
fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attributes<'a>(w: &mut Writer<'_>, field: u32, all: impl Iterator<Item = &'a KeyValue>) {
    all.for_each(|one| attribute(w, field, one.key.as_str(), &one.value));
}

fn attribute(w: &mut Writer<'_>, field: u32, key: &str, of: &Value) {
    w.message(field, 1, |w| {
        w.bytes(1, key.as_bytes());
        w.message(2, 1, |w| value(w, of));
    });
}

/// An `AnyValue`.
fn value(w: &mut Writer<'_>, of: &Value) {
    match of {
        Value::String(text) => w.always_bytes(1, text.as_str().as_bytes()),
        Value::Bool(yes) => w.always_number(2, u64::from(*yes)),
        Value::I64(number) => w.always_number(3, number.cast_unsigned()),
        Value::F64(number) => w.always_double(4, *number),
        Value::Array(array) => w.message(5, 1, |w| values(w, array)),
        // A kind that this version does not know yet: the key without a value.
        _ => {}
    }
}

/// An `ArrayValue`.
fn values(w: &mut Writer<'_>, array: &Array) {
    let mut each = |write: &dyn Fn(&mut Writer<'_>)| w.message(1, 1, |w| write(w));
    match array {
        Array::String(all) => all.iter().for_each(|one| each(&|w| w.always_bytes(1, one.as_str().as_bytes()))),
        Array::Bool(all) => all.iter().for_each(|one| each(&|w| w.always_number(2, u64::from(*one)))),
        Array::I64(all) => all.iter().for_each(|one| each(&|w| w.always_number(3, one.cast_unsigned()))),
        Array::F64(all) => all.iter().for_each(|one| each(&|w| w.always_double(4, *one))),
        _ => {}
    }
}
