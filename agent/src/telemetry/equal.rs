//! What the agent's own spans and bound series tell is what the SDK would tell, and so is what goes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::metrics::{Histogram, MeterProvider as _};
use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, Value, trace};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::reader::MetricReader as _;
use opentelemetry_sdk::metrics::{ManualReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanEvents, SpanLinks};
use proptest::prelude::*;
use prost::Message as _;

use super::pack::Packer;
use super::queue::{SpanIntake, Told, queue};
use super::span::Now;
use super::table::Series;
use super::tracer::{Sampling, Tracer};
use super::{Reader, SCOPE};

fn ids(n: u8) -> SpanContext {
    let state = TraceState::from_key_value([("vendor", "1")]).unwrap();
    SpanContext::new(TraceId::from(u128::from(n)), SpanId::from(u64::from(n)), TraceFlags::SAMPLED, true, state)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn many(n: usize) -> Vec<KeyValue> {
    (0..n).map(|i| KeyValue::new(format!("key{i}"), i64::try_from(i).unwrap())).collect()
}

/// Everything that can be told about a span, and more of each than fits.
fn tell<T: trace::Tracer<Span: Send + Sync + 'static>>(tracer: &T, parent: &Context) {
    let span = tracer
        .span_builder("first")
        .with_kind(SpanKind::Client)
        .with_start_time(at(1))
        .with_attributes(many(100))
        .with_events(vec![Event::new("begun", at(1), many(1), 0)])
        .with_links(vec![Link::new(ids(9), many(130), 0)])
        .start_with_context(tracer, parent);
    let cx = parent.with_span(span);
    cx.span().set_attributes(many(40));
    (0..140).for_each(|n| cx.span().add_event_with_timestamp(format!("event{n}"), at(n), many(129)));
    (0..140).for_each(|_| cx.span().add_link(ids(8), many(2)));
    cx.span().set_status(Status::error("broken"));
    cx.span().set_status(Status::Unset);
    cx.span().update_name("second");
    cx.span().end_with_timestamp(at(5));
    assert!(!cx.span().is_recording());
    cx.span().set_attribute(KeyValue::new("late", true));
    cx.span().end_with_timestamp(at(6));
}

/// What both tell about the same, the SDK first.
fn both(parent: &Context) -> [Told; 2] {
    let (queue, mut drain, _) = queue(8);
    let (queue, sampling) = (Arc::new(queue), Sampling::from_environment());
    let sdk = SdkTracerProvider::builder()
        .with_sampler(sampling.sampler())
        .with_span_processor(SpanIntake(queue.clone()))
        .build();
    tell(&sdk.tracer(SCOPE), parent);
    tell(&Tracer::new(sampling, Some(queue)), parent);
    let mut next = || drain.take().expect("each is told once");
    let both = [next(), next()];
    assert!(drain.take().is_none());
    both
}

/// Of one agent.
fn packer(resource: &Resource) -> Packer {
    Packer::new(resource, &InstrumentationScope::builder(SCOPE).build())
}

/// A request as a collector reads it.
fn read(request: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(request).unwrap()
}

#[test]
fn spans_tell_what_the_sdks_would() {
    for parent in [Context::new(), Context::new().with_remote_span_context(ids(7))] {
        let [sdk, mut ours] = both(&parent).map(|told| {
            let request = read(&packer(&Resource::builder().build()).pack(&[told], Now::read()));
            request.resource_spans[0].scope_spans[0].clone()
        });
        let (ours_span, sdk_span) = (&mut ours.spans[0], &sdk.spans[0]);
        assert_ne!(ours_span.span_id, sdk_span.span_id);
        if parent.has_active_span() {
            assert_eq!(ours_span.trace_id, sdk_span.trace_id);
        }
        ours_span.trace_id.clone_from(&sdk_span.trace_id);
        ours_span.span_id.clone_from(&sdk_span.span_id);
        assert_eq!(ours, sdk);
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z.]{1,12}", "\\PC{0,40}", "[a-z]{100,300}"]
}

