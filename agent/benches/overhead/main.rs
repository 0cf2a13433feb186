//! What the agent costs a call: time of one call on one thread, exporters at work beside it, and what its telemetry alone costs:
//! time, allocations of the calling thread, memory held for an edge, work of the thread that exports.
//!
//! `cargo bench -p fuseboard-agent --bench overhead [-- --quick] [NAME]`; with a name, that call alone, or `export` alone, for a
//! profiler. Prints one line a figure:
//! `figure NAME = VALUE ns | rival NAME = VALUE ns | ratio X`, each the median of many samples. Nothing is asserted: times
//! belong to the machine.

mod collector;
mod count;
mod export;
mod telemetry;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuseboard_agent::policy::breaker::{Admission, Breaker, Outcome};
use fuseboard_agent::policy::document::PolicyDocument;
use fuseboard_agent::policy::pipeline::{AttemptKind, AttemptOutcome, EdgeEngine, Inbound};
use fuseboard_agent::policy::set::PolicySet;

/// Every rule that this version has, set so that none of them acts.
const POLICY: &str = r#"
    [[edge]]
    service = "*"
    timeout = { attempt_ms = 1000, overall_ms = 2000 }
    [edge.retry]
    max_attempts = 3
    budget = { ratio = 0.2, min_per_sec = 10, ttl_ms = 10000 }
    [edge.breaker]
    window = { kind = "time", ms = 10000, buckets = 10 }
    min_calls = 20
    failure_ratio = 0.5
    slow_ms = 700
    slow_ratio = 0.8
    inflight_slow = true
"#;

/// Calls between two looks at the clock: few, so that most samples are not cut in two by a busy machine.
const CALLS: u32 = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let length = Duration::from_millis(if quick { 500 } else { 5_000 });
    if let Some(name) = std::env::args().skip(1).find(|arg| !arg.starts_with('-')) {
        return if name == "export" { export::costs(length) } else { telemetry::one(&name, length) };
    }
    let clock = measure(length, || {
        black_box((Instant::now(), Instant::now()));
    });
    let two_clocks = ("two Instant::now", clock);
    print("breaker admit and finish", breaker(length)?, two_clocks);
    print("pipeline begin, attempt, finish", pipeline(length)?, two_clocks);

    export::costs(length)?;
    telemetry::costs(length)
}

fn print(name: &str, ns: f64, rival: (&str, f64)) {
    println!("figure {name} = {ns:.0} ns | rival {} = {:.0} ns | ratio {:.1}", rival.0, rival.1, ns / rival.1);
}

/// Median time of one run, in nanoseconds.
fn measure(length: Duration, mut run: impl FnMut()) -> f64 {
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while begun.elapsed() < length {
        samples.push(sample(&mut run));
    }
    median(samples)
}

/// Time of one run of a few, in nanoseconds.
fn sample(mut run: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..CALLS {
        run();
    }
    begun.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

fn breaker(length: Duration) -> Result<f64, String> {
    let settings = settings()?;
    let breaker = Breaker::new(&settings.breaker.unwrap_or_default(), 0);
    let mut now = 0;
    Ok(measure(length, || {
        now += 1_000;
        if let Admission::Admitted(permit) = breaker.admit(black_box(now)) {
            breaker.finish(permit, now + 500, Outcome::Success);
        }
    }))
}

fn pipeline(length: Duration) -> Result<f64, String> {
    let engine: Arc<EdgeEngine> = EdgeEngine::new(&settings()?, 0);
    let mut now = 0;
    Ok(measure(length, || {
        now += 1_000;
        let Ok(mut call) = engine.begin(black_box(now), Inbound::default(), 0.5) else { return };
        let Ok(attempt) = call.attempt(now, b"", || 0.5) else { return };
        black_box(call.finish(attempt, now + 500, AttemptOutcome::plain(AttemptKind::Success), 0.5));
    }))
}

fn settings() -> Result<fuseboard_agent::policy::settings::EdgeSettings, String> {
    let document = PolicyDocument::parse(POLICY).map_err(|problems| format!("{problems:?}"))?;
    Ok(PolicySet::new(1, &document).effective("bench", "callee", "Pay/Charge").settings)
}
