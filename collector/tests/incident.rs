//! Incidents: recorded, told, cut out into a file that answers as the collector did.

use std::time::Duration;

use fuseboard_api::ask::{Answer, Ask, Question};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::command::Action;
use fuseboard_api::incident::Incidents;
use fuseboard_api::log::LogQuery;
use fuseboard_api::metric::MetricQuery;
use fuseboard_api::strip::MarkKind;
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use fuseboard_collector::{Collector, Config, Handle};
use fuseboard_policy::wire::v1::{self, from_agent};

use crate::agent::{FakeAgent, audit, audit_actions, changes, command, force, set_policy, until};
use crate::common::{CLIENT, SERVER, Stage, With as _, request, span};

async fn incidents(handle: &Handle, as_of: Option<UnixNanos>) -> Incidents {
    match handle.ask(Ask { question: Question::Incidents, as_of }).await.expect("an answer").answer {
        Answer::Incidents(incidents) => incidents,
        other => panic!("incidents, not {other:?}"),
    }
}

fn breaker_report(state: v1::BreakerState, calls: std::ops::Range<i64>, now: UnixNanos) -> v1::BreakerReport {
    let window: Vec<v1::WindowCall> = calls
        .map(|i| v1::WindowCall { at_unix_nanos: i, failed: true, micros: 2000, ..v1::WindowCall::default() })
        .collect();
    let (service, operation) = ("payments".to_owned(), "pay".to_owned());
    let status = v1::BreakerStatus {
        service: service.clone(),
        operation: operation.clone(),
        state: state.into(),
        mode: v1::Mode::Auto.into(),
        window: window.clone(),
        ..v1::BreakerStatus::default()
    };
    let transition = v1::BreakerTransition {
        service,
        operation,
        at_unix_nanos: now.0,
        from: v1::BreakerState::Closed.into(),
        to: v1::BreakerState::Open.into(),
        cause: "all failed".into(),
        window,
        revision: 1,
        by_mode: false,
    };
    let transitions = if state == v1::BreakerState::Open { vec![transition] } else { Vec::new() };
    v1::BreakerReport { breakers: vec![status], transitions }
}

