//! Memory of the real program at full ingest: it runs by itself, senders keep it as busy as it lets them, and its resident
//! memory is read along the way.

use std::time::{Duration, Instant};

use fuseboard_api::UnixNanos;

use crate::figure::figure;
use crate::program::Program;
use crate::sender::Sender;
use crate::shop::Shop;

/// What the program may take, in MiB.
const LIMIT: f64 = 300.0;
/// Senders at the same time.
const SENDERS: u64 = 8;
/// Traces a second of a sender's own time, about what it really sends.
const RATE: u64 = 4_000;

/// Prints the peak, and how much more it takes in the last quarter than in the second.
pub(crate) fn measure(quick: bool) {
    let lasts = Duration::from_secs(if quick { 8 } else { 180 });
    let dir = tempfile::tempdir().expect("a directory");
    let program = Program::start(&dir.path().join("data.fuseboard"));
    let begun = Instant::now();
    let (mut seen, mut sent) = (Vec::new(), 0);
    std::thread::scope(|threads| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|n| {
                let to = Sender::to(&program);
                threads.spawn(move || send(to, 100 + n, begun + lasts))
            })
            .collect();
        while begun.elapsed() < lasts {
            std::thread::sleep(lasts / 200);
            seen.extend(program.memory("VmRSS"));
        }
        sent = senders.into_iter().map(|s| s.join().expect("sent")).sum::<u64>();
    });
    let peak = program.memory("VmHWM");
    program.kill();
    println!("memory: {sent} spans acknowledged in {} s, senders on the same processors", lasts.as_secs());
    let Some(peak) = peak else { return println!("not run: memory (this system does not tell)") };
    figure("memory.peak", peak, "MiB", "limit memory", LIMIT);
    let quarter = |n: usize| {
        let part = &seen[seen.len() * n / 4..seen.len() * (n + 1) / 4];
        part.iter().sum::<f64>() / part.len().max(1) as f64
    };
    figure("memory.last_quarter", quarter(3), "MiB", "rival second_quarter", quarter(1));
}

/// Sends until the time is over; gives how many spans were acknowledged.
fn send(mut to: Sender, seed: u64, until: Instant) -> u64 {
    let mut shop = Shop::new(seed, UnixNanos::now().0, RATE);
    let mut sent = 0;
    while Instant::now() < until {
        let body = shop.next_request();
        while !to.post(&body) {
            std::thread::sleep(Duration::from_millis(20));
        }
        sent += 512;
    }
    sent
}
