//! From a hand on a switch back to the service.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::routing::get;
use fuseboard_agent::http::HttpClient;
use fuseboard_agent::{Agent, HttpMethod};
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::{ChangeState, OverrideAction, OverrideSpec, Selector};
use fuseboard_api::command::{Action, Command, PolicyEdit};
use fuseboard_api::trace::TraceQuery;
use fuseboard_demo::Weather;
use fuseboard_policy::names;
use fuseboard_policy::settings::BreakerMode;
use fuseboard_tests::stage::{PATIENCE, Stage, all_changes, last, shop_policy};

fn forced_open(caller: &str, service: &str) -> OverrideSpec {
    OverrideSpec {
        selector: Selector {
            caller: Some(caller.to_owned()),
            service: Some(service.to_owned()),
            ..Selector::default()
        },
        action: OverrideAction::Mode(BreakerMode::ForcedOpen),
    }
}

/// A service that counts what reaches it.
pub(crate) async fn shelf() -> Result<(SocketAddr, Arc<AtomicU64>)> {
    let reached = Arc::new(AtomicU64::new(0));
    let count = reached.clone();
    let app = Router::new().route(
        "/item",
        get(move || {
            count.fetch_add(1, Ordering::SeqCst);
            async { "here" }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok((address, reached))
}

pub(crate) async fn caller(stage: &Stage, instance: &str) -> Result<Agent> {
    let agent = Agent::builder("clerk").instance(instance).otlp(stage.otlp()?).control(stage.control());
    Ok(agent.start().await?)
}

async fn call(client: &HttpClient) -> bool {
    client.request(HttpMethod::GET, "/item", "/item").send().await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_open_breaker_refuses_the_next_call_in_every_instance_and_ends_by_itself() -> Result<()> {
    let stage = Stage::set("").await?;
    let (address, reached) = shelf().await?;
    let mut clients = Vec::new();
    for instance in ["clerk-1", "clerk-2", "clerk-3"] {
        let agent = caller(&stage, instance).await?;
        clients.push((agent.http_client("shelf", format!("http://{address}"))?, agent));
    }
    stage.connected("clerk", 3).await?;
    for (client, _) in &clients {
        assert!(call(client).await, "calls flow before");
    }
    let ttl = Duration::from_millis(1500);
    let change = stage.overridden(forced_open("clerk", "shelf"), ttl).await?;
    let applied = Instant::now();
    assert_eq!((change.targeted, change.applied), (3, 3));
    assert!(change.p99_ms().is_some_and(|ms| ms < 1000.0), "{change:?}");
    let before = reached.load(Ordering::SeqCst);
    for (client, agent) in &clients {
        assert!(!call(client).await, "the very next call of {} is refused", agent.instance());
    }
    assert_eq!(reached.load(Ordering::SeqCst), before, "and nothing reaches the service");

    // Nobody ends it by hand.
    let (client, _) = &clients[0];
    while !call(client).await {
        assert!(applied.elapsed() < PATIENCE, "the override outlives its time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ended = |answer: &Answer| {
        let Answer::Changes(changes) = answer else { return None };
        changes.overrides.iter().find(|c| c.id == change.id && c.state == ChangeState::Expired).map(|_| ())
    };
    stage.until("the expiry in the books", all_changes(), ended).await?;
    for (_, agent) in &clients {
        agent.shutdown().await;
    }
    stage.collector.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_ends_in_time_also_when_the_collector_is_gone() -> Result<()> {
    let stage = Stage::set("").await?;
    let (address, _) = shelf().await?;
    let agent = caller(&stage, "clerk-1").await?;
    let client = agent.http_client("shelf", format!("http://{address}"))?;
    stage.connected("clerk", 1).await?;
    let began = Instant::now();
    let ttl = Duration::from_millis(2500);
    stage.overridden(forced_open("clerk", "shelf"), ttl).await?;
    stage.collector.shutdown().await;
    assert!(!call(&client).await || began.elapsed() >= ttl, "still in force without its collector");
    while !call(&client).await {
        assert!(began.elapsed() < PATIENCE, "the override outlives its time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() >= ttl, "and not before its time");
    agent.shutdown().await;
    Ok(())
}

/// Not a test of its own: a collector in a process that another test can kill. Says its addresses, then serves until then.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by another test, in a process of its own"]
async fn collector_process() -> Result<()> {
    let file = std::env::var(COLLECTOR_FILE)?;
    let collector = fuseboard_tests::stage::collector(std::path::Path::new(&file), "").await?;
    let addresses = collector.addresses();
    println!("{ADDRESSES}{} {}", addresses.control, addresses.otlp_grpc.context("takes no OTLP")?);
    std::future::pending().await
}

const COLLECTOR_FILE: &str = "FUSEBOARD_TEST_COLLECTOR_FILE";
const ADDRESSES: &str = "addresses: ";

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn kill(&mut self) -> std::io::Result<()> {
        self.0.kill()?;
        self.0.wait().map(|_| ())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.kill();
    }
}

/// Starts [`collector_process`]; its process, its control address and that for OTLP.
fn collector_in_a_process(file: &std::path::Path) -> Result<(Process, String, String)> {
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.args(["--exact", "control::collector_process", "--ignored", "--nocapture"]);
    let mut process = Process(command.env(COLLECTOR_FILE, file).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let mut lines = BufReader::new(process.0.stdout.take().context("piped")?).lines();
    let said = lines.find_map(|line| Some(line.ok()?.split_once(ADDRESSES)?.1.to_owned()));
    let said = said.context("the collector's process says no addresses")?;
    let (control, otlp) = said.split_once(' ').context("two addresses")?;
    Ok((process, control.to_owned(), format!("http://{otlp}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_ends_in_time_when_the_collectors_process_is_killed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("killed.db");
    let (mut process, control, otlp) = collector_in_a_process(&file)?;
    let (address, reached) = shelf().await?;
    let agent = Agent::builder("clerk").instance("clerk-1").otlp(otlp).control(control.clone());
    let agent = agent.start().await?;
    let client = agent.http_client("shelf", format!("http://{address}"))?;
    let action = Action::SetOverride { spec: forced_open("clerk", "shelf"), ttl_ms: 4_000 };
    let command = Command { actor: "tester".to_owned(), reason: "a test".to_owned(), action };
    let began = Instant::now();
    let http = reqwest::Client::new();
    let sent = http.post(format!("http://{control}/v1/command")).json(&command).send().await?;
    assert!(sent.status().is_success(), "{}", sent.text().await?);
    while call(&client).await {
        assert!(began.elapsed() < PATIENCE, "the override never comes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    process.kill()?;
    let before = reached.load(Ordering::SeqCst);
    while !call(&client).await {
        assert!(began.elapsed() < PATIENCE, "the override outlives its time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(4_000), "and not before its time");
    assert_eq!(reached.load(Ordering::SeqCst), before + 1, "nothing reached the service meanwhile");
    agent.shutdown().await;

    // The next one over the same file knows that it has ended.
    let collector = fuseboard_tests::stage::collector(&file, "").await?;
    let stage = Stage { collector, folder };
    let ended = |answer: &Answer| {
        let Answer::Changes(changes) = answer else { return None };
        changes.overrides.iter().find(|c| c.state == ChangeState::Expired).map(|_| ())
    };
    stage.until("the expiry in the books", all_changes(), ended).await?;
    stage.collector.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_timeout_cuts_calls_and_keeps_breakers() -> Result<()> {
    let stage = Stage::set(shop_policy()).await?;
    let shop = stage.shop(Weather::Calm, 10.0).await?;
    stage.connected("orders", 2).await?;
    let edit = PolicyEdit {
        caller: Some("orders".to_owned()),
        service: "payments".to_owned(),
        operation: None,
        path: "timeout.attempt_ms".to_owned(),
        value: Some("2".to_owned()),
    };
    let receipt = stage.command(Action::edit_policy(1, vec![edit])).await?;
    assert_eq!(receipt.revision, Some(2));
    let applied = |answer: &Answer| {
        let Answer::Changes(changes) = answer else { return None };
        let change = changes.revisions.iter().find(|c| c.id == 2)?;
        (change.state == ChangeState::Applied).then_some(change.applied)
    };
    let applied = stage.until("revision 2 everywhere", all_changes(), applied).await?;
    assert!(applied >= 14, "every instance of the shop has it: {applied}");

    let query = TraceQuery {
        range: last(60),
        edge: Some(("orders".to_owned(), "payments".to_owned())),
        attributes: vec![
            (names::OUTCOME.to_owned(), "timeout".to_owned()),
            (names::REVISION.to_owned(), "2".to_owned()),
        ],
        ..TraceQuery::default()
    };
    let cut = |answer: &Answer| {
        let Answer::Traces(list) = answer else { return None };
        list.rows.first().map(|r| r.trace_id)
    };
    let id = stage.until("a call that was cut under revision 2", Question::Traces(query), cut).await?;
    let Answer::Trace(Some(trace)) = stage.ask(Question::Trace(id)).await? else { panic!("the trace is gone") };
    let attempt = trace.spans.iter().find(|s| {
        s.attr(names::OUTCOME).and_then(|v| v.as_str()) == Some("timeout") && s.attr(names::ATTEMPT).is_some()
    });
    let attempt = attempt.expect("an attempt that was cut");
    assert_eq!(attempt.attr(names::ATTEMPT_TIMEOUT_MS).and_then(|v| v.as_int()), Some(2));
    drop(shop.shutdown().await);
    stage.collector.shutdown().await;
    Ok(())
}
