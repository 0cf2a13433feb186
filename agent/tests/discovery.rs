//! Clients that follow a source of instances while they run.

mod consul;
mod dns;
mod etcd;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use fuseboard_agent::discovery::{Discovered, Discovery as _, Fixed, Instance};
use fuseboard_agent::http::ReplayBody;
use fuseboard_agent::{Agent, AgentError, Refusal};
use fuseboard_policy::names;
use http::{Request, Response, Uri};
use tokio::sync::{Notify, mpsc};
use tonic::Status;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::collector::{Collector, soon};
use crate::rig::{Charger, agent, charge};

/// An agent with a source of its own.
async fn following(collector: &Collector, source: &Fixed, policy: &str) -> Agent {
    let agent = Agent::builder("orders").otlp(collector.url()).default_policy_toml(policy);
    agent.discovery(source.clone()).start().await.unwrap()
}

async fn well(agent: &Agent) -> Charger {
    Charger::start(agent, |_, _| Box::pin(async { Ok(()) })).await
}

fn refusal(status: &Status) -> &Refusal {
    std::error::Error::source(status).and_then(|e| e.downcast_ref::<Refusal>()).expect("a refusal")
}

#[tokio::test]
async fn instances_come_and_go_and_no_call_fails() {
    let collector = Collector::start().await;
    let source = Fixed::new();
    let (orders, payer) = (following(&collector, &source, "").await, agent("payments", &collector, "").await);
    let (one, other) = (well(&payer).await, well(&payer).await);
    source.set("payments", &[one.address]).unwrap();
    let client = orders.grpc_client("payments", Discovered).unwrap();
    charge(&client).await.unwrap();

    let going = Arc::new(AtomicBool::new(true));
    let caller = tokio::spawn({
        let (client, going) = (client.clone(), going.clone());
        async move {
            let mut calls = 0;
            while going.load(Ordering::SeqCst) {
                charge(&client).await.expect("no call fails");
                calls += 1;
            }
            calls
        }
    });
    for _ in 0..3 {
        source.set("payments", &[one.address, other.address]).unwrap();
        let before = other.calls();
        soon("the new one is called", async {
            while other.calls() == before {
                tokio::task::yield_now().await;
            }
        })
        .await;
        source.set("payments", &[other.address]).unwrap();
        let gone = |snapshot: &fuseboard_agent::discovery::Snapshot| snapshot.instances.len() == 1;
        soon("the list is taken", async {
            while !orders.discovered("payments").as_ref().is_some_and(gone) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // The calls that began before are over after two more.
        charge(&client).await.unwrap();
        charge(&client).await.unwrap();
        let left = one.calls();
        for _ in 0..4 {
            charge(&client).await.unwrap();
        }
        assert!(one.calls() <= left + 1, "no more than the caller's own call that was under way");
    }
    going.store(false, Ordering::SeqCst);
    assert!(caller.await.unwrap() > 0);
}

#[tokio::test]
async fn a_call_under_way_outlives_its_instance_in_the_list() {
    let collector = Collector::start().await;
    let source = Fixed::new();
    let (orders, payer) = (following(&collector, &source, "").await, agent("payments", &collector, "").await);
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (arrived.clone(), go_on.clone());
    let slow = Charger::start(&payer, move |_, _| {
        let (tell, wait) = (tell.clone(), wait.clone());
        Box::pin(async move {
            tell.notify_one();
            wait.notified().await;
            Ok(())
        })
    })
    .await;
    let other = well(&payer).await;
    source.set("payments", &[slow.address]).unwrap();
    let client = orders.grpc_client("payments", Discovered).unwrap();
    let under_way = tokio::spawn({
        let client = client.clone();
        async move { charge(&client).await }
    });
    soon("it arrives", arrived.notified()).await;
    source.set("payments", &[other.address]).unwrap();
    soon("the other is called", async {
        while other.calls() == 0 {
            let called = tokio::time::timeout(Duration::from_millis(200), charge(&client)).await;
            // One that still went to the slow one is cut here.
            drop(called);
        }
    })
    .await;
    go_on.notify_one();
    go_on.notify_waiters();
    soon("it ends well", under_way).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_waits_for_the_first_list_and_is_refused_by_an_empty_one() {
    let collector = Collector::start().await;
    let source = Fixed::new();
    let policy = "[[edge]]\nservice = \"payments\"\nbreaker = { consecutive_failures = 1, open_ms = 60000 }\n";
    let (orders, payer) = (following(&collector, &source, policy).await, agent("payments", &collector, "").await);
    let client = orders.grpc_client("payments", Discovered).unwrap();
    let refused = charge(&client).await.unwrap_err();
    assert_eq!((refusal(&refused).rule, refused.code()), ("discovery", tonic::Code::Unavailable));
    let one = well(&payer).await;
    let lease = source.register("payments", Instance::at(one.address.to_string()).unwrap()).unwrap();
    soon("it is known", async {
        while orders.discovered("payments").is_none_or(|known| known.instances.is_empty()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    charge(&client).await.expect("nobody's absence trips a breaker");
    lease.end().await.unwrap();
    let drawn = |spans: &[crate::collector::Got]| {
        spans
            .iter()
            .any(|s| s.text(names::REFUSED_BY).as_deref() == Some("discovery") && s.text(names::ATTEMPT).is_some())
    };
    collector.spans("a ghost span", drawn).await;
}

#[tokio::test]
async fn an_ejected_instance_stays_ejected_over_a_new_list() {
    let collector = Collector::start().await;
    let source = Fixed::new();
    let policy = "[[edge]]\nservice = \"payments\"\noutlier = { consecutive_failures = 1, interval_ms = 60000, \
        base_ejection_ms = 60000, max_ejection_ms = 60000, max_ejection_percent = 50 }\n";
    let (orders, payer) = (following(&collector, &source, policy).await, agent("payments", &collector, "").await);
    let bad = Charger::start(&payer, |_, _| Box::pin(async { Err(Status::unavailable("ill")) })).await;
    let (one, other) = (well(&payer).await, well(&payer).await);
    source.set("payments", &[bad.address, one.address]).unwrap();
    let client = orders.grpc_client("payments", Discovered).unwrap();
    while bad.calls() == 0 {
        let _ = charge(&client).await;
    }
    source.set("payments", &[bad.address, one.address, other.address]).unwrap();
    while other.calls() == 0 {
        charge(&client).await.unwrap();
    }
    for _ in 0..6 {
        charge(&client).await.unwrap();
    }
    assert_eq!(bad.calls(), 1);
}

#[tokio::test]
async fn the_layer_writes_the_picked_instance_into_the_uri() {
    let collector = Collector::start().await;
    let payments = agent("payments", &collector, "").await;
    let source = Arc::new(Fixed::new().with("bank", &["http://a:1/v2", "https://b"]).unwrap());
    let (tell, mut told) = mpsc::channel::<Uri>(8);
    let bank = service_fn(move |request: Request<ReplayBody<Body>>| {
        let tell = tell.clone();
        async move {
            tell.send(request.uri().clone()).await.unwrap();
            Ok::<_, Infallible>(Response::new(()))
        }
    });
    let layer = payments.http_client_layer("bank").instances(source.clone()).unwrap();
    let client = layer.layer(bank);
    let mut met = Vec::new();
    for _ in 0..2 {
        let request = Request::get("http://anywhere/orders?full=1").header("host", "shop").body(Body::empty()).unwrap();
        client.clone().oneshot(request).await.unwrap();
        met.push(told.recv().await.unwrap().to_string());
    }
    met.sort();
    assert_eq!(met, ["http://a:1/v2/orders?full=1", "https://b:443/orders?full=1"]);
}

#[tokio::test]
async fn needs_an_address_or_a_source() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, "").await;
    let none: [&str; 0] = [];
    assert!(matches!(orders.grpc_client("payments", none), Err(AgentError::NoAddress(_))));
    assert!(matches!(orders.grpc_client("payments", Discovered), Err(AgentError::NoDiscovery(_))));
    assert!(matches!(orders.grpc_client("payments", ["a:1", "b c"]), Err(AgentError::Address { .. })));
}

#[tokio::test]
async fn an_agent_announces_itself_and_leaves_before_it_stops() {
    let collector = Collector::start().await;
    let source = Fixed::new();
    let builder = Agent::builder("payments").otlp(collector.url()).discovery(source.clone()).drain(Duration::ZERO);
    let payer = builder.instance("pay-1").version("2.14.0").start().await.unwrap();
    payer.register("127.0.0.1:7").unwrap();
    payer.register(Instance::at("127.0.0.1:8").unwrap().named("pay-1-http")).unwrap();
    let found = source.instances("payments").await.unwrap();
    let told: Vec<_> = found.iter().map(|i| (i.id.as_str(), i.address.as_str(), i.version.as_deref())).collect();
    assert_eq!(told, [("pay-1", "127.0.0.1:7", Some("2.14.0")), ("pay-1-http", "127.0.0.1:8", Some("2.14.0"))]);
    payer.drain().await;
    assert!(source.instances("payments").await.unwrap().is_empty());
    payer.register("127.0.0.1:7").unwrap();
    payer.shutdown().await;
    assert!(source.instances("payments").await.unwrap().is_empty());
    let orders = agent("orders", &collector, "").await;
    assert!(matches!(orders.register("127.0.0.1:7"), Err(AgentError::NoDiscovery(_))));
}