fn value() -> impl Strategy<Value = Value> {
    use prop::collection::vec;
    prop_oneof![
        text().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("equal to itself", |n| !n.is_nan()).prop_map(Value::from),
        vec(text(), 0..4).prop_map(|all| Value::Array(Array::String(all.into_iter().map(Into::into).collect()))),
        vec(any::<bool>(), 0..4).prop_map(|all| Value::Array(Array::Bool(all))),
        vec(any::<i64>(), 0..20).prop_map(|all| Value::Array(Array::I64(all))),
        vec(-1e9..1e9, 0..40).prop_map(|all| Value::Array(Array::F64(all))),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let one = (text(), value()).prop_map(|(key, value)| KeyValue::new(key, value));
    prop::collection::vec(one, 0..6)
}

fn context() -> impl Strategy<Value = SpanContext> {
    let state = prop::collection::vec(("[a-z]{1,5}", "[a-z0-9]{1,5}"), 0..3);
    (any::<u128>(), any::<u64>(), any::<u8>(), any::<bool>(), state).prop_map(|(trace, span, flags, remote, state)| {
        let state = TraceState::from_key_value(state).unwrap_or_default();
        SpanContext::new(TraceId::from(trace), SpanId::from(span), TraceFlags::new(flags), remote, state)
    })
}

/// Also before 1970.
fn time() -> impl Strategy<Value = SystemTime> {
    (0_u64..1 << 62).prop_map(|nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos) - Duration::from_secs(9))
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![Just(Status::Unset), Just(Status::Ok), text().prop_map(Status::error)]
}

fn kind() -> impl Strategy<Value = SpanKind> {
    use SpanKind::{Client, Consumer, Internal, Producer, Server};
    prop::sample::select(vec![Client, Consumer, Internal, Producer, Server])
}

fn events() -> impl Strategy<Value = SpanEvents> {
    let event = (text(), time(), attributes(), 0_u32..2);
    (prop::collection::vec(event, 0..4), any::<u32>()).prop_map(|(all, dropped)| {
        let mut events = SpanEvents::default();
        events.events = all.into_iter().map(|(name, at, with, dropped)| Event::new(name, at, with, dropped)).collect();
        events.dropped_count = dropped;
        events
    })
}

fn links() -> impl Strategy<Value = SpanLinks> {
    let link = (context(), attributes(), 0_u32..2);
    (prop::collection::vec(link, 0..4), any::<u32>()).prop_map(|(all, dropped)| {
        let mut links = SpanLinks::default();
        links.links = all.into_iter().map(|(to, with, dropped)| Link::new(to, with, dropped)).collect();
        links.dropped_count = dropped;
        links
    })
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    prop::sample::select(vec!["a", "b", ""]).prop_map(|name| {
        let scope = InstrumentationScope::builder(name);
        if name.is_empty() {
            return scope.build();
        }
        scope.with_version("1.2").with_schema_url("https://x.y").with_attributes([KeyValue::new("k", 1)]).build()
    })
}

