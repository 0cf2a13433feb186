//! Live control: applied and acknowledged, refused with a reason, kept without a collector.

use std::time::Duration;

use fuseboard_agent::Agent;
use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::names;
use fuseboard_policy::wire::{self, v1};
use tonic::{Code, Status};

use crate::collector::{Collector, soon};
use crate::rig::{CHARGE, Charger, agent, charge, payments};

pub(crate) fn policy(revision: u64, text: &str) -> v1::Policy {
    wire::policy(revision, &PolicyDocument::parse(text).unwrap())
}

pub(crate) fn forced_open(id: u64, remaining_ms: u64) -> v1::Override {
    v1::Override {
        id,
        selector: Some(v1::Selector { service: Some(String::from("payments")), ..v1::Selector::default() }),
        action: Some(v1::r#override::Action::Mode(v1::Mode::ForcedOpen.into())),
        remaining_ms,
        expires_unix_nanos: i64::MAX,
        actor: String::from("ann"),
        reason: String::from("drill"),
    }
}

pub(crate) async fn steered(collector: &Collector, state: Option<&std::path::Path>) -> Agent {
    let mut builder = Agent::builder("orders").instance("orders-1").version("2.14.0");
    builder = builder.otlp(collector.url()).control(collector.url());
    if let Some(state) = state {
        builder = builder.state_dir(state);
    }
    builder.start().await.unwrap()
}

#[tokio::test]
async fn a_policy_is_applied_and_acknowledged_or_refused_with_a_reason() {
    let mut collector = Collector::start().await;
    let orders = steered(&collector, None).await;
    let payer = agent("payments", &collector, "").await;
    let charger = Charger::start(&payer, |_, _| Box::pin(std::future::pending())).await;
    let (mut session, hello) = collector.session().await;
    assert_eq!(
        (hello.service.as_str(), hello.instance.as_str(), hello.version.as_str()),
        ("orders", "orders-1", "2.14.0")
    );
    session.status("the first status", |s| s.running == 0 && s.attempted == 0).await;

    let text = "[[edge]]\nservice = \"payments\"\ntimeout = { attempt_ms = 20 }\n";
    session.policy(policy(5, text)).await;
    let first = session.status("revision 5 runs", |s| s.running == 5).await;
    let error = soon("the cut", charge(&payments(&orders, &[&charger]))).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);

    session.policy(policy(6, &text.replace("20", "700000"))).await;
    let status = session.status("revision 6 is refused", |s| s.attempted == 6).await;
    assert_eq!(status.running, 5);
    assert_ne!(status.effective_hash, first.effective_hash, "there is an edge now");
    let failure = status.last_failed.unwrap();
    assert!(failure.revision == 6 && failure.reason.contains("600000"), "{failure:?}");
    let spans = collector.spans("the call", |spans| spans.iter().any(|s| s.service == "orders")).await;
    let call = spans.iter().find(|s| s.service == "orders").unwrap();
    assert_eq!(call.text("policy.revision").as_deref(), Some("5"));
}

#[tokio::test]
async fn breakers_are_reported_as_they_change() {
    let mut collector = Collector::start().await;
    let orders = steered(&collector, None).await;
    let payer = agent("payments", &collector, "").await;
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Err(Status::internal("broken")) })).await;
    let (mut session, _) = collector.session().await;
    let text = "[[edge]]\nservice = \"payments\"\nbreaker = { consecutive_failures = 2, open_ms = 60000 }\n";
    session.policy(policy(5, text)).await;
    session.status("revision 5 runs", |s| s.running == 5).await;
    let client = payments(&orders, &[&charger]);
    for _ in 0..2 {
        charge(&client).await.unwrap_err();
    }
    let report = session
        .next("a transition", |message| match message {
            v1::from_agent::Message::Breakers(report) if !report.transitions.is_empty() => Some(report),
            _ => None,
        })
        .await;
    let (transition, breaker) = (&report.transitions[0], &report.breakers[0]);
    assert_eq!((transition.service.as_str(), transition.operation.as_str()), ("payments", CHARGE));
    assert_eq!((transition.to(), transition.revision), (v1::BreakerState::Open, 5));
    assert_eq!((breaker.state(), breaker.trips), (v1::BreakerState::Open, 1));
    assert!(transition.cause.contains("in a row"), "{}", transition.cause);
    assert!(transition.window.iter().all(|call| call.trace_id.len() == 16));
}

