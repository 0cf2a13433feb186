//! The reader against prost: on requests of every shape, on damaged ones, and on what real clients send.

use std::path::Path;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;

use super::check::check_against_prost;
use super::{Slice, SpanTape, read};

/// Texts as they come: short, long, of every script, and the words that facts are drawn from.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(vec![
            "", "GET", "POST", "HTTP GET", "timeout", "breaker", "postgresql", "/pay.Pay/Charge", "/orders/{id}", "unknown",
            "https://u:p@bank.example:8443/x?y", "bank.example", "orders", "8443", "80", " SELECT ", "NaN", "1e400", "日本語",
        ])
        .prop_map(str::to_owned),
        3 => "[a-zа-я/:.@ ]{0,40}",
        1 => (900_usize..1300).prop_map(|n| "aü".repeat(n / 2)),
    ]
}

fn key() -> impl Strategy<Value = String> {
    let known: Vec<String> = super::keys::texts().map(str::to_owned).collect();
    let others = ["", "a", "service.name", "service.instance.id", "service.version", "thread.id", "http.status_code"];
    prop_oneof![8 => select(known), 3 => select(others.map(str::to_owned).to_vec()), 1 => text()]
}

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        8 => text().prop_map(Value::StringValue),
        2 => any::<bool>().prop_map(Value::BoolValue),
        2 => any::<i64>().prop_map(Value::IntValue),
        2 => (0_i64..10_000).prop_map(Value::IntValue),
        2 => any::<f64>().prop_map(Value::DoubleValue),
        1 => vec(any::<u8>(), 0..20).prop_map(Value::BytesValue),
        1 => any::<i32>().prop_map(Value::StringValueStrindex),
    ];
    let leaf = option::weighted(0.9, leaf).prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 12, 3, |inner| {
        let values = vec(inner.clone(), 0..4);
        let pairs = vec((key(), option::weighted(0.9, inner)), 0..3).prop_map(|pairs| {
            let kv = |(key, value)| KeyValue { key, value, key_strindex: 0 };
            pairs.into_iter().map(kv).collect()
        });
        prop_oneof![
            values.prop_map(|values| AnyValue { value: Some(Value::ArrayValue(ArrayValue { values })) }),
            pairs.prop_map(|values| AnyValue { value: Some(Value::KvlistValue(KeyValueList { values })) }),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let index = prop_oneof![20 => Just(0), 1 => any::<i32>()];
    let kv = (key(), option::weighted(0.95, value()), index);
    vec(kv.prop_map(|(key, value, key_strindex)| KeyValue { key, value, key_strindex }), 0..9)
}

fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![30 => vec(any::<u8>(), len), 1 => Just(vec![0; len]), 1 => vec(any::<u8>(), 0..20)]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 1_u64..i64::MAX as u64, 1 => Just(0), 1 => any::<u64>()]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 0_u32..300, any::<u32>()]
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), text(), attributes(), count()).prop_map(|(time_unix_nano, name, attributes, dropped)| Event {
        time_unix_nano,
        name,
        attributes,
        dropped_attributes_count: dropped,
    })
}

fn link() -> impl Strategy<Value = Link> {
    (id(16), id(8), text(), attributes(), count(), any::<u32>()).prop_map(|l| Link {
        trace_id: l.0,
        span_id: l.1,
        trace_state: l.2,
        attributes: l.3,
        dropped_attributes_count: l.4,
        flags: l.5,
    })
}

fn status() -> impl Strategy<Value = Option<Status>> {
    let code = prop_oneof![20 => 0_i32..3, 1 => any::<i32>(), 1 => 3_i32..400];
    option::of((text(), code).prop_map(|(message, code)| Status { message, code }))
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (id(16), id(8), prop_oneof![Just(Vec::new()), Just(vec![0; 8]), id(8)]);
    let kind = prop_oneof![30 => 0_i32..6, 1 => any::<i32>()];
    let said = (text(), kind, time(), time(), attributes(), status());
    let more = (text(), count(), vec(event(), 0..3), count(), vec(link(), 0..3), count(), count());
    (ids, said, more).prop_map(|((trace_id, span_id, parent_span_id), said, more)| Span {
        trace_id,
        span_id,
        parent_span_id,
        name: said.0,
        kind: said.1,
        start_time_unix_nano: said.2,
        end_time_unix_nano: said.3,
        attributes: said.4,
        status: said.5,
        trace_state: more.0,
        flags: more.1,
        events: more.2,
        dropped_events_count: more.3,
        links: more.4,
        dropped_links_count: more.5,
        dropped_attributes_count: more.6,
    })
}

