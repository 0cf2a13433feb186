//! Senders that take their time, and many of them.

use prost::Message as _;

use super::program::Program;
use super::raw::Raw;
use crate::common::{SERVER, request, span};

fn body(n: u16) -> Vec<u8> {
    let mut one = span(1, 1, 0, SERVER, "slow");
    one.trace_id[..2].copy_from_slice(&(n + 1).to_be_bytes());
    request("shop", vec![one]).encode_to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_senders_hold_nobody_up_and_are_served_in_the_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = Program::start(&dir.path().join("slow.fuseboard"));
    let address = program.address("otlp_http");
    let mut slow = Vec::new();
    for n in 0..100 {
        let (mut sender, body) = (Raw::connect(&address).await, body(n));
        sender.head(body.len()).await;
        sender.send(&body[..body.len() / 2]).await;
        slow.push((sender, body));
    }
    // Half of a request is nothing; others are served meanwhile.
    for n in 1000..1020 {
        assert_eq!(program.post(body(n)).await.status(), 200);
    }
    assert_eq!(program.totals().await.spans, 20);
    // Some go away in the middle; the rest send byte by byte.
    for (mut sender, body) in slow.drain(..).skip(50) {
        for byte in &body[body.len() / 2..] {
            sender.send(&[*byte]).await;
        }
        assert_eq!(sender.status().await, 200);
    }
    assert_eq!(program.totals().await.spans, 70);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_are_served_at_the_same_time() {
    const CONNECTIONS: u16 = 1_000;
    if super::open_files() < u64::from(CONNECTIONS) + 200 {
        return super::not_run("a thousand connections", "a process may not have so many open files here");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let program = Program::start(&dir.path().join("many.fuseboard"));
    let address = program.address("otlp_http");
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        all.push(Raw::connect(&address).await);
    }
    for round in 0..2 {
        for (n, sender) in (0..CONNECTIONS).zip(&mut all) {
            sender.whole(&body(n + round * CONNECTIONS)).await;
        }
        for sender in &mut all {
            assert_eq!(sender.status().await, 200);
        }
    }
    assert_eq!(program.totals().await.spans, 2 * u64::from(CONNECTIONS));
}
