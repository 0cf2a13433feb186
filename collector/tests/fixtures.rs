//! What stock OpenTelemetry clients really send, by its own protocol, comes out right in queries.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::attr::{AttrValue, Attributes};
use fuseboard_api::log::LogQuery;
use fuseboard_api::metric::{MetricKind, MetricQuery};
use fuseboard_api::span::{Span, SpanKind, StatusCode};
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{SpanId, TraceId};
use fuseboard_collector::query::otlp;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1 as sent;
use prost::Message;
use tonic::codec::CompressionEncoding;

use crate::common::{EVER, Stage};

/// One captured request.
struct Fixture {
    body: Vec<u8>,
    meta: serde_json::Value,
    path: PathBuf,
}

impl Fixture {
    fn items(&self) -> u64 {
        self.meta["items"].as_u64().expect("items")
    }

    fn signal(&self) -> &str {
        self.meta["signal"].as_str().expect("a signal")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.meta["headers"].as_object().expect("headers");
        headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).and_then(|(_, v)| v.as_str())
    }

    fn is_json(&self) -> bool {
        self.path.extension().is_some_and(|e| e == "json")
    }
}

/// Every request of one client, in the order it was sent.
fn fixtures(client: &str) -> Vec<Fixture> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/otlp").join(client);
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir).expect("fixtures").map(|e| e.expect("an entry").path()).collect();
    paths.retain(|p| !p.to_string_lossy().ends_with(".meta.json"));
    paths.sort();
    assert!(!paths.is_empty(), "{} has requests", dir.display());
    let load = |path: PathBuf| {
        let meta = fs::read(path.with_extension("meta.json")).expect("its meta");
        let meta = serde_json::from_slice(&meta).expect("JSON");
        Fixture { body: fs::read(&path).expect("its body"), meta, path }
    };
    paths.into_iter().map(load).collect()
}

/// Sends a request as it was sent: the same path, type, encoding and framing.
async fn replay(stage: &Stage, fixture: &Fixture) {
    let path = fixture.meta["path"].as_str().expect("a path");
    if path.contains("TraceService") {
        let request = ExportTraceServiceRequest::decode(&fixture.body[..]).expect("protobuf");
        let mut client =
            stage.grpc().await.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
        let response = client.export(request).await.expect("accepted").into_inner();
        assert_eq!(response.partial_success, None);
        return;
    }
    let kind = fixture.header("content-type").expect("a type").to_owned();
    let mut request = stage.http.post(stage.url(path)).header("content-type", &kind);
    let mut body = fixture.body.clone();
    if fixture.header("content-encoding") == Some("gzip") {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&body).expect("packed");
        body = packed.finish().expect("packed");
        request = request.header("content-encoding", "gzip");
    }
    let chunked = fixture.header("transfer-encoding") == Some("chunked");
    let request = if chunked {
        let chunks: Vec<Result<Vec<u8>, std::io::Error>> = body.chunks(1000).map(|c| Ok(c.to_vec())).collect();
        request.body(reqwest::Body::wrap_stream(futures_util::stream::iter(chunks)))
    } else {
        request.body(body)
    };
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 200, "{}", fixture.path.display());
    assert_eq!(response.headers()["content-type"], kind.as_str(), "the answer speaks the request's encoding");
    let answer = response.bytes().await.expect("a body");
    assert_eq!(&answer[..], if fixture.is_json() { &b"{}"[..] } else { b"" }, "nothing was refused");
}

/// Sends all requests of a client and checks the totals against what the capture counted.
async fn played(client: &str) -> (Stage, Vec<Fixture>) {
    let stage = Stage::start().await;
    let all = fixtures(client);
    for fixture in &all {
        replay(&stage, fixture).await;
    }
    let sum = |signal: &str| all.iter().filter(|f| f.signal() == signal).map(Fixture::items).sum::<u64>();
    let totals = stage.totals().await;
    assert_eq!(totals.spans, sum("traces"), "spans of {client}");
    assert_eq!(totals.logs, sum("logs"), "logs of {client}");
    let services: BTreeSet<&str> =
        all.iter().flat_map(|f| f.meta["services"].as_array().expect("services")).filter_map(|s| s.as_str()).collect();
    assert_eq!(totals.services.iter().map(String::as_str).collect::<BTreeSet<_>>(), services);
    assert_eq!(totals.rejected, 0);
    (stage, all)
}

