//! What segments cost: time and bytes a span, and what reading a part of one takes.
//!
//! `cargo bench -p fuseboard-collector --bench segment [-- --quick] [-- --columns]`. Prints one line a figure:
//! `figure NAME = VALUE UNIT | rival NAME = VALUE UNIT | ratio X`. The rival of sizes is one Zstandard frame over the
//! same spans in protobuf, which must be read whole whatever is asked; that of times is the same frame's time, or the budget
//! that ingest has. `--columns` lists what every column takes, `--keep DIR`
//! leaves the blobs there. Spans are those of a shop that never was
//! (`support/shop.rs`), and the demo's.
#![expect(clippy::expect_used, reason = "a bench that cannot run should say so and end")]

#[path = "support/clock.rs"]
mod clock;
#[path = "support/figure.rs"]
mod figure;
#[path = "support/sample.rs"]
#[expect(dead_code, reason = "other benches record samples")]
mod sample;
#[path = "support/shop.rs"]
#[expect(dead_code, reason = "other benches use more of it")]
mod shop;

use std::hint::black_box;
use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use bytes::Bytes;
use fuseboard_collector::otlp::{SpanTape, read};
use fuseboard_collector::store::segment::{
    Built, Columns, Incoming, Part, Parts, TraceFilter, ValueFilter, build, encode, rows,
};

use crate::clock::{CLOCK, cpu};
use crate::figure::figure;
use crate::shop::{SPANS, Shop};

/// Traces a second.
const RATE: u64 = 1_000;
/// Rows of the segments that merging makes.
const ROWS: usize = 16_384;
/// Nanoseconds a span that ingest has for each of sorting and encoding.
const BUDGET: f64 = 250.0;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let at = |flag: &str| words.iter().position(|w| w == flag);
    let args = Args {
        rounds: if at("--quick").is_some() { 5 } else { 25 },
        columns: at("--columns").is_some(),
        keep: at("--keep").and_then(|at| words.get(at + 1)).map(PathBuf::from),
    };
    let mut shop = Shop::new(1, 1_700_000_000_000_000_000, RATE);
    let shops = tapes(shop.requests(ROWS as u64 / SPANS));
    measure("shop", &shops, &args);
    let demo = tapes(sample::read(&sample::demo()).expect("the demo's sample"));
    measure("demo", &demo, &args);
}

/// Flat requests.
fn tapes(requests: Vec<Vec<u8>>) -> Vec<SpanTape> {
    requests.into_iter().map(|r| read::traces(Bytes::from(r)).expect("OTLP").tape).collect()
}

struct Args {
    rounds: usize,
    columns: bool,
    keep: Option<PathBuf>,
}