fn scope() -> impl Strategy<Value = ScopeSpans> {
    let scope = (text(), text(), attributes(), count()).prop_map(|s| InstrumentationScope {
        name: s.0,
        version: s.1,
        attributes: s.2,
        dropped_attributes_count: s.3,
    });
    (option::of(scope), vec(span(), 0..4), text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    })
}

/// A request with all that OTLP can say.
pub(crate) fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let entity = (text(), text(), vec(text(), 0..3), vec(text(), 0..2)).prop_map(|e| EntityRef {
        schema_url: e.0,
        r#type: e.1,
        id_keys: e.2,
        description_keys: e.3,
    });
    let resource = (attributes(), count(), vec(entity, 0..2)).prop_map(|r| Resource {
        attributes: r.0,
        dropped_attributes_count: r.1,
        entity_refs: r.2,
    });
    let resource = (option::of(resource), vec(scope(), 0..3), text()).prop_map(|r| ResourceSpans {
        resource: r.0,
        scope_spans: r.1,
        schema_url: r.2,
    });
    vec(resource, 1..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

/// Messages of a request as a tree of fields, so that they can be shaken.
#[derive(Debug, Clone)]
enum Field {
    Plain(Vec<u8>),
    Message(u32, Vec<Field>),
}

/// The messages of a request, to know which fields are messages in turn.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Request,
    ResourceSpans,
    Resource,
    ScopeSpans,
    Scope,
    Span,
    Event,
    Link,
    KeyValue,
    Value,
    List,
    Map,
    /// One without messages in it.
    Last,
}

impl Kind {
    fn inside(self, field: u32) -> Option<Self> {
        Some(match (self, field) {
            (Self::Request, 1) => Self::ResourceSpans,
            (Self::ResourceSpans, 1) => Self::Resource,
            (Self::ResourceSpans, 2) => Self::ScopeSpans,
            (Self::ScopeSpans, 1) => Self::Scope,
            (Self::ScopeSpans, 2) => Self::Span,
            (Self::Span, 11) => Self::Event,
            (Self::Span, 13) => Self::Link,
            (Self::Span, 15) | (Self::Resource, 3) => Self::Last,
            (Self::Resource | Self::Map, 1) | (Self::Scope | Self::Event, 3) | (Self::Link, 4) | (Self::Span, 9) => {
                Self::KeyValue
            }
            (Self::KeyValue, 2) | (Self::List, 1) => Self::Value,
            (Self::Value, 5) => Self::List,
            (Self::Value, 6) => Self::Map,
            _ => return None,
        })
    }
}

/// Takes a message apart.
fn fields(bytes: &[u8], of: Kind) -> Vec<Field> {
    use prost::encoding::{DecodeContext, decode_key, decode_varint, skip_field};
    let mut rest = bytes;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let before = rest;
        let (tag, kind) = decode_key(&mut rest).expect("a key");
        if let Some(inside) = of.inside(tag) {
            let len = decode_varint(&mut rest).expect("a length") as usize;
            let (inner, after) = rest.split_at(len);
            rest = after;
            out.push(Field::Message(tag, fields(inner, inside)));
        } else {
            skip_field(kind, tag, &mut rest, DecodeContext::default()).expect("a field");
            out.push(Field::Plain(before[..before.len() - rest.len()].to_vec()));
        }
    }
    out
}

