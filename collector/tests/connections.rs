//! Many connections, silent ones, and slow ones.

use std::net::SocketAddr;
use std::time::Duration;

use fuseboard_collector::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::{SERVER, Stage, encoded, request, span};

fn http(stage: &Stage) -> SocketAddr {
    stage.handle.addresses().otlp_http.expect("listens")
}

fn head(length: usize) -> Vec<u8> {
    let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: ";
    format!("{head}{length}\r\n\r\n").into_bytes()
}

/// Everything that comes until the other side hangs up.
async fn rest(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await.expect("hangs up");
    read.expect("in order");
    String::from_utf8(all).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_at_once_are_served() {
    let stage = Stage::start().await;
    let mut open = Vec::new();
    for _ in 0..1000 {
        open.push(TcpStream::connect(http(&stage)).await.expect("connects"));
    }
    for (i, stream) in open.iter_mut().enumerate() {
        let mut one = span(1, 1, 0, SERVER, "GET /cart");
        one.span_id = (i as u64 + 1).to_be_bytes().to_vec();
        let body = encoded(&request("shop", vec![one]));
        stream.write_all(&[head(body.len()), body].concat()).await.expect("sent");
    }
    for stream in &mut open {
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).await.expect("an answer");
        assert_eq!(&reply, b"HTTP/1.1 200");
    }
    assert_eq!(stage.totals().await.spans, 1000);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_is_sent_home_and_others_take_the_seat() {
    let limits = Limits { connections: 2, head: Duration::from_millis(300), ..Limits::default() };
    let stage = Stage::with(|config, _| config.limits = limits).await;
    let connect = || TcpStream::connect(http(&stage));
    // Nothing at all, half of a head, and half of HTTP/2's preface.
    let silent = connect().await.expect("connects");
    let mut half = connect().await.expect("connects");
    half.write_all(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n").await.expect("sent");
    let mut preface = connect().await.expect("waits in the system's queue");
    preface.write_all(b"PRI * HTTP/2.0").await.expect("sent");
    assert_eq!(rest(silent).await, "");
    let _ = rest(half).await;
    assert_eq!(rest(preface).await, "");
    assert_eq!(stage.post("/v1/traces", "application/json", "{}").await.status(), 200);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let limits = Limits { silence: Duration::from_millis(200), body: Duration::from_millis(900), ..Limits::default() };
    let stage = Stage::with(|config, _| config.limits = limits).await;
    let body = encoded(&request("shop", vec![span(1, 1, 0, SERVER, "GET /cart")]));
    let mut silent = TcpStream::connect(http(&stage)).await.expect("connects");
    silent.write_all(&head(body.len())).await.expect("sent");
    silent.write_all(&body[..10]).await.expect("sent");
    let told = rest(silent).await;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("retry-after: 1"), "{told}");
    // One byte after the other, never silent for long, but without end.
    let mut trickle = TcpStream::connect(http(&stage)).await.expect("connects");
    trickle.write_all(&head(1_000_000)).await.expect("sent");
    let (mut from, mut to) = trickle.into_split();
    let feed = tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(50));
        while to.write_all(b" ").await.is_ok() {
            beat.tick().await;
        }
    });
    let mut told = vec![0; 12];
    let read = tokio::time::timeout(Duration::from_secs(20), from.read_exact(&mut told)).await.expect("in the end");
    read.expect("an answer");
    assert_eq!(told, b"HTTP/1.1 503");
    drop(from);
    feed.await.expect("ends when nobody listens");
    assert_eq!(stage.totals().await.spans, 0);
    stage.stop().await;
}
