//! Attempts beside attempts, as the pipeline has them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::pipeline::{
    Attempt, AttemptKind, AttemptOutcome, Call, EdgeEngine, GiveUp, Inbound, Next, NoHedge,
};
use fuseboard_policy::set::PolicySet;
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const IDEMPOTENT: Inbound = Inbound { left: None, attempt: 1, idempotent: true };
const UNAVAILABLE: AttemptOutcome<'static> = AttemptOutcome::plain(AttemptKind::Failure { code: "unavailable" });
const GOOD: AttemptOutcome<'static> = AttemptOutcome::plain(AttemptKind::Success);

fn engine(rest: &str) -> Arc<EdgeEngine> {
    let document = PolicyDocument::parse(&format!("[[edge]]\nservice = \"*\"\n{rest}")).unwrap();
    EdgeEngine::new(&PolicySet::new(1, &document).effective("a", "b", "c").settings, 0)
}

fn members(engine: &EdgeEngine, ids: &[&str]) {
    let ids: Vec<(Arc<str>, u64)> = ids.iter().map(|id| (Arc::from(*id), 1)).collect();
    engine.pool().join(1, &ids, 0);
}

fn first(engine: &EdgeEngine, inbound: Inbound) -> (Call, Attempt) {
    let mut call = engine.begin(0, inbound, 0.5).unwrap();
    let attempt = call.attempt(0, b"", || 0.5).unwrap();
    (call, attempt)
}

fn hedge(call: &mut Call, now: u64) -> Result<Attempt, NoHedge> {
    call.hedge(now, b"", || 0.5)
}

const HEDGE: &str = "hedge = { after_ms = 300, max_extra = 2 }\n";

#[test]
fn a_slow_attempt_is_joined_by_others_at_their_time_and_the_first_good_one_ends_the_call() {
    let engine = engine(HEDGE);
    members(&engine, &["a", "b", "c"]);
    let (mut call, one) = first(&engine, IDEMPOTENT);
    assert_eq!(call.hedge_at(), Some(300 * MS));
    assert_eq!(hedge(&mut call, 299 * MS).unwrap_err(), NoHedge::NotDue);
    let two = hedge(&mut call, 300 * MS).unwrap();
    assert_eq!(call.hedge_at(), Some(600 * MS));
    let three = hedge(&mut call, 610 * MS).unwrap();
    assert_eq!(call.hedge_at(), None, "two extra are all");
    assert_eq!((one.hedged, two.hedged, three.hedged, three.number), (false, true, true, 3));
    let ends: Vec<_> = [&one, &two, &three].map(|attempt| attempt.endpoint().cloned().unwrap()).into();
    assert!(ends[0] != ends[1] && ends[1] != ends[2] && ends[0] != ends[2], "{ends:?}");
    assert_eq!(call.finish(two, 700 * MS, GOOD, 0.5), Next::Done);
}

#[test]
fn what_must_not_be_done_twice_is_not_hedged() {
    let at = |rest: &str, inbound| first(&engine(rest), inbound).0.hedge_at();
    assert_eq!(at(HEDGE, Inbound::default()), None);
    assert_eq!(at(HEDGE, Inbound { attempt: 2, ..IDEMPOTENT }), None);
    let told = format!("{HEDGE}retry = {{ max_attempts = 1, non_idempotent = true }}\n");
    assert_eq!(at(&told, Inbound::default()), Some(300 * MS));
    assert_eq!(at("hedge = { after_ms = 300, max_extra = 0 }\n", IDEMPOTENT), None);
    let late = Inbound { left: Some(Duration::from_millis(300)), ..IDEMPOTENT };
    assert_eq!(at(HEDGE, late), None, "it would begin at the deadline");
}

