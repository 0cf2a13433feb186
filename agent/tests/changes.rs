//! A thousand changes under load: no call fails because of them, and no engine forgets what it knew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fuseboard_agent::Agent;
use fuseboard_agent::grpc::GrpcClient;
use fuseboard_policy::wire::v1;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tonic::Status;

use crate::collector::{Collector, soon};
use crate::control::{forced_open, policy};
use crate::rig::{Charger, agent, charge};

const CHANGES: usize = 1_000;
/// Calls at once, to the callee that is well, and the pause after each.
const CALLERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(4);

/// Settings that may change without a call or an engine noticing: all generous where calls flow, and where something is
/// remembered (an open breaker, failures in a row, calls of this hour) neither looser nor of another kind.
#[derive(Debug, Clone)]
struct Settings {
    timeout_ms: u64,
    attempts: u32,
    in_flight: u64,
    per_sec: u64,
    window: u64,
    failures: u64,
    limit: u64,
}

impl Settings {
    fn document(&self) -> String {
        let Self { timeout_ms, attempts, in_flight, per_sec, window, failures, limit } = self;
        format!(
            r#"
            [[edge]]
            service = "payments"
            timeout = {{ attempt_ms = {timeout_ms}, overall_ms = 60000 }}
            retry = {{ max_attempts = {attempts}, backoff = {{ base_ms = 1, max_ms = 5 }} }}
            concurrency = {{ kind = "fixed", max = {in_flight} }}
            rate = {{ algorithm = "token_bucket", per_sec = {per_sec}, burst = {per_sec} }}
            breaker = {{ window = {{ kind = "count", size = {window} }}, failure_ratio = 0.5, min_calls = 5 }}
            [[edge]]
            service = "stock"
            breaker = {{ consecutive_failures = {failures}, open_ms = 3600000 }}
            [[edge]]
            service = "mail"
            timeout = {{ attempt_ms = {timeout_ms} }}
            breaker = {{ consecutive_failures = {failures}, open_ms = 3600000 }}
            [[edge]]
            service = "audit"
            rate = {{ algorithm = "sliding_window", limit = {limit}, window_ms = 3600000 }}
            "#
        )
    }
}

/// What all of it was before the first change, and what unconfirmed changes go back to at last.
const FIRST: Settings =
    Settings { timeout_ms: 9_000, attempts: 2, in_flight: 64, per_sec: 1_000_000, window: 20, failures: 8, limit: 100 };