fn measure(what: &str, tapes: &[SpanTape], args: &Args) {
    let rounds = args.rounds;
    let mut incoming: Vec<Incoming<'_>> = Vec::new();
    for (n, tape) in tapes.iter().enumerate() {
        let arrival = 1_700_000_001_000_000_000 + n as i64 / 8 * 20_000_000;
        let spans = (0..tape.spans.len() as u32).map(|span| Incoming { tape, span, origin: n as i64 % 18, arrival });
        incoming.extend(spans);
    }
    incoming.truncate(ROWS);
    let spans = incoming.len() as f64;
    let plain: Vec<u8> =
        incoming.iter().flat_map(|i| i.tape.get(i.tape.spans[i.span as usize].whole)).copied().collect();
    println!("{what}: {spans} spans, {:.0} bytes of protobuf each; {CLOCK}", plain.len() as f64 / spans);

    let built = build(&incoming).expect("built");
    let blob = encode(&built).expect("encoded");
    let framed = zstd::bulk::compress(&plain, 1).expect("compressed");
    let each = |bytes: usize| bytes as f64 / spans;
    let filters = built.traces.len() + built.values.len();
    let frame = each(framed.len());
    figure(&format!("{what}.size"), each(blob.len() + filters), "bytes/span", "rival one_frame", frame);
    figure(&format!("{what}.size.filters"), each(filters), "bytes/span", "rival one_frame", frame);

    let compress = time(rounds, || zstd::bulk::compress(&plain, 1)) / spans;
    figure(&format!("{what}.build"), time(rounds, || build(&incoming)) / spans, "ns/span", "limit budget", BUDGET);
    figure(&format!("{what}.encode"), time(rounds, || encode(&built)) / spans, "ns/span", "rival one_frame", compress);
    figure(
        &format!("{what}.rows.encode"),
        time(rounds, || rows::encode(&incoming)) / spans,
        "ns/span",
        "rival one_frame",
        compress,
    );
    let small = Bytes::from(rows::encode(&incoming));
    let whole = time(rounds, || zstd::bulk::decompress(&framed, plain.len())) / spans;
    figure(
        &format!("{what}.rows.decode"),
        time(rounds, || rows::decode(small.clone())) / spans,
        "ns/span",
        "rival unframe",
        whole,
    );
    for (name, parts) in [
        ("nothing", Parts::default()),
        ("list", Parts::of(&[Part::Ids, Part::Times, Part::Kinds, Part::Name, Part::Origin, Part::Arrival])),
        ("key", Parts::of(&[Part::Arrival]).with_key("http.response.status_code")),
        ("all", Parts::all()),
    ] {
        let time = time(rounds, || Columns::decode(blob.clone(), parts.clone())) / spans;
        figure(&format!("{what}.decode.{name}"), time, "ns/span", "rival unframe", whole);
    }
    probes(what, &built, &incoming, rounds);
    messages(what, blob, rounds, spans);
    if args.columns {
        list(&built);
    }
    if let Some(path) = &args.keep {
        std::fs::write(path.join(format!("{what}.arrow")), encode(&built).expect("encoded")).expect("kept");
    }
}

/// Filters, asked as they are stored.
fn probes(what: &str, built: &Built, incoming: &[Incoming<'_>], rounds: usize) {
    let ids: Vec<[u8; 16]> = incoming.iter().map(|i| i.tape.spans[i.span as usize].trace_id).collect();
    let probe = time(rounds, || ids.iter().filter(|id| TraceFilter::contains(black_box(&built.traces), id)).count());
    figure(&format!("{what}.probe.trace"), probe / ids.len() as f64, "ns", "limit", 50.0);
    let probe = time(rounds, || {
        (0..1_000).filter(|_| ValueFilter::may_have(black_box(&built.values), "order.id", "ord-00000001")).count()
    });
    figure(&format!("{what}.probe.value"), probe / 1_000.0, "ns", "limit", 50.0);
}

/// Whole spans, encoded again as exports and merges do.
fn messages(what: &str, blob: Vec<u8>, rounds: usize, spans: f64) {
    let columns = Columns::decode(blob, Parts::all()).expect("decoded");
    let time = time(rounds, || {
        let mut out = Vec::with_capacity(512 * columns.rows());
        (0..columns.rows()).for_each(|row| columns.message(row, &mut out));
        out
    });
    figure(&format!("{what}.message"), time / spans, "ns/span", "limit budget", BUDGET);
}

/// CPU time of the middle round, in nanoseconds.
fn time<T>(rounds: usize, mut work: impl FnMut() -> T) -> f64 {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let begun = cpu();
            black_box(work());
            (cpu() - begun).as_nanos() as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// What each column takes by itself, beyond what an empty file takes.
fn list(built: &Built) {
    let rows = built.batch.num_rows() as f64;
    let alone = |fields: Vec<Field>, columns| {
        let schema = std::sync::Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(schema, columns).expect("a batch");
        encode(&Built { batch, ..built.clone() }).expect("encoded").len() as f64
    };
    let schema = built.batch.schema();
    for (field, column) in schema.fields().iter().zip(built.batch.columns()) {
        let full = alone(vec![field.as_ref().clone()], vec![column.clone()]);
        let empty = alone(vec![field.as_ref().clone()], vec![column.slice(0, 0)]);
        println!("  {:8.3} bytes/span  {} {}", (full - empty) / rows, field.name(), field.data_type());
    }
}
