//! Reading a part of a segment.

use std::sync::Arc;

use fuseboard_api::TraceId;
use fuseboard_api::span::Origin;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::super::{Columns, Part, Parts, encode};
use super::make::{built, kv, list, span, text};

fn spans() -> Vec<Span> {
    (0..300_u32)
        .map(|n| Span {
            span_id: (1 + u64::from(n)).to_be_bytes().to_vec(),
            name: format!("name {}", n % 5),
            trace_state: if n % 4 == 0 { "a=b".to_owned() } else { String::new() },
            attributes: vec![
                text("method", ["GET", "PUT", "POST"][n as usize % 3]),
                text("id", &format!("{n:06}")),
                if n % 2 == 0 { kv("code", Value::IntValue(i64::from(n))) } else { text("code", "none") },
                kv("list", list(vec![Value::IntValue(i64::from(n))])),
            ],
            ..span((n / 5 % 50) as u8 + 1, 1, 0, 1_000_000_000_000 + u64::from(n) * 1_000)
        })
        .collect()
}

#[test]
fn a_part_says_the_same_as_all() {
    let blob = encode(&built(&spans())).unwrap();
    let read = |parts: Parts| Columns::decode(blob.clone(), parts).unwrap();
    let all = read(Parts::all());
    let none = read(Parts::default());
    let times = read(Parts::of(&[Part::Times]));
    let ids = read(Parts::of(&[Part::Ids, Part::Name]));
    let origins = read(Parts::of(&[Part::Origin, Part::Arrival, Part::Kinds, Part::State]));
    let attributes = read(Parts::of(&[Part::Attributes]));
    let keys = read(Parts::default().with_key("code").with_key("id"));
    let more = read(Parts::default().with_key("list"));
    for row in 0..all.rows() {
        assert_eq!(none.trace_id(row), all.trace_id(row));
        assert_eq!((times.start(row), times.end(row)), (all.start(row), all.end(row)));
        assert_eq!(
            (ids.span_id(row), ids.parent(row), ids.name(row)),
            (all.span_id(row), all.parent(row), all.name(row))
        );
        assert_eq!((origins.origin(row), origins.arrival(row)), (all.origin(row), all.arrival(row)));
        assert_eq!((origins.kind(row), origins.trace_state(row)), (all.kind(row), all.trace_state(row)));
        assert_eq!(attributes.all_attrs(row), all.all_attrs(row));
        assert_eq!(all.all_attrs(row).len(), 4);
        assert_eq!((keys.attr(row, "code"), keys.attr(row, "id")), (all.attr(row, "code"), all.attr(row, "id")));
        assert!(all.attr(row, "code").is_some() && all.attr(row, "list").is_some());
        assert_eq!(more.attr(row, "list"), all.attr(row, "list"));
    }
    assert!(!keys.has_more(0), "what is asked for is in columns");
    assert!(more.has_more(0));
    assert!(none.size() < all.size());
}

#[test]
fn only_what_is_asked_for_is_held() {
    let blob = encode(&built(&spans())).unwrap();
    let keys = Columns::decode(blob.clone(), Parts::default().with_key("method")).unwrap();
    assert_eq!(keys.attributes().iter().map(|c| c.key().to_owned()).collect::<Vec<_>>(), ["method"]);
    assert!(Columns::decode(blob, Parts::of(&[Part::Times])).unwrap().attributes().is_empty());
}

#[test]
fn traces_are_runs_by_their_first_start() {
    let columns = Columns::decode(encode(&built(&spans())).unwrap(), Parts::all()).unwrap();
    assert_eq!(columns.trace_count(), 50);
    let mut before = None;
    for rows in columns.traces() {
        let trace = columns.trace_id(rows.start);
        assert_eq!(columns.rows_of(trace), rows);
        assert!(rows.clone().all(|row| columns.trace_id(row) == trace));
        assert!(rows.clone().zip(rows.clone().skip(1)).all(|(a, b)| columns.start(a) <= columns.start(b)));
        assert!(before < Some(columns.start(rows.start)));
        before = Some(columns.start(rows.start));
    }
    assert!(columns.rows_of(TraceId([77; 16])).is_empty());
}

#[test]
fn equal_texts_are_tested_once() {
    let columns = Columns::decode(encode(&built(&spans())).unwrap(), Parts::all()).unwrap();
    let names = columns.names().unwrap();
    let mut tested = 0;
    let passed = names.test(columns.rows(), |name| {
        tested += 1;
        name == "name 3"
    });
    assert_eq!(tested, 5);
    assert!((0..columns.rows()).all(|row| passed[row] == (columns.name(row) == "name 3")));
    assert_eq!(passed.iter().filter(|p| **p).count(), 60);
}

#[test]
fn rows_beyond_the_last_read_as_defaults() {
    let columns = Columns::decode(encode(&built(&spans())).unwrap(), Parts::all()).unwrap();
    let beyond = columns.span(columns.rows(), Arc::new(Origin::default()));
    assert_eq!(beyond.trace_id, TraceId::default());
    assert!(beyond.attributes.is_empty() && beyond.parent.is_none());
}

#[test]
fn a_summary_says_what_is_inside() {
    let summary = built(&spans()).summary;
    assert_eq!((summary.rows, summary.traces, summary.errors), (300, 50, 0));
    assert_eq!((summary.min_start, summary.max_start), (1_000_000_000_000, 1_000_000_299_000));
    assert_eq!((summary.min_duration, summary.max_duration), (1_000, 1_000));
    assert_eq!(summary.max_end, 1_000_000_300_000);
    assert_eq!((summary.min_arrival, summary.max_arrival), (1_000, 1_029));
    assert_eq!(summary.origins, [7, 8, 9]);
    assert_eq!(summary.names.unwrap(), ["name 0", "name 1", "name 2", "name 3", "name 4"]);
    let empty = built(&[]).summary;
    assert_eq!((empty.rows, empty.min_start, empty.max_end), (0, i64::MAX, i64::MIN));
}
