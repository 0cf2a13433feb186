//! How long answers take over ten million spans: a trace by its id, searches, the graph of an hour; and how soon a file is
//! open again after its program was killed.
//!
//! `cargo bench -p fuseboard-collector --bench query [-- --quick] [-- FILTER]`. Prints one line a figure:
//! `figure NAME = VALUE ms | limit NAME = VALUE ms | ratio X`. Nothing is asserted: times belong to the machine.
//!
//! The file is made first, in a temporary directory: 10,000,000 spans of the shop (`support/shop.rs`; 500,000 with
//! `--quick`), which happened within the last three hours, through the same door as any other telemetry. Times are the
//! wall's, from the question to the answer in the same process, after a few questions of the same kind have warmed the
//! caches; ids, values and ranges are drawn anew for each question.
#![expect(clippy::expect_used, reason = "a bench that cannot run should say so and end")]

#[path = "support/figure.rs"]
mod figure;
#[path = "support/ours.rs"]
mod ours;
#[path = "support/program.rs"]
mod program;
#[path = "support/sender.rs"]
mod sender;
#[path = "support/shop.rs"]
mod shop;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fuseboard_api::ask::{Answer, Ask, Question};
use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use fuseboard_collector::{Collector, Config, Handle};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::figure::figure;
use crate::ours::{AT_ONCE, Ours};
use crate::program::Program;
use crate::sender::Sender;
use crate::shop::{RARE_COUPON, SERVICES, SPANS, Shop};

/// Decides everything that looks like chance.
const SEED: u64 = 42;
/// Traces a second: ten million spans are nearly three hours.
const RATE: u64 = 200;
/// An hour, in nanoseconds.
const HOUR: i64 = 3_600_000_000_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let quick = args.iter().any(|a| a == "--quick");
    let filter = args.into_iter().find(|a| !a.starts_with("--")).unwrap_or_default();
    let spans = if quick { 500_000 } else { 10_000_000 };
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("query.fuseboard");
    let now = UnixNanos::now().0;
    let stored = TimeRange { from: UnixNanos(now - Shop::time_of(spans, RATE)), to: UnixNanos(now) };
    make(&file, spans, stored.from.0);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let config = Config::new(&file).on_free_ports();
    let handle = runtime.block_on(Collector::start(config)).expect("the collector starts");
    let bench = Bench { runtime, handle, stored, traces: spans / SPANS, quick, filter };
    bench.questions();
    let Bench { runtime, handle, filter, .. } = bench;
    runtime.block_on(handle.shutdown());
    if "query.open".contains(&filter) {
        opening(&file);
    }
}

/// Makes the file.
fn make(file: &Path, spans: u64, from: i64) {
    let begun = Instant::now();
    let store = Ours::create(file);
    let mut shop = Shop::new(SEED, from, RATE);
    // By hundreds of thousands, so that little of it is in memory.
    let mut left = spans / SPANS;
    while left > 0 {
        let part = left.min(100_000);
        store.send(shop.requests(part).into_iter().map(Bytes::from), AT_ONCE);
        left -= part;
    }
    store.close();
    let size = std::fs::metadata(file).map_or(0, |m| m.len());
    println!("{spans} spans, {} MiB, made in {:.0} s", size >> 20, begun.elapsed().as_secs_f64());
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    handle: Handle,
    stored: TimeRange,
    traces: u64,
    quick: bool,
    filter: String,
}