/// Every span of the protobuf requests, as the trace's answer has it.
async fn compare_spans(stage: &Stage, all: &[Fixture]) -> Vec<Span> {
    let mut expected: BTreeMap<TraceId, Vec<(sent::Span, Vec<KeyValue>, String)>> = BTreeMap::new();
    for fixture in all.iter().filter(|f| f.signal() == "traces") {
        let request = ExportTraceServiceRequest::decode(&fixture.body[..]).expect("protobuf");
        for resource in request.resource_spans {
            for scope in resource.scope_spans {
                for span in scope.spans {
                    let id = TraceId::from_slice(&span.trace_id).expect("an id");
                    let attributes = resource.resource.clone().unwrap_or_default().attributes;
                    let name = scope.scope.clone().unwrap_or_default().name;
                    expected.entry(id).or_default().push((span, attributes, name));
                }
            }
        }
    }
    let list = stage.traces(TraceQuery { range: EVER, limit: 10_000, ..TraceQuery::default() }).await;
    assert_eq!(list.rows.len(), expected.len());
    assert!(list.rows.is_sorted_by(|a, b| a.start >= b.start), "newest first");
    let mut out = Vec::new();
    for (id, spans) in expected {
        let trace = stage.trace(id).await.expect("stored");
        assert_eq!(trace.spans.len(), spans.len());
        assert!(trace.spans.is_sorted_by_key(|s| s.start));
        for (span, resource, scope) in spans {
            let id = SpanId::from_slice(&span.span_id).expect("an id");
            let got = trace.spans.iter().find(|s| s.span_id == id).expect("the span");
            same(&span, got);
            assert_eq!(got.origin.resource, attributes(&resource));
            assert_eq!(got.origin.scope, scope);
        }
        out.extend(trace.spans);
    }
    out
}

fn same(sent: &sent::Span, got: &Span) {
    let nanos = |t: u64| i64::try_from(t).expect("before 2262");
    assert_eq!(got.name, sent.name);
    assert_eq!(got.parent, SpanId::from_slice(&sent.parent_span_id));
    assert_eq!((got.start.0, got.end.0), (nanos(sent.start_time_unix_nano), nanos(sent.end_time_unix_nano)));
    let kinds = [
        SpanKind::Unspecified,
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ];
    assert_eq!(got.kind, kinds[usize::try_from(sent.kind).expect("a kind")]);
    assert_eq!((got.flags, &got.trace_state), (sent.flags, &sent.trace_state));
    let status = sent.status.clone().unwrap_or_default();
    let codes = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];
    assert_eq!(got.status, codes[usize::try_from(status.code).expect("a code")]);
    assert_eq!(got.status_message, status.message);
    assert_eq!(got.attributes, attributes(&sent.attributes));
    assert_eq!(got.dropped_attributes, sent.dropped_attributes_count);
    assert_eq!(got.dropped_events, sent.dropped_events_count);
    assert_eq!(got.dropped_links, sent.dropped_links_count);
    assert_eq!(got.events.len(), sent.events.len());
    for (got, sent) in got.events.iter().zip(&sent.events) {
        assert_eq!((got.time.0, &got.name), (nanos(sent.time_unix_nano), &sent.name));
        assert_eq!(got.attributes, attributes(&sent.attributes));
    }
    assert_eq!(got.links.len(), sent.links.len());
    for (got, sent) in got.links.iter().zip(&sent.links) {
        assert_eq!(&got.trace_id.0[..], &sent.trace_id[..]);
        assert_eq!(&got.span_id.0[..], &sent.span_id[..]);
        assert_eq!((got.flags, &got.attributes), (sent.flags, &attributes(&sent.attributes)));
    }
}

fn attributes(list: &[KeyValue]) -> Attributes {
    list.iter().map(|kv| (kv.key.clone(), value(kv.value.as_ref()))).collect()
}

