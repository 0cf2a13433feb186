//! A collector that means no good, or is too slow: calls go on, memory is bounded, and the next collector is listened to.

use std::time::Duration;

use fuseboard_agent::{Agent, Bounds};
use fuseboard_policy::wire::v1;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::collector::{Collector, soon};
use crate::control::{forced_open, policy, steered};
use crate::rig::{Charger, agent, charge, payments};

async fn charger(collector: &Collector) -> Charger {
    let payer = agent("payments", collector, "").await;
    Charger::start(&payer, |_, _| Box::pin(async { Ok(()) })).await
}

async fn bounded(collector: &Collector, bounds: Bounds) -> Agent {
    let builder = Agent::builder("orders").otlp(collector.url()).control(collector.url());
    builder.bounds(bounds).start().await.unwrap()
}

#[tokio::test]
async fn a_collector_that_reads_nothing_costs_a_call_nothing() {
    let mut collector = Collector::start().await;
    let orders = steered(&collector, None).await;
    let payer = agent("payments", &collector, "").await;
    let charger = Charger::start(&payer, |number, _| {
        Box::pin(async move { if number % 2 == 0 { Ok(()) } else { Err(tonic::Status::internal("broken")) } })
    })
    .await;
    let (mut session, _) = collector.session().await;
    let text = "[[edge]]\nservice = \"payments\"\nbreaker = { consecutive_failures = 1, open_ms = 1 }\n";
    session.policy(policy(2, text)).await;
    session.status("revision 2 runs", |s| s.running == 2).await;
    session.overrides(1, vec![v1::Override { remaining_ms: 300, ..forced_open(7, 300) }]).await;
    session.status("the override is in force", |s| s.overrides == [7]).await;
    // From here on nobody reads, while breakers have more to tell than the connection takes.
    let client = payments(&orders, &[&charger]);
    soon("the calls, and the end of the override", async {
        while charger.calls() < 1_000 {
            // Refused while it is open, and by the override to its end.
            let _ = charge(&client).await;
            // A refusal waits for nothing: the agent's own tasks are to run, too.
            tokio::task::yield_now().await;
        }
    })
    .await;
    session.status("it is told, once somebody reads", |s| s.overrides.is_empty()).await;
}

