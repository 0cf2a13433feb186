//! Holds this reader against prost, for tests and for fuzzing.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::read::{self, Read};
use super::{FlatAttr, FlatSpan, Refused, Slice, SpanTape, Tag};

/// Reads bytes both ways.
///
/// # Panics
/// When one refuses what the other reads, or the two read different things.
pub fn check_against_prost(bytes: &[u8]) {
    let ours = read::traces(Bytes::copy_from_slice(bytes));
    match (ours, ExportTraceServiceRequest::decode(bytes)) {
        (Ok(ours), Ok(theirs)) => same(&ours, &theirs),
        (Err(_), Err(_)) => {}
        (Ok(_), Err(theirs)) => panic!("prost refuses it: {theirs}"),
        (Err(ours), Ok(_)) => panic!("prost reads it; we: {ours}"),
    }
}

fn same(ours: &Read, theirs: &ExportTraceServiceRequest) {
    let tape = &ours.tape;
    let mut refused = Refused::default();
    let mut spans = tape.spans.iter();
    let mut senders = 0..;
    for resource in &theirs.resource_spans {
        for scope in resource.scope_spans.iter().filter(|s| !s.spans.is_empty()) {
            let sender = senders.next().unwrap_or_default();
            same_sender(tape, sender, resource, scope);
            for span in &scope.spans {
                if let Some(reason) = reason(span) {
                    refused.add(reason, &span.name);
                    continue;
                }
                let Some(flat) = spans.next() else { panic!("fewer spans") };
                assert_eq!(flat.sender as usize, sender);
                same_span(tape, flat, span);
            }
        }
    }
    assert_eq!(spans.next(), None, "no more spans");
    assert_eq!(Some(tape.senders.len()), senders.next(), "as many senders");
    assert_eq!(ours.refused, refused);
}

fn reason(span: &Span) -> Option<&'static str> {
    let late = |time: u64| i64::try_from(time).is_err();
    let nothing = |id: &[u8], len: usize| id.len() != len || id.iter().all(|b| *b == 0);
    let most = span.events.iter().map(|e| e.attributes.len()).chain(span.links.iter().map(|l| l.attributes.len()));
    let most = most.chain([span.attributes.len()]).max().unwrap_or_default();
    Some(match span {
        s if nothing(&s.trace_id, 16) => "whose trace id is not 16 bytes, or all zeros",
        s if nothing(&s.span_id, 8) => "whose span id is not 8 bytes, or all zeros",
        s if !matches!(s.parent_span_id.len(), 0 | 8) => "whose parent's id is not 8 bytes",
        s if s.start_time_unix_nano == 0 => "without a start time",
        s if s.end_time_unix_nano == 0 => "without an end time",
        s if late(s.start_time_unix_nano) => "that starts after the year 2262",
        s if late(s.end_time_unix_nano) => "that ends after the year 2262",
        _ if most > 10_000 => "with more than 10,000 attributes",
        _ => return None,
    })
}

fn same_sender(tape: &SpanTape, position: usize, resource: &ResourceSpans, scope: &ScopeSpans) {
    let sender = &tape.senders[position];
    let attributes = resource.resource.as_ref().map_or(&[][..], |r| &r.attributes);
    let text = |key: &str| {
        let value = attributes.iter().find(|kv| kv.key == key).and_then(|kv| kv.value.as_ref()?.value.as_ref());
        let Some(Value::StringValue(text)) = value else { return String::new() };
        cut(text)
    };
    let name = Some(text("service.name")).filter(|n| !n.is_empty()).unwrap_or_else(|| "unknown_service".into());
    assert_eq!(tape.text(sender.service), name);
    assert_eq!(tape.text(sender.instance), text("service.instance.id"));
    assert_eq!(tape.text(sender.version), text("service.version"));
    alike(&decoded::<Resource>(tape, sender.resource), &resource.resource.clone().unwrap_or_default());
    alike(&decoded::<InstrumentationScope>(tape, sender.scope), &scope.scope.clone().unwrap_or_default());
    assert_eq!(tape.text(sender.resource_schema_url), resource.schema_url);
    assert_eq!(tape.text(sender.scope_schema_url), scope.schema_url);
}

