use std::ops::ControlFlow;
use std::path::Path;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, EntityRef, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Summary, SummaryDataPoint, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use super::*;
use crate::files::import;

/// Writes requests as lines and reads them back.
fn there_and_back(all: &[Telemetry]) -> Vec<Telemetry> {
    let mut lines = Vec::new();
    all.iter().for_each(|telemetry| line(telemetry, &mut lines));
    let mut got = Vec::new();
    let mut sink = |telemetry| {
        got.push(telemetry);
        ControlFlow::Continue(())
    };
    let found = import::read("lines", &lines[..], &mut sink).expect("readable");
    assert_eq!(found.faults.count, 0, "{:?}", found.faults);
    got
}

#[test]
fn every_captured_request_comes_back_equal() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/otlp");
    for client in ["py-http-plain", "py-grpc-gzip", "py-metrics-http", "node-proto"] {
        for entry in std::fs::read_dir(data.join(client)).expect("fixtures") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.ends_with(".pb") {
                continue;
            }
            let body = &std::fs::read(&path).expect("its body")[..];
            let telemetry = if name.contains("-logs-") {
                Telemetry::Logs(ExportLogsServiceRequest::decode(body).expect("protobuf"))
            } else if name.contains("-metrics-") {
                Telemetry::Metrics(ExportMetricsServiceRequest::decode(body).expect("protobuf"))
            } else {
                Telemetry::Traces(ExportTraceServiceRequest::decode(body).expect("protobuf"))
            };
            assert!(there_and_back(std::slice::from_ref(&telemetry)) == [telemetry], "{client}/{name}");
        }
    }
}

fn kv(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// A value of every kind, the odd ones too.
fn values() -> Vec<KeyValue> {
    let nested = KeyValueList { values: vec![kv("inner", Value::BoolValue(false))] };
    let list = ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(0)) }, AnyValue { value: None }] };
    vec![
        kv("text", Value::StringValue("\"\\\u{1}ü\u{1f600}".into())),
        kv("empty", Value::StringValue(String::new())),
        kv("int", Value::IntValue(i64::MIN)),
        kv("double", Value::DoubleValue(0.1)),
        kv("infinite", Value::DoubleValue(f64::NEG_INFINITY)),
        kv("bytes", Value::BytesValue(vec![0, 255])),
        kv("list", Value::ArrayValue(list)),
        kv("map", Value::KvlistValue(nested)),
        KeyValue { key: "none".into(), value: None, key_strindex: 0 },
    ]
}

#[test]
fn every_field_comes_back() {
    let resource = Some(Resource {
        attributes: values(),
        dropped_attributes_count: 1,
        entity_refs: vec![EntityRef {
            schema_url: "e".into(),
            r#type: "service".into(),
            id_keys: vec!["a".into()],
            description_keys: vec!["b".into(), "c".into()],
        }],
    });
    let scope = Some(InstrumentationScope {
        name: "lib".into(),
        version: "1".into(),
        attributes: values(),
        dropped_attributes_count: 2,
    });
    let span = Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        trace_state: "a=b".into(),
        parent_span_id: vec![3; 8],
        flags: 0x301,
        name: "n".into(),
        kind: 5,
        start_time_unix_nano: 1,
        end_time_unix_nano: u64::MAX,
        attributes: values(),
        dropped_attributes_count: 3,
        events: vec![
            Event { time_unix_nano: 4, name: "e".into(), attributes: values(), dropped_attributes_count: 5 },
            Event::default(),
        ],
        dropped_events_count: 6,
        links: vec![Link {
            trace_id: vec![7; 16],
            span_id: vec![8; 8],
            trace_state: "s".into(),
            attributes: values(),
            dropped_attributes_count: 9,
            flags: 1,
        }],
        dropped_links_count: 10,
        status: Some(Status { message: "m".into(), code: 2 }),
    };
    let scope_spans =
        vec![ScopeSpans { scope: scope.clone(), spans: vec![span, Span::default()], schema_url: "s".into() }];
    let spans = ResourceSpans { resource: resource.clone(), scope_spans, schema_url: "r".into() };
    let record = LogRecord {
        time_unix_nano: 1,
        observed_time_unix_nano: 2,
        severity_number: 17,
        severity_text: "E".into(),
        body: Some(AnyValue { value: Some(Value::StringValue(String::new())) }),
        attributes: values(),
        dropped_attributes_count: 3,
        flags: 1,
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        event_name: "ev".into(),
    };
    let scope_logs = vec![ScopeLogs { scope: scope.clone(), log_records: vec![record], schema_url: "s".into() }];
    let logs = ResourceLogs { resource: resource.clone(), scope_logs, schema_url: "r".into() };
    let zero = NumberDataPoint {
        value: Some(number_data_point::Value::AsDouble(0.0)),
        time_unix_nano: 1,
        ..NumberDataPoint::default()
    };
    let none = NumberDataPoint { flags: 1, time_unix_nano: 2, ..NumberDataPoint::default() };
    let quantile = ValueAtQuantile { quantile: 0.0, value: -1.5 };
    let summary = SummaryDataPoint {
        attributes: values(),
        count: 3,
        sum: 4.5,
        quantile_values: vec![quantile],
        ..SummaryDataPoint::default()
    };
    let metric =
        |name: &str, data| Metric { name: name.into(), metadata: values(), data: Some(data), ..Metric::default() };
    let metrics = vec![
        metric("gauge", Data::Gauge(Gauge { data_points: vec![zero, none] })),
        metric("summary", Data::Summary(Summary { data_points: vec![summary] })),
    ];
    let scope_metrics = vec![ScopeMetrics { scope, metrics, schema_url: "s".into() }];
    let metrics = ResourceMetrics { resource, scope_metrics, schema_url: "r".into() };
    let all = [
        Telemetry::Traces(ExportTraceServiceRequest { resource_spans: vec![spans] }),
        Telemetry::Logs(ExportLogsServiceRequest { resource_logs: vec![logs] }),
        Telemetry::Metrics(ExportMetricsServiceRequest { resource_metrics: vec![metrics] }),
    ];
    assert_eq!(there_and_back(&all), all);
}

#[test]
fn no_number_that_is_none_is_lost() {
    let point =
        NumberDataPoint { value: Some(number_data_point::Value::AsDouble(f64::NAN)), ..NumberDataPoint::default() };
    let metric = Metric { data: Some(Data::Gauge(Gauge { data_points: vec![point] })), ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let mut out = Vec::new();
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    line(&Telemetry::Metrics(ExportMetricsServiceRequest { resource_metrics }), &mut out);
    assert!(String::from_utf8(out).expect("text").contains("\"asDouble\":\"NaN\""));
}