/// Puts fields together again: some twice, some in another order, some with fields nobody knows, lengths in more bytes than
/// they need; the larger `calm`, the fewer.
fn shaken(fields: &[Field], calm: u32, dice: &mut impl FnMut(u32) -> u32, out: &mut Vec<u8>) {
    let mut order: Vec<&Field> = fields.iter().collect();
    if order.len() > 1 && dice(6) == 0 {
        let (a, b) = (dice(order.len() as u32) as usize, dice(order.len() as u32) as usize);
        order.swap(a, b);
    }
    for field in order {
        for _ in 0..if dice(calm) == 0 { 2 } else { 1 } {
            match field {
                Field::Plain(bytes) => out.extend_from_slice(bytes),
                Field::Message(tag, inner) => {
                    let mut body = Vec::new();
                    shaken(inner, calm, dice, &mut body);
                    super::write::varint(out, u64::from(tag << 3 | 2));
                    super::write::varint(out, body.len() as u64);
                    if dice(calm) == 0
                        && let Some(last) = out.last_mut()
                    {
                        *last |= 0x80;
                        out.push(0);
                    }
                    out.extend_from_slice(&body);
                }
            }
        }
        if dice(calm) == 0 {
            let strange: [&[u8]; 5] = [
                &[0xa2, 0x06, 1, b'x'],
                &[0xa0, 0x06, 7],
                &[0xa5, 0x06, 1, 2, 3, 4],
                &[0xa1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8],
                &[0xa3, 0x06, 0x08, 0x01, 0x13, 0x14, 0xa4, 0x06],
            ];
            out.extend_from_slice(strange[dice(5) as usize]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_read_as_prost_reads_them(request in request()) {
        check_against_prost(&request.encode_to_vec());
    }

    #[test]
    fn shaken_requests_too(request in request(), seed in any::<u64>(), calm in select(vec![5, 50, 500])) {
        let mut state = seed | 1;
        let mut dice = |sides: u32| {
            // Xorshift: enough to choose by.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as u32 % sides
        };
        let mut bytes = Vec::new();
        shaken(&fields(&request.encode_to_vec(), Kind::Request), calm, &mut dice, &mut bytes);
        prop_assert!(read::traces(bytes.clone().into()).is_ok(), "shaken, but sound");
        check_against_prost(&bytes);
    }

    #[test]
    fn damaged_requests_too(request in request(), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in option::of(any::<prop::sample::Index>())) {
        let mut bytes = request.encode_to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check_against_prost(&bytes);
    }

    #[test]
    fn noise_too(bytes in vec(prop_oneof![0_u8..0x20, any::<u8>()], 0..60)) {
        check_against_prost(&bytes);
    }

    #[test]
    fn spans_by_themselves_are_read_as_in_their_request(request in request()) {
        let read = read::traces(request.encode_to_vec().into()).expect("sound");
        let mut alone = SpanTape { bytes: read.tape.bytes.clone(), ..SpanTape::default() };
        for span in &read.tape.spans {
            read::span(&mut alone, span.whole, span.sender).expect("kept once");
        }
        prop_assert_eq!(&alone.attrs, &read.tape.attrs);
        prop_assert_eq!(&alone.parts, &read.tape.parts);
        prop_assert_eq!(alone.spans.len(), read.tape.spans.len());
        for (a, b) in alone.spans.iter().zip(&read.tape.spans) {
            prop_assert_eq!((a.trace_id, a.start, a.attrs, a.links), (b.trace_id, b.start, b.attrs, b.links));
            let texts = |s: &super::FlatSpan| [s.name, s.operation, s.peer, s.fallback, s.peer_system];
            for (a, b) in texts(a).into_iter().zip(texts(b)) {
                prop_assert_eq!(alone.text(a), read.tape.text(b));
            }
        }
    }
}

/// A request that holds every message that may hold another.
fn one_of_each() -> ExportTraceServiceRequest {
    let kv =
        |key: &str, value| KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 };
    let leaf = |n| AnyValue { value: Some(Value::IntValue(n)) };
    let attributes = vec![
        kv("service.name", Value::StringValue("shop".into())),
        kv("list", Value::ArrayValue(ArrayValue { values: vec![leaf(1), leaf(2)] })),
        kv("map", Value::KvlistValue(KeyValueList { values: vec![kv("a", Value::BoolValue(true))] })),
    ];
    let event = Event { time_unix_nano: 5, attributes: attributes.clone(), ..Event::default() };
    let link = Link { trace_id: vec![7; 16], attributes: attributes.clone(), ..Link::default() };
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        start_time_unix_nano: 3,
        end_time_unix_nano: 4,
        attributes: attributes.clone(),
        events: vec![event],
        links: vec![link],
        status: Some(Status { message: "no".into(), code: 2 }),
        ..Span::default()
    };
    let scope = InstrumentationScope { attributes: attributes.clone(), ..InstrumentationScope::default() };
    let scope = ScopeSpans { scope: Some(scope), spans: vec![span], ..ScopeSpans::default() };
    let entity = EntityRef { id_keys: vec!["id".into()], ..EntityRef::default() };
    let resource = Resource { attributes, entity_refs: vec![entity], ..Resource::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }],
    }
}

