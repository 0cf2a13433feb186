//! A few spans of a few words, spread over segments.

use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use fuseboard_api::TraceId;
use fuseboard_api::span::{Origin, Span};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Sent, Status, span};
use proptest::prelude::*;
use prost::Message as _;

use super::super::Source;
use crate::otlp;
use crate::store::segment::{self, Columns, Incoming, Parts, TraceFilter, ValueFilter};
use crate::store::{Format, SegmentRow, StoreError};

/// A span as it was sent, and what was drawn from it on the way.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) span: Span,
    pub(super) kind: u8,
    pub(super) peer: Option<String>,
}

/// Segments in memory.
#[derive(Debug)]
pub(super) struct World {
    metas: Vec<SegmentRow>,
    segments: Vec<Arc<Columns>>,
    filters: Vec<(Vec<u8>, Vec<u8>)>,
    origins: Vec<Arc<Origin>>,
    pub(super) seen: Vec<Seen>,
    /// How often columns were read.
    pub(super) read: Cell<usize>,
}

impl Source for World {
    fn segments(&self) -> &[SegmentRow] {
        &self.metas
    }

    fn columns(&self, at: usize, _: &Parts) -> Result<Arc<Columns>, StoreError> {
        self.read.set(self.read.get() + 1);
        Ok(self.segments[at].clone())
    }

    fn may_have_trace(&self, at: usize, trace: TraceId) -> Result<bool, StoreError> {
        Ok(TraceFilter::contains(&self.filters[at].0, &trace.0))
    }

    fn may_have_value(&self, at: usize, key: &str, value: &str) -> Result<bool, StoreError> {
        Ok(ValueFilter::may_have(&self.filters[at].1, key, value))
    }

    fn origin(&self, id: i64) -> Result<Arc<Origin>, StoreError> {
        Ok(self.origins[id as usize].clone())
    }
}

/// A span, who sent it, the segment it lies in and the stamp of its commit.
type Made = (Sent, usize, usize, i64);

/// (service, version, host)
const SENDERS: [(&str, &str, Option<&str>); 4] =
    [("a", "1", Some("h1")), ("b", "", Some("h2")), ("c", "2", None), ("a", "2", None)];

impl World {
    fn of(made: &[Made]) -> Self {
        let resource_spans = SENDERS.iter().enumerate().map(|(i, (service, version, host))| {
            let text = |key: &str, text: &str| attribute(key, Value::StringValue(text.to_owned()));
            let mut attributes = vec![text("service.name", service)];
            attributes.extend((!version.is_empty()).then(|| text("service.version", version)));
            attributes.extend(host.map(|host| text("host", host)));
            let spans = made.iter().filter(|m| m.1 == i).map(|m| m.0.clone()).collect();
            ResourceSpans {
                resource: Some(Resource { attributes, ..Resource::default() }),
                scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }
        });
        let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
        let tape = otlp::read::traces(Bytes::from(request.encode_to_vec())).expect("a sound request").tape;
        // The request goes by sender.
        let mut order: Vec<&Made> = made.iter().collect();
        order.sort_by_key(|m| m.1);
        assert_eq!(order.len(), tape.spans.len(), "no span is refused");
        let incoming =
            |i: usize| Incoming { tape: &tape, span: i as u32, origin: order[i].1 as i64, arrival: order[i].3 };
        let mut world = Self {
            metas: Vec::new(),
            segments: Vec::new(),
            filters: Vec::new(),
            origins: SENDERS.iter().map(|sender| Arc::new(origin(sender))).collect(),
            seen: Vec::new(),
            read: Cell::default(),
        };
        let mut numbers: Vec<usize> = order.iter().map(|m| m.2).collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let rows: Vec<_> = (0..order.len()).filter(|i| order[*i].2 == number).map(incoming).collect();
            world.add(&rows);
        }
        world
    }

    fn add(&mut self, rows: &[Incoming<'_>]) {
        let built = segment::build(rows).expect("segments can be built");
        let columns = Columns::of_built(&built).expect("and read");
        for row in 0..columns.rows() {
            let origin = self.origins[columns.origin(row) as usize].clone();
            let peer = columns.peer(row).map(str::to_owned);
            self.seen.push(Seen { span: columns.span(row, origin), kind: columns.kind(row), peer });
        }
        let s = &built.summary;
        self.metas.push(SegmentRow {
            id: self.metas.len() as i64,
            format: Format::Columns,
            rows: s.rows,
            traces: s.traces,
            new_traces: s.traces,
            max_end: s.max_end,
            bytes: 0,
            min_start: s.min_start,
            max_start: s.max_start,
            min_duration: s.min_duration,
            max_duration: s.max_duration,
            errors: s.errors,
            min_arrival: s.min_arrival,
            max_arrival: s.max_arrival,
            origins: s.origins.clone(),
        });
        self.filters.push((built.traces.clone(), built.values.clone()));
        self.segments.push(Arc::new(columns));
    }

    /// So many roots, one a segment, one after the other.
    pub(super) fn plain(count: u8) -> Self {
        let sent = (1..=count).map(|i| {
            let at = u64::from(i) * 10;
            let sent = Sent {
                trace_id: vec![i; 16],
                span_id: vec![i; 8],
                name: "x".to_owned(),
                start_time_unix_nano: at,
                end_time_unix_nano: at + 5,
                ..Sent::default()
            };
            (sent, 0, usize::from(i), 1)
        });
        Self::of(&sent.collect::<Vec<_>>())
    }
}

