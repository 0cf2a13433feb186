//! A collector on free ports over a file of its own, and the means to send to it and ask it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use fuseboard_api::ask::{Answer, Ask, Question, Totals};
use fuseboard_api::graph::{Board, Edge, EdgeKey};
use fuseboard_api::trace::{Trace, TraceList, TraceQuery};
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use fuseboard_collector::{Collector, Config, Handle};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

/// All times there are.
pub(crate) const EVER: TimeRange = TimeRange { from: UnixNanos(0), to: UnixNanos(i64::MAX) };

/// A running collector and its directory.
pub(crate) struct Stage {
    pub(crate) handle: Handle,
    pub(crate) http: reqwest::Client,
    dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        Self::over(tempfile::tempdir().expect("a directory")).await
    }

    pub(crate) async fn over(dir: tempfile::TempDir) -> Self {
        let config = Config::new(dir.path().join("data.fuseboard")).on_free_ports();
        let handle = Collector::start(config).await.expect("the collector starts");
        Self { handle, http: reqwest::Client::new(), dir }
    }

    /// A collector whose settings are changed before it starts; they may name files of its directory.
    pub(crate) async fn with(change: impl FnOnce(&mut Config, &std::path::Path)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut config = Config::new(dir.path().join("data.fuseboard")).on_free_ports();
        change(&mut config, dir.path());
        let handle = Collector::start(config).await.expect("the collector starts");
        Self { handle, http: reqwest::Client::new(), dir }
    }

    /// Around a collector that was started otherwise.
    pub(crate) fn of(handle: Handle, dir: tempfile::TempDir) -> Self {
        Self { handle, http: reqwest::Client::new(), dir }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("data.fuseboard")
    }

    /// Stops the collector; gives the directory with its file.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.handle.shutdown().await;
        self.dir
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.handle.addresses().otlp_http.expect("listens"))
    }

    pub(crate) async fn grpc(&self) -> TraceServiceClient<tonic::transport::Channel> {
        let address = self.handle.addresses().otlp_grpc.expect("listens");
        TraceServiceClient::connect(format!("http://{address}")).await.expect("connects")
    }

    /// Sends spans over gRPC; returns what the collector said.
    pub(crate) async fn send(&self, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse {
        self.grpc().await.export(request).await.expect("accepted").into_inner()
    }

    pub(crate) async fn post(&self, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
        self.http.post(self.url(path)).header("content-type", kind).body(body).send().await.expect("an answer")
    }

    pub(crate) async fn ask_at(&self, question: Question, as_of: Option<UnixNanos>) -> (UnixNanos, Answer) {
        let answered = self.handle.ask(Ask { question, as_of }).await.expect("an answer");
        (answered.as_of, answered.answer)
    }

    pub(crate) async fn totals(&self) -> Totals {
        match self.ask_at(Question::Totals, None).await.1 {
            Answer::Totals(totals) => totals,
            other => panic!("totals, not {other:?}"),
        }
    }

    pub(crate) async fn board(&self, range: TimeRange) -> Board {
        match self.ask_at(Question::Board { range }, None).await.1 {
            Answer::Board(board) => board,
            other => panic!("a board, not {other:?}"),
        }
    }

    pub(crate) async fn traces(&self, query: TraceQuery) -> TraceList {
        match self.ask_at(Question::Traces(query), None).await.1 {
            Answer::Traces(list) => list,
            other => panic!("traces, not {other:?}"),
        }
    }

    pub(crate) async fn trace(&self, id: TraceId) -> Option<Trace> {
        match self.ask_at(Question::Trace(id), None).await.1 {
            Answer::Trace(trace) => trace,
            other => panic!("a trace, not {other:?}"),
        }
    }
}

/// The program itself, over a file, on free ports.
pub(crate) fn command(file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard-collector"));
    command.arg("--data").arg(file);
    for address in ["--otlp-grpc", "--otlp-http", "--control", "--metrics", "--zipkin", "--jaeger-api"] {
        command.args([address, "127.0.0.1:0"]);
    }
    command
}

/// The edge between two names, whatever its operation.
pub(crate) fn edge<'a>(board: &'a Board, caller: &str, callee: &str) -> &'a Edge {
    let found = board.edges.iter().find(|e| e.key.caller == caller && e.key.callee == callee);
    found.unwrap_or_else(|| panic!("no edge {caller} → {callee} in {:?}", keys(board)))
}

pub(crate) fn keys(board: &Board) -> Vec<EdgeKey> {
    board.edges.iter().map(|e| e.key.clone()).collect()
}

/// The kinds of OTLP.
pub(crate) const INTERNAL: i32 = 1;
pub(crate) const SERVER: i32 = 2;
pub(crate) const CLIENT: i32 = 3;
pub(crate) const PRODUCER: i32 = 4;
pub(crate) const CONSUMER: i32 = 5;

/// A span that lasted 20 ms and ended now.
pub(crate) fn span(trace: u8, id: u8, parent: u8, kind: i32, name: &str) -> Span {
    let end = u64::try_from(UnixNanos::now().0).expect("after 1970");
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        kind,
        name: name.into(),
        start_time_unix_nano: end - 20_000_000,
        end_time_unix_nano: end,
        ..Span::default()
    }
}

pub(crate) trait With: Sized {
    fn with(self, key: &str, value: impl IntoValue) -> Self;
    fn failed(self, message: &str) -> Self;
}

impl With for Span {
    fn with(mut self, key: &str, value: impl IntoValue) -> Self {
        self.attributes.push(kv(key, value));
        self
    }

    fn failed(mut self, message: &str) -> Self {
        self.status = Some(Status { code: 2, message: message.into() });
        self
    }
}

pub(crate) trait IntoValue {
    fn value(self) -> Value;
}

impl IntoValue for &str {
    fn value(self) -> Value {
        Value::StringValue(self.into())
    }
}

impl IntoValue for i64 {
    fn value(self) -> Value {
        Value::IntValue(self)
    }
}

impl IntoValue for bool {
    fn value(self) -> Value {
        Value::BoolValue(self)
    }
}

impl IntoValue for f64 {
    fn value(self) -> Value {
        Value::DoubleValue(self)
    }
}

pub(crate) fn kv(key: &str, value: impl IntoValue) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value.value()) }), key_strindex: 0 }
}

/// A request with spans of one service.
pub(crate) fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let attributes = vec![
        kv("service.name", service),
        kv("service.instance.id", format!("{service}-1").as_str()),
        kv("service.version", "1.0.0"),
    ];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_spans = vec![ScopeSpans { scope: None, spans, schema_url: String::new() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, schema_url: String::new() }],
    }
}

pub(crate) fn encoded(request: &ExportTraceServiceRequest) -> Vec<u8> {
    request.encode_to_vec()
}

/// The last minutes.
pub(crate) fn lately() -> TimeRange {
    TimeRange::ending(UnixNanos::now() + Duration::from_secs(5), Duration::from_secs(120))
}
