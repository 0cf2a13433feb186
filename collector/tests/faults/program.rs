//! The collector in a process of its own.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fuseboard_api::ask::{Answer, Answered, Ask, Question, Refusal, Totals};
use fuseboard_api::trace::Trace;
use fuseboard_api::{TraceId, UnixNanos};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::command;

/// A running program. Killed when dropped; what it wrote to stderr must not speak of a panic.
pub(super) struct Program {
    child: Child,
    addresses: serde_json::Value,
    log: PathBuf,
    /// From the start of the process to its first line: the file is open and all addresses are bound.
    pub(super) opened: Duration,
    http: reqwest::Client,
}

impl Program {
    /// The program over a file.
    pub(super) fn start(file: &Path) -> Self {
        Self::run(command(file), file)
    }

    /// A command that was made by [`command`] and perhaps wrapped.
    pub(super) fn run(command: Command, file: &Path) -> Self {
        Self::try_run(command, file).unwrap_or_else(|(code, said)| panic!("it did not start: {code:?} {said}"))
    }

    /// The program over a file that it may refuse: its exit code and its last words then.
    pub(super) fn try_start(file: &Path) -> Result<Self, (Option<i32>, String)> {
        Self::try_run(command(file), file)
    }

    fn try_run(mut command: Command, file: &Path) -> Result<Self, (Option<i32>, String)> {
        let log = log_of(file);
        let begun = Instant::now();
        let stderr = std::fs::File::create(&log).expect("a place for its words");
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("the program starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        std::io::BufReader::new(out).read_line(&mut line).expect("a line");
        let opened = begun.elapsed();
        let Ok(addresses) = serde_json::from_str(&line) else {
            let code = child.wait().expect("gone").code();
            return Err((code, words(&log)));
        };
        Ok(Self { child, addresses, log, opened, http: reqwest::Client::new() })
    }

    /// The program over a file that it cannot use: its exit code and its last words.
    pub(super) fn refused(file: &Path) -> (Option<i32>, String) {
        Self::try_start(file).err().expect("it does not start")
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens: `otlp_grpc`, `otlp_http`, `control`, `metrics`.
    pub(super) fn address(&self, name: &str) -> String {
        self.addresses[name].as_str().expect("an address").to_owned()
    }

    pub(super) fn url(&self, name: &str, path: &str) -> String {
        format!("http://{}{path}", self.address(name))
    }

    pub(super) async fn grpc(&self) -> TraceServiceClient<tonic::transport::Channel> {
        let limit = 64 * 1024 * 1024;
        let client = TraceServiceClient::connect(self.url("otlp_grpc", "")).await.expect("connects");
        client.max_encoding_message_size(limit)
    }

    /// Sends an encoded request over HTTP.
    pub(super) async fn post(&self, body: Vec<u8>) -> reqwest::Response {
        let request = self.http.post(self.url("otlp_http", "/v1/traces"));
        request.header("content-type", "application/x-protobuf").body(body).send().await.expect("an answer")
    }

    /// Asks over HTTP.
    pub(super) async fn ask(&self, question: Question) -> Result<Answer, Refusal> {
        let request = self.http.post(self.url("control", "/v1/ask")).json(&Ask { question, as_of: None });
        let reply = request.send().await.expect("a reply");
        if reply.status().is_success() {
            Ok(reply.json::<Answered>().await.expect("an answer").answer)
        } else {
            Err(reply.json::<Refusal>().await.expect("a refusal"))
        }
    }

    pub(super) async fn totals(&self) -> Totals {
        match self.ask(Question::Totals).await {
            Ok(Answer::Totals(totals)) => totals,
            other => panic!("totals, not {other:?}"),
        }
    }

    pub(super) async fn trace(&self, id: TraceId) -> Option<Trace> {
        match self.ask(Question::Trace(id)).await {
            Ok(Answer::Trace(trace)) => trace,
            other => panic!("a trace, not {other:?}"),
        }
    }

    /// Status and body of `/healthz`.
    pub(super) async fn health(&self) -> (u16, String) {
        let reply = self.http.get(self.url("metrics", "/healthz")).send().await.expect("a reply");
        (reply.status().as_u16(), reply.text().await.expect("text"))
    }

    /// Stops in order.
    pub(super) fn stop(mut self) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("a process");
        kill_process(pid, Signal::TERM).expect("told");
        assert_eq!(self.child.wait().expect("ends").code(), Some(0));
    }

    /// SIGKILL, wherever it is just now.
    pub(super) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
        if !std::thread::panicking() {
            words(&self.log);
        }
    }
}

/// What the program wrote; it has ended.
fn words(log: &Path) -> String {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    assert!(!said.contains("panicked"), "{said}");
    let _ = std::fs::remove_file(log);
    said
}

/// Where the program's words go: not beside the file, whose place may be full.
fn log_of(file: &Path) -> PathBuf {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    std::env::temp_dir().join(format!("fuseboard-faults-{}-{name}-{n}.log", std::process::id()))
}

/// An instant that lies so many milliseconds after 00:00 of the day before yesterday: the same for the same number
/// however often it is sent.
pub(super) fn instant(millis: u64) -> u64 {
    const DAY: u64 = 86_400_000_000_000;
    let now = u64::try_from(UnixNanos::now().0).expect("after 1970");
    (now / DAY - 1) * DAY + millis * 1_000_000
}