#[test]
fn a_failed_attempt_brings_the_next_at_once_and_the_last_to_fail_is_tried_again() {
    let engine =
        engine(&format!("{HEDGE}retry = {{ max_attempts = 2, backoff = {{ base_ms = 10, jitter = \"none\" }} }}\n"));
    let (mut call, one) = first(&engine, IDEMPOTENT);
    let at_once = Next::Retry { after: Duration::ZERO };
    assert_eq!(call.finish(one, 50 * MS, UNAVAILABLE, 0.5), at_once);
    let two = call.attempt(50 * MS, b"", || 0.5).unwrap();
    assert!(two.hedged);
    let three = hedge(&mut call, 350 * MS).unwrap();
    assert_eq!(call.finish(two, 400 * MS, UNAVAILABLE, 0.5), Next::Wait);
    assert_eq!(call.hedge_at(), None);
    assert_eq!(call.finish(three, 410 * MS, UNAVAILABLE, 0.5), Next::Retry { after: Duration::from_millis(10) });
    let four = call.attempt(420 * MS, b"", || 0.5).unwrap();
    assert!(!four.hedged);
    assert_eq!(call.finish(four, 430 * MS, UNAVAILABLE, 0.5), Next::GiveUp { why: GiveUp::Attempts });
    assert_eq!(call.attempts(), 2 + 2);
}

#[test]
fn beside_one_that_runs_the_next_comes_by_its_own_way() {
    let engine = engine(HEDGE);
    members(&engine, &["a", "b"]);
    let (mut call, one) = first(&engine, IDEMPOTENT);
    let two = hedge(&mut call, 300 * MS).unwrap();
    assert_eq!(hedge(&mut call, 600 * MS).unwrap_err(), NoHedge::NoOther, "both are busy");
    let to = one.endpoint().cloned();
    assert_eq!(call.finish(one, 700 * MS, UNAVAILABLE, 0.5), Next::Wait);
    assert_eq!(call.hedge_at(), Some(700 * MS));
    let three = hedge(&mut call, 700 * MS).unwrap();
    assert_eq!(three.endpoint().cloned(), to, "the free one of two");
    let fatal = AttemptOutcome::plain(AttemptKind::Failure { code: "internal" });
    assert_eq!(call.finish(two, 800 * MS, fatal, 0.5), Next::GiveUp { why: GiveUp::NotListed }, "ends the call");
}

#[test]
fn a_reply_may_ask_for_patience_or_forbid_more() {
    let engine = engine(HEDGE);
    let (mut call, one) = first(&engine, IDEMPOTENT);
    let two = hedge(&mut call, 300 * MS).unwrap();
    let later = AttemptOutcome { pushback: Some("40"), ..UNAVAILABLE };
    assert_eq!(call.finish(one, 310 * MS, later, 0.5), Next::Wait);
    assert_eq!(call.hedge_at(), Some(350 * MS));
    let three = hedge(&mut call, 350 * MS).unwrap();
    let never = AttemptOutcome { pushback: Some("-1"), ..UNAVAILABLE };
    assert_eq!(call.finish(two, 360 * MS, never, 0.5), Next::Wait);
    assert_eq!(call.finish(three, 370 * MS, UNAVAILABLE, 0.5), Next::GiveUp { why: GiveUp::Attempts });

    let (mut call, one) = first(&engine, IDEMPOTENT);
    assert_eq!(call.finish(one, 10 * MS, later, 0.5), Next::Retry { after: Duration::from_millis(40) });
    let two = call.attempt(50 * MS, b"", || 0.5).unwrap();
    assert_eq!(call.finish(two, 60 * MS, never, 0.5), Next::GiveUp { why: GiveUp::Attempts });
    assert_eq!(call.attempts(), 2, "one hedge was left, and is not made");
}

#[test]
fn what_one_reply_forbids_no_later_failure_brings_back() {
    let engine = engine(&format!("{HEDGE}retry = {{ max_attempts = 3 }}\n"));
    let (mut call, one) = first(&engine, IDEMPOTENT);
    let two = hedge(&mut call, 300 * MS).unwrap();
    let never = AttemptOutcome { pushback: Some("-1"), ..UNAVAILABLE };
    assert_eq!(call.finish(one, 310 * MS, never, 0.5), Next::Wait);
    assert_eq!(call.finish(two, 320 * MS, UNAVAILABLE, 0.5), Next::GiveUp { why: GiveUp::Pushback });
}