#[tokio::test]
async fn an_override_acts_on_the_next_call_and_ends_with_the_collector_gone() {
    let mut collector = Collector::start().await;
    let orders = steered(&collector, None).await;
    let payer = agent("payments", &collector, "").await;
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await;
    let client = payments(&orders, &[&charger]);
    charge(&client).await.unwrap();
    let (mut session, _) = collector.session().await;
    session.overrides(3, vec![forced_open(7, 3000)]).await;
    let status = session.status("the override is in force", |s| s.overrides_generation == 3).await;
    assert_eq!(status.overrides, [7]);
    assert_eq!(charge(&client).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(charger.calls(), 1);
    drop((session, collector));
    assert_eq!(charge(&client).await.unwrap_err().code(), Code::Unavailable, "it outlives the collector");
    soon("it ends by itself", async {
        while charge(&client).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_injected_fault_takes_the_callees_place() {
    let mut collector = Collector::start().await;
    let orders = steered(&collector, None).await;
    let payer = agent("payments", &collector, "").await;
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await;
    let (mut session, _) = collector.session().await;
    let text = "[[edge]]\nservice = \"payments\"\n\
        retry = { max_attempts = 2, non_idempotent = true, backoff = { base_ms = 1, max_ms = 1 } }\n";
    session.policy(policy(2, text)).await;
    session.status("revision 2 runs", |s| s.running == 2).await;
    let abort = v1::Fault { abort_ratio: 1.0, abort_code: String::from("unavailable"), ..v1::Fault::default() };
    let action = Some(v1::r#override::Action::Fault(abort));
    session.overrides(1, vec![v1::Override { action, ..forced_open(3, 60_000) }]).await;
    session.status("the fault is in force", |s| s.overrides == [3]).await;
    let client = payments(&orders, &[&charger]);
    let error = charge(&client).await.unwrap_err();
    assert!(error.code() == Code::Unavailable && error.message().contains("injected"), "{error}");
    assert_eq!(charger.calls(), 0);
    let spans = collector.spans("call and attempts", |spans| spans.len() == 3).await;
    assert_eq!(spans.iter().filter(|s| s.text(names::FAULT).as_deref() == Some("true")).count(), 2);
    session.overrides(2, Vec::new()).await;
    session.status("the fault is over", |s| s.overrides.is_empty()).await;
    charge(&client).await.unwrap();
}

#[tokio::test]
async fn the_last_good_policy_is_there_after_a_restart_without_a_collector() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::start().await;
    let orders = steered(&collector, Some(folder.path())).await;
    let (mut session, _) = collector.session().await;
    session.policy(policy(9, "[[edge]]\nservice = \"payments\"\ntimeout = { attempt_ms = 20 }\n")).await;
    session.status("revision 9 runs", |s| s.running == 9).await;
    session.overrides(2, vec![forced_open(4, 3_600_000)]).await;
    session.status("the override is in force", |s| s.overrides == [4]).await;
    let file = folder.path().join("orders-1.agent-state");
    let saved = || std::fs::read(&file).is_ok_and(|bytes| bytes.windows(5).any(|w| w == b"drill"));
    soon("it is on disk", async {
        while !saved() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    orders.shutdown().await;
    drop((orders, session, collector));

    let mut later = Collector::start().await;
    let orders = steered(&later, Some(folder.path())).await;
    let client = orders.grpc_client("payments", ["127.0.0.1:9"]).unwrap();
    let refused = charge(&client).await.unwrap_err();
    assert!(refused.message().contains("breaker"), "{refused}");
    let (mut session, _) = later.session().await;
    let status = session.status("what it runs", |_| true).await;
    assert_eq!((status.running, status.overrides.as_slice()), (9, [4].as_slice()));
}

#[tokio::test]
async fn a_change_that_is_not_confirmed_goes_back_with_the_collector_gone_and_stays_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut collector = Collector::start().await;
    let orders = steered(&collector, Some(folder.path())).await;
    let payer = agent("payments", &collector, "").await;
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await;
    let client = payments(&orders, &[&charger]);
    let (mut session, _) = collector.session().await;
    session.policy(policy(8, "[[edge]]\nservice = \"payments\"\ntimeout = { attempt_ms = 9000 }\n")).await;
    session.status("revision 8 runs", |s| s.running == 8).await;
    let shut = "[[edge]]\nservice = \"payments\"\nbreaker = { mode = \"forced_open\" }\n";
    let on_trial = |confirm_within_ms| v1::Policy { confirm_within_ms, ..policy(9, shut) };
    session.policy(on_trial(1_500)).await;
    let status = session.status("revision 9 runs", |s| s.running == 9).await;
    assert_eq!((status.reverted_from, status.last_failed), (0, None));
    charge(&client).await.unwrap_err();
    drop((session, collector));
    soon("it goes back by itself", async {
        while charge(&client).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    orders.shutdown().await;
    drop((orders, client));

    let mut later = Collector::start().await;
    let _orders = steered(&later, Some(folder.path())).await;
    let (mut session, _) = later.session().await;
    let status = session.status("what it runs", |_| true).await;
    assert_eq!((status.running, status.reverted_from), (8, 9));
    session.policy(on_trial(60_000)).await;
    let status = session.status("9 is not taken again", |s| s.attempted == 9).await;
    assert_eq!((status.running, status.reverted_from), (8, 9));
    session.policy(on_trial(0)).await;
    session.status("but confirmed it is", |s| s.running == 9 && s.reverted_from == 0).await;
}

#[tokio::test]
async fn an_agent_finds_its_collector_again() {
    let mut collector = Collector::start().await;
    let address = collector.address;
    let _orders = steered(&collector, None).await;
    let (mut session, _) = collector.session().await;
    session.policy(policy(2, "[[edge]]\nservice = \"*\"\ntimeout = { overall_ms = 900 }\n")).await;
    session.status("revision 2 runs", |s| s.running == 2).await;
    drop((session, collector));
    let listener = soon("the address is free", async {
        loop {
            match tokio::net::TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let mut collector = Collector::listen(listener.await);
    let (mut session, hello) = collector.session().await;
    assert_eq!(hello.instance, "orders-1");
    session.status("it still runs revision 2", |s| s.running == 2).await;
}
