//! Attempts beside one that takes long, over real sockets and in virtual time.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use fuseboard_agent::Agent;
use fuseboard_agent::http::ReplayBody;
use fuseboard_policy::names;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::collector::{Collector, Got, soon};
use crate::rig::{CHARGE, Charger, OnDrop, agent, charge, payments};

fn policy(service: &str, rest: &str) -> String {
    format!("[[edge]]\nservice = \"{service}\"\nhedge = {{ after_ms = 30, max_extra = 1 }}\n{rest}")
}

/// The attempts that ended so.
fn ended<'a>(spans: &'a [Got], outcome: &str) -> Vec<&'a Got> {
    let fits = |got: &&Got| got.text(names::ATTEMPT).is_some() && got.text(names::OUTCOME).as_deref() == Some(outcome);
    spans.iter().filter(fits).collect()
}

/// An instance; of all that share a counter, the first to be asked hangs until it is dropped.
async fn one_of_two(payer: &Agent, asked: &Arc<AtomicUsize>, dropped: oneshot::Sender<()>) -> Charger {
    let (asked, dropped) = (asked.clone(), Arc::new(Mutex::new(Some(dropped))));
    Charger::start(payer, move |_, _| {
        let slow = asked.fetch_add(1, Ordering::SeqCst) == 0;
        let gone = slow.then(|| OnDrop(dropped.lock().unwrap().take()));
        Box::pin(async move {
            if let Some(gone) = gone {
                std::future::pending::<()>().await;
                drop(gone);
            }
            Ok(())
        })
    })
    .await
}

#[tokio::test]
async fn a_hedge_wins_against_a_slow_instance_and_cancels_it() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, &policy("payments", "")).await;
    let payer = agent("payments", &collector, "").await;
    let (asked, (tell, gone), (tell_too, gone_too)) = (Arc::default(), oneshot::channel(), oneshot::channel());
    let (one, two) = (one_of_two(&payer, &asked, tell).await, one_of_two(&payer, &asked, tell_too).await);
    let client = payments(&orders, &[&one, &two]).idempotent([CHARGE]);
    charge(&client).await.expect("the other instance answers");
    assert_eq!((one.calls(), two.calls()), (1, 1), "each was asked once");
    soon("the slow one is cancelled", async {
        tokio::select! {
            Ok(()) = gone => {}
            Ok(()) = gone_too => {}
        }
    })
    .await;
    let spans = collector
        .spans("the call and both attempts", |spans| {
            ended(spans, "success").len() == 1 && ended(spans, "cancelled").len() == 1
        })
        .await;
    let (won, lost) = (ended(&spans, "success")[0], ended(&spans, "cancelled")[0]);
    assert_eq!((won.text(names::ATTEMPT).as_deref(), lost.text(names::ATTEMPT).as_deref()), (Some("2"), Some("1")));
    assert_eq!((won.text(names::HEDGED).as_deref(), lost.text(names::HEDGED)), (Some("true"), None));
    assert_ne!(won.text("server.port"), lost.text("server.port"));
    assert_eq!(won.span.parent_span_id, lost.span.parent_span_id);
}

