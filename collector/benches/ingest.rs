//! What it costs to keep a span: CPU time from protobuf to durable, bytes on the disk, memory under full load.
//!
//! `cargo bench -p fuseboard-collector --bench ingest [-- --quick]`. Prints one line a figure:
//! `figure NAME = VALUE UNIT | rival NAME = VALUE UNIT | ratio X`. Nothing is asserted: times belong to the machine.
//!
//! - The rivals are measured in the same run on the same requests: `prost` decodes and stores nothing; `rows` is a plain
//!   SQLite store with one row a span and two indexes (`support/rows.rs`). Rounds take turns, so that a busy machine slows
//!   everybody; the middle round counts.
//! - CPU time is that of the whole process, all threads: ours includes the door, the commits, the rollups and whatever the
//!   store does beside, until it has nothing left to do.
//! - Two kinds of telemetry: a shop that never was (`support/shop.rs`) and what the demo sent (`data/demo.otlp.zst`).
//!
//! The demo's sample was made with `cargo bench -p fuseboard-collector --bench ingest -- --record 127.0.0.1:4417` beside
//! `cargo run -p fuseboard-demo -- --collector-otlp http://127.0.0.1:4417 --rate 8`.
#![expect(clippy::expect_used, reason = "a bench that cannot run should say so and end")]

#[path = "support/clock.rs"]
mod clock;
#[path = "support/figure.rs"]
mod figure;
#[path = "support/memory.rs"]
mod memory;
#[path = "support/ours.rs"]
mod ours;
#[path = "support/program.rs"]
mod program;
#[path = "support/resident.rs"]
mod resident;
#[path = "support/rows.rs"]
mod rows;
#[path = "support/sample.rs"]
mod sample;
#[path = "support/sender.rs"]
mod sender;
#[path = "support/shop.rs"]
mod shop;

use std::path::Path;

use bytes::Bytes;
use fuseboard_api::UnixNanos;
use fuseboard_collector::otlp::read;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use crate::clock::{CLOCK, cpu};
use crate::figure::figure;
use crate::ours::{AT_ONCE, Ours};
use crate::rows::Rows;
use crate::shop::Shop;

/// Rows at which both stores commit.
const GROUP: usize = 16_384;
/// Traces a second of the shop's own time.
const RATE: u64 = 2_000;
/// Bytes a span may have on the disk.
const DISK: f64 = 32.0;
/// Spans of the demo that a sample has.
const SAMPLE: usize = 20_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [word, address] = &args[..]
        && word == "--record"
    {
        let address = address.parse().expect("an address to listen at");
        return sample::record(address, SAMPLE, &sample::demo()).expect("recorded");
    }
    let quick = args.iter().any(|a| a == "--quick");
    let filter = args.into_iter().find(|a| !a.starts_with("--")).unwrap_or_default();
    let spans = if quick { 200_000 } else { 1_000_000 };
    println!("clock: {CLOCK}; {spans} spans of the shop");
    if "ingest".contains(&filter) || "disk".contains(&filter) {
        let from = UnixNanos::now().0 - Shop::time_of(spans, RATE);
        let shop = Load::new("shop", Shop::new(1, from, RATE).requests(spans / shop::SPANS));
        shop.measure(if quick { 1 } else { 3 });
        match sample::read(&sample::demo()) {
            Ok(requests) => Load::new("demo", requests).measure(if quick { 1 } else { 5 }),
            Err(e) => println!("the demo's sample cannot be read: {e}"),
        }
    }
    if "memory".contains(&filter) {
        memory::measure(quick);
    }
}

/// Requests to be stored.
struct Load {
    name: &'static str,
    requests: Vec<Bytes>,
    spans: f64,
    bytes: usize,
}

impl Load {
    fn new(name: &'static str, requests: Vec<Vec<u8>>) -> Self {
        let bytes = requests.iter().map(Vec::len).sum();
        let requests: Vec<Bytes> = requests.into_iter().map(Bytes::from).collect();
        let spans = requests.iter().map(count).sum::<usize>() as f64;
        println!(
            "{name}: {spans} spans in {} requests, {:.0} bytes of protobuf a span",
            requests.len(),
            bytes as f64 / spans
        );
        Self { name, requests, spans, bytes }
    }

