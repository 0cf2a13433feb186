//! How fast a change reaches the fleet, what an idle fleet costs, and how soon it is whole again after a restart.
//!
//! `cargo bench -p fuseboard-collector --bench control [-- --quick]`. Prints one line a figure:
//! `figure NAME = VALUE UNIT | limit NAME = VALUE UNIT | ratio X`. Nothing is asserted: times belong to the machine.
//!
//! - The collector is the real program in a process of its own; its memory is read from there. All instances are in this
//!   process, each with a connection of its own that speaks the real protocol (`support/light.rs`), on the same processors.
//! - A change is timed from before its command is sent until an instance has read it, checked it and could obey it: the
//!   collector's durable commit is in it. One sample for each instance and change.
//! - A restart is timed from the kill of the program until the last instance has been given what it should obey on a new
//!   connection; waits between dials are those of the real agent.
#![expect(clippy::expect_used, reason = "a bench that cannot run should say so and end")]

#[path = "support/figure.rs"]
mod figure;
#[path = "support/light.rs"]
mod light;
#[path = "support/program.rs"]
mod program;
#[path = "support/resident.rs"]
mod resident;

use std::path::Path;
use std::time::{Duration, Instant};

use fuseboard_api::command::{Action, Command, Receipt};

use crate::figure::figure;
use crate::light::Fleet;
use crate::program::Program;

/// Instances for a change.
const CHANGED: usize = 500;
/// Instances for memory and restart.
const IDLE: usize = 1_000;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    runtime.block_on(effective(&dir.path().join("changes.fuseboard"), if quick { 20 } else { 200 }));
    runtime.block_on(idle(&dir.path().join("idle.fuseboard"), Duration::from_secs(if quick { 6 } else { 60 })));
}

/// A document of ordinary size: ten edges with everything that a team sets.
fn document(attempt_ms: u64) -> String {
    let edge = |n: u64| {
        format!(
            "[[edge]]\nservice = \"service-{n}\"\ntimeout = {{ attempt_ms = {attempt_ms}, overall_ms = 20000 }}\n\
             retry = {{ max_attempts = 3, budget = {{ ratio = 0.2, min_per_sec = 10, ttl_ms = 10000 }} }}\n\
             breaker = {{ window = {{ kind = \"time\", ms = 10000, buckets = 10 }}, failure_ratio = 0.5, min_calls = 20 }}\n"
        )
    };
    (0..10).map(edge).collect()
}

/// What gives commands.
struct Hand {
    client: reqwest::Client,
    address: String,
    revision: u64,
}

impl Hand {
    fn of(program: &Program) -> Self {
        let address = format!("http://{}/v1/command", program.address("control"));
        Self { client: reqwest::Client::new(), address, revision: 0 }
    }

    /// Sets another policy; gives its number.
    async fn set(&mut self) -> u64 {
        let action = Action::set_policy(self.revision, document(1_000 + self.revision));
        let command = Command { actor: "bench".to_owned(), reason: "to see how long it takes".to_owned(), action };
        let reply = self.client.post(&self.address).json(&command).send().await.expect("a reply");
        let receipt: Receipt = reply.json().await.expect("a receipt");
        self.revision = receipt.revision.expect("a revision");
        self.revision
    }
}

async fn effective(file: &Path, changes: usize) {
    let program = Program::start(file);
    let mut hand = Hand::of(&program);
    let first = hand.set().await;
    let mut fleet = Fleet::start(program.address("control"), CHANGED);
    fleet.all(CHANGED, |word| word.revision == first).await;
    let mut took = Vec::with_capacity(CHANGED * changes);
    for _ in 0..changes {
        let begun = Instant::now();
        let (told, revision) = {
            let revision = hand.set().await;
            (begun.elapsed(), revision)
        };
        let words = fleet.all(CHANGED, |word| word.revision == revision).await;
        took.extend(words.into_iter().map(|word| word.at.duration_since(begun)));
        // What is acknowledged is written while the next change comes: as in life, but not all of it at once.
        tokio::time::sleep(Duration::from_millis(50).max(told)).await;
    }
    took.sort();
    for (word, part) in [("p50", 0.5), ("p99", 0.99)] {
        let at = ((took.len() - 1) as f64 * part).round() as usize;
        figure(&format!("control.effective.{word}"), millis(took[at]), "ms", "limit effective", 50.0);
    }
    drop(fleet);
    program.kill();
}

async fn idle(file: &Path, lasts: Duration) {
    let program = Program::start(file);
    let mut hand = Hand::of(&program);
    let revision = hand.set().await;
    let alone = program.memory("VmRSS");
    let control = program.address("control").to_owned();
    let mut fleet = Fleet::start(&control, IDLE);
    fleet.all(IDLE, |word| word.revision == revision).await;
    tokio::time::sleep(lasts).await;
    match (alone, program.memory("VmRSS")) {
        (Some(alone), Some(with)) => {
            println!("memory: {alone:.0} MiB without instances");
            figure("control.memory.idle_1000", with, "MiB", "limit memory", 150.0);
        }
        _ => println!("not run: memory (this system does not tell)"),
    }
    program.kill();
    let begun = Instant::now();
    let program = Program::steered_at(file, &control);
    let up = begun.elapsed();
    let words = fleet.all(IDLE, |word| word.revision == revision && word.at > begun);
    let last = words.await.into_iter().map(|word| word.at.duration_since(begun)).max().unwrap_or_default();
    println!("restart: the program was up after {} ms", up.as_millis());
    figure("control.restart.last_of_1000", last.as_secs_f64(), "s", "limit restart", 5.0);
    program.kill();
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