#[derive(Debug, Clone)]
enum Change {
    /// A policy; 0 is for good, anything else goes back by itself unless the next change comes first.
    Policy(Settings, u64),
    /// Overrides that end by themselves.
    Overrides(Vec<(&'static str, u64)>),
}

fn settings() -> impl Strategy<Value = Settings> {
    let engines = (20_u64..200, 8_u64..30, 60_u64..=100);
    (5_000_u64..20_000, 1_u32..4, 16_u64..200, 500_000_u64..2_000_000, engines).prop_map(
        |(timeout_ms, attempts, in_flight, per_sec, (window, failures, limit))| Settings {
            timeout_ms,
            attempts,
            in_flight,
            per_sec,
            window,
            failures,
            limit,
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let service = prop::sample::select(vec!["payments", "mail", "elsewhere"]);
    let confirm = prop_oneof![2 => Just(0_u64), 1 => 1_u64..20];
    prop_oneof![
        3 => (settings(), confirm).prop_map(|(settings, within)| Change::Policy(settings, within)),
        1 => prop::collection::vec((service, 0_u64..20), 0..5).prop_map(Change::Overrides),
    ]
}

/// Other timeouts, generous ones, on callees that are called; nothing at all elsewhere.
fn overridden(id: u64, service: &str, remaining_ms: u64) -> v1::Override {
    let mut one = forced_open(id, remaining_ms);
    one.selector.as_mut().unwrap().service = Some(service.to_owned());
    if service != "elsewhere" {
        let timeout = v1::Timeout { attempt_ms: Some(6_000 + id % 1_000), overall_ms: None };
        one.action = Some(v1::r#override::Action::Timeout(timeout));
    }
    one
}

struct Callees {
    payments: GrpcClient,
    stock: GrpcClient,
    mail: GrpcClient,
    audit: GrpcClient,
}

async fn failing(agent: &Agent) -> Charger {
    Charger::start(agent, |_, _| Box::pin(async { Err(Status::internal("broken")) })).await
}

async fn well(agent: &Agent) -> Charger {
    Charger::start(agent, |_, _| Box::pin(async { Ok(()) })).await
}

/// Calls payments until told to stop; how many calls there were, and what went wrong.
async fn load(client: GrpcClient, stop: Arc<AtomicBool>, made: Arc<AtomicUsize>) -> Vec<Status> {
    let mut failed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        failed.extend(charge(&client).await.err());
        made.fetch_add(1, Ordering::Relaxed);
        // Room on the processors for the changes themselves.
        tokio::time::sleep(PAUSE).await;
    }
    failed
}

fn breaker(agent: &Agent, service: &str) -> &'static str {
    let edges = agent.proxy().edges();
    edges.iter().find(|edge| *edge.service == *service).unwrap().breaker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_changes_fail_no_call_and_forget_nothing() {
    let mut collector = Collector::start().await;
    let builder = Agent::builder("orders").instance("orders-1").otlp(collector.url()).control(collector.url());
    let orders = builder.default_policy_toml(FIRST.document()).without_traces().start().await.unwrap();
    let host = agent("host", &collector, "").await;
    let (good, bad, audited) = (well(&host).await, failing(&host).await, well(&host).await);
    let client = |service, to: &Charger| orders.grpc_client(service, [to.address]).unwrap();
    let callees = Callees {
        payments: client("payments", &good),
        stock: client("stock", &bad),
        mail: client("mail", &bad),
        audit: client("audit", &audited),
    };
    let (mut session, _) = collector.session().await;

    // What is to be remembered: an open breaker, seven failures in a row, an hour's calls all made.
    for _ in 0..FIRST.failures {
        charge(&callees.stock).await.unwrap_err();
    }
    for _ in 1..FIRST.failures {
        charge(&callees.mail).await.unwrap_err();
    }
    for _ in 0..FIRST.limit {
        charge(&callees.audit).await.unwrap();
    }
    assert_eq!((breaker(&orders, "stock"), breaker(&orders, "mail")), ("open", "closed"));
    let (reached, audits) = (bad.calls(), audited.calls());

    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> =
        (0..CALLERS).map(|_| tokio::spawn(load(callees.payments.clone(), stop.clone(), made.clone()))).collect();
    let before = made.load(Ordering::Relaxed);
    let mut runner = TestRunner::deterministic();
    let changes = prop::collection::vec(change(), CHANGES).new_tree(&mut runner).unwrap().current();
    for (number, change) in (1_u64..).zip(changes) {
        match change {
            Change::Policy(settings, confirm_within_ms) => {
                let policy = policy(number, &settings.document());
                session.policy(v1::Policy { confirm_within_ms, ..policy }).await;
                session.status("the policy is in force", |s| s.attempted == number).await;
            }
            Change::Overrides(all) => {
                let all = (0..).zip(all).map(|(i, (service, ms))| overridden(number * 10 + i, service, ms));
                session.overrides(number, all.collect()).await;
                session.status("the overrides are in force", |s| s.overrides_generation == number).await;
            }
        }
        if number % 50 == 0 {
            assert_eq!(breaker(&orders, "stock"), "open", "after change {number}");
            charge(&callees.stock).await.unwrap_err();
            charge(&callees.audit).await.unwrap_err();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        let failed = soon("the last calls", caller).await.unwrap();
        assert!(failed.is_empty(), "{} calls failed: {:?}", failed.len(), failed.first());
    }
    assert!(made.load(Ordering::Relaxed) - before > CHANGES, "there was load all the time");

    // As it was at first, but for room for one call at a time: every place that was taken was given back.
    let last = Settings { in_flight: 1, ..FIRST };
    session.policy(policy(CHANGES as u64 + 1, &last.document())).await;
    session.overrides(CHANGES as u64 + 1, Vec::new()).await;
    session.status("the last change", |s| s.running == CHANGES as u64 + 1 && s.overrides_generation == s.running).await;
    for _ in 0..3 {
        charge(&callees.payments).await.unwrap();
    }
    charge(&callees.stock).await.unwrap_err();
    charge(&callees.audit).await.unwrap_err();
    assert_eq!((bad.calls(), audited.calls()), (reached, audits), "the refusals are the agent's own");
    assert_eq!(breaker(&orders, "mail"), "closed");
    charge(&callees.mail).await.unwrap_err();
    assert_eq!(breaker(&orders, "mail"), "open", "the eighth failure in a row, seven of them before all changes");
}