#[tokio::test]
async fn a_flood_of_policies_is_taken_at_a_bearable_pace() {
    let mut collector = Collector::start().await;
    let orders = steered(&collector, None).await;
    let charger = charger(&collector).await;
    let client = payments(&orders, &[&charger]);
    let (mut session, _) = collector.session().await;
    let last = 400;
    let began = std::time::Instant::now();
    let to = session.to.clone();
    let flood = tokio::spawn(async move {
        for revision in 1..=last {
            let text = format!("[[edge]]\nservice = \"payments\"\ntimeout = {{ attempt_ms = {} }}\n", 9_000 + revision);
            let message = Some(v1::to_agent::Message::Policy(policy(revision, &text)));
            to.send(Ok(v1::ToAgent { message })).await.unwrap();
        }
    });
    while !flood.is_finished() {
        charge(&client).await.unwrap();
    }
    session.status("the last one runs", |s| s.running == last).await;
    // 200 a second, after the first 40.
    assert!(began.elapsed() >= Duration::from_millis(5 * (last - 50)), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_overlong_message_ends_the_connection_and_nothing_else() {
    let mut collector = Collector::start().await;
    let orders = bounded(&collector, Bounds::default().message(64 * 1024)).await;
    let charger = charger(&collector).await;
    let client = payments(&orders, &[&charger]);
    let (mut session, hello) = collector.session().await;
    session.policy(policy(3, "[[edge]]\nservice = \"payments\"\ntimeout = { attempt_ms = 9000 }\n")).await;
    session.status("revision 3 runs", |s| s.running == 3).await;
    let mut huge = forced_open(1, 60_000);
    huge.reason = "x".repeat(1 << 20);
    session.overrides(1, vec![huge]).await;
    let (mut again, same) = collector.session().await;
    assert_eq!(same, hello);
    let status = again.status("what it runs", |_| true).await;
    assert_eq!((status.running, status.overrides_generation), (3, 0));
    charge(&client).await.unwrap();
}

#[tokio::test]
async fn of_a_hundred_thousand_overrides_it_takes_as_many_as_its_bound() {
    let mut collector = Collector::start().await;
    let orders = bounded(&collector, Bounds::default().message(64 << 20).overrides(50, Duration::from_secs(60))).await;
    let charger = charger(&collector).await;
    let client = payments(&orders, &[&charger]);
    let (mut session, _) = collector.session().await;
    let elsewhere = |id| {
        let mut one = forced_open(id, 60_000);
        one.selector.as_mut().unwrap().service = Some(format!("elsewhere-{id}"));
        one
    };
    session.overrides(1, (0..100_000).map(elsewhere).collect()).await;
    let status = session.status("the first of them are in force", |s| s.overrides_generation == 1).await;
    assert_eq!((status.overrides.len(), status.refused_overrides.len()), (50, 64));
    assert!(status.refused_overrides[0].reason.contains("up to 50 at once, not 100000"), "{status:?}");
    charge(&client).await.unwrap();
}

#[tokio::test]
async fn what_makes_no_sense_is_passed_over_or_refused() {
    let mut collector = Collector::start().await;
    let orders = steered(&collector, None).await;
    let charger = charger(&collector).await;
    let client = payments(&orders, &[&charger]);
    let (mut session, _) = collector.session().await;
    session.to.send(Ok(v1::ToAgent { message: None })).await.unwrap();
    let rule = v1::EdgeRule { service: "\u{0}".repeat(70_000), ..v1::EdgeRule::default() };
    session.policy(v1::Policy { revision: u64::MAX, rules: vec![rule; 9], ..v1::Policy::default() }).await;
    let status = session.status("nonsense is refused", |s| s.attempted == u64::MAX).await;
    assert!(status.running == 0 && status.last_failed.unwrap().reason.len() < 20_000);
    let mut eternal = forced_open(1, u64::MAX);
    eternal.expires_unix_nanos = i64::MIN;
    let nothing = v1::Override { id: 2, remaining_ms: 1, ..v1::Override::default() };
    session.overrides(u64::MAX, vec![eternal, nothing]).await;
    let status = session.status("both are refused", |s| s.overrides_generation == u64::MAX).await;
    assert_eq!((status.overrides.len(), status.refused_overrides.len()), (0, 2));
    charge(&client).await.unwrap();
}

#[tokio::test]
async fn garbage_on_the_wire_is_no_collector() {
    let collector = Collector::start().await;
    let charger = charger(&collector).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let garbage = listener.local_addr().unwrap();
    let builder = Agent::builder("orders").otlp(collector.url()).control(garbage.to_string());
    let orders = builder.start().await.unwrap();
    let client = payments(&orders, &[&charger]);
    for word in [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[0xff; 4_096], b"", &[0; 9]] {
        let (mut stream, _) = soon("it dials again", listener.accept()).await.unwrap();
        // It may hang up first.
        let _ = stream.write_all(word).await;
        charge(&client).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn it_dials_for_ever_and_never_waits_longer_than_two_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let control = listener.local_addr().unwrap().to_string();
    let _orders = Agent::builder("orders").otlp("127.0.0.1:9").control(control).start().await.unwrap();
    let (mut pauses, mut last) = (Vec::new(), tokio::time::Instant::now());
    for _ in 0..500 {
        drop(listener.accept().await.unwrap());
        pauses.push(last.elapsed());
        last = tokio::time::Instant::now();
    }
    // A dial may be two connections at once.
    pauses.retain(|pause| !pause.is_zero());
    let longest = pauses.iter().max().unwrap();
    // Two seconds, and as long as it waits for a collector that took the connection.
    assert!(*longest <= Duration::from_secs(7), "{longest:?}");
    let usual = pauses.iter().skip(10).filter(|p| (0.9..=2.1).contains(&p.as_secs_f64())).count();
    assert!(usual * 10 > pauses.len() * 8, "{pauses:?}");
}
