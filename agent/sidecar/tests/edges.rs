//! What goes wrong, and what goes on: limits, upgrades, deadlines, the end.

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::rig::{Beside, serve, sidecar, soon, to};

/// Sends bytes and reads until the other side has said something that ends so, or hangs up.
async fn say(address: std::net::SocketAddr, words: &str, until: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(words.as_bytes()).await.unwrap();
    let heard = listen(&mut stream, until).await;
    (stream, heard)
}

async fn listen(stream: &mut TcpStream, until: &str) -> String {
    let mut heard = Vec::new();
    soon(async {
        while !String::from_utf8_lossy(&heard).ends_with(until) {
            match stream.read_buf(&mut heard).await {
                Ok(1..) => {}
                _ => break,
            }
        }
    })
    .await;
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn headers_that_are_too_long_are_answered_431() {
    let address = serve(Router::new()).await;
    let limits = "limits = { header_bytes = 8192 }\n";
    let beside = sidecar(&format!("{limits}{}", to(&[address], "")), "").await;
    let long = "x".repeat(20_000);
    let words = format!("GET / HTTP/1.1\r\nhost: bank\r\nx-long: {long}\r\n\r\n");
    let (_, heard) = say(beside.sidecar.outbound()[0], &words, "\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 431 "), "{heard}");
}

#[tokio::test]
async fn slow_headers_and_silent_connections_are_closed() {
    let address = serve(Router::new()).await;
    for limits in ["header_read_ms = 200", "idle_ms = 200"] {
        let beside = sidecar(&format!("limits = {{ {limits} }}\n{}", to(&[address], "")), "").await;
        let (_, heard) = say(beside.sidecar.outbound()[0], "GET / HTTP/1.1\r\nhost: b", "never").await;
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 408 "), "{heard}");
    }
}

#[tokio::test]
async fn an_upgraded_connection_passes_bytes_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = listen(&mut stream, "\r\n\r\n").await;
        assert!(asked.contains("upgrade: chat") && asked.contains("connection: upgrade"), "{asked}");
        let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
        stream.write_all(agreed.as_bytes()).await.unwrap();
        assert_eq!(listen(&mut stream, "ping").await, "ping");
        stream.write_all(b"pong").await.unwrap();
    });
    let beside = sidecar(&to(&[address], ""), "").await;
    let words = "GET /chat HTTP/1.1\r\nhost: bank\r\nconnection: Upgrade\r\nupgrade: chat\r\n\r\n";
    let (mut stream, heard) = say(beside.sidecar.outbound()[0], words, "\r\n\r\n").await;
    assert!(heard.starts_with("HTTP/1.1 101 ") && heard.contains("upgrade: chat"), "{heard}");
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(listen(&mut stream, "pong").await, "pong");
}

#[tokio::test]
async fn requests_find_their_upstream_by_host_and_path() {
    let named = |name: &'static str| Router::new().fallback(move || async move { name });
    let (bank, vault, post) = (serve(named("bank")).await, serve(named("vault")).await, serve(named("post")).await);
    let upstream =
        |name: &str, at, more: &str| format!("[[upstream]]\nservice = \"{name}\"\naddresses = [\"{at}\"]\n{more}\n");
    let text = format!(
        "[[outbound]]\nlisten = \"127.0.0.1:0\"\n{}{}{}",
        upstream("bank", bank, "hosts = [\"shop.example\"]"),
        upstream("vault", vault, "hosts = [\"shop.example\"]\npaths = [\"/vault\"]"),
        upstream("post", post, "")
    );
    let beside = sidecar(&text, "").await;
    let proxy = reqwest::Proxy::http(beside.outbound("")).unwrap();
    let client = reqwest::Client::builder().proxy(proxy).build().unwrap();
    for (url, who) in [
        ("http://shop.example/accounts", "bank"),
        ("http://shop.example:80/vault/7", "vault"),
        ("http://shop.example/vaults", "bank"),
        ("http://POST/letters", "post"),
    ] {
        assert_eq!(client.get(url).send().await.unwrap().text().await.unwrap(), who, "{url}");
    }
    let unknown = client.get("http://elsewhere/").send().await.unwrap();
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert!(unknown.text().await.unwrap().contains("hosts"));
}

