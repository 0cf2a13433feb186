//! Log records: every field survives, a request sent again changes nothing, and what is looked for is found page by page.

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::attr::AttrValue;
use fuseboard_api::log::{LogAttribute, LogList, LogQuery, LogRecord as Shown};
use fuseboard_api::{SpanId, TimeRange, TraceId, UnixNanos};
use fuseboard_collector::query::export;
use fuseboard_collector::store::StoreError;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use crate::common::{EVER, SERVER, Stage, kv, request, span};

const SECOND: u64 = 1_000_000_000;

fn now() -> u64 {
    u64::try_from(UnixNanos::now().0).expect("after 1970")
}

fn text(s: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Value::StringValue(s.into())) })
}

fn record(time: u64, severity: i32, body: &str) -> LogRecord {
    LogRecord { time_unix_nano: time, severity_number: severity, body: text(body), ..LogRecord::default() }
}

fn of(service: &str, instance: &str, log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let attributes = vec![kv("service.name", service), kv("service.instance.id", instance), kv("zone", "a")];
    let resource = Some(Resource { attributes, dropped_attributes_count: 2, ..Resource::default() });
    let scope = InstrumentationScope { name: "logger".into(), attributes: vec![kv("x", 1)], ..Default::default() };
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records, schema_url: "https://scope".into() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { resource, scope_logs, schema_url: "https://resource".into() }],
    }
}

async fn send(stage: &Stage, request: &ExportLogsServiceRequest) {
    let response = stage.post("/v1/logs", "application/x-protobuf", request.encode_to_vec()).await;
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.expect("a body").is_empty(), "nothing is refused");
}

async fn ask(stage: &Stage, query: LogQuery) -> LogList {
    match stage.ask_at(Question::Logs(LogQuery { range: EVER, ..query }), None).await.1 {
        Answer::Logs(list) => list,
        other => panic!("logs, not {other:?}"),
    }
}

fn bodies(rows: &[Shown]) -> Vec<String> {
    rows.iter().map(|r| r.body.to_string()).collect()
}

/// One of every shape.
fn everything(time: u64) -> Vec<LogRecord> {
    let any = |value| Some(AnyValue { value: Some(value) });
    let list = ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(1)) }, AnyValue { value: None }] };
    let full = LogRecord {
        observed_time_unix_nano: time + 5,
        severity_text: "Error".into(),
        attributes: vec![kv("k", "v"), kv("n", i64::MAX), kv("k", "again")],
        dropped_attributes_count: 7,
        flags: 1,
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        event_name: "it.happened".into(),
        ..record(time, 17, "it broke: ünï")
    };
    let map = KeyValueList { values: vec![kv("a", 1.5), kv("b", true)] };
    vec![
        full.clone(),
        LogRecord { body: any(Value::ArrayValue(list)), ..full.clone() },
        LogRecord { body: any(Value::KvlistValue(map)), severity_number: 0, ..full.clone() },
        LogRecord { body: any(Value::BytesValue(vec![0, 255, 1])), span_id: Vec::new(), ..full.clone() },
        LogRecord { body: any(Value::IntValue(-3)), trace_id: Vec::new(), ..full.clone() },
        LogRecord { body: None, time_unix_nano: 0, ..full.clone() },
        LogRecord { body: text(""), observed_time_unix_nano: 0, ..full },
    ]
}

/// All that is stored, one record a request, in an order of its own.
async fn exported(stage: &Stage) -> Vec<Vec<u8>> {
    let as_of = stage.handle.store().as_of_now();
    let read = stage.handle.store().read(move |conn| -> Result<_, StoreError> {
        let mut all = Vec::new();
        export::logs(conn, EVER, None, as_of, |some| {
            all.push(some);
            Ok(())
        })?;
        Ok(all)
    });
    singles(read.await.expect("exported"))
}