fn same_span(tape: &SpanTape, flat: &FlatSpan, span: &Span) {
    alike(&decoded::<Span>(tape, flat.whole), span);
    let mut plain = span.clone();
    if plain.parent_span_id == [0; 8] {
        plain.parent_span_id.clear();
    }
    plain.name = cut(&plain.name);
    plain.status = plain.status.filter(|s| *s != Status::default());
    if !(0..=5).contains(&plain.kind) {
        assert!(flat.odd);
        plain.kind = 0;
    }
    if let Some(status) = plain.status.as_mut().filter(|s| !(0..=2).contains(&s.code)) {
        assert!(flat.odd);
        status.code = u8::try_from(status.code).map_or(0, |_| 2);
    }
    plain.status = plain.status.filter(|s| *s != Status::default());
    for kv in &mut plain.attributes {
        let plain = kv.value.is_some() && kv.key_strindex == 0;
        assert!(plain || flat.odd);
        if !plain {
            kv.key_strindex = 0;
            kv.value.get_or_insert_default();
        }
    }
    alike(&again(tape, flat), &plain);
}

/// A span from its flat fields.
fn again(tape: &SpanTape, span: &FlatSpan) -> Span {
    let status = Status { message: tape.text(span.status_message).to_owned(), code: i32::from(span.status) };
    let attributes = tape.attrs_of(span).iter().map(|attr| {
        let key = tape.text(attr.key).to_owned();
        let kv = decoded::<KeyValue>(tape, attr.whole);
        assert_eq!(kv.key, key);
        KeyValue { key, value: Some(value(tape, attr)), key_strindex: 0 }
    });
    Span {
        trace_id: span.trace_id.to_vec(),
        span_id: span.span_id.to_vec(),
        trace_state: tape.text(span.trace_state).to_owned(),
        parent_span_id: if span.parent == [0; 8] { Vec::new() } else { span.parent.to_vec() },
        flags: span.flags,
        name: tape.text(span.name).to_owned(),
        kind: i32::from(span.kind),
        start_time_unix_nano: span.start as u64,
        end_time_unix_nano: span.end as u64,
        attributes: attributes.collect(),
        dropped_attributes_count: span.dropped[0],
        events: tape.events_of(span).iter().map(|e| decoded(tape, *e)).collect(),
        dropped_events_count: span.dropped[1],
        links: tape.links_of(span).iter().map(|l| decoded(tape, *l)).collect(),
        dropped_links_count: span.dropped[2],
        status: Some(status).filter(|s| *s != Status::default()),
    }
}

fn value(tape: &SpanTape, attr: &FlatAttr) -> AnyValue {
    let value = match attr.tag {
        Tag::Empty => None,
        Tag::Str => Some(Value::StringValue(tape.text(attr.slice()).to_owned())),
        Tag::Bool => Some(Value::BoolValue(attr.value == 1)),
        Tag::Int => Some(Value::IntValue(attr.value as i64)),
        Tag::Double => Some(Value::DoubleValue(f64::from_bits(attr.value))),
        Tag::Bytes => Some(Value::BytesValue(tape.get(attr.slice()).to_vec())),
        Tag::Nested => return decoded(tape, attr.slice()),
    };
    AnyValue { value }
}

fn decoded<M: Message + Default>(tape: &SpanTape, slice: Slice) -> M {
    M::decode(tape.get(slice)).unwrap_or_else(|e| panic!("what was read is sound: {e}"))
}

/// Equal to the last bit, also where numbers are none.
fn alike<M: Message + PartialEq + std::fmt::Debug>(ours: &M, theirs: &M) {
    assert!(ours == theirs || ours.encode_to_vec() == theirs.encode_to_vec(), "ours: {ours:?}\ntheirs: {theirs:?}");
}

fn cut(name: &str) -> String {
    match name.len() {
        0..=1024 => name.to_owned(),
        _ => format!("{}…", &name[..name.floor_char_boundary(1024)]),
    }
}
