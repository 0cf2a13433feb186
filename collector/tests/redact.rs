//! What a rule names is nowhere in the file, whichever door it came through.

use std::path::Path;

use fuseboard_api::TraceId;
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::log::LogQuery;
use fuseboard_api::metric::MetricQuery;
use fuseboard_collector::{Collector, Config, StartError};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message as _;

use crate::common::{EVER, SERVER, Stage, With as _, encoded, kv, request, span};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Occurs wherever something secret is sent.
const SECRET: &str = "hunter2hunter2";
const MAIL: &str = "joe.secret@mail.example";

const RULES: &str = r#"
[hash]
key_file = "hash.key"

[[rule]]
key = "password"
action = "drop"

[[rule]]
key = "user.*"
action = "hash"

[[rule]]
value_regex = "hunter2hunter2"
action = "mask"

[[rule]]
value = "email"
action = "mask"
"#;

fn secrets() -> Vec<KeyValue> {
    vec![kv("password", SECRET), kv("user.id", SECRET), kv("note", format!("by {SECRET}").as_str())]
}

async fn ruled() -> Stage {
    Stage::with(|config, dir| {
        std::fs::write(dir.join("hash.key"), "a key that is long enough").expect("written");
        std::fs::write(dir.join("rules.toml"), RULES).expect("written");
        config.redact = Some(dir.join("rules.toml"));
    })
    .await
}

/// Whether any file of the directory that the collector wrote has these bytes.
fn written(dir: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(dir).expect("a directory").map(|e| e.expect("an entry").path());
    let data = files.filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("data.fuseboard")));
    let mut seen = 0;
    let found = data.fold(false, |found, path| {
        seen += 1;
        let bytes = std::fs::read(path).expect("read");
        found || bytes.windows(text.len()).any(|w| w == text.as_bytes())
    });
    assert!(seen > 0, "there is a file to look at");
    found
}

