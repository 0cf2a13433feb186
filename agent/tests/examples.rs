//! The examples do what they say.

use fuseboard_agent::tls::ServerTls;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::collector::{Collector, soon};
use crate::pki::Ca;
use crate::rig::agent;

#[expect(dead_code, reason = "its main is for people")]
#[path = "../examples/axum.rs"]
mod with_axum;

#[expect(dead_code, reason = "its main is for people")]
#[path = "../examples/tonic.rs"]
mod with_tonic;

#[tokio::test]
async fn axum_answers_plain_and_over_tls_and_stops_when_asked() {
    let (collector, ca) = (Collector::start().await, Ca::new());
    let orders = agent("orders", &collector, "").await;
    for tls in [None, Some(ca.server())] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/orders/7", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async |tls: Option<ServerTls>| {
            let stop = async { stopped.await.unwrap_or_default() };
            with_axum::serve(&orders, listener, tls, stop).await.unwrap();
        };
        let ask = async {
            let connector = orders.with_tls(&ca.client()).unwrap().connector(crate::collector::PATIENCE);
            let client = Client::builder(TokioExecutor::new()).build::<_, Empty<bytes::Bytes>>(connector);
            let answer = client.get(url.parse().unwrap()).await.unwrap();
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(text, "order 7 for 127.0.0.1\n");
            stop.send(()).unwrap();
        };
        soon("the end", async { tokio::join!(serve(tls), ask) }).await;
    }
    let spans = collector.spans("both answers", |spans| spans.len() >= 2).await;
    let schemes: Vec<_> = spans.iter().filter_map(|span| span.text("url.scheme")).collect();
    assert_eq!(schemes, ["http", "https"]);
    let logs = collector.logs("both requests", |logs| logs.len() >= 2).await;
    assert!(logs.iter().filter(|log| log.event_name == "fuseboard.request").count() >= 2);
}

#[tokio::test]
async fn tonic_is_called_and_stops_when_asked() {
    let collector = Collector::start().await;
    let counter = agent("counter", &collector, "").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let seen = async {
        collector.spans("the call, its attempt and its answer", |spans| spans.len() >= 3).await;
    };
    soon("the end", with_tonic::serve(&counter, listener, seen)).await.unwrap();
}