/// A minute of a shop: calls that fail, a breaker that opens, an override, an agent that obeys.
async fn trouble(stage: &Stage) -> FakeAgent {
    set_policy(stage, 0, 500).await;
    let mut agent = FakeAgent::connect(stage, "orders", "orders-1").await;
    agent.obey().await;
    agent.obey().await;
    for id in 1..=20 {
        let call = span(id, 2, 1, CLIENT, "pay").with("service.peer.name", "payments").failed("down");
        let work = span(id, 3, 2, SERVER, "pay").failed("down");
        stage.send(request("orders", vec![span(id, 1, 0, SERVER, "GET /order"), call])).await;
        stage.send(request("payments", vec![work])).await;
    }
    for calls in [0..20, 5..25] {
        agent
            .say(from_agent::Message::Breakers(breaker_report(v1::BreakerState::Closed, calls, UnixNanos::now())))
            .await;
    }
    agent.say(from_agent::Message::Breakers(breaker_report(v1::BreakerState::Open, 15..40, UnixNanos::now()))).await;
    let spec = force(Some("orders"), BreakerMode::ForcedOpen);
    command(stage, Action::SetOverride { spec, ttl_ms: 60_000 }).await.expect("fine");
    agent.obey().await;
    until(stage, async || {
        let answer = stage.ask_at(Question::Breakers { range: crate::common::EVER }, None).await.1;
        let Answer::Breakers(breakers) = answer else { panic!("breakers") };
        let applied = changes(stage).await.overrides.first().is_some_and(|c| c.applied == 1);
        (applied && !breakers.transitions.is_empty()).then_some(())
    })
    .await;
    agent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_is_started_in_the_past_renamed_and_stopped() {
    let stage = Stage::start().await;
    let now = UnixNanos::now();
    let from = now - Duration::from_secs(300);
    let start = |name: &str, from| Action::StartIncident { name: name.into(), from };
    let ahead = command(&stage, start("x", now + Duration::from_secs(3600))).await.expect_err("ahead");
    assert_eq!(ahead.code, "bad_request");
    assert_eq!(command(&stage, start("  ", from)).await.expect_err("nameless").code, "bad_request");
    let id = command(&stage, start("bank is down", from)).await.expect("fine").incident.expect("a number");
    command(&stage, Action::RenameIncident { id, name: "bank was slow".into() }).await.expect("fine");
    let (before, _) = stage.ask_at(Question::Incidents, None).await;
    let to = UnixNanos::now();
    command(&stage, Action::StopIncident { id, to: Some(to) }).await.expect("fine");
    let again = command(&stage, Action::StopIncident { id, to: None }).await.expect_err("over");
    assert_eq!(again.code, "bad_request");
    let told = incidents(&stage.handle, None).await.incidents;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].name.as_str(), told[0].from, told[0].to), ("bank was slow", from, Some(to)));
    assert_eq!(incidents(&stage.handle, Some(before)).await.incidents[0].to, None, "as of then it went on");
    let actions = audit(&stage).await;
    assert_eq!(audit_actions(&actions), ["incident.started", "incident.renamed", "incident.recorded"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_is_found_told_and_its_suspect_named() {
    let stage = Stage::start().await;
    let agent = trouble(&stage).await;
    let told = incidents(&stage.handle, None).await;
    let [candidate] = told.candidates.as_slice() else { panic!("one candidate, not {told:?}") };
    assert_eq!(candidate.id, 0);
    assert_eq!(candidate.name, "orders → payments pay opened in orders-1");
    let kinds: Vec<MarkKind> = candidate.story.iter().map(|m| m.kind).collect();
    assert!(kinds.contains(&MarkKind::BreakerOpened) && kinds.contains(&MarkKind::Override), "{kinds:?}");
    assert_eq!(candidate.suspects.first().map(|s| s.key.callee.as_str()), Some("payments"));
    assert!(candidate.suspects[0].evidence.contains("100 % of 20 calls failed"), "{:?}", candidate.suspects);
    assert!(candidate.calls >= 20 && candidate.errors >= 20, "{candidate:?}");
    let action = Action::StartIncident { name: "pay".into(), from: candidate.from };
    command(&stage, action).await.expect("fine");
    let told = incidents(&stage.handle, None).await;
    assert_eq!((told.candidates.len(), told.incidents.len()), (0, 1), "recorded, it is no candidate any more");
    drop(agent);
    stage.stop().await;
}

fn questions(range: TimeRange) -> Vec<Question> {
    vec![
        Question::Strip { range, columns: 200 },
        Question::Board { range },
        Question::Traces(TraceQuery { range, ..TraceQuery::default() }),
        Question::Trace(TraceId([7; 16])),
        Question::Breakers { range },
        Question::Policies { range },
        Question::Document(1),
        Question::Changes { range },
        Question::Forecasts,
        Question::Incidents,
        Question::Logs(LogQuery { range, ..LogQuery::default() }),
        Question::Metrics(MetricQuery { range, ..MetricQuery::default() }),
        Question::Fleet { range },
        Question::Audit(fuseboard_api::fleet::AuditQuery::default()),
        Question::Names,
        Question::Totals,
    ]
}

/// An answer without what is of the source and not of the instant.
async fn answer(handle: &Handle, question: &Question, as_of: UnixNanos) -> Answer {
    let asked = Ask { question: question.clone(), as_of: Some(as_of) };
    let answered = handle.ask(asked).await.expect("an answer");
    assert_eq!(answered.as_of, as_of, "{question:?}");
    let mut answer = answered.answer;
    match &mut answer {
        Answer::Totals(t) => {
            t.bytes_on_disk = 0;
            t.addresses.clear();
            t.read_only = false;
            t.stored = TimeRange::default();
        }
        Answer::Strip(s) => s.stored = TimeRange::default(),
        Answer::Incidents(i) => {
            i.file = None;
            i.candidates.clear();
        }
        _ => {}
    }
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_answers_every_question_as_the_collector_did() {
    let stage = Stage::start().await;
    let from = UnixNanos::now() - Duration::from_secs(10);
    let agent = trouble(&stage).await;
    let started = Action::StartIncident { name: "Payments → down".into(), from };
    let id = command(&stage, started).await.expect("fine").incident.expect("a number");
    // In the middle, and at the end.
    let (middle, _) = stage.ask_at(Question::Totals, None).await;
    stage.send(request("late", vec![span(99, 1, 0, SERVER, "work")])).await;
    command(&stage, Action::StopIncident { id, to: None }).await.expect("fine");
    let (end, _) = stage.ask_at(Question::Totals, None).await;
    let to = incidents(&stage.handle, None).await.incidents[0].to.expect("over");
    let range = TimeRange { from, to };
    let path = stage.file().with_file_name("cut.fuseboard");
    let name = stage.handle.export_incident(id, &path).await.expect("written");
    assert_eq!(name, "payments-down.fuseboard");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
    let there = stage.handle.export_incident(id, &path).await.expect_err("exists");
    assert_eq!(there.code, "conflict");
    let opened = Collector::start(Config::new(&path).on_free_ports().read_only()).await.expect("opens");
    let file = incidents(&opened, None).await.file.expect("it is an incident file");
    assert_eq!((file.name.as_str(), file.range), ("Payments → down", range));
    let last = opened.ask(Ask { question: Question::Totals, as_of: None }).await.expect("an answer").as_of;
    for as_of in [middle, end.min(last)] {
        for question in questions(range) {
            let live = answer(&stage.handle, &question, as_of).await;
            assert_eq!(answer(&opened, &question, as_of).await, live, "{question:?} as of {as_of}");
        }
    }
    opened.shutdown().await;
    drop(agent);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_comes_over_http_too() {
    let stage = Stage::start().await;
    let agent = trouble(&stage).await;
    let action = Action::StartIncident { name: "x".into(), from: UnixNanos::now() - Duration::from_secs(60) };
    let id = command(&stage, action).await.expect("fine").incident.expect("a number");
    let url = format!("http://{}/v1/incidents/{id}/file", stage.handle.addresses().control);
    let reply = stage.http.get(url).send().await.expect("a reply");
    assert!(reply.headers()["content-disposition"].to_str().expect("text").contains("x.fuseboard"));
    let bytes = reply.bytes().await.expect("a body");
    let path = stage.file().with_file_name("sent.fuseboard");
    std::fs::write(&path, &bytes).expect("written");
    let opened = Collector::start(Config::new(&path).on_free_ports().read_only()).await.expect("opens");
    assert_eq!(incidents(&opened, None).await.incidents.len(), 1);
    opened.shutdown().await;
    let left: Vec<_> = std::fs::read_dir(stage.file().parent().expect("a directory"))
        .expect("readable")
        .flatten()
        .filter(|f| f.file_name().to_string_lossy().contains("incident-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    drop(agent);
    stage.stop().await;
}