fn origin((service, version, host): &(&str, &str, Option<&str>)) -> Origin {
    let mut resource = vec![("service.name".to_owned(), (*service).into())];
    resource.extend((!version.is_empty()).then(|| ("service.version".to_owned(), (*version).into())));
    resource.extend(host.map(|host| ("host".to_owned(), host.into())));
    Origin { service: (*service).to_owned(), version: (*version).to_owned(), resource, ..Origin::default() }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn value() -> impl Strategy<Value = Value> {
    let text = |s: &str| Value::StringValue(s.to_owned());
    let list = [1, 2].map(|i| AnyValue { value: Some(Value::IntValue(i)) });
    prop::sample::select(vec![
        text("1"),
        text("two"),
        text("true"),
        text("h1"),
        text("E"),
        Value::IntValue(0),
        Value::IntValue(1),
        Value::IntValue(-7),
        Value::DoubleValue(1.0),
        Value::DoubleValue(1.5),
        Value::BoolValue(true),
        Value::BytesValue(vec![0x1f]),
        Value::ArrayValue(ArrayValue { values: list.to_vec() }),
    ])
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let keys = vec!["k", "j", "list", "host", "exception.type", "k"];
    let one = (prop::sample::select(keys), value()).prop_map(|(key, value)| attribute(key, value));
    let queue = || [("messaging.system", "rabbit"), ("messaging.destination.name", "q")];
    let queue = move || queue().map(|(key, text)| attribute(key, Value::StringValue(text.to_owned())));
    (prop::collection::vec(one, 0..4), prop::bool::weighted(0.2)).prop_map(move |(mut all, queued)| {
        all.extend(queue().into_iter().filter(|_| queued));
        all
    })
}

fn event() -> impl Strategy<Value = span::Event> {
    let attributes = prop::option::of(prop::sample::select(vec!["E", "F"]));
    (prop::sample::select(vec!["boom", "exception"]), attributes).prop_map(|(name, kind)| span::Event {
        time_unix_nano: 5,
        name: name.to_owned(),
        attributes: kind.map(|k| attribute("exception.type", Value::StringValue(k.to_owned()))).into_iter().collect(),
        ..span::Event::default()
    })
}

fn made() -> impl Strategy<Value = Made> {
    let ids = (1u8..5, prop::option::weighted(0.6, 1u8..20));
    let times = (1u64..80, 0u64..30);
    let words = (prop::sample::select(vec!["x", "op y", "op z"]), 0i32..6, 0i32..3, any::<bool>());
    let inner = (attributes(), prop::collection::vec(event(), 0..2), any::<bool>());
    let place = (0usize..SENDERS.len(), 0usize..4, 1i64..6);
    (ids, times, words, inner, place).prop_map(
        |((trace, parent), (start, lasting), (name, kind, code, bad), (attributes, events, linked), place)| {
            let link = span::Link { trace_id: vec![9; 16], span_id: vec![9; 8], ..span::Link::default() };
            let message = if bad { "bad luck".to_owned() } else { String::new() };
            let sent = Sent {
                trace_id: vec![trace; 16],
                parent_span_id: parent.map(|p| vec![p; 8]).unwrap_or_default(),
                name: name.to_owned(),
                kind,
                start_time_unix_nano: start,
                end_time_unix_nano: start + lasting,
                attributes,
                events,
                links: Some(link).filter(|_| linked).into_iter().collect(),
                status: Some(Status { message, code }),
                ..Sent::default()
            };
            (sent, place.0, place.1, place.2)
        },
    )
}

/// Up to twenty spans.
pub(super) fn world() -> impl Strategy<Value = World> {
    prop::collection::vec(made(), 1..20).prop_map(|mut made| {
        for (i, (sent, ..)) in made.iter_mut().enumerate() {
            sent.span_id = vec![i as u8 + 1; 8];
        }
        World::of(&made)
    })
}