#[test]
fn hedges_spend_the_retry_budget_and_ask_the_breaker() {
    let budget = "retry = { max_attempts = 1, budget = { ratio = 0, min_per_sec = 1, ttl_ms = 1000 } }\n";
    let engine = engine(&format!("{HEDGE}{budget}breaker = {{ consecutive_failures = 2, open_ms = 60000 }}\n"));
    let (mut call, _one) = first(&engine, IDEMPOTENT);
    let _two = hedge(&mut call, 300 * MS).unwrap();
    assert_eq!(hedge(&mut call, 600 * MS).unwrap_err(), NoHedge::Budget);
    assert_eq!(call.hedge_at(), None);
    let (mut other, slow) = first(&engine, IDEMPOTENT);
    for _ in 0..2 {
        let (mut failing, attempt) = first(&engine, Inbound::default());
        failing.finish(attempt, MS, UNAVAILABLE, 0.5);
    }
    assert_eq!(hedge(&mut other, 2_000 * MS).unwrap_err(), NoHedge::Breaker);
    assert_eq!(other.finish(slow, 2_100 * MS, GOOD, 0.5), Next::Done, "what was under way goes on");
}

#[test]
fn a_quantile_is_waited_for_once_it_is_known() {
    let engine = engine("hedge = { after_quantile = 0.9 }\n");
    for n in 0..60 {
        let (mut call, attempt) = first(&engine, IDEMPOTENT);
        assert!(n >= 50 || call.hedge_at().is_none(), "{n}");
        call.finish(attempt, 8 * MS, GOOD, 0.5);
    }
    let mut call = engine.begin(200 * MS, IDEMPOTENT, 0.5).unwrap();
    let _slow = call.attempt(200 * MS, b"", || 0.5).unwrap();
    let after = call.hedge_at().unwrap() - 200 * MS;
    assert!((8 * MS..=8 * MS * 17 / 16 + 1_000).contains(&after), "{after}");
}