impl Bench {
    fn questions(&self) {
        let traces = self.traces;
        self.measure("query.trace", 5.0, 20, |random| {
            let id = TraceId(Shop::trace_id(SEED, random.random_range(0..traces)));
            (Question::Trace(id), |answer| matches!(answer, Answer::Trace(Some(t)) if t.spans.len() == SPANS as usize))
        });
        let search = |service: Option<usize>, attribute: (&str, String), min_ms: Option<f64>| TraceQuery {
            range: self.stored,
            service: service.map(|s| SERVICES[s].0.to_owned()),
            attributes: vec![(attribute.0.to_owned(), attribute.1)],
            min_ms,
            limit: 50,
            ..TraceQuery::default()
        };
        let some = |answer: &Answer| matches!(answer, Answer::Traces(list) if !list.rows.is_empty());
        self.measure("query.search.first_page", 200.0, 1, |random| {
            let service = random.random_range(0..SERVICES.len());
            let status = ["200", "404", "503"][random.random_range(0..3)];
            let query = search(Some(service), ("http.response.status_code", status.to_owned()), Some(2.5));
            (Question::Traces(query), some)
        });
        self.measure("query.search.rare_value", 200.0, 1, |_| {
            (Question::Traces(search(None, ("coupon", RARE_COUPON.to_owned()), None)), some)
        });
        // Orders are drawn: one in twenty of these numbers was never given.
        let listed = |answer: &Answer| matches!(answer, Answer::Traces(_));
        self.measure("query.search.one_order", 200.0, 1, |random| {
            let order = format!("ord-{:08}", random.random_range(10_000..traces / 3));
            (Question::Traces(search(None, ("order.id", order), None)), listed)
        });
        self.measure("query.search.no_such_value", 200.0, 1, |random| {
            let order = format!("nobody-{}", random.random::<u32>());
            let none = |answer: &Answer| matches!(answer, Answer::Traces(list) if list.rows.is_empty());
            (Question::Traces(search(None, ("order.id", order), None)), none)
        });
        let length = HOUR.min(self.stored.to.0 - self.stored.from.0);
        let graph = |random: &mut SmallRng| {
            let from = random.random_range(self.stored.from.0..=self.stored.to.0 - length);
            let range = TimeRange { from: UnixNanos(from), to: UnixNanos(from + length) };
            let full = |answer: &Answer| matches!(answer, Answer::Board(b) if b.edges.len() > SERVICES.len());
            (Question::Board { range }, full)
        };
        if "query.graph.hour".contains(&self.filter) {
            self.settle(&graph(&mut SmallRng::seed_from_u64(SEED)).0);
        }
        self.measure("query.graph.hour", 20.0, 1, graph);
    }

    /// Asks now and then until answers come no faster: what arrived late is summed by and by, and costs more until then.
    fn settle(&self, question: &Question) {
        let (begun, mut best, mut unbeaten) = (Instant::now(), Duration::MAX, 0);
        let mut first = None;
        while unbeaten < 5 && begun.elapsed() < Duration::from_secs(120) {
            let asked = Instant::now();
            let answered = self.runtime.block_on(self.handle.ask(Ask { question: question.clone(), as_of: None }));
            answered.expect("an answer");
            let took = asked.elapsed();
            first.get_or_insert(took);
            unbeaten = if took < best.mul_f64(0.9) { 0 } else { unbeaten + 1 };
            best = best.min(took);
            std::thread::sleep(Duration::from_millis(500));
        }
        let first = first.unwrap_or_default().as_secs_f64() * 1e3;
        println!(
            "graph right after the last commit: {first:.0} ms; settled after {:.0} s",
            begun.elapsed().as_secs_f64()
        );
    }

    /// Asks one kind of question again and again; `times` says how many of them fit where others are asked once.
    fn measure<R>(&self, name: &str, limit: f64, times: usize, question: impl Fn(&mut SmallRng) -> (Question, R))
    where
        R: Fn(&Answer) -> bool,
    {
        if !name.contains(&self.filter) {
            return;
        }
        let mut random = SmallRng::seed_from_u64(SEED);
        let (warm, count) = if self.quick { (5, 20 * times) } else { (20, 100 * times) };
        let mut took: Vec<Duration> = Vec::new();
        let patience = Instant::now();
        for n in 0..warm + count {
            let (question, right) = question(&mut random);
            let begun = Instant::now();
            let answered = self.runtime.block_on(self.handle.ask(Ask { question: question.clone(), as_of: None }));
            let time = begun.elapsed();
            let answer = answered.expect("an answer").answer;
            assert!(right(&answer), "{question:?} has the wrong answer");
            if n >= warm {
                took.push(time);
            }
            // A store that is far from its limit is not asked for an hour.
            if patience.elapsed() > Duration::from_secs(60) && took.len() > 2 {
                break;
            }
        }
        took.sort();
        for (word, part) in [("p50", 0.5), ("p99", 0.99)] {
            let at = ((took.len() - 1) as f64 * part).round() as usize;
            figure(&format!("{name}.{word}"), took[at].as_secs_f64() * 1e3, "ms", "limit answer", limit);
        }
    }
}

/// How long the program takes to open a file that a killed one left behind: from its start to its first line.
fn opening(file: &Path) {
    let program = Program::start(file);
    let mut shop = Shop::new(SEED + 1, UnixNanos::now().0, RATE);
    let mut sender = Sender::to(&program);
    for _ in 0..100 {
        sender.post(&shop.next_request());
    }
    program.kill();
    let left = std::fs::metadata(file.with_extension("fuseboard-wal")).map_or(0, |m| m.len());
    println!("killed with {} KiB in its log", left >> 10);
    let begun = Instant::now();
    let program = Program::start(file);
    figure("query.open_after_kill", begun.elapsed().as_secs_f64() * 1e3, "ms", "limit opening", 2000.0);
    program.kill();
}
