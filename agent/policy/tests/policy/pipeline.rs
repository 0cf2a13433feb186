use std::sync::Arc;
use std::time::Duration;

use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::pipeline::{
    AttemptKind, AttemptOutcome, Call, EdgeEngine, GiveUp, Inbound, Next, Refused, RefusedBy,
};
use fuseboard_policy::set::PolicySet;
use fuseboard_policy::settings::EdgeSettings;

const MS: u64 = 1_000_000;
const IDEMPOTENT: Inbound = Inbound { left: None, attempt: 1, idempotent: true };

fn settings(rest: &str) -> EdgeSettings {
    let document = PolicyDocument::parse(&format!("[[edge]]\nservice = \"*\"\n{rest}")).unwrap();
    PolicySet::new(1, &document).effective("a", "b", "c").settings
}

fn engine(rest: &str) -> Arc<EdgeEngine> {
    EdgeEngine::new(&settings(rest), 0)
}

const RETRY: &str =
    "retry = { max_attempts = 3, on = [\"unavailable\"], backoff = { base_ms = 10, jitter = \"none\" } }\n";

fn fail(call: &mut Call, now: u64, outcome: AttemptOutcome<'_>) -> Result<Next, Refused> {
    let attempt = call.attempt(now, b"", || 0.5)?;
    Ok(call.finish(attempt, now, outcome, 0.5))
}

fn unavailable() -> AttemptOutcome<'static> {
    AttemptOutcome::plain(AttemptKind::Failure { code: "unavailable" })
}

#[test]
fn a_call_is_tried_again_until_its_attempts_are_used() {
    let mut call = engine(RETRY).begin(0, IDEMPOTENT, 0.5).unwrap();
    assert_eq!(fail(&mut call, 0, unavailable()).unwrap(), Next::Retry { after: Duration::from_millis(10) });
    assert_eq!(fail(&mut call, 10 * MS, unavailable()).unwrap(), Next::Retry { after: Duration::from_millis(20) });
    assert_eq!(fail(&mut call, 30 * MS, unavailable()).unwrap(), Next::GiveUp { why: GiveUp::Attempts });
    assert_eq!(call.attempts(), 3);
}

#[test]
fn what_must_not_be_tried_again_is_not() {
    let with = |inbound: Inbound, outcome: AttemptOutcome<'_>| {
        let mut call = engine(RETRY).begin(0, inbound, 0.5).unwrap();
        fail(&mut call, 0, outcome).unwrap()
    };
    let why = |next: Next| match next {
        Next::GiveUp { why } => why,
        other => panic!("{other:?}"),
    };
    let internal = AttemptOutcome::plain(AttemptKind::Failure { code: "internal" });
    assert_eq!(why(with(IDEMPOTENT, internal)), GiveUp::NotListed);
    assert_eq!(why(with(Inbound::default(), unavailable())), GiveUp::NotIdempotent);
    assert_eq!(why(with(Inbound { attempt: 2, ..IDEMPOTENT }, unavailable())), GiveUp::AlreadyRetry);
    let stop = AttemptOutcome { pushback: Some("-1"), ..unavailable() };
    assert_eq!(why(with(IDEMPOTENT, stop)), GiveUp::Pushback);
    let late = Inbound { left: Some(Duration::from_millis(10)), ..IDEMPOTENT };
    assert_eq!(why(with(late, unavailable())), GiveUp::Deadline);
    assert_eq!(why(with(IDEMPOTENT, AttemptOutcome::plain(AttemptKind::Cancelled))), GiveUp::Cancelled);
    let patient = AttemptOutcome { retry_after: Some(Duration::from_secs(2)), ..unavailable() };
    assert_eq!(with(IDEMPOTENT, patient), Next::Retry { after: Duration::from_secs(2) });
    let exact = AttemptOutcome { pushback: Some("7"), ..patient };
    assert_eq!(with(IDEMPOTENT, exact), Next::Retry { after: Duration::from_millis(7) });
}

fn never_sent() -> AttemptOutcome<'static> {
    AttemptOutcome::plain(AttemptKind::NeverSent { code: "connect" })
}

#[test]
fn what_never_left_is_tried_again_whatever_the_operation_does() {
    const CONNECT: &str =
        "retry = { max_attempts = 2, on = [\"reset\"], backoff = { base_ms = 10, jitter = \"none\" } }\n";
    let retry = Next::Retry { after: Duration::from_millis(10) };
    let mut call = engine(CONNECT).begin(0, Inbound::default(), 0.5).unwrap();
    assert_eq!(fail(&mut call, 0, never_sent()).unwrap(), retry);
    assert_eq!(fail(&mut call, 10 * MS, never_sent()).unwrap(), Next::GiveUp { why: GiveUp::Attempts });
    // The same code of a request that may have left says nothing about its effect.
    let perhaps_sent = AttemptOutcome::plain(AttemptKind::Failure { code: "connect" });
    let mut call = engine(CONNECT).begin(0, Inbound::default(), 0.5).unwrap();
    assert_eq!(fail(&mut call, 0, perhaps_sent).unwrap(), Next::GiveUp { why: GiveUp::NotIdempotent });
    // The other rules hold.
    let first = |rest: &str, inbound| fail(&mut engine(rest).begin(0, inbound, 0.5).unwrap(), 0, never_sent()).unwrap();
    assert_eq!(first(RETRY, Inbound::default()), Next::GiveUp { why: GiveUp::NotListed });
    let again = Inbound { attempt: 2, ..Inbound::default() };
    assert_eq!(first(CONNECT, again), Next::GiveUp { why: GiveUp::AlreadyRetry });
    let spent = "[edge.retry]\nmax_attempts = 2\nbudget = { max_tokens = 2, token_ratio = 0.1 }\n";
    assert_eq!(first(spent, Inbound::default()), Next::GiveUp { why: GiveUp::Budget });
}

