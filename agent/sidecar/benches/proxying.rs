//! The sidecar beside nginx and haproxy, each with one worker and kept connections, passing the same requests to the same
//! server in the same minutes: what each adds to the latency of an open loop, and its memory with 1,000 connections; then the
//! sidecar's memory with 1,000 requests under way.
//!
//! `cargo bench -p fuseboard-sidecar --bench proxying [-- --quick]`. The sidecar does all of its work meanwhile: policy,
//! breaker, two spans for each request and their export to a receiver that takes them.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a bench that cannot start has nothing to say")]

mod children;

use std::time::Duration;

use children::{Ports, Proxies, resident_mib};
use fuseboard_load::{LoadPlan, Pace, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// What answers, and by which way.
const WAYS: [&str; 5] = ["direct", "nginx", "haproxy", "outbound", "inbound"];

/// The latencies of one way in each round, in microseconds.
#[derive(Default, Clone)]
struct Seen {
    p50: Vec<f64>,
    p99: Vec<f64>,
    failed: u64,
    /// CPU time for each request, in microseconds.
    cpu: Vec<f64>,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let ports = Ports::free();
    let Some(proxies) = Proxies::start(&ports) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        children::take_telemetry(ports.otlp).await;
        for port in ports.ways() {
            children::answers(port).await;
        }
        let (rounds, length) = if quick { (3, 1) } else { (7, 3) };
        for rate in [1_000.0, 5_000.0] {
            let mut seen = vec![Seen::default(); WAYS.len()];
            for round in 0..rounds {
                for way in 0..WAYS.len() {
                    // Nobody is always the first or the last.
                    let way = (way + round) % WAYS.len();
                    one(ports.ways()[way], proxies.id_of(way), rate, length, &mut seen[way]).await;
                }
            }
            report(rate, &seen);
        }
    });
    drop(proxies);
    // Others, whose memory no load has swollen.
    let ports = Ports::free();
    let Some(proxies) = Proxies::start(&ports) else { return };
    runtime.block_on(memory(&ports, &proxies));
    drop(proxies);
    let ports = Ports::free();
    let Some(proxies) = Proxies::start(&ports) else { return };
    runtime.block_on(under_way(&ports, &proxies));
}

async fn one(port: u16, process: u32, rate: f64, seconds: u64, seen: &mut Seen) {
    let plan = LoadPlan {
        pace: Pace::steady(rate),
        duration: Duration::from_secs(seconds),
        connections: 64,
        ..LoadPlan::new(format!("http://127.0.0.1:{port}/orders/7"))
    };
    let before = children::cpu_us(process);
    let report = run(&plan, CancellationToken::new()).await.unwrap();
    seen.cpu.push((children::cpu_us(process) - before) / report.sent as f64);
    seen.p50.push(report.latency.p50_ms * 1e3);
    seen.p99.push(report.latency.p99_ms * 1e3);
    seen.failed += report.sent - report.ok + report.unsent;
}

/// The median: one bad second of a busy machine is not a way's fault.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn report(rate: f64, seen: &[Seen]) {
    for (word, of) in [("p50", (|s: &Seen| median(&s.p50)) as fn(&Seen) -> f64), ("p99", |s| median(&s.p99))] {
        let direct = of(&seen[0]);
        let added = |way: usize| (of(&seen[way]) - direct).max(1.0);
        println!("# {word} at {rate} rps without a proxy: {direct:.0} us");
        for way in [3, 4] {
            for rival in [1, 2] {
                println!(
                    "figure added_{word}_{rate}rps_{} = {:.0} us | rival {} = {:.0} us | ratio {:.2}",
                    WAYS[way],
                    added(way),
                    WAYS[rival],
                    added(rival),
                    added(way) / added(rival)
                );
            }
        }
    }
    // The machine's other work does not change how much of it a request takes.
    for way in [3, 4] {
        for rival in [1, 2] {
            let (ours, theirs) = (median(&seen[way].cpu), median(&seen[rival].cpu));
            println!(
                "figure cpu_per_request_{rate}rps_{} = {ours:.1} us | rival {} = {theirs:.1} us | ratio {:.2}",
                WAYS[way],
                WAYS[rival],
                ours / theirs
            );
        }
    }
    for (way, seen) in WAYS.iter().zip(seen).filter(|(_, seen)| seen.failed > 0) {
        println!("# {way}: {} requests failed at {rate} rps", seen.failed);
    }
}

/// Memory with 1,000 connections open, each of which has had an answer.
async fn memory(ports: &Ports, proxies: &Proxies) {
    children::take_telemetry(ports.otlp).await;
    for port in ports.ways() {
        children::answers(port).await;
    }
    let mut open = Vec::new();
    for port in [ports.nginx, ports.haproxy, ports.outbound] {
        for _ in 0..1_000 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(b"GET /orders/7 HTTP/1.1\r\nhost: bank\r\n\r\n").await.unwrap();
            let mut answer = [0; 1024];
            assert!(stream.read(&mut answer).await.unwrap() > 0);
            open.push(stream);
        }
    }
    let (ours, nginx, haproxy) = (
        resident_mib(proxies.sidecar.id()),
        resident_mib(children::worker_of(proxies.nginx.id())),
        resident_mib(proxies.haproxy.id()),
    );
    println!(
        "figure memory_1000_connections = {ours:.1} MiB | rival nginx = {nginx:.1} MiB | ratio {:.2}",
        ours / nginx
    );
    println!(
        "figure memory_1000_connections = {ours:.1} MiB | rival haproxy = {haproxy:.1} MiB | ratio {:.2}",
        ours / haproxy
    );
    println!("figure memory_1000_connections = {ours:.1} MiB | rival limit = 30 MiB | ratio {:.2}", ours / 30.0);
}

/// Memory with 1,000 requests under way, each on a connection of its own on both sides.
async fn under_way(ports: &Ports, proxies: &Proxies) {
    let mut waiting = children::keep_waiting(ports.late).await;
    children::answers(ports.to_late).await;
    let mut open = Vec::new();
    for _ in 0..1_000 {
        let mut stream = TcpStream::connect(("127.0.0.1", ports.to_late)).await.unwrap();
        stream.write_all(b"GET /orders/7 HTTP/1.1\r\nhost: late\r\n\r\n").await.unwrap();
        open.push(stream);
    }
    waiting.wait_for(|waiting| *waiting >= 1_000).await.unwrap();
    let ours = resident_mib(proxies.sidecar.id());
    println!("figure memory_1000_requests_under_way = {ours:.1} MiB | rival limit = 30 MiB | ratio {:.2}", ours / 30.0);
}
