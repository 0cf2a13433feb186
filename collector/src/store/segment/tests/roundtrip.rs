//! What goes in comes out.

use std::sync::Arc;

use fuseboard_api::attr::AttrValue;
use fuseboard_api::span::{Origin, SpanKind, StatusCode};
use fuseboard_api::{SpanId, TraceId, UnixNanos};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::super::{Columns, Parts, encode, rows};
use super::make::{built, columns, incoming, kv, list, map, messages, settled, span, tape, text};

/// A span with something in every field.
fn full() -> Span {
    Span {
        trace_state: "vendor=1,other=2".to_owned(),
        flags: 0x301,
        attributes: vec![
            text("http.method", "GET"),
            kv("zahl", Value::IntValue(-5)),
            kv("double", Value::DoubleValue(0.1)),
            kv("bool", Value::BoolValue(false)),
            kv("bytes", Value::BytesValue(vec![0, 255, 1])),
            kv("list", list(vec![Value::IntValue(1), Value::StringValue("zwei".to_owned()), list(vec![])])),
            kv("map", map(vec![text("a", "b"), kv("c", map(vec![]))])),
            KeyValue { key: "no value".to_owned(), value: None, ..KeyValue::default() },
            KeyValue { key: "empty".to_owned(), value: Some(AnyValue { value: None }), ..KeyValue::default() },
            text("", "no key"),
            text("no text", ""),
            text("мир", "世界 🌍 שלום"),
        ],
        dropped_attributes_count: 1,
        events: vec![
            Event {
                time_unix_nano: 5,
                name: "exception".to_owned(),
                attributes: vec![text("exception.type", "Oh")],
                dropped_attributes_count: 2,
            },
            Event::default(),
        ],
        dropped_events_count: 3,
        links: vec![
            Link {
                trace_id: vec![9; 16],
                span_id: vec![8; 8],
                trace_state: "x=y".to_owned(),
                attributes: vec![text("k", "v")],
                dropped_attributes_count: 4,
                flags: 1,
            },
            Link::default(),
        ],
        dropped_links_count: u32::MAX,
        status: Some(Status { message: "кончено".to_owned(), code: 2 }),
        ..span(1, 1, 2, 1_700_000_000_000_000_001)
    }
}

/// Through a blob, through rows, and as just built.
fn survives(spans: Vec<Span>) {
    let built = built(&spans);
    let tape = tape(&spans);
    let rows = rows::encode(&incoming(&tape));
    let wanted = settled(spans);
    assert_eq!(messages(&Columns::of_built(&built).unwrap()), wanted, "as built");
    assert_eq!(messages(&Columns::decode(encode(&built).unwrap(), Parts::all()).unwrap()), wanted, "through a blob");
    assert_eq!(messages(&rows::decode(rows).unwrap()), wanted, "through rows");
}

#[test]
fn every_field_survives() {
    survives(vec![full(), Span { attributes: Vec::new(), ..full() }, span(3, 3, 0, 1)]);
}

#[test]
fn nothing_survives() {
    survives(Vec::new());
}

#[test]
fn a_whole_span_has_every_field() {
    let columns = columns(&[span(1, 2, 0, 1_700_000_000_000_000_000), full()]);
    let origin = Arc::new(Origin { service: "shop".to_owned(), ..Origin::default() });
    let span = columns.span(1, origin.clone());
    assert_eq!((span.trace_id, span.span_id), (TraceId([1; 16]), SpanId([1; 8])));
    assert_eq!(span.parent, Some(SpanId([2; 8])), "its parent is the other row");
    assert_eq!(columns.parent_row(1), Some(0));
    assert_eq!((span.name.as_str(), span.kind), ("span 1", SpanKind::Server));
    assert_eq!(span.start, UnixNanos(1_700_000_000_000_000_001));
    assert_eq!(span.duration_nanos(), 1_000);
    assert_eq!((span.status, span.status_message.as_str()), (StatusCode::Error, "кончено"));
    assert_eq!(span.attr("zahl"), Some(&AttrValue::Int(-5)));
    assert_eq!(span.attr("bytes"), Some(&AttrValue::Bytes(vec![0, 255, 1])));
    assert_eq!(span.attr("no value"), Some(&AttrValue::Empty));
    let keys: Vec<&str> = span.attributes.iter().map(|(key, _)| key.as_str()).collect();
    let sent: Vec<String> = full().attributes.into_iter().map(|kv| kv.key).collect();
    assert_eq!(keys, sent, "in the sender's order");
    assert_eq!((span.events.len(), span.links.len()), (2, 2));
    assert_eq!(span.events[0].name, "exception");
    assert_eq!(span.links[0].trace_id, TraceId([9; 16]));
    assert_eq!((span.dropped_attributes, span.dropped_events, span.dropped_links), (1, 3, u32::MAX));
    assert_eq!((span.trace_state.as_str(), span.flags), ("vendor=1,other=2", 0x301));
    assert_eq!((span.origin, span.arrival), (origin, UnixNanos(1_000)));
    assert_eq!((columns.origin(0), columns.origin(1)), (7, 8));
}