    fn measure(&self, rounds: usize) {
        let (mut prost, mut read, mut row, mut our) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut row_bytes, mut our_bytes) = (0.0, 0.0);
        for _ in 0..rounds {
            prost.push(self.spans / self.decode());
            read.push(self.spans / self.read());
            let dir = tempfile::tempdir().expect("a directory");
            let (time, bytes) = self.rows(&dir.path().join("rows.sqlite"));
            row.push(self.spans / time);
            row_bytes = bytes / self.spans;
            let (time, bytes) = self.ours(&dir.path().join("ours.fuseboard"));
            our.push(self.spans / time);
            our_bytes = bytes / self.spans;
        }
        let (ours, rows, prost) = (median(&mut our), median(&mut row), median(&mut prost));
        let name = self.name;
        let unit = "spans/CPU-s";
        figure(&format!("decode.{name}"), median(&mut read), unit, "rival prost_decode_alone", prost);
        figure(&format!("ingest.{name}.durable"), ours, unit, "rival rows", rows);
        figure(&format!("ingest.{name}.durable"), ours, unit, "rival prost_decode_alone", prost);
        if name == "shop" {
            figure(&format!("disk.{name}"), our_bytes, "bytes/span", "limit disk", DISK);
        }
        figure(&format!("disk.{name}"), our_bytes, "bytes/span", "rival rows", row_bytes);
        figure(&format!("disk.{name}"), our_bytes, "bytes/span", "rival protobuf", self.bytes as f64 / self.spans);
    }

    /// CPU seconds that prost takes.
    fn decode(&self) -> f64 {
        let begun = cpu();
        for request in &self.requests {
            std::hint::black_box(ExportTraceServiceRequest::decode(&request[..]).expect("what was encoded"));
        }
        (cpu() - begun).as_secs_f64()
    }

    /// CPU seconds that our reading takes, everything drawn that the store wants to know.
    fn read(&self) -> f64 {
        let begun = cpu();
        for request in &self.requests {
            std::hint::black_box(read::traces(request.clone()).expect("what was encoded"));
        }
        (cpu() - begun).as_secs_f64()
    }

    /// CPU seconds and bytes on the disk of the row store.
    fn rows(&self, path: &Path) -> (f64, f64) {
        let begun = cpu();
        let mut store = Rows::create(path).expect("a file");
        for group in self.groups() {
            store.commit(group).expect("stored");
        }
        store.close().expect("closed");
        ((cpu() - begun).as_secs_f64(), size(path))
    }

    /// CPU seconds and bytes on the disk of ours.
    fn ours(&self, path: &Path) -> (f64, f64) {
        let begun = cpu();
        let store = Ours::create(path);
        // So many at once that together they are more than one commit takes.
        let at_once = (2 * GROUP / self.a_request()).clamp(AT_ONCE, 900);
        store.send(self.requests.iter().cloned(), at_once);
        let stored = store.store.vitals().received();
        assert!(stored as f64 == self.spans, "{stored} of {} spans are stored", self.spans);
        store.close();
        ((cpu() - begun).as_secs_f64(), size(path))
    }

    /// The requests, in as many as one commit takes.
    fn groups(&self) -> impl Iterator<Item = &[Bytes]> {
        self.requests.chunks((GROUP / self.a_request()).max(1))
    }

    /// Spans of a request.
    fn a_request(&self) -> usize {
        (self.spans as usize / self.requests.len().max(1)).max(1)
    }
}

fn count(request: &Bytes) -> usize {
    let request = ExportTraceServiceRequest::decode(&request[..]).expect("a request");
    request.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum()
}

fn size(path: &Path) -> f64 {
    std::fs::metadata(path).map_or(f64::NAN, |m| m.len() as f64)
}

/// The middle one.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