fn singles(all: Vec<ResourceLogs>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for resource in all {
        for scope in &resource.scope_logs {
            for record in &scope.log_records {
                let scope_logs = vec![ScopeLogs { log_records: vec![record.clone()], ..scope.clone() }];
                out.push(ResourceLogs { scope_logs, ..resource.clone() }.encode_to_vec());
            }
        }
    }
    out.sort();
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_comes_out_as_it_went_in() {
    let stage = Stage::start().await;
    let mut sent = of("shop", "shop-1", everything(now()));
    sent.resource_logs.extend(of("bank", "", everything(now() + 1)).resource_logs);
    send(&stage, &sent).await;
    assert_eq!(exported(&stage).await, singles(sent.resource_logs.clone()));
    let shown = ask(&stage, LogQuery { service: Some("shop".into()), ..LogQuery::default() }).await;
    let first = shown.rows.iter().find(|r| r.body == AttrValue::Str("it broke: ünï".into())).expect("the first");
    assert_eq!((first.severity, first.severity_text.as_str(), first.event_name.as_str()), (17, "Error", "it.happened"));
    assert_eq!((first.flags, first.dropped_attributes), (1, 7));
    assert_eq!((first.trace_id, first.span_id), (Some(TraceId([1; 16])), Some(SpanId([2; 8]))));
    assert_eq!(first.observed, Some(first.time + std::time::Duration::from_nanos(5)));
    assert_eq!((first.origin.instance.as_str(), first.origin.scope.as_str()), ("shop-1", "logger"));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sent_again_changes_nothing_also_after_a_restart() {
    let stage = Stage::start().await;
    let twice = record(now(), 9, "the same, twice, in one request");
    let sent = of("shop", "shop-1", vec![twice.clone(), twice.clone(), record(now(), 9, "another")]);
    send(&stage, &sent).await;
    assert_eq!(stage.totals().await.logs, 3, "equal records of one request are all meant");
    send(&stage, &sent).await;
    assert_eq!(stage.totals().await.logs, 3);
    assert_eq!(stage.handle.store().vitals().duplicates(), 3);
    let mut other = sent.clone();
    other.resource_logs[0].scope_logs[0].log_records = vec![twice.clone(), record(now(), 9, "new")];
    send(&stage, &other).await;
    assert_eq!(stage.totals().await.logs, 4, "what is new of a request is stored");
    // Another sender may say the same.
    send(&stage, &of("bank", "bank-1", vec![twice])).await;
    assert_eq!(stage.totals().await.logs, 5);
    let before = exported(&stage).await;
    let stage = Stage::over(stage.stop().await).await;
    send(&stage, &sent).await;
    send(&stage, &other).await;
    assert_eq!(stage.totals().await.logs, 5);
    assert_eq!(exported(&stage).await, before);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_found_by_what_they_say() {
    let stage = Stage::start().await;
    let start = now();
    let mut shop: Vec<LogRecord> =
        (0..10_u64).map(|i| record(start + i * SECOND / 100, 5 + i as i32, &format!("Order {i} taken"))).collect();
    shop[3].trace_id = vec![7; 16];
    shop[3].span_id = vec![8; 8];
    shop[4].trace_id = vec![7; 16];
    shop[5].attributes = vec![kv("order", 5), kv("paid", true)];
    shop[6].event_name = "Order.Lost".into();
    send(&stage, &of("shop", "shop-1", shop)).await;
    send(&stage, &of("shop", "shop-2", vec![record(start, 21, "Fatal ORDER of another instance")])).await;
    send(&stage, &of("bank", "bank-1", vec![record(start, 17, "no money")])).await;
    let found = async |query: LogQuery| bodies(&ask(&stage, query).await.rows);
    let q = LogQuery::default;
    assert_eq!(found(LogQuery { service: Some("bank".into()), ..q() }).await, ["no money"]);
    assert_eq!(found(LogQuery { instance: Some("shop-2".into()), ..q() }).await.len(), 1);
    assert_eq!(
        found(LogQuery { min_severity: 13, max_severity: 17, ..q() }).await,
        ["Order 9 taken", "Order 8 taken", "no money"]
    );
    assert_eq!(found(LogQuery { trace_id: Some(TraceId([7; 16])), ..q() }).await, ["Order 4 taken", "Order 3 taken"]);
    let span_id = Some(SpanId([8; 8]));
    assert_eq!(found(LogQuery { trace_id: Some(TraceId([7; 16])), span_id, ..q() }).await, ["Order 3 taken"]);
    assert_eq!(found(LogQuery { text: Some("order".into()), min_severity: 21, ..q() }).await.len(), 1);
    assert_eq!(found(LogQuery { text: Some("order.lost".into()), ..q() }).await, ["Order 6 taken"]);
    let with = |key: &str, value: Option<&str>| LogQuery {
        attributes: vec![LogAttribute { key: key.into(), value: value.map(str::to_owned) }],
        ..LogQuery::default()
    };
    assert_eq!(found(with("order", Some("5"))).await, ["Order 5 taken"]);
    assert_eq!(found(with("paid", None)).await, ["Order 5 taken"]);
    assert_eq!(found(with("order", Some("6"))).await, [""; 0]);
    assert_eq!(found(with("zone", Some("a"))).await.len(), 12, "the resource's attributes, too");
    let nothing = LogQuery { text: Some("no such thing".into()), ..q() };
    let list = ask(&stage, nothing).await;
    assert_eq!((list.rows.len(), list.more, list.examined), (0, false, 12));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_go_on_where_the_one_before_ended_also_over_equal_times() {
    let stage = Stage::start().await;
    let time = now();
    let mut all = Vec::new();
    for commit in 0..5 {
        let records: Vec<LogRecord> =
            (0..20).map(|i| record(time + (i % 3) * 1_000, 9, &format!("{commit}.{i}"))).collect();
        all.extend(bodies_of(&records));
        send(&stage, &of("shop", "shop-1", records)).await;
    }
    let whole = ask(&stage, LogQuery::default()).await;
    assert_eq!((whole.rows.len(), whole.more), (100, false));
    assert!(whole.rows.is_sorted_by(|a, b| a.time >= b.time));
    let mut pages = Vec::new();
    let mut before = None;
    loop {
        let page = ask(&stage, LogQuery { limit: 7, before, ..LogQuery::default() }).await;
        pages.extend(bodies(&page.rows));
        assert_eq!(page.more, page.next.is_some());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(pages, bodies(&whole.rows));
    pages.sort();
    all.sort();
    assert_eq!(pages, all);
    let half = TimeRange { from: UnixNanos(time as i64 + 1_000), to: UnixNanos(time as i64 + 2_000) };
    let asked = stage.ask_at(Question::Logs(LogQuery { range: half, ..LogQuery::default() }), None).await.1;
    let Answer::Logs(list) = asked else { panic!("logs") };
    assert_eq!(list.rows.len(), 35, "from, up to and without");
    stage.stop().await;
}

fn bodies_of(records: &[LogRecord]) -> Vec<String> {
    let body = |r: &LogRecord| match r.body.as_ref().and_then(|b| b.value.as_ref()) {
        Some(Value::StringValue(s)) => s.clone(),
        _ => String::new(),
    };
    records.iter().map(body).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_traces_records_stand_in_it_as_of_any_instant() {
    let stage = Stage::start().await;
    stage.send(request("shop", vec![span(1, 1, 0, SERVER, "GET /")])).await;
    let mut early = record(now() - SECOND, 9, "early");
    early.trace_id = vec![1; 16];
    send(&stage, &of("shop", "shop-1", vec![early.clone(), record(now(), 9, "of none")])).await;
    let then = stage.handle.store().as_of_now();
    let late = LogRecord { time_unix_nano: now(), body: text("late"), ..early };
    send(&stage, &of("bank", "bank-1", vec![late])).await;
    let trace = stage.trace(TraceId([1; 16])).await.expect("stored");
    assert_eq!(bodies(&trace.logs), ["early", "late"]);
    let Answer::Trace(Some(trace)) = stage.ask_at(Question::Trace(TraceId([1; 16])), Some(then)).await.1 else {
        panic!("a trace")
    };
    assert_eq!(bodies(&trace.logs), ["early"]);
    let query = Question::Logs(LogQuery { range: EVER, ..LogQuery::default() });
    let Answer::Logs(list) = stage.ask_at(query, Some(then)).await.1 else { panic!("logs") };
    assert_eq!(bodies(&list.rows), ["of none", "early"]);
    stage.stop().await;
}