#[test]
fn what_never_left_counts_for_the_breaker() {
    let engine = engine("breaker = { consecutive_failures = 2, open_ms = 1000 }\n");
    for now in 0..2 {
        fail(&mut engine.begin(now, Inbound::default(), 0.5).unwrap(), now, never_sent()).unwrap();
    }
    let refused = engine.begin(2, Inbound::default(), 0.5).unwrap().attempt(2, b"", || 0.5).unwrap_err();
    assert_eq!(refused.by, RefusedBy::Breaker);
}

#[test]
fn an_open_breaker_ends_the_retries_and_counts_for_nothing() {
    let engine = engine(&format!("{RETRY}breaker = {{ consecutive_failures = 2, open_ms = 1000 }}\n"));
    let mut call = engine.begin(0, IDEMPOTENT, 0.5).unwrap();
    fail(&mut call, 0, unavailable()).unwrap();
    fail(&mut call, 10 * MS, unavailable()).unwrap();
    let refused = fail(&mut call, 30 * MS, unavailable()).unwrap_err();
    assert_eq!((refused.by, refused.breaker_state), (RefusedBy::Breaker, "open"));
    assert_eq!(refused.probe_at, Some(1_010 * MS));
    assert_eq!(refused.to_string(), "refused locally by breaker: 2 failures in a row (≥ 2)");
    assert_eq!(call.attempts(), 2);
    let mut next = engine.begin(1_010 * MS, IDEMPOTENT, 0.5).unwrap();
    assert!(next.attempt(1_010 * MS, b"", || 0.5).unwrap().probe);
}

#[test]
fn dropped_attempts_give_their_permit_back() {
    let engine = engine("breaker = { consecutive_failures = 1, open_ms = 10 }\n");
    let mut call = engine.begin(0, IDEMPOTENT, 0.5).unwrap();
    fail(&mut call, 0, unavailable()).unwrap();
    for _ in 0..5 {
        let mut call = engine.begin(20 * MS, IDEMPOTENT, 0.5).unwrap();
        let probe = call.attempt(20 * MS, b"", || 0.5).unwrap();
        assert!(probe.probe);
        let refused = engine.begin(20 * MS, IDEMPOTENT, 0.5).unwrap().attempt(20 * MS, b"", || 0.5).unwrap_err();
        assert_eq!(refused.breaker_state, "half_open");
        drop(call);
        drop(probe);
    }
    assert_eq!(engine.breaker().state_name(), "half_open");
}

#[test]
fn attempts_share_the_deadline() {
    let engine = engine(&format!("{RETRY}timeout = {{ attempt_ms = 50, overall_ms = 80 }}\n"));
    let mut call = engine.begin(0, IDEMPOTENT, 0.5).unwrap();
    let first = call.attempt(0, b"", || 0.5).unwrap();
    assert_eq!((first.timeout, first.number), (Some(Duration::from_millis(50)), 1));
    call.finish(first, 50 * MS, unavailable(), 0.0);
    let second = call.attempt(60 * MS, b"", || 0.5).unwrap();
    assert_eq!(
        (second.timeout, second.deadline_left),
        (Some(Duration::from_millis(20)), Some(Duration::from_millis(20)))
    );
    let timed_out = AttemptOutcome::plain(AttemptKind::TimedOut);
    assert_eq!(call.finish(second, 80 * MS, timed_out, 0.0), Next::GiveUp { why: GiveUp::NotListed });
    assert_eq!(call.attempt(80 * MS, b"", || 0.5).unwrap_err().by, RefusedBy::Deadline);
    let none_left = Inbound { left: Some(Duration::ZERO), ..IDEMPOTENT };
    assert_eq!(engine.begin(0, none_left, 0.5).unwrap_err().by, RefusedBy::Deadline);
}

#[test]
fn a_spent_budget_stops_retries_and_a_live_change_keeps_it_spent() {
    let budget = |rate: u32| {
        format!(
            "[edge.retry]\nmax_attempts = 2\non = [\"unavailable\"]\nbudget = {{ ratio = 0, min_per_sec = {rate}, ttl_ms = 1000 }}\n"
        )
    };
    let engine = engine(&budget(1));
    let again =
        |engine: &Arc<EdgeEngine>| fail(&mut engine.begin(0, IDEMPOTENT, 0.5).unwrap(), 0, unavailable()).unwrap();
    assert!(matches!(again(&engine), Next::Retry { .. }));
    assert_eq!(again(&engine), Next::GiveUp { why: GiveUp::Budget });
    engine.reconfigure(&settings(&budget(2)), 1);
    assert!(matches!(again(&engine), Next::Retry { .. }));
    assert_eq!(again(&engine), Next::GiveUp { why: GiveUp::Budget });
}
