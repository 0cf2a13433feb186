//! A known secret goes in by every way that secrets take; nothing that the program says or keeps has it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Stdio;

use fuseboard_api::ask::{Ask, Question};
use fuseboard_api::command::{Action, Command, Receipt};
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{TimeRange, UnixNanos};

use crate::common::{CLIENT, SERVER, With as _, command, encoded, request, span};

/// Occurs nowhere by itself.
const SECRET: &str = "s3cr3t-9f2b7c41d0";

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
}

/// Every file below a directory.
fn files(dir: &Path, out: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, out) } else { out.push(path) }
    }
}

/// Requests that are refused, each with the secret where it went wrong.
async fn mistakes(http: &reqwest::Client, otlp: &str, control: &str) {
    let bodies = [
        ("/v1/traces", "application/json", format!("{{\"resourceSpans\": [{{\"password\": \"{SECRET}\" x")),
        ("/v1/traces", "application/x-protobuf", format!("\u{1}{SECRET}")),
        ("/v1/logs", "application/json", format!("\"{SECRET}\"")),
        ("/v1/traces", SECRET, "x".to_owned()),
    ];
    for (path, kind, body) in bodies {
        let reply =
            http.post(format!("http://{otlp}{path}")).bearer_auth(SECRET).header("content-type", kind).body(body);
        let reply = reply.send().await.expect("an answer");
        assert!(reply.status().is_client_error(), "{path} {kind}");
    }
    for path in ["/v1/ask", "/v1/command", "/v1/nowhere"] {
        let request = http.post(format!("http://{control}{path}")).bearer_auth(SECRET);
        let request = request.header("cookie", format!("session={SECRET}")).header("content-type", "application/json");
        let reply = request.body(format!("{{\"token\": \"{SECRET}\"")).send().await.expect("an answer");
        assert!(reply.status().is_client_error(), "{path}");
    }
}

/// What stock instrumentation records of a request with credentials.
fn telling() -> Vec<u8> {
    let call = span(1, 2, 1, CLIENT, "GET")
        .with("http.request.header.authorization", format!("Bearer {SECRET}").as_str())
        .with("url.full", format!("https://ann:{SECRET}@shop.example/?access_token={SECRET}").as_str())
        .with("db.password", SECRET);
    let call = call.failed(&format!("amqp://shop:{SECRET}@mq:5672 is gone"));
    let served =
        span(1, 1, 0, SERVER, "GET /").with("http.request.header.cookie", format!("session={SECRET}").as_str());
    encoded(&request("shop", vec![call, served]))
}

async fn order(http: &reqwest::Client, control: &str, action: Action) -> Receipt {
    let body = Command { actor: "ann".into(), reason: "a test".into(), action };
    let reply = http.post(format!("http://{control}/v1/command")).json(&body).send().await.expect("a reply");
    assert_eq!(reply.status(), 200, "{}", reply.text().await.unwrap_or_default());
    reply.json().await.expect("a receipt")
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_secret_is_in_no_log_no_file_and_no_incident() {
    let dir = tempfile::tempdir().expect("a directory");
    let err = std::fs::File::create(dir.path().join("stderr")).expect("a file");
    let mut program = command(&dir.path().join("data").join("data.fuseboard"));
    program.env("RUST_LOG", "trace").stdout(Stdio::piped()).stderr(err).stdin(Stdio::null());
    let mut child = program.spawn().expect("starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut said = String::new();
    out.read_line(&mut said).expect("a line");
    let addresses: serde_json::Value = serde_json::from_str(&said).expect("addresses");
    let at = |name: &str| addresses[name].as_str().expect("an address").to_owned();
    let (http, otlp, control) = (reqwest::Client::new(), at("otlp_http"), at("control"));

    let from = UnixNanos::now() - std::time::Duration::from_secs(60);
    let sent = http.post(format!("http://{otlp}/v1/traces")).bearer_auth(SECRET);
    let sent = sent.header("content-type", "application/x-protobuf").body(telling()).send().await.expect("an answer");
    assert_eq!(sent.status(), 200);
    // Whoever errs may be told its own words; what counts is what is kept.
    mistakes(&http, &otlp, &control).await;
    let range = TimeRange { from, to: UnixNanos(i64::MAX) };
    let question = Question::Traces(TraceQuery { range, ..TraceQuery::default() });
    let asked = http.post(format!("http://{control}/v1/ask")).bearer_auth(SECRET).json(&Ask { question, as_of: None });
    let answer = asked.send().await.expect("a reply").bytes().await.expect("a body");
    assert!(!holds(&answer) && answer.windows(4).any(|w| w == b"shop"), "the trace is there, its secrets are not");
    let incident =
        order(&http, &control, Action::StartIncident { name: "bank".into(), from }).await.incident.expect("an id");
    order(&http, &control, Action::StopIncident { id: incident, to: None }).await;
    let exported = http.get(format!("http://{control}/v1/incidents/{incident}/file")).send().await.expect("a reply");
    assert_eq!(exported.status(), 200);
    let exported = exported.bytes().await.expect("a file");
    assert!(exported.starts_with(b"SQLite format 3") && !holds(&exported), "in the incident's file");

    let seen = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    assert!(!holds(&seen), "in the list of processes");
    let asked = std::process::Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().expect("runs");
    assert!(asked.success());
    assert_eq!(child.wait().expect("ends").code(), Some(0));
    out.read_to_string(&mut said).expect("text");
    assert!(!holds(said.as_bytes()), "on stdout");
    let mut all = Vec::new();
    files(dir.path(), &mut all);
    assert!(all.len() >= 2, "stderr and the data: {all:?}");
    for path in all {
        assert!(!holds(&std::fs::read(&path).expect("read")), "in {}", path.display());
    }
}