#[derive(Debug, Clone)]
enum Step {
    Begin { idempotent: bool },
    Attempt,
    Hedge,
    Finish { which: usize, code: u8 },
    Cancel { which: usize },
    DropAttempt { which: usize },
    DropCall,
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<bool>().prop_map(|idempotent| Step::Begin { idempotent }),
        3 => Just(Step::Attempt),
        4 => Just(Step::Hedge),
        4 => (any::<usize>(), 0u8..6).prop_map(|(which, code)| Step::Finish { which, code }),
        1 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        1 => any::<usize>().prop_map(|which| Step::DropAttempt { which }),
        1 => Just(Step::DropCall),
        3 => (0u64..40).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// A call and those of its attempts that run. `ask`: an attempt is to be asked for.
struct Live {
    call: Call,
    running: Vec<Attempt>,
    ask: bool,
}

proptest! {
    /// Whatever calls do, their permits and places come back, the budget is never overdrawn, and none makes more attempts
    /// than it may.
    #[test]
    fn nothing_leaks_and_nothing_is_overdrawn(
        steps in prop::collection::vec((0usize..4, step()), 1..300),
        max_attempts in 1u32..4,
        max_extra in 0u32..4,
        min_per_sec in 0u64..4,
    ) {
        let engine = engine(&format!(
            "hedge = {{ after_ms = 20, max_extra = {max_extra} }}\n\
             concurrency = {{ kind = \"fixed\", max = 3 }}\n\
             balance = {{ algorithm = \"least_request\" }}\n\
             timeout = {{ overall_ms = 500 }}\n\
             breaker = {{ consecutive_failures = 3, open_ms = 5, half_open_permits = 2 }}\n\
             [edge.retry]\nmax_attempts = {max_attempts}\n\
             backoff = {{ base_ms = 5, jitter = \"none\" }}\n\
             budget = {{ ratio = 0.5, min_per_sec = {min_per_sec}, ttl_ms = 1000 }}\n"
        ));
        members(&engine, &["a", "b", "c"]);
        let mut calls: VecDeque<Live> = VecDeque::new();
        let (mut now, mut begun, mut extra) = (0u64, Vec::new(), Vec::new());
        for (slot, step) in steps {
            let count = calls.len().max(1);
            let live = calls.get_mut(slot % count);
            match (step, live) {
                (Step::Wait { ms }, _) => now += ms * MS,
                (Step::Begin { idempotent }, _) => {
                    let calls_now = calls.len() as u64;
                    match engine.begin(now, Inbound { idempotent, ..Inbound::default() }, 0.5) {
                        Ok(call) => {
                            begun.push(now);
                            calls.push_back(Live { call, running: Vec::new(), ask: true });
                        }
                        Err(_) => prop_assert_eq!(calls_now, 3),
                    }
                }
                (Step::Attempt, Some(live)) if live.ask => {
                    if let Ok(attempt) = live.call.attempt(now, b"", || 0.3) {
                        live.running.push(attempt);
                    }
                    live.ask = false;
                }
                (Step::Hedge, Some(live)) => {
                    let due = live.call.hedge_at();
                    let got = live.call.hedge(now, b"", || 0.7);
                    prop_assert!(due.is_some_and(|due| due <= now) || got.is_err());
                    if let Ok(attempt) = got {
                        let beside = |other: &Attempt| other.endpoint() != attempt.endpoint();
                        prop_assert!(!live.running.is_empty() && live.running.iter().all(beside));
                        prop_assert!(attempt.deadline_left.is_none_or(|left| left > Duration::ZERO));
                        extra.push(now);
                        live.running.push(attempt);
                    }
                }
                (Step::Finish { which, code }, Some(live)) if !live.running.is_empty() => {
                    let attempt = live.running.remove(which % live.running.len());
                    let outcome = match code {
                        0 => GOOD,
                        1 => AttemptOutcome { pushback: Some("3"), ..UNAVAILABLE },
                        2 => AttemptOutcome { pushback: Some("-1"), ..UNAVAILABLE },
                        3 => AttemptOutcome::plain(AttemptKind::Failure { code: "internal" }),
                        _ => UNAVAILABLE,
                    };
                    match live.call.finish(attempt, now, outcome, 0.5) {
                        Next::Retry { .. } => {
                            prop_assert!(live.running.is_empty(), "beside others it comes as a hedge");
                            extra.push(now);
                            live.ask = true;
                        }
                        Next::Wait => prop_assert!(!live.running.is_empty()),
                        Next::Done | Next::GiveUp { .. } => live.running.clear(),
                    }
                }
                (Step::Cancel { which }, Some(live)) if !live.running.is_empty() => {
                    let attempt = live.running.remove(which % live.running.len());
                    live.call.cancel(attempt);
                }
                // Whoever drops an attempt without a word has given up the call.
                (Step::DropAttempt { which }, Some(live)) if !live.running.is_empty() => {
                    drop(live.running.remove(which % live.running.len()));
                    calls.remove(slot % count);
                }
                (Step::DropCall, Some(_)) => drop(calls.remove(slot % count)),
                _ => {}
            }
            for live in &calls {
                prop_assert!(live.call.attempts() <= max_attempts + max_extra);
            }
            prop_assert_eq!(engine.concurrency(), Some((3, calls.len() as u64)));
            let since = |list: &[u64], age: u64| list.iter().filter(|at| now - **at < age * MS).count() as u64;
            prop_assert!(2 * since(&extra, 900) <= 2 * min_per_sec + since(&begun, 1_100), "overdrawn");
        }
        calls.clear();
        prop_assert_eq!(engine.concurrency(), Some((3, 0)));
        // The least busy of three is another one each time only if nobody is thought to be busy any more; and every probe's
        // permit is there again.
        now += 10_000 * MS;
        engine.tick(now, || 0.5);
        let mut idle: Vec<_> = (0..3)
            .map(|_| {
                let mut call = engine.begin(now, Inbound::default(), 0.5).unwrap();
                (call.attempt(now, b"", || 0.5), call)
            })
            .collect();
        let admitted = idle.iter().filter(|(attempt, _)| attempt.is_ok()).count();
        let probing = idle.iter().any(|(attempt, _)| attempt.as_ref().is_ok_and(|attempt| attempt.probe));
        prop_assert_eq!(admitted, if probing { 2 } else { 3 });
        let mut ends: Vec<_> =
            idle.iter_mut().filter_map(|(attempt, _)| attempt.as_ref().ok()?.endpoint().cloned()).collect();
        ends.sort();
        ends.dedup();
        prop_assert_eq!(ends.len(), admitted);
    }
}
