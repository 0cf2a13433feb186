//! What an edge takes: bytes, and how often a call asks for memory.

use std::sync::Arc;
use std::time::Duration;

use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::pipeline::{self, AttemptKind, AttemptOutcome, EdgeEngine, Inbound, Next};
use fuseboard_policy::set::PolicySet;
use fuseboard_policy::settings::EdgeSettings;

use crate::count::{asked, held};

const MS: u64 = 1_000_000;

/// Every engine there is, with the sizes of the design's example.
const EVERYTHING: &str = r#"
    timeout = { attempt_ms = 800, overall_ms = 2000 }
    hedge = { after_quantile = 0.95, max_extra = 1 }
    throttle = { kind = "sre", k = 2.0 }
    rate = { algorithm = "token_bucket", per_sec = 500000000, burst = 1000000 }
    concurrency = { kind = "gradient2", initial = 64, min = 20, max = 200, smoothing = 0.2, queue = 4, long_window = 600, tolerance = 1.5 }
    [edge.retry]
    max_attempts = 3
    on = ["unavailable", "reset", "deadline_exceeded"]
    budget = { ratio = 0.2, min_per_sec = 10, ttl_ms = 10000 }
    [edge.breaker]
    window = { kind = "time", ms = 10000, buckets = 10 }
    min_calls = 20
    failure_ratio = 0.5
    slow_ms = 1000
    slow_ratio = 0.8
    inflight_slow = true
    [edge.balance]
    algorithm = "p2c_peak_ewma"
    [edge.outlier]
    consecutive_failures = 5
    interval_ms = 10000
    base_ejection_ms = 30000
"#;

fn settings(rest: &str) -> EdgeSettings {
    let document = PolicyDocument::parse(&format!("[[edge]]\nservice = \"*\"\n{rest}")).unwrap();
    PolicySet::new(1, &document).effective("a", "b", "c").settings
}

fn members() -> Vec<(Arc<str>, u64)> {
    (0..10).map(|i| (format!("10.0.0.{i}:8080").into(), 1)).collect()
}

/// One call, well or with one retry.
fn call(engine: &EdgeEngine, now: u64, fails: bool) {
    let inbound = Inbound { left: Some(Duration::from_secs(1)), attempt: 1, idempotent: true };
    let Ok(mut call) = engine.begin(now, inbound, 0.9) else { return };
    let Ok(attempt) = call.attempt(now, b"key", || 0.5) else { return };
    let failed = AttemptOutcome::plain(AttemptKind::Failure { code: "unavailable" });
    let well = AttemptOutcome::plain(AttemptKind::Success);
    if let Next::Retry { .. } = call.finish(attempt, now + MS, if fails { failed } else { well }, 0.5)
        && let Ok(again) = call.attempt(now + 2 * MS, b"key", || 0.5)
    {
        call.finish(again, now + 3 * MS, well, 0.5);
    }
}

#[test]
fn an_edge_takes_what_the_docs_say() {
    let stated = |what: &str, bytes: i64, said: i64| {
        println!("an edge {what}: {bytes} bytes");
        assert!(bytes <= said && bytes * 5 >= said * 4, "{what}: {bytes} bytes, and the docs say {said}");
    };
    let plain = EdgeSettings::default();
    let (_fresh, bytes) = held(|| EdgeEngine::new(&plain, 0));
    stated("without settings", bytes, pipeline::FRESH_BYTES);
    let (all, instances) = (settings(EVERYTHING), members());
    let (engine, bytes) = held(|| {
        let engine = EdgeEngine::new(&all, 0);
        engine.pool().join(1, &instances, 0);
        (0..1_000).for_each(|i| call(&engine, i * MS, i % 7 == 0));
        engine
    });
    stated("with every engine and ten instances, in use", bytes, pipeline::FULL_BYTES);
    drop(engine);
}

/// Calls that pass, and calls that are tried again, ask for no memory once their edge is warm.
#[test]
fn a_call_asks_for_no_memory() {
    let algorithms = ["round_robin", "weighted_round_robin", "random", "least_request", "p2c_peak_ewma"];
    let hashed = ["algorithm = \"consistent_hash\"\nkey = \"header:x-user\"\nmax_load = 1.25\n".to_owned()];
    let balances = algorithms.iter().map(|name| format!("algorithm = \"{name}\"\n")).chain(hashed);
    let log = "rate = { algorithm = \"sliding_window\", limit = 1000, window_ms = 10 }";
    let bucket = EVERYTHING.lines().find(|line| line.contains("token_bucket")).unwrap();
    let tokens = "budget = { max_tokens = 100, token_ratio = 0.1 }";
    let ratio = EVERYTHING.lines().find(|line| line.contains("budget")).unwrap();
    for balance in balances {
        for (rate, budget) in [(bucket, ratio), (log, tokens)] {
            let text = EVERYTHING.replace(bucket, rate).replace(ratio, budget);
            let text = text.replace("algorithm = \"p2c_peak_ewma\"\n", &balance);
            let engine = EdgeEngine::new(&settings(&text), 0);
            let instances = members();
            // Long enough for each ring to have gone round once.
            let mut now = 0;
            let mut some = |n: u64| {
                for i in 0..n {
                    now += MS;
                    engine.pool().join(1, &instances, now);
                    call(&engine, now, i % 10 == 0);
                }
            };
            some(30_000);
            assert_eq!(asked(|| some(2_000)), 0, "{balance}, {rate}, {budget}");
        }
    }
}

/// Nor does one that is refused, by whatever rule.
#[test]
fn a_refusal_asks_for_no_memory() {
    for rule in [
        "timeout = { overall_ms = 1000 }\n",
        "rate = { algorithm = \"token_bucket\", per_sec = 1, burst = 1 }\n",
        "rate = { algorithm = \"sliding_window\", limit = 1, window_ms = 3600000 }\n",
        "throttle = { kind = \"sre\", k = 1.5 }\n",
        "concurrency = { kind = \"fixed\", max = 1 }\n",
        "breaker = { consecutive_failures = 1, open_ms = 3600000 }\n",
    ] {
        let engine = EdgeEngine::new(&settings(rule), 0);
        let left = rule.starts_with("timeout").then_some(Duration::ZERO);
        let mut keep = None;
        let mut refuse = || {
            let asked = engine.begin(1, Inbound { left, attempt: 1, idempotent: false }, 0.1);
            let asked = asked.and_then(|mut call| {
                let attempt = call.attempt(1, b"", || 0.5)?;
                let failed = AttemptOutcome::plain(AttemptKind::Failure { code: "unavailable" });
                call.finish(attempt, 1, failed, 0.5);
                Ok(call)
            });
            match asked {
                Ok(call) => {
                    keep = Some(call);
                    false
                }
                Err(_) => true,
            }
        };
        (0..100).for_each(|_| _ = refuse());
        let mut refused = 0;
        assert_eq!(asked(|| refused = (0..100).filter(|_| refuse()).count()), 0, "{rule}");
        assert!(refused > 90, "{rule}: {refused} refused");
    }
}