fn value(v: Option<&AnyValue>) -> AttrValue {
    match v.and_then(|v| v.value.as_ref()) {
        None => AttrValue::Empty,
        Some(Value::StringValue(s)) => AttrValue::Str(s.clone()),
        Some(Value::BoolValue(b)) => AttrValue::Bool(*b),
        Some(Value::IntValue(i)) => AttrValue::Int(*i),
        Some(Value::DoubleValue(d)) => AttrValue::Double(*d),
        Some(Value::BytesValue(b)) => AttrValue::Bytes(b.clone()),
        Some(Value::ArrayValue(a)) => AttrValue::Array(a.values.iter().map(|v| value(Some(v))).collect()),
        Some(Value::KvlistValue(l)) => AttrValue::Map(attributes(&l.values)),
        Some(other) => panic!("not in the fixtures: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_over_http() {
    let (stage, all) = played("py-http-plain").await;
    let spans = compare_spans(&stage, &all).await;
    let values: Vec<&AttrValue> = spans.iter().flat_map(|s| s.attributes.iter().map(|(_, v)| v)).collect();
    assert!(values.contains(&&AttrValue::Int(9_007_199_254_740_993)), "2^53+1 stays exact");
    assert!(values.iter().any(|v| v.as_str().is_some_and(|s| !s.is_ascii())), "UTF-8 survives");
    assert!(values.iter().any(|v| matches!(v, AttrValue::Array(_))), "arrays survive");
    assert!(spans.iter().any(|s| !s.links.is_empty()) && spans.iter().any(|s| !s.events.is_empty()));
    // Three Flask processes in a row: each pair of neighbours is one edge, found although children came first.
    let board = stage.board(EVER).await;
    for (caller, callee) in [("shop-frontend", "shop-orders"), ("shop-orders", "shop-inventory")] {
        let calls: u64 = board
            .edges
            .iter()
            .filter(|e| e.key.caller == caller && e.key.callee == callee)
            .map(|e| e.stats.calls)
            .sum();
        assert!(calls >= 20, "{caller} → {callee}: {calls} calls");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_over_grpc_with_gzip() {
    let (stage, all) = played("py-grpc-gzip").await;
    let spans = compare_spans(&stage, &all).await;
    assert!(
        spans.iter().any(|s| s.status_message.contains("DEADLINE_EXCEEDED") || s.status_message.contains("Deadline"))
    );
    let board = stage.board(EVER).await;
    assert!(board.edges.iter().any(|e| e.key.caller == "pay-gateway" && e.stats.errors > 0));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_over_http_with_protobuf() {
    let (stage, all) = played("node-proto").await;
    compare_spans(&stage, &all).await;
    stage.stop().await;
}

/// `trace_to_json` gives back what the client sent: the same resources, scopes and spans, numbers written OTLP's way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_over_http_with_json() {
    let (stage, all) = played("node-json").await;
    let mut sent: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    for fixture in &all {
        let body: serde_json::Value = serde_json::from_slice(&fixture.body).expect("JSON");
        collect(&body, &mut sent);
    }
    let list = stage.traces(TraceQuery { range: EVER, limit: 10_000, ..TraceQuery::default() }).await;
    let mut got = BTreeMap::new();
    for row in list.rows {
        let trace = stage.trace(row.trace_id).await.expect("stored");
        collect(&otlp::trace_to_json(&trace), &mut got);
    }
    assert_eq!(got.len(), sent.len());
    for (id, span) in &sent {
        assert_eq!(got.get(id), Some(span), "span {id}");
    }
    stage.stop().await;
}

/// Spans by id, with their resource and scope, in one normal form.
fn collect(body: &serde_json::Value, into: &mut BTreeMap<String, serde_json::Value>) {
    for resource in body["resourceSpans"].as_array().expect("resources") {
        for scope in resource["scopeSpans"].as_array().expect("scopes") {
            for span in scope["spans"].as_array().expect("spans") {
                let mut whole = serde_json::json!({
                    "span": span, "scope": scope["scope"], "resource": resource["resource"],
                });
                normal(&mut whole);
                into.insert(span["spanId"].as_str().expect("an id").to_owned(), whole);
            }
        }
    }
}

/// Drops what says nothing (zeros, empty lists and objects) and writes 64-bit numbers as text.
fn normal(v: &mut serde_json::Value) {
    match v {
        serde_json::Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if key == "intValue" && value.is_number() {
                    *value = value.to_string().into();
                } else if key == "doubleValue" {
                    *value = value.as_f64().into();
                } else {
                    normal(value);
                }
            }
            map.retain(|k, v| {
                let nothing =
                    v.is_null() || *v == 0 || *v == "" || *v == serde_json::json!([]) || *v == serde_json::json!({});
                k.ends_with("Value") || !nothing
            });
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(normal),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_metrics_and_logs() {
    let (stage, all) = played("py-metrics-http").await;
    compare_spans(&stage, &all).await;
    let mut points: BTreeMap<String, u64> = BTreeMap::new();
    for fixture in all.iter().filter(|f| f.signal() == "metrics") {
        use opentelemetry_proto::tonic::metrics::v1::metric::Data;
        let request = ExportMetricsServiceRequest::decode(&fixture.body[..]).expect("protobuf");
        let metrics = request.resource_metrics.into_iter().flat_map(|r| r.scope_metrics).flat_map(|s| s.metrics);
        for metric in metrics {
            let n = match metric.data.expect("data") {
                Data::Gauge(g) => g.data_points.len(),
                Data::Sum(s) => s.data_points.len(),
                Data::Histogram(h) => h.data_points.len(),
                Data::ExponentialHistogram(h) => h.data_points.len(),
                Data::Summary(s) => s.data_points.len(),
            };
            *points.entry(metric.name).or_default() += n as u64;
        }
    }
    assert_eq!(stage.totals().await.metric_points, points.values().sum::<u64>());
    let query = MetricQuery { range: EVER, ..MetricQuery::default() };
    let Answer::Metrics(metrics) = stage.ask_at(Question::Metrics(query), None).await.1 else { panic!("metrics") };
    let mut got: BTreeMap<String, u64> = BTreeMap::new();
    for i in &metrics.instruments {
        assert!(i.series > 0);
        *got.entry(i.name.clone()).or_default() += i.points;
    }
    assert_eq!(got, points);
    let kinds: BTreeSet<String> = metrics.instruments.iter().map(|i| format!("{:?}", i.kind)).collect();
    for kind in [MetricKind::Gauge, MetricKind::Sum, MetricKind::Histogram, MetricKind::ExponentialHistogram] {
        assert!(kinds.contains(&format!("{kind:?}")), "{kind:?} in {kinds:?}");
    }
    let name = metrics.instruments[0].name.clone();
    let query =
        MetricQuery { range: EVER, service: Some("metrics-py".into()), name: Some(name), ..MetricQuery::default() };
    let Answer::Metrics(one) = stage.ask_at(Question::Metrics(query), None).await.1 else { panic!("metrics") };
    assert!(!one.series.is_empty() && one.series.iter().all(|s| s.points.is_sorted_by_key(|p| p.time)));
    compare_logs(&stage, &all).await;
    stage.stop().await;
}

async fn compare_logs(stage: &Stage, all: &[Fixture]) {
    let mut sent = Vec::new();
    for fixture in all.iter().filter(|f| f.signal() == "logs") {
        let request = ExportLogsServiceRequest::decode(&fixture.body[..]).expect("protobuf");
        let records = request.resource_logs.into_iter().flat_map(|r| r.scope_logs).flat_map(|s| s.log_records);
        sent.extend(records);
    }
    let query = LogQuery { range: EVER, limit: 1000, ..LogQuery::default() };
    let Answer::Logs(got) = stage.ask_at(Question::Logs(query), None).await.1 else { panic!("logs") };
    assert_eq!(got.rows.len(), sent.len());
    assert!(got.rows.is_sorted_by(|a, b| a.time >= b.time), "newest first");
    for record in &sent {
        let time = if record.time_unix_nano == 0 { record.observed_time_unix_nano } else { record.time_unix_nano };
        let twin = got.rows.iter().find(|r| {
            r.time.0 == i64::try_from(time).expect("before 2262")
                && r.body == value(record.body.as_ref())
                && r.attributes == attributes(&record.attributes)
        });
        let twin = twin.unwrap_or_else(|| panic!("no log record like {record:?}"));
        assert_eq!((i32::from(twin.severity), &twin.severity_text), (record.severity_number, &record.severity_text));
        assert_eq!(twin.trace_id, TraceId::from_slice(&record.trace_id));
        assert_eq!(twin.event_name, record.event_name);
    }
    let tied = sent.iter().find_map(|r| TraceId::from_slice(&r.trace_id)).expect("a record with a trace");
    let query = LogQuery { range: EVER, trace_id: Some(tied), ..LogQuery::default() };
    let Answer::Logs(of_trace) = stage.ask_at(Question::Logs(query), None).await.1 else { panic!("logs") };
    let count = sent.iter().filter(|r| TraceId::from_slice(&r.trace_id) == Some(tied)).count();
    assert_eq!(of_trace.rows.len(), count);
    let query = LogQuery { range: EVER, min_severity: 17, ..LogQuery::default() };
    let Answer::Logs(errors) = stage.ask_at(Question::Logs(query), None).await.1 else { panic!("logs") };
    assert_eq!(errors.rows.len(), sent.iter().filter(|r| r.severity_number >= 17).count());
}