async fn send_everything(stage: &Stage) {
    let mut one = span(1, 1, 0, SERVER, &format!("GET /find?{MAIL}"));
    one.attributes = secrets();
    one.status = Some(Status { code: 2, message: format!("{SECRET} was wrong") });
    one.events = vec![Event { name: MAIL.into(), attributes: secrets(), time_unix_nano: 1, ..Event::default() }];
    let other = span(2, 2, 0, SERVER, "x");
    one.links =
        vec![Link { trace_id: other.trace_id, span_id: other.span_id, attributes: secrets(), ..Link::default() }];
    let mut grpc = request("shop", vec![one.clone()]);
    grpc.resource_spans[0].resource.as_mut().expect("a resource").attributes.extend(secrets());
    assert_eq!(stage.send(grpc.clone()).await.partial_success, None);
    grpc.resource_spans[0].scope_spans[0].spans[0].span_id = vec![9; 8];
    assert_eq!(stage.post("/v1/traces", PROTOBUF, encoded(&grpc)).await.status(), 200);
    let (start, end) = (one.start_time_unix_nano, one.end_time_unix_nano);
    let json = serde_json::json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "user.name", "value": {"stringValue": SECRET}}]},
        "scopeSpans": [{"spans": [{
            "traceId": "07".repeat(16), "spanId": "07".repeat(8), "name": MAIL,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": end.to_string(),
            "attributes": [{"key": "list", "value": {"arrayValue": {"values": [{"stringValue": SECRET}]}}}],
        }]}],
    }]});
    assert_eq!(stage.post("/v1/traces", JSON, json.to_string()).await.status(), 200);
    let body = Value::StringValue(format!("{MAIL} logged in with {SECRET}"));
    let record = LogRecord {
        time_unix_nano: start,
        attributes: secrets(),
        body: Some(AnyValue { value: Some(body) }),
        event_name: SECRET.into(),
        ..LogRecord::default()
    };
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }],
            ..ResourceLogs::default()
        }],
    };
    assert_eq!(stage.post("/v1/logs", PROTOBUF, logs.encode_to_vec()).await.status(), 200);
    let point = NumberDataPoint {
        attributes: secrets(),
        time_unix_nano: start,
        value: Some(number_data_point::Value::AsInt(3)),
        exemplars: vec![Exemplar { filtered_attributes: secrets(), time_unix_nano: start, ..Exemplar::default() }],
        ..NumberDataPoint::default()
    };
    let data = Some(Data::Gauge(Gauge { data_points: vec![point] }));
    let metric = Metric { name: "logins".into(), metadata: secrets(), data, ..Metric::default() };
    let metrics = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    };
    assert_eq!(stage.post("/v1/metrics", PROTOBUF, metrics.encode_to_vec()).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_nowhere_in_the_file_nor_in_answers() {
    let stage = ruled().await;
    send_everything(&stage).await;
    let mut answers = String::new();
    for id in [1, 7] {
        let trace = stage.trace(TraceId([id; 16])).await.expect("stored");
        answers += &format!("{trace:?}\n");
    }
    for question in [
        Question::Logs(LogQuery { range: EVER, ..LogQuery::default() }),
        Question::Metrics(MetricQuery { range: EVER, name: Some("logins".into()), ..MetricQuery::default() }),
    ] {
        answers += &format!("{:?}\n", stage.ask_at(question, None).await.1);
    }
    let Answer::Names(names) = stage.ask_at(Question::Names, None).await.1 else { panic!("names") };
    answers += &format!("{names:?}");
    for kept in ["by ***", "GET /find?***", "*** logged in with ***", "*** was wrong", "hash:", "user.id"] {
        assert!(answers.contains(kept), "{kept:?} in {answers}");
    }
    for secret in [SECRET, MAIL] {
        assert!(!answers.contains(secret));
        assert!(!written(stage.file().parent().expect("a directory"), secret), "in the file or its log");
    }
    assert!(written(stage.file().parent().expect("a directory"), "logins"), "what is not secret can be found so");
    let told = stage.handle.store().vitals().redactions();
    assert_eq!(told.len(), 8, "the default rules come behind those of the file");
    assert!(told.iter().take(4).all(|(_, values)| *values > 0), "{told:?}");
    let address = stage.handle.addresses().metrics.expect("listens");
    let get = |path: &str| stage.http.get(format!("http://{address}{path}")).send();
    let health: serde_json::Value = get("/healthz").await.expect("an answer").json().await.expect("JSON");
    assert_eq!(health["redacted"][0]["values"], told[0].1);
    let metrics = get("/metrics").await.expect("an answer").text().await.expect("text");
    assert!(metrics.contains("fuseboard_redacted_values_total{rule=\"line 5: drop key password\"}"), "{metrics}");
    let dir = stage.stop().await;
    for secret in [SECRET, MAIL] {
        assert!(!written(dir.path(), secret), "in the closed file");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_not_quoted_with_its_secrets() {
    let stage = ruled().await;
    let mut bad = span(1, 1, 0, SERVER, MAIL);
    bad.end_time_unix_nano = 0;
    let said = stage.send(request("shop", vec![bad])).await.partial_success.expect("refused");
    assert!(said.error_message.contains("\"***\""), "{said:?}");
    assert!(!said.error_message.contains(MAIL));
    stage.stop().await;
}

/// A secret for each of the default rules, as instrumentation sends them.
fn usual_secrets() -> Vec<KeyValue> {
    vec![
        kv("http.request.header.authorization", format!("Bearer {SECRET}").as_str()),
        kv("http.request.header.cookie", format!("session={SECRET}").as_str()),
        kv("http.response.header.set-cookie", format!("session={SECRET}").as_str()),
        kv("http.request.header.x-api-key", SECRET),
        kv("user.password", SECRET),
        kv("url.full", format!("https://ann:{SECRET}@shop.example/cb?access_token={SECRET}&page=2").as_str()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_usual_secrets_are_masked_without_any_rules() {
    let stage = Stage::start().await;
    let mut one = span(1, 1, 0, SERVER, "GET /");
    one.attributes = usual_secrets();
    let plain = span(3, 1, 0, SERVER, "GET /plain").with("http.request.method", "GET");
    assert_eq!(stage.send(request("shop", vec![one.clone()])).await.partial_success, None);
    stage.send(request("shop", vec![plain])).await;
    let (start, end) = (one.start_time_unix_nano, one.end_time_unix_nano);
    // Escapes hide words from whoever looks at bytes only.
    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"{}","name":"x",
        "startTimeUnixNano":"{start}","endTimeUnixNano":"{end}",
        "attributes":[{{"key":"user.\u0070assword","value":{{"stringValue":"{SECRET}"}}}}]}}]}}]}}]}}"#,
        "02".repeat(16),
        "02".repeat(8)
    );
    assert_eq!(stage.post("/v1/traces", JSON, json).await.status(), 200);
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records: vec![LogRecord {
                    time_unix_nano: start,
                    attributes: usual_secrets(),
                    body: Some(AnyValue {
                        value: Some(Value::StringValue(format!("redis://:{SECRET}@cache is gone"))),
                    }),
                    ..LogRecord::default()
                }],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    };
    assert_eq!(stage.post("/v1/logs", PROTOBUF, logs.encode_to_vec()).await.status(), 200);
    let mut answers = String::new();
    for id in [1, 2, 3] {
        answers += &format!("{:?}\n", stage.trace(TraceId([id; 16])).await.expect("stored"));
    }
    answers +=
        &format!("{:?}", stage.ask_at(Question::Logs(LogQuery { range: EVER, ..LogQuery::default() }), None).await.1);
    for kept in ["https://ann:***@shop.example/cb?access_token=***&page=2", "redis://:***@cache is gone", "GET /plain"]
    {
        assert!(answers.contains(kept), "{kept:?} in {answers}");
    }
    assert!(!answers.contains(SECRET));
    let dir = stage.stop().await;
    assert!(!written(dir.path(), SECRET), "in the closed file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_rules_can_be_switched_off() {
    let stage = Stage::with(|config, _| config.redact_defaults = false).await;
    stage.send(request("shop", vec![span(1, 1, 0, SERVER, "x").with("user.password", SECRET)])).await;
    let trace = stage.trace(TraceId([1; 16])).await.expect("stored");
    assert!(format!("{trace:?}").contains(SECRET));
    assert_eq!(stage.handle.store().vitals().redactions(), []);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_imported_pass_the_rules_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = fuseboard_collector::store::Store::open(
        dir.path().join("data.fuseboard"),
        fuseboard_collector::store::OpenMode::ReadWrite,
    )
    .expect("opens");
    let json = serde_json::json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
        "traceId": "07".repeat(16), "spanId": "07".repeat(8), "name": "x",
        "startTimeUnixNano": "1000000000", "endTimeUnixNano": "2000000000",
        "attributes": [{"key": "http.request.header.cookie", "value": {"stringValue": SECRET}}],
    }]}]}]});
    let redactor = std::sync::Arc::new(fuseboard_collector::redact::Redactor::standard().expect("rules"));
    let input = std::io::Cursor::new(json.to_string().into_bytes());
    let told = fuseboard_collector::files::import::import(&store, Some(redactor), "a.json", input).await.expect("read");
    assert_eq!((told.stored, told.refused), (1, 0), "{told:?}");
    drop(store);
    assert!(!written(dir.path(), SECRET));
}

#[tokio::test]
async fn a_collector_does_not_start_with_rules_that_make_no_sense() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = Config::new(dir.path().join("data.fuseboard")).on_free_ports();
    config.redact = Some(dir.path().join("rules.toml"));
    std::fs::write(dir.path().join("rules.toml"), "\n[[rule]]\nkey = \"a\"\naction = \"shred\"\n").expect("written");
    let error = Collector::start(config).await.expect_err("refused");
    assert!(matches!(error, StartError::Redact(_)));
    assert!(
        error.to_string().ends_with("rules.toml, line 4: no action is called \"shred\"; use drop, mask, hash or keep")
    );
    assert!(!dir.path().join("data.fuseboard").exists(), "nothing was made");
}
