//! Random spans survive every form.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use proptest::prelude::*;

use super::super::{Columns, Parts, encode, rows};
use super::make::{built, incoming, list, map, messages, settled, tape};

fn value() -> impl Strategy<Value = Option<AnyValue>> {
    let leaf = prop_oneof![
        "\\PC{0,6}".prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        (-300_i64..300).prop_map(Value::IntValue),
        any::<f64>().prop_filter("NaN is not equal to itself", |d| !d.is_nan()).prop_map(Value::DoubleValue),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(Value::BytesValue),
    ];
    let nested = leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(list),
            prop::collection::vec(("[a-c]?", inner), 0..3).prop_map(|entries| {
                map(entries
                    .into_iter()
                    .map(|(key, value)| KeyValue {
                        key,
                        value: Some(AnyValue { value: Some(value) }),
                        ..KeyValue::default()
                    })
                    .collect())
            }),
        ]
    });
    prop_oneof![
        9 => nested.prop_map(|value| Some(AnyValue { value: Some(value) })),
        1 => Just(None),
        1 => Just(Some(AnyValue { value: None })),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let one = ("[a-f]{0,2}", value()).prop_map(|(key, value)| KeyValue { key, value, ..KeyValue::default() });
    prop::collection::vec(one, 0..6)
}

fn id(bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    (1_u8..6).prop_map(move |n| vec![n; bytes])
}

fn span() -> impl Strategy<Value = Span> {
    let parent = prop_oneof![Just(Vec::new()), id(8)];
    let time =
        prop_oneof![1_u64..50, 1_u64..=i64::MAX as u64, 1_700_000_000_000_000_000_u64..1_700_000_001_000_000_000];
    let event = (any::<u64>(), ".{0,3}", attributes()).prop_map(|(time_unix_nano, name, attributes)| Event {
        time_unix_nano,
        name,
        attributes,
        dropped_attributes_count: 0,
    });
    let link = (id(16), id(8), attributes()).prop_map(|(trace_id, span_id, attributes)| Link {
        trace_id,
        span_id,
        attributes,
        ..Link::default()
    });
    let status = prop::option::of((0..3, ".{0,3}").prop_map(|(code, message)| Status { code, message }));
    let head = (id(16), id(8), parent, ".{0,4}", 0..6, time.clone(), time, ".{0,2}");
    let tail = (
        attributes(),
        prop::collection::vec(event, 0..3),
        prop::collection::vec(link, 0..2),
        status,
        prop_oneof![Just(0), any::<u32>()],
        prop_oneof![Just([0; 3]), any::<[u32; 3]>()],
    );
    (head, tail).prop_map(|(head, (attributes, events, links, status, flags, dropped))| Span {
        trace_id: head.0,
        span_id: head.1,
        parent_span_id: head.2,
        name: head.3,
        kind: head.4,
        start_time_unix_nano: head.5,
        end_time_unix_nano: head.6,
        trace_state: head.7,
        attributes,
        dropped_attributes_count: dropped[0],
        events,
        dropped_events_count: dropped[1],
        links,
        dropped_links_count: dropped[2],
        status,
        flags,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_spans_survive(spans in prop::collection::vec(span(), 0..24)) {
        let built = built(&spans);
        let tape = tape(&spans);
        let small = rows::encode(&incoming(&tape));
        let wanted = settled(spans);
        let columns = Columns::decode(encode(&built).unwrap(), Parts::all()).unwrap();
        prop_assert_eq!(&messages(&columns), &wanted);
        prop_assert_eq!(&messages(&rows::decode(small).unwrap()), &wanted);
        prop_assert_eq!(&messages(&Columns::of_built(&built).unwrap()), &wanted);
    }
}
