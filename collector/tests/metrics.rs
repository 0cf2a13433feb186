//! Metrics of every kind: every field survives, and counters and histograms are answered as people read them.

use std::sync::LazyLock;

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::metric::{MetricQuery, MetricSeries, Metrics, Temporality};
use fuseboard_api::{SpanId, TimeRange, TraceId, UnixNanos};
use fuseboard_collector::query::export;
use fuseboard_collector::store::StoreError;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use crate::common::{EVER, Stage, kv};

const SECOND: u64 = 1_000_000_000;
/// When the sender began: an hour ago, since questions reach back only so far.
static BEGUN: LazyLock<u64> =
    LazyLock::new(|| u64::try_from(UnixNanos::now().0).expect("after 1970") / SECOND * SECOND - 3600 * SECOND);

fn at(second: u64) -> u64 {
    *BEGUN + second * SECOND
}

fn exemplar(second: u64, whole: i64) -> Exemplar {
    Exemplar {
        filtered_attributes: vec![kv("user", "ann")],
        time_unix_nano: at(second),
        span_id: vec![2; 8],
        trace_id: vec![1; 16],
        value: Some(exemplar::Value::AsInt(whole)),
    }
}

fn number(second: u64, value: Value) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![kv("state", "used")],
        start_time_unix_nano: at(0),
        time_unix_nano: at(second),
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn counter(points: Vec<NumberDataPoint>) -> Metric {
    let sum = Sum { data_points: points, aggregation_temporality: 2, is_monotonic: true };
    metric("requests", Data::Sum(sum))
}

fn metric(name: &str, data: Data) -> Metric {
    let (description, unit) = (format!("what {name} says"), "{thing}".to_owned());
    Metric { name: name.into(), description, unit, data: Some(data), metadata: vec![kv("prometheus.type", name)] }
}

fn explicit(second: u64, counts: [u64; 3]) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: vec![kv("route", "/pay"), kv("ok", true)],
        start_time_unix_nano: at(0),
        time_unix_nano: at(second),
        count: counts.iter().sum(),
        sum: Some(1234.5),
        bucket_counts: counts.to_vec(),
        explicit_bounds: vec![10.0, 20.0],
        exemplars: vec![exemplar(second, 7)],
        min: Some(0.5),
        max: Some(40.0),
        ..HistogramDataPoint::default()
    }
}

/// One of everything.
fn everything() -> ExportMetricsServiceRequest {
    let mut gone = number(30, Value::AsInt(0));
    (gone.value, gone.flags) = (None, 1);
    let gauge = vec![number(10, Value::AsDouble(-0.5)), number(20, Value::AsDouble(f64::NAN)), gone];
    let mut second_counter = number(20, Value::AsInt((1 << 60) + 3));
    second_counter.exemplars = vec![exemplar(19, i64::MAX)];
    let exponential = ExponentialHistogramDataPoint {
        start_time_unix_nano: at(1),
        time_unix_nano: at(10),
        count: 24,
        sum: Some(60.0),
        scale: 0,
        zero_count: 4,
        positive: Some(Buckets { offset: 0, bucket_counts: vec![10, 0, 10] }),
        negative: Some(Buckets::default()),
        flags: 0,
        exemplars: vec![exemplar(9, 1)],
        min: None,
        max: Some(8.0),
        zero_threshold: 1e-9,
        attributes: Vec::new(),
    };
    let summary = SummaryDataPoint {
        time_unix_nano: at(10),
        count: u64::MAX,
        sum: 12.0,
        quantile_values: vec![
            ValueAtQuantile { quantile: 0.9, value: 3.0 },
            ValueAtQuantile { quantile: 0.5, value: 1.0 },
        ],
        ..SummaryDataPoint::default()
    };
    let delta = Sum { data_points: vec![number(10, Value::AsInt(50))], aggregation_temporality: 1, is_monotonic: true };
    let level =
        Sum { data_points: vec![number(10, Value::AsInt(-5))], aggregation_temporality: 2, is_monotonic: false };
    let histogram = Histogram {
        data_points: vec![explicit(10, [100, 0, 0]), explicit(20, [100, 10, 0])],
        aggregation_temporality: 2,
    };
    let exponential = ExponentialHistogram { data_points: vec![exponential], aggregation_temporality: 1 };
    let metrics = vec![
        metric("temperature", Data::Gauge(Gauge { data_points: gauge })),
        counter(vec![number(10, Value::AsInt(1 << 60)), second_counter]),
        metric("sent", Data::Sum(delta)),
        metric("level", Data::Sum(level)),
        metric("duration", Data::Histogram(histogram)),
        metric("size", Data::ExponentialHistogram(exponential)),
        metric("latency", Data::Summary(Summary { data_points: vec![summary] })),
    ];
    let scope = InstrumentationScope {
        name: "meter".into(),
        version: "2".into(),
        attributes: vec![kv("a", 1)],
        dropped_attributes_count: 3,
    };
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: "https://scope".into() }];
    let attributes = vec![kv("service.name", "shop"), kv("service.instance.id", "shop-1")];
    let resource = Some(Resource { attributes, dropped_attributes_count: 1, ..Resource::default() });
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics { resource, scope_metrics, schema_url: "https://resource".into() }],
    }
}

async fn send(stage: &Stage, request: &ExportMetricsServiceRequest) {
    let response = stage.post("/v1/metrics", "application/x-protobuf", request.encode_to_vec()).await;
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.expect("a body").is_empty(), "nothing is refused");
}

