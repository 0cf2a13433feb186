//! Killed by SIGKILL at any instant, the collector keeps what it acknowledged, once.

use std::sync::Arc;
use std::time::Duration;

use fuseboard_api::TraceId;
use fuseboard_api::ask::{Answer, Question};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Semaphore;

use super::program::{Program, instant};
use super::short_or_long;
use crate::common::{EVER, SERVER, edge, request, span};

/// Senders at the same time; those with an odd number speak HTTP, the others gRPC.
const SENDERS: u8 = 4;

/// The trace that a sender sends as number `n`.
fn id(sender: u8, n: u32) -> TraceId {
    let mut id = [0xA5; 16];
    id[0] = sender + 1;
    id[1..5].copy_from_slice(&n.to_be_bytes());
    TraceId(id)
}

/// How many spans it has: commits of all sizes are met.
fn spans(n: u32) -> u32 {
    if n % 11 == 7 { 150 } else { 1 + n % 4 }
}

fn batch(sender: u8, n: u32) -> ExportTraceServiceRequest {
    let one = |i: u32| {
        let (kind, parent) = if i == 0 { (SERVER, 0) } else { (1, 1) };
        let mut span = span(1, i as u8 + 1, parent, kind, "work");
        span.trace_id = id(sender, n).0.to_vec();
        span.start_time_unix_nano = instant(u64::from(n));
        span.end_time_unix_nano = span.start_time_unix_nano + 1_000_000;
        span
    };
    request("shop", (0..spans(n)).map(one).collect())
}

/// Sends from number `n` on until the collector is gone or `end` is reached; gives the first number that was not
/// acknowledged.
async fn send(program: Arc<Program>, sender: u8, mut n: u32, end: u32, acknowledged: Arc<Semaphore>) -> u32 {
    let http = reqwest::Client::new();
    let url = program.url("otlp_http", "/v1/traces");
    let Ok(mut grpc) = TraceServiceClient::connect(program.url("otlp_grpc", "")).await else { return n };
    // The process must be free to be killed while this goes on.
    drop(program);
    while n < end {
        let batch = batch(sender, n);
        let taken = if sender % 2 == 1 {
            let request = http.post(&url).header("content-type", "application/x-protobuf").body(batch.encode_to_vec());
            request.send().await.is_ok_and(|r| r.status().is_success())
        } else {
            grpc.export(batch).await.is_ok()
        };
        if !taken {
            return n;
        }
        n += 1;
        acknowledged.add_permits(1);
    }
    n
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_instant_it_keeps_what_it_acknowledged_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("kill.fuseboard");
    let rounds = short_or_long(5, 100);
    let mut random = SmallRng::seed_from_u64(7);
    let mut next = [0; SENDERS as usize];
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let program = Arc::new(Program::start(&file));
        slowest = slowest.max(program.opened);
        let acknowledged = Arc::new(Semaphore::new(0));
        let tasks = (0..SENDERS)
            .zip(next)
            .map(|(sender, n)| tokio::spawn(send(program.clone(), sender, n, u32::MAX, acknowledged.clone())));
        let tasks: Vec<_> = tasks.collect();
        // Some rounds end while the program has hardly begun.
        let enough = if round % 5 == 4 { 1 } else { random.random_range(20..200) };
        drop(acknowledged.acquire_many(enough).await.expect("open"));
        // The instant is to be any: also between two acknowledgements.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..30_000))).await;
        let (pid, begun) = (program.pid(), next);
        kill_process(Pid::from_raw(pid.cast_signed()).expect("a process"), Signal::KILL).expect("killed");
        for (next, task) in next.iter_mut().zip(tasks) {
            *next = task.await.expect("a sender");
        }
        drop(program);
        check(&Program::start(&file), begun, next).await;
    }
    // What was not acknowledged is sent again, as senders do: then all of it is there, and nothing twice.
    let program = Arc::new(Program::start(&file));
    let end = next.iter().max().map_or(0, |n| n + 1);
    for (sender, n) in (0..SENDERS).zip(next) {
        let sent = send(program.clone(), sender, n, end, Arc::new(Semaphore::new(0))).await;
        assert_eq!(sent, end);
    }
    let traces = u64::from(SENDERS) * u64::from(end);
    let totals = program.totals().await;
    let all = (0..end).map(|n| u64::from(spans(n))).sum::<u64>() * u64::from(SENDERS);
    assert_eq!((totals.spans, totals.traces), (all, traces));
    let Ok(Answer::Board(board)) = program.ask(Question::Board { range: EVER }).await else { panic!("a board") };
    assert_eq!(edge(&board, "clients", "shop").stats.calls, traces, "rollups count every span once");
    println!("killed {rounds} times, {all} spans, opened in {slowest:?} at the slowest");
}

/// Everything that was acknowledged since `begun` is there, once.
async fn check(program: &Program, begun: [u32; SENDERS as usize], next: [u32; SENDERS as usize]) {
    for (sender, (from, to)) in (0..SENDERS).zip(begun.into_iter().zip(next)) {
        for n in from..to {
            let trace = program.trace(id(sender, n)).await;
            let found = trace.map_or(0, |t| t.spans.len());
            assert_eq!(found, spans(n) as usize, "trace {n} of sender {sender}");
        }
    }
}