#[tokio::test]
async fn a_call_inherits_the_deadline_of_the_request_it_belongs_to() {
    let (tell, mut told) = mpsc::channel(1);
    let bank = Router::new().route(
        "/balance",
        get(move |headers: HeaderMap| async move {
            tell.send(headers).await.unwrap();
            std::future::pending::<StatusCode>().await
        }),
    );
    let (where_to, to_where) = tokio::sync::watch::channel(String::new());
    // It copies the trace, and knows nothing of deadlines.
    let shop = Router::new().route(
        "/shop",
        get(move |headers: HeaderMap| async move {
            let url = to_where.borrow().clone();
            let call = reqwest::Client::new().get(url).header("traceparent", &headers["traceparent"]);
            call.send().await.unwrap().status()
        }),
    );
    let inbound = format!("[[inbound]]\nlisten = \"127.0.0.1:0\"\nto = \"{}\"\n", serve(shop).await);
    let beside = sidecar(&format!("{inbound}{}", to(&[serve(bank).await], "")), "").await;
    where_to.send(beside.outbound("/balance")).unwrap();
    let call = reqwest::Client::new().get(beside.inbound("/shop")).header("x-fuseboard-timeout", "400m");
    let answer = soon(call.send()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    let seen = soon(told.recv()).await.unwrap();
    let left = seen["x-fuseboard-timeout"].to_str().unwrap();
    let left = fuseboard_agent::policy::deadline::parse_timeout(left).unwrap();
    assert!(left <= Duration::from_millis(400), "the bank is given no more than the shop has: {left:?}");
}

#[tokio::test]
async fn at_the_end_what_is_under_way_is_finished_and_nothing_new_is_taken() {
    let (tell, mut told) = mpsc::channel(1);
    let (release, released) = tokio::sync::watch::channel(false);
    let slow = move || {
        let mut released = released.clone();
        let tell = tell.clone();
        async move {
            tell.send(()).await.unwrap();
            released.wait_for(|go| *go).await.unwrap();
            "finished"
        }
    };
    let beside = sidecar(&to(&[serve(Router::new().route("/slow", get(slow))).await], ""), "").await;
    let (address, url) = (beside.sidecar.outbound()[0], beside.outbound("/slow"));
    let under_way = tokio::spawn(async move { reqwest::get(url).await.unwrap().text().await.unwrap() });
    soon(told.recv()).await.unwrap();
    let ending = tokio::spawn(beside.end());
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    release.send(true).unwrap();
    assert_eq!(soon(under_way).await.unwrap(), "finished");
    soon(ending).await.unwrap();
}

#[tokio::test]
async fn health_and_metrics_are_told() {
    let address = serve(Router::new().route("/orders/{id}", get(|| async { "order" }))).await;
    let text = format!("admin = {{ listen = \"127.0.0.1:0\" }}\n{}", to(&[address], "routes = [\"/orders/{id}\"]"));
    let policy = "[[edge]]\nservice = \"bank\"\nbreaker = { consecutive_failures = 2 }\n";
    let beside = sidecar(&text, policy).await;
    for _ in 0..3 {
        reqwest::get(beside.outbound("/orders/7")).await.unwrap().text().await.unwrap();
    }
    let page = |path: &str| {
        let url = format!("http://{}{path}", beside.sidecar.admin().unwrap());
        async move { reqwest::get(url).await.unwrap().text().await.unwrap() }
    };
    assert_eq!((page("/healthz").await.as_str(), page("/readyz").await.as_str()), ("well\n", "ready\n"));
    let metrics = page("/metrics").await;
    for line in [
        "fuseboard_requests_total{direction=\"outbound\",service=\"bank\",outcome=\"ok\"} 3",
        "fuseboard_breaker_state{service=\"bank\",operation=\"GET /orders/{id}\",state=\"closed\"} 1",
        "fuseboard_request_duration_seconds_count{direction=\"outbound\",service=\"bank\"} 3",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn another_configuration_takes_effect_while_running_and_breakers_stay_as_they_are() {
    let named = |name: &'static str| Router::new().fallback(move || async move { name });
    let broken = Router::new().fallback(|| async { StatusCode::INTERNAL_SERVER_ERROR });
    let policy = "[[edge]]\nservice = \"bank\"\nbreaker = { consecutive_failures = 2, open_ms = 60000 }\n";
    let mut beside = sidecar(&to(&[serve(named("old")).await], ""), policy).await;
    let heard = |beside: &Beside| {
        let url = beside.outbound("/");
        async move { reqwest::get(url).await.unwrap().text().await.unwrap() }
    };
    assert_eq!(heard(&beside).await, "old");
    beside.reload(&to(&[serve(broken).await], "")).unwrap();
    for _ in 0..2 {
        heard(&beside).await;
    }
    beside.reload(&to(&[serve(named("new")).await], "")).unwrap();
    assert!(heard(&beside).await.contains("breaker"), "it opened under the other addresses, for the same service");
    let listener = "[[outbound]]\nlisten = \"127.0.0.1:0\"\n";
    let refused = beside.reload(&format!("{listener}{}", to(&[serve(named("new")).await], ""))).unwrap_err();
    assert!(refused.to_string().contains("restart"), "{refused}");
}