#[tokio::test]
async fn without_budget_no_hedge_is_sent_and_the_slow_answer_counts() {
    let collector = Collector::start().await;
    let spent = "retry = { max_attempts = 1, budget = { ratio = 0, min_per_sec = 0.1, ttl_ms = 10000 } }\n";
    let orders = agent("orders", &collector, &policy("payments", spent)).await;
    let payer = agent("payments", &collector, "").await;
    let go_on = Arc::new(Notify::new());
    // Each answers its first request only when it is told to.
    let slow_at_first = || {
        let go_on = go_on.clone();
        Charger::start(&payer, move |number, _| {
            let go_on = go_on.clone();
            Box::pin(async move {
                if number == 1 {
                    go_on.notified().await;
                }
                Ok(())
            })
        })
    };
    let (one, two, three) = (slow_at_first().await, slow_at_first().await, slow_at_first().await);
    let client = payments(&orders, &[&one, &two, &three]).idempotent([CHARGE]);
    let first = tokio::spawn({
        let client = client.clone();
        async move { charge(&client).await }
    });
    let calls = || one.calls() + two.calls() + three.calls();
    soon("the first call is hedged", async {
        while calls() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let second = tokio::spawn(async move { charge(&client).await });
    let budget = |spans: &[Got]| spans.iter().any(|s| s.text(names::REFUSED_BY).as_deref() == Some("retry_budget"));
    collector.spans("the hedge of the second is refused", budget).await;
    assert_eq!(calls(), 3, "two attempts of the first call, one of the second");
    (0..3).for_each(|_| go_on.notify_one());
    soon("both calls end", first).await.unwrap().unwrap();
    soon("both calls end", second).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_operation_that_must_not_be_done_twice_is_not_hedged() {
    let collector = Collector::start().await;
    let cut = "timeout = { attempt_ms = 120 }\n";
    let orders = agent("orders", &collector, &policy("payments", cut)).await;
    let payer = agent("payments", &collector, "").await;
    let hung = || Charger::start(&payer, |_, _| Box::pin(std::future::pending()));
    let (one, two) = (hung().await, hung().await);
    charge(&payments(&orders, &[&one, &two])).await.unwrap_err();
    assert_eq!(one.calls() + two.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn any_client_is_hedged_by_the_layer_and_the_winner_is_the_first_good_answer() {
    let agent =
        Agent::builder("web").otlp("127.0.0.1:9").default_policy_toml(policy("shop", "")).start().await.unwrap();
    let asked = AtomicUsize::new(0);
    let shop = Arc::new(move |_| asked.fetch_add(1, Ordering::SeqCst));
    let shop = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
        let number = shop(request);
        async move {
            if number == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
            Ok::<_, Infallible>(Response::builder().status(StatusCode::OK).body(number).unwrap())
        }
    });
    let begun = tokio::time::Instant::now();
    let request = Request::get("http://shop/").body(Full::new(Bytes::new())).unwrap();
    let answer = agent.http_client_layer("shop").layer(shop).oneshot(request).await.unwrap();
    assert_eq!((*answer.body(), begun.elapsed().as_millis()), (1, 30));
}

#[tokio::test]
async fn an_http_client_sends_its_hedge_while_the_first_hangs() {
    let collector = Collector::start().await;
    let payer = agent("payments", &collector, &policy("bank", "")).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let router = Router::new().route(
        "/balance",
        get(move || {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            async move {
                if number == 0 {
                    std::future::pending::<()>().await;
                }
                "17"
            }
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = payer.http_client("bank", &base).unwrap();
    let answer = soon("the second is answered", client.get("/balance").send()).await.unwrap();
    assert_eq!(answer.bytes(), "17");
    let spans = collector.spans("both attempts", |spans| spans.len() == 3).await;
    assert_eq!((ended(&spans, "success").len(), ended(&spans, "cancelled").len()), (1, 1));
}

#[tarpc::service]
trait Stock {
    /// How many there are.
    async fn count() -> usize;
}

/// Of all clones, the first to be asked never answers.
#[derive(Clone)]
struct Shelf(Arc<AtomicUsize>);

impl Stock for Shelf {
    async fn count(self, _: tarpc::context::Context) -> usize {
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        if number == 0 {
            std::future::pending::<()>().await;
        }
        number
    }
}

#[tokio::test]
async fn a_tarpc_client_asks_another_instance_while_the_first_hangs() {
    let collector = Collector::start().await;
    let orders = agent("orders", &collector, &policy("stock", "")).await;
    let stock = agent("stock", &collector, "").await;
    let (shelf, mut addresses) = (Shelf(Arc::default()), Vec::new());
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let (server, shelf) = (stock.tarpc_server(), shelf.clone());
        tokio::spawn(async move { server.run(listener, shelf.serve()).await });
    }
    let client = orders.tarpc_client("stock", &addresses).unwrap().idempotent(["Stock/count"]);
    let got = soon("the other answers", StockClient::from(client).count(tarpc::context::current())).await.unwrap();
    assert_eq!(got, 1);
    let all = |spans: &[Got]| ended(spans, "success").len() == 1 && ended(spans, "cancelled").len() == 1;
    let spans = collector.spans("both attempts", all).await;
    assert_ne!(ended(&spans, "success")[0].text("server.port"), ended(&spans, "cancelled")[0].text("server.port"));
}
