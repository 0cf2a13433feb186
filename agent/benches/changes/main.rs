//! What changes cost the calls that run while they come: failed, or delayed by more than a millisecond, beside an equal run
//! without changes.
//!
//! `cargo bench -p fuseboard-agent --bench changes [-- --quick]`. Prints one line a figure:
//! `figure NAME = VALUE UNIT | rival NAME = VALUE UNIT | ratio X`. Nothing is asserted: times belong to the machine.
//!
//! A real agent calls a real gRPC service over sockets, and obeys a control plane that sends it a policy or overrides 200 times
//! a second, the most that it takes; it has a hundred edges besides, which change too. Rounds with and without changes take
//! turns, so that a busy machine slows both. A call is delayed if it takes a millisecond more than the middle one of the
//! rounds without changes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot run should say so and end")]

#[expect(dead_code, reason = "tests need more of it")]
#[path = "../../tests/collector.rs"]
mod collector;
#[expect(dead_code, reason = "tests need more of it")]
#[path = "../../tests/rig.rs"]
mod rig;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fuseboard_agent::Agent;
use fuseboard_agent::grpc::GrpcClient;
use fuseboard_agent::http::{ReplayBody, Route};
use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::wire::{self, v1};
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::collector::{Collector, Session};
use crate::rig::{Charger, agent, charge, payments};

/// Calls at once, and the pause after each.
const CALLERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(1);
/// Changes in a round.
const CHANGES: u64 = 250;
/// Edges besides the one that is called.
const EDGES: usize = 100;

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(compare(if quick { 4 } else { 16 }));
}

async fn compare(rounds: u64) {
    let mut collector = Collector::start().await;
    let orders = Agent::builder("orders").otlp(collector.url()).control(collector.url()).start().await.unwrap();
    let payer = agent("payments", &collector, "").await;
    let charger = Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await;
    let client = payments(&orders, &[&charger]);
    let (mut session, _) = collector.session().await;
    more_edges(&orders).await;
    charge(&client).await.unwrap();

    let (mut quiet, mut changing, mut number) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        let begun = Instant::now();
        let calls = during(&client, change(&mut session, &mut number)).await;
        let length = begun.elapsed();
        changing.extend(calls);
        quiet.extend(during(&client, tokio::time::sleep(length)).await);
    }
    report(&quiet, &changing, number);
}

/// How long calls took while something went on; `None`: failed.
async fn during(client: &GrpcClient, work: impl Future<Output = ()>) -> Vec<Option<Duration>> {
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (client, over) = (client.clone(), over.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    took.push(charge(&client).await.is_ok().then(|| begun.elapsed()));
                    tokio::time::sleep(PAUSE).await;
                }
                took
            })
        })
        .collect();
    work.await;
    over.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for caller in callers {
        all.extend(caller.await.unwrap());
    }
    all
}

/// A round of changes, each acknowledged before the next.
async fn change(session: &mut Session, number: &mut u64) {
    for _ in 0..CHANGES {
        *number += 1;
        let wanted = *number;
        if wanted.is_multiple_of(4) {
            session.overrides(wanted, vec![elsewhere(wanted)]).await;
            session.status("the override", |s| s.overrides_generation == wanted).await;
        } else {
            session.policy(policy(wanted)).await;
            session.status("the policy", |s| s.running == wanted).await;
        }
    }
}

fn policy(revision: u64) -> v1::Policy {
    let text = format!(
        "[[edge]]\nservice = \"*\"\ntimeout = {{ attempt_ms = {}, overall_ms = 30000 }}\n\
         retry = {{ max_attempts = 3, budget = {{ ratio = 0.2, min_per_sec = 10, ttl_ms = 10000 }} }}\n\
         concurrency = {{ kind = \"fixed\", max = {} }}\n\
         breaker = {{ window = {{ kind = \"time\", ms = 10000, buckets = 10 }}, failure_ratio = 0.5, min_calls = 20 }}\n",
        9_000 + revision % 1_000,
        64 + revision % 64,
    );
    wire::policy(revision, &PolicyDocument::parse(&text).unwrap())
}

fn elsewhere(id: u64) -> v1::Override {
    v1::Override {
        id,
        selector: Some(v1::Selector { service: Some("elsewhere".to_owned()), ..v1::Selector::default() }),
        action: Some(v1::r#override::Action::Mode(v1::Mode::ForcedOpen.into())),
        remaining_ms: 10,
        expires_unix_nanos: i64::MAX,
        actor: "bench".to_owned(),
        reason: "to see what it costs".to_owned(),
    }
}

async fn more_edges(agent: &Agent) {
    let answer = service_fn(|_: Request<ReplayBody<Full<Bytes>>>| async { Ok::<_, Infallible>(Response::new(())) });
    let client = agent.http_client_layer("stock").layer(answer);
    for number in 0..EDGES {
        let mut request = Request::get("http://stock/").body(Full::new(Bytes::new())).unwrap();
        request.extensions_mut().insert(Route(format!("/shelf-{number}").into()));
        client.clone().oneshot(request).await.unwrap();
    }
}

fn report(quiet: &[Option<Duration>], changing: &[Option<Duration>], changes: u64) {
    let mut usual: Vec<_> = quiet.iter().copied().flatten().collect();
    usual.sort();
    let late = usual[usual.len() / 2] + Duration::from_millis(1);
    println!(
        "{changes} changes during {} calls, {} calls without, the middle one {:?}",
        changing.len(),
        quiet.len(),
        usual[usual.len() / 2]
    );
    let failed = |calls: &[Option<Duration>]| calls.iter().filter(|took| took.is_none()).count();
    println!("figure changes.failed = {} calls | rival without changes = {} calls", failed(changing), failed(quiet));
    let share = |calls: &[Option<Duration>]| {
        let delayed = calls.iter().flatten().filter(|took| **took > late).count();
        delayed as f64 * 100.0 / calls.len() as f64
    };
    let (with, without) = (share(changing), share(quiet));
    println!(
        "figure changes.delayed_over_1ms = {with:.3} % of calls | rival without changes = {without:.3} % of calls | ratio {:.2}",
        with / without
    );
}