fn span() -> impl Strategy<Value = SpanData> {
    let first = (context(), any::<u64>(), any::<bool>(), kind(), text(), time(), time());
    let then = (attributes(), any::<u32>(), events(), links(), status(), scope());
    (first, then).prop_map(|(first, then)| SpanData {
        span_context: first.0,
        // Some have none.
        parent_span_id: SpanId::from(if first.1 % 3 == 0 { 0 } else { first.1 }),
        parent_span_is_remote: first.2,
        span_kind: first.3,
        name: first.4.into(),
        start_time: first.5,
        end_time: first.6,
        attributes: then.0,
        dropped_attributes_count: then.1,
        events: then.2,
        links: then.3,
        status: then.4,
        instrumentation_scope: then.5,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// One packer for all of them: what a batch leaves behind does not show in the next.
    #[test]
    fn what_is_packed_is_what_opentelemetry_would_send(
        batches in prop::collection::vec(prop::collection::vec(span(), 0..9), 1..4),
        about in attributes(),
    ) {
        let resource = Resource::builder_empty().with_schema_url(about, "https://r.s").build();
        let mut packer = packer(&resource);
        for spans in batches {
            let model = group_spans_by_resource_and_scope(spans.clone(), &(&resource).into());
            let told: Vec<_> = spans.into_iter().map(Told::Sdk).collect();
            let request = read(&packer.pack(&told, Now::read()));
            prop_assert_eq!(request, ExportTraceServiceRequest { resource_spans: model });
        }
    }
}

#[test]
fn a_span_that_nobody_ends_is_told_when_its_last_handle_is_dropped() {
    let (queue, mut drain, _) = queue(8);
    let tracer = Tracer::new(Sampling::from_environment(), Some(Arc::new(queue)));
    let cx = Context::new().with_span(tracer.start("left"));
    assert!(drain.take().is_none());
    drop(cx);
    assert!(matches!(drain.take(), Some(Told::Ours(_))));
}

#[test]
fn nothing_is_told_where_telemetry_is_suppressed_or_the_trace_is_not_recorded() {
    let (queue, mut drain, _) = queue(8);
    let tracer = Tracer::new(Sampling::from_environment(), Some(Arc::new(queue)));
    let suppressed = tracer.start_with_context("none", &Context::new().with_telemetry_suppressed());
    assert!(!suppressed.ids().is_valid());
    let parent = SpanContext::new(TraceId::from(1), SpanId::from(1), TraceFlags::default(), true, TraceState::NONE);
    let silent = tracer.start_with_context("none", &Context::new().with_remote_span_context(parent));
    // It passes the trace on all the same.
    assert_eq!((silent.ids().trace_id(), silent.ids().is_sampled()), (TraceId::from(1), false));
    drop((suppressed, silent));
    assert!(drain.take().is_none());
}

/// Points of a histogram by their attributes: count, buckets, least, most, and the sum in millionths.
type Points = BTreeMap<String, (u64, Vec<u64>, String, i64)>;

fn points(reader: &Reader) -> BTreeMap<String, Points> {
    let mut all = ResourceMetrics::default();
    reader.collect(&mut all).unwrap();
    let metrics = all.scope_metrics().flat_map(|scope| scope.metrics());
    let read = |metric: &opentelemetry_sdk::metrics::data::Metric| {
        let AggregatedMetrics::F64(MetricData::Histogram(data)) = metric.data() else { panic!("a histogram") };
        let points = data.data_points().map(|point| {
            let mut key: Vec<_> = point.attributes().map(|kv| format!("{}={}", kv.key, kv.value)).collect();
            key.sort();
            let ends = format!("{:?} {:?}", point.min(), point.max());
            let sum = (point.sum() * 1e6).round() as i64;
            (key.join(","), (point.count(), point.bucket_counts().collect(), ends, sum))
        });
        (metric.name().to_owned(), points.collect())
    };
    metrics.map(read).collect()
}

/// Records as a lane does.
fn record(
    series: &Series<opentelemetry::metrics::BoundHistogram<f64>>,
    of: &Histogram<f64>,
    all: &[KeyValue],
    value: f64,
) {
    let bound = series.record(&[all], || of.bind(all), |bound| bound.record(value));
    bound.unwrap_or_else(|| of.record(value, all));
}

fn histograms() -> (Reader, SdkMeterProvider, [Histogram<f64>; 2]) {
    let reader = Reader(Arc::new(ManualReader::default()));
    let meters = SdkMeterProvider::builder().with_reader(reader.clone()).build();
    let make = |name| meters.meter(SCOPE).f64_histogram(name).with_boundaries(vec![0.5, 1.0, 2.0]).build();
    let both = [make("bound"), make("found")];
    (reader, meters, both)
}

fn labels(n: u16) -> [KeyValue; 2] {
    [KeyValue::new("status", i64::from(n)), KeyValue::new("peer", format!("10.0.0.{n}"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn bound_series_add_up_to_what_the_sdk_finds(values in prop::collection::vec((0_u16..6, 0_u32..3000), 1..400)) {
        let (reader, _meters, [bound, found]) = histograms();
        let series = Series::default();
        std::thread::scope(|scope| {
            for chunk in values.chunks(values.len().div_ceil(3)) {
                scope.spawn(|| chunk.iter().for_each(|(n, ms)| {
                    let (all, value) = (labels(*n), f64::from(*ms) / 1e3);
                    record(&series, &bound, &all, value);
                    found.record(value, &all);
                }));
            }
        });
        let points = points(&reader);
        prop_assert_eq!(&points["bound"], &points["found"]);
    }
}

#[test]
fn more_series_than_are_kept_or_allowed_lose_no_value() {
    const SETS: u16 = 2_500;
    let (reader, _meters, [bound, found]) = histograms();
    let series = Series::default();
    for n in (0..SETS).chain(0..SETS) {
        let all = labels(n);
        record(&series, &bound, &all, 0.25);
        found.record(0.25, &all);
    }
    let points = points(&reader);
    let count = |name: &str| points[name].values().map(|point| point.0).sum::<u64>();
    assert_eq!((count("bound"), count("found")), (u64::from(SETS) * 2, u64::from(SETS) * 2));
    assert_eq!(points["bound"], points["found"]);
    assert!(points["bound"].contains_key("otel.metric.overflow=true"), "the SDK's limit holds");
}
