//! The doors: codecs, live events, who is let in, and starting on addresses that cannot be had.

use std::net::SocketAddr;
use std::time::Duration;

use fuseboard_api::ask::{Answered, Ask, Question, Refusal};
use fuseboard_api::command::{Action, Command, Receipt};
use fuseboard_api::live::{LiveEvent, Touched};
use fuseboard_collector::{Collector, Config, InitialPolicy, Place, StartError};

use crate::agent::{changes, command, document, set_policy};
use crate::common::{SERVER, Stage, request, span};

fn control(stage: &Stage, path: &str) -> String {
    format!("http://{}{path}", stage.handle.addresses().control)
}

fn metrics(stage: &Stage, path: &str) -> String {
    format!("http://{}{path}", stage.handle.addresses().metrics.expect("listens"))
}

fn policy_command() -> Command {
    let action = Action::set_policy(0, document(500));
    Command { actor: "ann".into(), reason: "why".into(), action }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_and_commands_travel_as_json_and_as_messagepack() {
    let stage = Stage::start().await;
    let packed = rmp_serde::to_vec_named(&policy_command()).expect("plain words");
    let sent =
        stage.http.post(control(&stage, "/v1/command")).header("content-type", "application/msgpack").body(packed);
    let reply = sent.send().await.expect("a reply");
    assert_eq!(reply.headers()["content-type"], "application/msgpack");
    let receipt: Receipt = rmp_serde::from_slice(&reply.bytes().await.expect("a body")).expect("a receipt");
    assert_eq!(receipt.revision, Some(1));
    let ask = Ask { question: Question::Document(1), as_of: None };
    let asked = stage.http.post(control(&stage, "/v1/ask")).json(&ask).send().await.expect("a reply");
    let in_json: Answered = asked.json().await.expect("JSON");
    let again = Ask { as_of: Some(in_json.as_of), ..ask };
    let packed = stage.http.post(control(&stage, "/v1/ask")).header("accept", "application/msgpack").json(&again);
    let packed = packed.send().await.expect("a reply").bytes().await.expect("a body");
    assert_eq!(rmp_serde::from_slice::<Answered>(&packed).expect("MessagePack"), in_json);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_a_status_a_code_and_a_sentence() {
    let stage = Stage::start().await;
    let post = |path: &str| stage.http.post(control(&stage, path));
    let stale = Command { action: Action::set_policy(9, document(1)), ..policy_command() };
    let tries = [
        (post("/v1/ask").body("{"), 400, "bad_request", "JSON"),
        (
            post("/v1/command").body(serde_json::to_string(&policy_command()).expect("JSON")),
            400,
            "bad_request",
            "Content-Type",
        ),
        (post("/v1/command").json(&stale), 409, "conflict", "revision 0"),
        (stage.http.get(control(&stage, "/v1/incidents/7/file")), 404, "not_found", "incident 7"),
        (stage.http.get(control(&stage, "/v1/incidents/x/file")), 400, "bad_request", "x"),
        (stage.http.get(control(&stage, "/v1/traces/00000000000000000000000000000001")), 404, "not_found", "trace"),
        (stage.http.get(control(&stage, "/v1/traces/1")), 400, "bad_request", "trace id"),
        (stage.http.get(control(&stage, "/nothing")), 404, "not_found", "/v1/ask"),
    ];
    for (request, status, code, word) in tries {
        let reply = request.send().await.expect("a reply");
        assert_eq!(reply.status(), status, "{reply:?}");
        let refusal: Refusal = reply.json().await.expect("a refusal");
        assert_eq!(refusal.code, code);
        assert!(refusal.message.contains(word), "{word} in {refusal:?}");
    }
    let huge = post("/v1/ask").body(vec![b' '; 2_000_000]).send().await.expect("a reply");
    assert_eq!(huge.status(), 413);
    assert_eq!(changes(&stage).await.revisions, []);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_sites_are_not_let_in() {
    let stage = Stage::start().await;
    for (name, value) in [("host", "evil.example"), ("origin", "https://evil.example"), ("origin", "null")] {
        for url in [control(&stage, "/v1/stats"), metrics(&stage, "/metrics")] {
            let reply = stage.http.get(url).header(name, value).send().await.expect("a reply");
            assert_eq!(reply.status(), 400, "{name}: {value}");
        }
    }
    let own = stage.http.get(control(&stage, "/v1/stats")).header("origin", "http://localhost:4390");
    assert_eq!(own.send().await.expect("a reply").status(), 200);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_events_tell_what_changed() {
    let stage = Stage::start().await;
    let mut reply = stage.http.get(control(&stage, "/v1/live")).send().await.expect("a reply");
    let mut text = Vec::new();
    let mut next = async |reply: &mut reqwest::Response| -> LiveEvent {
        loop {
            if let Some(end) = text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                return serde_json::from_slice(&line).expect("an event");
            }
            let piece = tokio::time::timeout(Duration::from_secs(20), reply.chunk()).await.expect("in time");
            text.extend_from_slice(&piece.expect("the stream lives").expect("the stream goes on"));
        }
    };
    assert_eq!(next(&mut reply).await.touched, [], "the first line comes at once");
    let receipt = set_policy(&stage, 0, 500).await;
    let event = next(&mut reply).await;
    assert!(event.touched.contains(&Touched::Changes) && event.touched.contains(&Touched::Audit), "{event:?}");
    assert!(event.as_of >= receipt.at);
    stage.send(request("a", vec![span(1, 1, 0, SERVER, "root")])).await;
    let spans = loop {
        let event = next(&mut reply).await;
        if event.touched.contains(&Touched::Spans) {
            break event;
        }
    };
    assert!(spans.generation > event.generation);
    let watching = tokio::spawn(async move { while let Ok(Some(_)) = reply.chunk().await {} });
    stage.stop().await;
    watching.await.expect("the stream ends when the collector stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_and_prometheus_find_their_figures() {
    let stage = Stage::start().await;
    stage.send(request("shop", vec![span(1, 1, 0, SERVER, "GET /cart")])).await;
    let get = async |url| stage.http.get(url).send().await.expect("a reply").text().await.expect("text");
    assert!(get(control(&stage, "/v1/stats")).await.contains("\"spans\":1"));
    assert!(get(control(&stage, "/v1/edges?seconds=600")).await.contains("\"callee\":\"shop\""));
    assert!(get(control(&stage, "/v1/edges?seconds=x")).await.contains("bad_request"));
    let trace = get(control(&stage, &format!("/v1/traces/{}", "01".repeat(16)))).await;
    assert!(trace.contains("resourceSpans") && trace.contains("GET /cart"), "{trace}");
    let text = get(metrics(&stage, "/metrics")).await;
    assert!(text.contains("\nfuseboard_up 1\n") && text.contains("fuseboard_spans_stored 1\n"), "{text}");
    assert!(text.contains("traces_service_graph_request_total{client=\"clients\",server=\"shop\""), "{text}");
    let health = stage.http.get(metrics(&stage, "/healthz")).send().await.expect("a reply");
    assert_eq!(health.status(), 200);
    stage.handle.store().vitals().set_trouble("the disk is full");
    let health = stage.http.get(metrics(&stage, "/healthz")).send().await.expect("a reply");
    assert_eq!(health.status(), 503);
    assert!(health.text().await.expect("text").contains("the disk is full"));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opened_file_answers_and_changes_nothing() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let before = changes(&stage).await;
    let file = stage.file();
    let dir = stage.stop().await;
    let bytes = std::fs::read(&file).expect("the file");
    let handle = Collector::start(Config::new(&file).on_free_ports().read_only()).await.expect("opens");
    let addresses = handle.addresses();
    assert_eq!((addresses.otlp_grpc, addresses.otlp_http, addresses.metrics), (None, None, None));
    let ask = Ask { question: Question::Changes { range: crate::common::EVER }, as_of: None };
    let answered = handle.ask(ask).await.expect("an answer");
    assert_eq!(answered.answer, fuseboard_api::ask::Answer::Changes(before));
    let url = format!("http://{}/v1/command", addresses.control);
    let refused = reqwest::Client::new().post(url).json(&policy_command()).send().await.expect("a reply");
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.json::<Refusal>().await.expect("a refusal").code, "read_only");
    handle.shutdown().await;
    assert!(bytes == std::fs::read(&file).expect("the file"), "not a byte differs");
    drop(dir);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_that_cannot_be_had_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = || Config::new(dir.path().join("x.fuseboard")).on_free_ports();
    for open in ["0.0.0.0:0", "192.0.2.1:4390", "[::]:0"] {
        let address: SocketAddr = open.parse().expect("an address");
        let told = Collector::start(Config { control: address, ..config() }).await.expect_err("open to others");
        assert!(matches!(told, StartError::NotLoopback { .. }), "{told:?}");
        let told = told.to_string();
        assert!(
            told.contains(open)
                && told.contains("without TLS")
                && told.contains("--tls-cert")
                && told.contains("control"),
            "{told}"
        );
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let told = Collector::start(Config { metrics: address, ..config() }).await.expect_err("taken").to_string();
    assert!(told.contains(&address.to_string()) && told.contains("--metrics") && told.contains("in use"), "{told}");
    #[cfg(target_os = "linux")]
    assert!(told.contains(&format!("process {}", std::process::id())), "{told}");
    let told =
        Collector::start(Config { zipkin: Place::At(address), ..config() }).await.expect_err("taken").to_string();
    assert!(told.contains("--zipkin"), "{told}");
    assert!(!dir.path().join("x.fuseboard").exists(), "nothing was written");
    // Where it need not listen it goes on without.
    let free = Place::IfFree(([127, 0, 0, 1], 0).into());
    let handle = Collector::start(Config { zipkin: Place::IfFree(address), jaeger_api: free, ..config() }).await;
    let handle = handle.expect("starts");
    assert_eq!(handle.addresses().zipkin, None);
    assert!(handle.addresses().jaeger_api.is_some_and(|a| a.port() > 0));
    handle.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_policy_is_set_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = async |attempt_ms| {
        let policy =
            InitialPolicy { document: document(attempt_ms), actor: "demo".into(), reason: "to begin with".into() };
        let config = Config { initial_policy: Some(policy), ..Config::new(dir.path().join("x.fuseboard")) };
        Collector::start(config.on_free_ports()).await
    };
    start(500).await.expect("starts").shutdown().await;
    let again = start(900).await.expect("starts");
    let answered = again.ask(Ask { question: Question::Document(1), as_of: None }).await.expect("an answer");
    assert_eq!(answered.answer, fuseboard_api::ask::Answer::Document(Some(document(500))));
    again.shutdown().await;
    let other = tempfile::tempdir().expect("a directory");
    let policy = InitialPolicy { document: "x".into(), actor: "demo".into(), reason: "to begin with".into() };
    let config = Config { initial_policy: Some(policy), ..Config::new(other.path().join("y.fuseboard")) };
    let told = Collector::start(config.on_free_ports()).await.expect_err("no document");
    assert!(matches!(told, StartError::Policy(_)), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_changes_are_turned_off_begins_without_the_first_policy() {
    let stage = Stage::start().await;
    command(&stage, Action::SetReadOnly { on: true }).await.expect("fine");
    let dir = stage.stop().await;
    let policy = InitialPolicy { document: document(500), actor: "demo".into(), reason: "to begin with".into() };
    let config = Config { initial_policy: Some(policy), ..Config::new(dir.path().join("data.fuseboard")) };
    let stage = Stage::of(Collector::start(config.on_free_ports()).await.expect("starts"), dir);
    assert!(changes(&stage).await.revisions.is_empty());
    command(&stage, Action::SetReadOnly { on: false }).await.expect("fine");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_stops_while_clients_hold_on() {
    let stage = Stage::start().await;
    let live = stage.http.get(control(&stage, "/v1/live")).send().await.expect("a reply");
    let agent = crate::agent::FakeAgent::connect(&stage, "orders", "orders-1").await;
    command(&stage, Action::EndAllOverrides).await.expect("fine");
    let dir = tokio::time::timeout(Duration::from_secs(20), stage.stop()).await.expect("stops");
    drop((live, agent));
    // The file is whole and free again.
    Stage::over(dir).await.stop().await;
}