/// Every point with all around it, encoded; in an order of its own.
fn points(all: Vec<ResourceMetrics>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for resource in all {
        for scope in &resource.scope_metrics {
            for metric in &scope.metrics {
                for data in singles(metric.data.clone().expect("data")) {
                    let metrics = vec![Metric { data: Some(data), ..metric.clone() }];
                    let scope_metrics = vec![ScopeMetrics { metrics, ..scope.clone() }];
                    out.push(ResourceMetrics { scope_metrics, ..resource.clone() }.encode_to_vec());
                }
            }
        }
    }
    out.sort();
    out
}

fn singles(data: Data) -> Vec<Data> {
    fn each<P>(points: Vec<P>, make: impl Fn(Vec<P>) -> Data) -> Vec<Data> {
        points.into_iter().map(|p| make(vec![p])).collect()
    }
    match data {
        Data::Gauge(g) => each(g.data_points, |data_points| Data::Gauge(Gauge { data_points })),
        Data::Sum(s) => each(s.data_points.clone(), |data_points| Data::Sum(Sum { data_points, ..s.clone() })),
        Data::Histogram(h) => {
            each(h.data_points.clone(), |data_points| Data::Histogram(Histogram { data_points, ..h.clone() }))
        }
        Data::ExponentialHistogram(h) => each(h.data_points.clone(), |data_points| {
            Data::ExponentialHistogram(ExponentialHistogram { data_points, ..h.clone() })
        }),
        Data::Summary(s) => each(s.data_points, |data_points| Data::Summary(Summary { data_points })),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_point_comes_out_as_it_went_in_and_once() {
    let stage = Stage::start().await;
    let sent = everything();
    send(&stage, &sent).await;
    send(&stage, &sent).await;
    let expected = points(sent.resource_metrics);
    assert_eq!(stage.totals().await.metric_points, expected.len() as u64, "the second time changes nothing");
    assert_eq!(stage.handle.store().vitals().duplicates(), expected.len() as u64);
    let as_of = stage.handle.store().as_of_now();
    let read = stage.handle.store().read(move |conn| -> Result<_, StoreError> {
        let mut all = Vec::new();
        export::metrics(conn, EVER, as_of, |some| {
            all.push(some);
            Ok(())
        })?;
        Ok(all)
    });
    assert_eq!(points(read.await.expect("exported")), expected);
    stage.stop().await;
}

async fn ask(stage: &Stage, name: &str, range: TimeRange) -> Metrics {
    let query = MetricQuery { range, name: Some(name.into()), ..MetricQuery::default() };
    match stage.ask_at(Question::Metrics(query), None).await.1 {
        Answer::Metrics(metrics) => metrics,
        other => panic!("metrics, not {other:?}"),
    }
}

async fn series(stage: &Stage, name: &str) -> MetricSeries {
    let mut metrics = ask(stage, name, EVER).await;
    assert_eq!((metrics.series.len(), metrics.instruments.len()), (1, 1), "{name}");
    metrics.series.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_have_rates_and_histograms_quantiles_and_exemplars() {
    let stage = Stage::start().await;
    send(&stage, &everything()).await;
    let requests = series(&stage, "requests").await;
    assert_eq!((requests.temporality, requests.monotonic), (Temporality::Cumulative, true));
    assert_eq!(requests.points[1].whole, Some((1 << 60) + 3), "exactly");
    assert_eq!(requests.rate.last().map(|r| r.value), Some(0.3));
    let found = &requests.exemplars[0];
    assert_eq!((found.trace_id, found.span_id), (Some(TraceId([1; 16])), Some(SpanId([2; 8]))));
    assert_eq!((found.whole, found.attributes.as_slice()), (Some(i64::MAX), &[("user".to_owned(), "ann".into())][..]));
    // A restart: a new start, and a smaller value.
    let mut restarted = number(30, Value::AsInt(20));
    restarted.start_time_unix_nano = at(25);
    let mut again = everything();
    again.resource_metrics[0].scope_metrics[0].metrics = vec![counter(vec![restarted])];
    send(&stage, &again).await;
    assert_eq!(series(&stage, "requests").await.rate.last().map(|r| r.value), Some(2.0), "20 in 10 s, no fall");
    let sent = series(&stage, "sent").await;
    assert_eq!((sent.temporality, sent.rate[0].value), (Temporality::Delta, 5.0));
    assert!(series(&stage, "level").await.rate.is_empty(), "what may fall has no rate");
    let gauge = series(&stage, "temperature").await;
    assert_eq!(gauge.points.iter().map(|p| p.gap).collect::<Vec<_>>(), [false, true, true]);
    // Asked for the second stretch alone, the first point is still there to compare with.
    let range = TimeRange { from: UnixNanos(at(15) as i64), to: UnixNanos(at(25) as i64) };
    let duration = ask(&stage, "duration", range).await.series.remove(0);
    let lines: Vec<(f64, f64)> = duration.quantiles.iter().map(|q| (q.quantile, q.values[0].value)).collect();
    assert_eq!(lines, [(0.5, 15.0), (0.95, 19.5), (0.99, 19.9)]);
    assert_eq!((duration.points.len(), duration.rate[0].value, duration.points[0].max), (1, 1.0, Some(40.0)));
    let size = series(&stage, "size").await;
    let middle = size.quantiles[0].values[0].value;
    assert!((middle - 2.0_f64.powf(0.8)).abs() < 1e-9, "rank 12 of 24 is the eighth of ten in (1, 2]: {middle}");
    let latency = series(&stage, "latency").await;
    assert_eq!(latency.quantiles.iter().map(|q| q.quantile).collect::<Vec<_>>(), [0.5, 0.9]);
    assert_eq!(latency.points[0].count, u64::MAX);
    // An answer can be written and read as JSON, whatever was measured.
    let text = serde_json::to_string(&gauge).expect("written");
    assert_eq!(serde_json::from_str::<MetricSeries>(&text).expect("read"), gauge);
    stage.stop().await;
}