#[test]
fn a_key_may_change_its_type_and_repeat() {
    let with = |id, attributes| Span { attributes, ..span(1, id, 0, u64::from(id)) };
    let spans = vec![
        with(1, vec![text("k", "1"), kv("k", Value::IntValue(2)), text("k", "3"), text("z", "4")]),
        with(2, vec![kv("k", Value::IntValue(2)), text("k", "1")]),
        with(3, vec![text("z", "4"), kv("k", Value::DoubleValue(f64::NEG_INFINITY))]),
        with(4, vec![kv("k", list(vec![])), text("k", "5")]),
        with(5, vec![]),
    ];
    let columns = columns(&spans);
    let first = |row| columns.attr(row, "k").map(super::super::Value::into_owned);
    assert_eq!(first(0), Some(AttrValue::Str("1".to_owned())));
    assert_eq!(first(1), Some(AttrValue::Int(2)));
    assert_eq!(first(2), Some(AttrValue::Double(f64::NEG_INFINITY)));
    assert_eq!(first(3), Some(AttrValue::Array(vec![])), "the first one counts, column or not");
    assert_eq!(first(4), None);
    survives(spans);
}

#[test]
fn times_of_all_sizes_survive() {
    let at = |id, start, end| Span { end_time_unix_nano: end, ..span(id / 2 + 1, id, 0, start) };
    survives(vec![
        at(1, i64::MAX as u64, 1),
        at(2, 1, i64::MAX as u64),
        at(3, 1_700_000_000_000_000_000, 1_699_999_999_999_999_999),
        at(4, 1 << 32, (1 << 33) + 1),
        at(5, (1 << 32) - 1, 1 << 32),
    ]);
}

#[test]
fn many_keys_are_bounded_and_kept() {
    let with = |n: u32| Span {
        span_id: (1 + u64::from(n)).to_be_bytes().to_vec(),
        attributes: (0..10).map(|k| text(&format!("key {}", n * 10 + k), "v")).chain([text("all", "x")]).collect(),
        ..span((n % 7) as u8 + 1, 1, 0, u64::from(n) + 1)
    };
    for spans in [(0..1_000).map(with).collect::<Vec<_>>(), (0..3_000).map(with).collect()] {
        let built = built(&spans);
        let columns = built.batch.schema().fields().iter().filter(|f| f.name().starts_with("str:")).count();
        assert!(columns <= 200, "{columns} columns");
        assert!(built.batch.column_by_name("str:all").is_some());
        survives(spans);
    }
}

#[test]
fn one_span_may_have_thousands_of_attributes() {
    let attributes = (0..3_000).map(|k| text(&format!("key {k}"), &k.to_string())).collect();
    survives(vec![span(1, 1, 0, 1), Span { attributes, ..span(1, 2, 1, 2) }]);
}

#[test]
fn a_huge_value_survives() {
    let huge = "größe".repeat(5 * 1024 * 1024 / 7);
    survives(vec![Span { attributes: vec![text("body", &huge)], ..span(1, 1, 0, 1) }, span(1, 2, 1, 2)]);
}

#[test]
fn values_that_all_differ_survive() {
    let ids = |n: u32| {
        vec![text("order", &format!("{n:08x}")), text("path", &"p".repeat(n as usize % 50)), {
            if n.is_multiple_of(3) {
                text("some", &format!("äö{n:06}"))
            } else {
                text("few", if n.is_multiple_of(2) { "a" } else { "b" })
            }
        }]
    };
    let with = |n: u32| Span {
        span_id: (1 + u64::from(n)).to_be_bytes().to_vec(),
        attributes: ids(n),
        ..span((n % 9) as u8 + 1, 1, 0, u64::from(n) + 1)
    };
    survives((0..2_000).map(with).collect());
}

#[test]
fn parents_are_found_in_large_traces() {
    let spans: Vec<Span> = (1..400_u64)
        .map(|n| Span {
            span_id: n.to_be_bytes().to_vec(),
            parent_span_id: if n == 1 { Vec::new() } else { (n / 2).to_be_bytes().to_vec() },
            ..span(1, 1, 0, 1_000_000 + n)
        })
        .collect();
    let columns = columns(&spans);
    assert_eq!(columns.parent_row(398), Some(198));
    assert_eq!(columns.parent(0), None);
    survives(spans);
}