/// Every message twice in turn, every place with a field nobody knows, every length in more bytes than it needs: one at a
/// time, so that what one asks for does not hide the other.
#[test]
fn requests_shaken_in_one_place_are_read_as_prost_reads_them() {
    let tree = fields(&one_of_each().encode_to_vec(), Kind::Request);
    let shake = |place: u32| {
        let (mut bytes, mut throws) = (Vec::new(), 0);
        let mut dice = |_| {
            throws += 1;
            u32::from(throws != place)
        };
        shaken(&tree, 2, &mut dice, &mut bytes);
        (bytes, throws)
    };
    let (plain, throws) = shake(0);
    assert_eq!(plain, one_of_each().encode_to_vec());
    let mut merged = 0;
    for place in 1..=throws {
        let (bytes, _) = shake(place);
        check_against_prost(&bytes);
        merged += u32::from(read::traces(bytes.clone().into()).expect("sound").tape.bytes != bytes);
    }
    assert!(throws > 200 && merged > 20, "{throws} throws, {merged} of them made a message stand twice");
}

#[test]
fn what_clients_send_is_read_as_prost_reads_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/otlp");
    let mut requests = 0;
    for client in std::fs::read_dir(root).expect("fixtures") {
        for file in std::fs::read_dir(client.expect("an entry").path()).expect("requests") {
            let path = file.expect("an entry").path();
            let name = path.to_string_lossy();
            if name.contains("traces") && name.ends_with(".pb") {
                let body = std::fs::read(&path).expect("its body");
                check_against_prost(&body);
                let read = read::traces(body.clone().into()).expect("sound");
                assert!(read.tape.bytes == body && !read.tape.spans.is_empty(), "{name}");
                assert!(read.tape.spans.iter().all(|s| !s.odd), "{name}: real spans are not odd");
                requests += 1;
                for end in 0..body.len().min(3000) {
                    check_against_prost(&body[..end]);
                }
            }
        }
    }
    assert!(requests >= 15, "{requests} requests");
}

#[test]
fn values_nest_as_deep_as_prost_reads_them() {
    for depth in [40, 46, 47, 48, 60] {
        let mut value = AnyValue::default();
        for _ in 0..depth {
            value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
        }
        let attributes = vec![KeyValue { key: "deep".into(), value: Some(value), key_strindex: 0 }];
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            start_time_unix_nano: 1,
            end_time_unix_nano: 1,
            attributes,
            ..Span::default()
        };
        let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        let bytes = ExportTraceServiceRequest { resource_spans: vec![resource] }.encode_to_vec();
        check_against_prost(&bytes);
        assert_eq!(read::traces(bytes.into()).is_ok(), depth < 48, "{depth} lists");
    }
}

#[test]
fn more_attributes_than_telemetry_has_are_refused() {
    let kv = KeyValue { key: "k".into(), value: None, key_strindex: 0 };
    let with = |count: usize, in_event: bool| {
        let attributes = vec![kv.clone(); count];
        let mut span = Span {
            trace_id: vec![1; 16],
            span_id: vec![1; 8],
            start_time_unix_nano: 1,
            end_time_unix_nano: 1,
            ..Span::default()
        };
        if in_event {
            span.events.push(Event { attributes, ..Event::default() });
        } else {
            span.attributes = attributes;
        }
        let scope = ScopeSpans {
            spans: vec![span.clone(), Span { attributes: vec![], events: vec![], ..span }],
            ..ScopeSpans::default()
        };
        let resource = ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() };
        let bytes = ExportTraceServiceRequest { resource_spans: vec![resource] }.encode_to_vec();
        check_against_prost(&bytes);
        let read = read::traces(bytes.into()).expect("sound");
        assert_eq!(read.tape.spans.len() as u64 + read.refused.count(), 2);
        (read.refused.count(), read.tape.attrs.len())
    };
    assert_eq!(with(10_000, false), (0, 10_000));
    assert_eq!(with(10_001, false), (1, 0));
    assert_eq!(with(10_001, true), (1, 0));
}

#[test]
fn a_span_that_is_no_span_is_an_error() {
    let mut tape = SpanTape { bytes: Bytes::from_static(&[0x0a, 0x01, 0x01]), ..SpanTape::default() };
    assert!(read::span(&mut tape, Slice::of_bytes(0, 2), 0).is_err());
    assert!(read::span(&mut tape, Slice::of_bytes(0, 9), 0).is_err());
    let said = read::span(&mut tape, Slice::of_bytes(0, 3), 0).expect_err("no id").to_string();
    assert_eq!(said, "a span whose trace id is not 16 bytes, or all zeros");
    assert!(tape.spans.is_empty() && tape.attrs.is_empty());
}
