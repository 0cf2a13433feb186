//! Memory of the real program at full ingest: it runs by itself, senders keep it as busy as it lets them, and its resident
//! memory is read along the way.

use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fuseboard_api::UnixNanos;

use crate::measure::figure;
use crate::shop::Shop;

/// What the program may take, in MiB.
const LIMIT: f64 = 300.0;
/// Senders at the same time.
const SENDERS: u64 = 8;

/// Prints the peak, and how much more it takes in the last quarter than in the second.
pub(crate) fn measure(quick: bool) {
    let lasts = Duration::from_secs(if quick { 8 } else { 180 });
    let dir = tempfile::tempdir().expect("a directory");
    let (program, address) = start(&dir.path().join("data.fuseboard"));
    let begun = Instant::now();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let client = reqwest::Client::new();
    let senders: Vec<_> = (0..SENDERS)
        .map(|seed| runtime.spawn(send(client.clone(), format!("http://{address}/v1/traces"), seed, begun + lasts)))
        .collect();
    let mut seen = Vec::new();
    while begun.elapsed() < lasts {
        std::thread::sleep(lasts / 200);
        seen.extend(status(&program, "VmRSS"));
    }
    let sent: u64 = senders.into_iter().map(|s| runtime.block_on(s).expect("sent")).sum();
    let peak = status(&program, "VmHWM");
    stop(program);
    println!("memory: {sent} spans acknowledged in {} s", lasts.as_secs());
    let Some(peak) = peak else { return println!("not run: memory (this system does not tell)") };
    figure("memory.peak", peak, "MiB", "limit memory", LIMIT);
    let quarter = |n: usize| {
        let part = &seen[seen.len() * n / 4..seen.len() * (n + 1) / 4];
        part.iter().sum::<f64>() / part.len().max(1) as f64
    };
    figure("memory.last_quarter", quarter(3), "MiB", "rival second_quarter", quarter(1));
}

/// Sends until the time is over; gives how many spans were acknowledged.
async fn send(client: reqwest::Client, url: String, seed: u64, until: Instant) -> u64 {
    let mut shop = Shop::new(100 + seed, UnixNanos::now().0);
    let mut sent = 0;
    while Instant::now() < until {
        let body = Bytes::from(shop.next_request());
        loop {
            let request = client.post(&url).header("content-type", "application/x-protobuf").body(body.clone());
            let answer = request.send().await.expect("an answer");
            if answer.status().is_success() {
                sent += 512;
                break;
            }
            assert_eq!(answer.status().as_u16(), 503, "the collector only ever asks to wait");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    sent
}

/// The program on free ports; gives its OTLP/HTTP address.
fn start(file: &Path) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuseboard-collector"));
    command.arg("--data").arg(file);
    for address in ["--otlp-grpc", "--otlp-http", "--control", "--metrics"] {
        command.args([address, "127.0.0.1:0"]);
    }
    let mut program = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the collector starts");
    let mut line = String::new();
    let out = program.stdout.take().expect("piped");
    std::io::BufReader::new(out).read_line(&mut line).expect("its addresses");
    let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    (program, said["otlp_http"].as_str().expect("an address").to_owned())
}

fn stop(mut program: Child) {
    program.kill().expect("killed");
    program.wait().expect("gone");
}

/// A line of `/proc/PID/status`, in MiB.
fn status(program: &Child, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", program.id())).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()? / 1024.0)
}
