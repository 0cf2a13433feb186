//! What it costs to read a span off the wire: ours, with the facts drawn from it, against prost.
//!
//! `cargo bench -p fuseboard-collector --bench decode [-- --quick]`. Prints
//! `figure decode = X ns/span | rival prost = Y ns/span | ratio Z`; the ratio is ours to prost's. Nothing is asserted: times
//! belong to the machine. Both read the same requests of 512 spans (`support/shop.rs`) and let go of what they made; rounds
//! take turns, so that a busy machine slows both, and the middle round counts.
#![expect(clippy::expect_used, reason = "a bench that cannot run should say so and end")]

#[path = "support/clock.rs"]
mod clock;
#[path = "support/figure.rs"]
mod figure;
#[expect(dead_code, reason = "other benches use more of it")]
#[path = "support/shop.rs"]
mod shop;

use std::hint::black_box;

use bytes::Bytes;
use fuseboard_collector::otlp::read;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use crate::clock::{CLOCK, cpu};
use crate::figure::figure;
use crate::shop::Shop;

/// Start of the shop's time, and its traces a second; any will do.
const BEGUN: i64 = 1_700_000_000_000_000_000;
const RATE: u64 = 2_000;

fn main() {
    let quick = std::env::args().any(|a| a == "--quick");
    let (traces, rounds) = if quick { (10_000, 9) } else { (50_000, 25) };
    let requests: Vec<Bytes> = Shop::new(1, BEGUN, RATE).requests(traces).into_iter().map(Bytes::from).collect();
    let spans = (traces * shop::SPANS) as f64;
    let bytes: usize = requests.iter().map(Bytes::len).sum();
    println!("clock: {CLOCK}; {spans} spans, {:.0} bytes of protobuf a span", bytes as f64 / spans);
    let (mut ours, mut prost) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(time(&requests, spans, |request| {
            black_box(read::traces(request).expect("what was encoded"));
        }));
        prost.push(time(&requests, spans, |request| {
            black_box(ExportTraceServiceRequest::decode(request).expect("what was encoded"));
        }));
    }
    figure("decode", median(&mut ours), "ns/span", "rival prost", median(&mut prost));
}

/// CPU nanoseconds a span.
fn time(requests: &[Bytes], spans: f64, read: impl Fn(Bytes)) -> f64 {
    let begun = cpu();
    for request in requests {
        read(request.clone());
    }
    (cpu() - begun).as_secs_f64() * 1e9 / spans
}

/// The middle one.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
