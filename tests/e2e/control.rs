//! From a hand on a switch back to the service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use fuseboard_agent::http::HttpClient;
use fuseboard_agent::{Agent, HttpMethod};
use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::change::{ChangeState, OverrideAction, OverrideSpec, Selector};
use fuseboard_api::command::{Action, PolicyEdit};
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
