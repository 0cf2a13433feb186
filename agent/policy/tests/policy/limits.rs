//! Rate, throttle and concurrency around a call.

use std::sync::Arc;

use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::pipeline::{AttemptKind, AttemptOutcome, Call, EdgeEngine, Inbound, RefusedBy};
use fuseboard_policy::set::PolicySet;
use fuseboard_policy::settings::EdgeSettings;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn settings(rest: &str) -> EdgeSettings {
    let document = PolicyDocument::parse(&format!("[[edge]]\nservice = \"*\"\n{rest}")).unwrap();
    PolicySet::new(1, &document).effective("a", "b", "c").settings
}

fn engine(rest: &str) -> Arc<EdgeEngine> {
    EdgeEngine::new(&settings(rest), 0)
}

fn begin(engine: &Arc<EdgeEngine>, now: u64) -> Result<Call, RefusedBy> {
    engine.begin(now, Inbound::default(), 0.5).map_err(|refused| refused.by)
}

fn end(call: &mut Call, from: u64, to: u64, kind: AttemptKind<'_>) {
    let attempt = call.attempt(from, b"", || 0.5).unwrap();
    call.finish(attempt, to, AttemptOutcome::plain(kind), 0.5);
}

#[test]
fn a_rate_refuses_before_anything_is_spent() {
    let engine = engine("rate = { algorithm = \"token_bucket\", per_sec = 10, burst = 2 }\n");
    assert!(begin(&engine, 0).is_ok() && begin(&engine, 0).is_ok());
    assert_eq!(begin(&engine, 0).unwrap_err(), RefusedBy::Rate);
    assert!(begin(&engine, 100 * MS).is_ok());
    engine.reconfigure(&settings("rate = { algorithm = \"token_bucket\", per_sec = 10, burst = 5 }\n"), 100 * MS);
    assert_eq!(begin(&engine, 100 * MS).unwrap_err(), RefusedBy::Rate, "a wider bucket is not topped up");
}

#[test]
fn a_call_keeps_its_place_until_it_is_dropped() {
    let engine = engine("concurrency = { kind = \"fixed\", max = 1 }\n");
    let mut first = begin(&engine, 0).unwrap();
    assert_eq!(begin(&engine, 0).unwrap_err(), RefusedBy::Concurrency);
    end(&mut first, 0, MS, AttemptKind::Success);
    assert_eq!(engine.concurrency(), Some((1, 1)), "it may still be tried again");
    engine.reconfigure(&settings("concurrency = { kind = \"fixed\", max = 2 }\n"), MS);
    let second = begin(&engine, MS).unwrap();
    drop(first);
    drop(second);
    assert_eq!(engine.concurrency(), Some((2, 0)));
}

#[test]
fn an_adaptive_limit_learns_from_attempts() {
    let engine = engine(
        "concurrency = { kind = \"aimd\", initial = 4, min = 1, max = 10, backoff_ratio = 0.5, timeout_ms = 100 }\n",
    );
    let mut slow = begin(&engine, 0).unwrap();
    end(&mut slow, 0, 200 * MS, AttemptKind::Success);
    assert_eq!(engine.concurrency(), Some((2, 1)), "longer than timeout_ms");
    let mut cut = begin(&engine, 200 * MS).unwrap();
    end(&mut cut, 200 * MS, 210 * MS, AttemptKind::TimedOut);
    assert_eq!(engine.concurrency(), Some((1, 2)));
    drop((slow, cut));
    let mut good = begin(&engine, 300 * MS).unwrap();
    end(&mut good, 300 * MS, 301 * MS, AttemptKind::Success);
    assert_eq!(engine.concurrency(), Some((2, 1)));
}

#[test]
fn a_throttle_refuses_what_the_callee_would_refuse() {
    let engine = engine("throttle = { kind = \"sre\", k = 2.0 }\n");
    for i in 0..3 {
        let mut call = engine.begin(i, Inbound::default(), 0.99).unwrap();
        end(&mut call, i, i, AttemptKind::Failure { code: "unavailable" });
    }
    assert_eq!(begin(&engine, 3).unwrap_err(), RefusedBy::Throttle);
    let mut lucky = engine.begin(4, Inbound::default(), 0.99).unwrap();
    end(&mut lucky, 4, 4, AttemptKind::Success);
    let mut other = engine.begin(5, Inbound::default(), 0.99).unwrap();
    end(&mut other, 5, 5, AttemptKind::Failure { code: "not_found" });
    // 6 asked for, 2 taken: an answer that only the application dislikes is one.
    let chance = (6.0 - 2.0 * 2.0) / 7.0;
    let refused = |draw: f64| engine.begin(6, Inbound::default(), draw).is_err();
    assert!(refused(chance - 0.01));
}

proptest! {
    /// Whatever calls do, none of their places is lost and none is given twice.
    #[test]
    fn places_never_leak(steps in prop::collection::vec((0..4u8, 0..8usize), 1..200)) {
        let engine = engine("concurrency = { kind = \"fixed\", max = 3 }\n");
        let mut calls: Vec<Call> = Vec::new();
        for (now, (step, which)) in (0..).zip(steps) {
            match step {
                0 | 1 => match begin(&engine, now) {
                    Ok(call) => calls.push(call),
                    Err(by) => {
                        prop_assert_eq!(by, RefusedBy::Concurrency);
                        prop_assert_eq!(calls.len(), 3);
                    }
                },
                2 if !calls.is_empty() => drop(calls.remove(which % calls.len())),
                _ if !calls.is_empty() => {
                    let which = which % calls.len();
                    end(&mut calls[which], now, now, AttemptKind::Failure { code: "unavailable" });
                }
                _ => {}
            }
            prop_assert_eq!(engine.concurrency(), Some((3, calls.len() as u64)));
        }
    }
}
