//! The linter over a real store: one filled through ingest, a document for each case.

use std::time::Duration;

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::command::{Action, PolicyEdit};
use fuseboard_api::lint::{LintFinding, LintSeverity, Lints};
use fuseboard_api::{TimeRange, UnixNanos};
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::agent::{FakeAgent, command};
use crate::common::{CLIENT, SERVER, Stage, With as _, request, span};

/// How long the shop has run, in seconds; ends now.
const SECONDS: u64 = 600;

/// One kind of call in the shop.
#[derive(Clone, Copy)]
struct Traffic {
    caller: &'static str,
    callee: &'static str,
    operation: &'static str,
    /// Calls in all.
    calls: u64,
    /// Of a hundred calls, how many take `tail_ms` instead of `usual_ms`.
    tail: u64,
    usual_ms: u64,
    tail_ms: u64,
    /// Of a hundred calls, how many fail.
    failures: u64,
}

const fn calls(caller: &'static str, callee: &'static str, operation: &'static str, calls: u64) -> Traffic {
    Traffic { caller, callee, operation, calls, tail: 0, usual_ms: 20, tail_ms: 20, failures: 0 }
}

/// What the shop's callers do besides the checkouts.
const SHOP: [Traffic; 6] = [
    Traffic { tail: 5, tail_ms: 400, ..calls("web", "stock", "Stock/Get", 3_000) },
    Traffic { failures: 4, ..calls("web", "flaky", "Flaky/Do", 3_000) },
    Traffic { failures: 90, ..calls("web", "broken", "Broken/Do", 600) },
    calls("web", "rare", "Rare/Do", 10),
    Traffic { tail: 2, tail_ms: 60, ..calls("web", "busy", "POST /busy", 6_000) },
    calls("stranger", "stock", "Stock/Get", 600),
];

/// Spans get ids of their own.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

fn at(mut span: Span, trace: u64, (id, parent): (u64, u64), end: u64, ms: u64) -> Span {
    let wide = |n: u64| n.to_be_bytes().to_vec();
    span.trace_id = [wide(trace), wide(trace)].concat();
    span.span_id = wide(id);
    span.parent_span_id = if parent == 0 { Vec::new() } else { wide(parent) };
    span.end_time_unix_nano = end;
    span.start_time_unix_nano = end - ms * 1_000_000;
    span
}

/// A call of an agent with its one attempt; gives the attempt's id, below which the callee answers.
fn call(
    out: &mut Vec<Span>,
    ids: &mut Ids,
    traffic: &Traffic,
    (trace, parent): (u64, u64),
    shape: (u64, u64, bool),
) -> u64 {
    let (end, ms, failed) = shape;
    let client = |name: &str| {
        let span = span(1, 1, 0, CLIENT, name).with("service.peer.name", traffic.callee);
        let span = span.with("resilience.operation", traffic.operation);
        if failed { span.failed("unavailable") } else { span }
    };
    let (whole, attempt) = (ids.next(), ids.next());
    out.push(at(client("call").with("resilience.call", true), trace, (whole, parent), end, ms));
    out.push(at(client("attempt").with("resilience.attempt", 1), trace, (attempt, whole), end, ms));
    attempt
}

/// A shop with some minutes of traffic, and agents for everyone but the stranger.
async fn shop() -> (Stage, Vec<FakeAgent>) {
    let stage = Stage::start().await;
    let mut agents = Vec::new();
    for service in ["web", "orders", "payments"] {
        let mut agent = FakeAgent::connect(&stage, service, &format!("{service}-1")).await;
        agent.next_overrides().await;
        agents.push(agent);
    }
    let now = u64::try_from(UnixNanos::now().0).expect("after 1970");
    let mut ids = Ids(0);
    for traffic in &SHOP {
        let mut spans = Vec::new();
        for n in 0..traffic.calls {
            let end = now - (n * SECONDS * 1_000 / traffic.calls) * 1_000_000 - 1_000_000_000;
            let ms = if n % 100 < traffic.tail { traffic.tail_ms } else { traffic.usual_ms };
            let failed = (n * 37) % 100 < traffic.failures;
            let trace = ids.next();
            if traffic.caller == "stranger" {
                // A library that knows nothing of agents.
                let id = ids.next();
                let client = span(1, 1, 0, CLIENT, traffic.operation).with("service.peer.name", traffic.callee);
                spans.push(at(client, trace, (id, 0), end, ms));
            } else {
                call(&mut spans, &mut ids, traffic, (trace, 0), (end, ms, failed));
            }
        }
        for part in spans.chunks(2_000) {
            stage.send(request(traffic.caller, part.to_vec())).await;
        }
    }
    checkouts(&stage, &mut ids, now).await;
    (stage, agents)
}

/// web → orders → payments → bank, without deadlines that travel.
async fn checkouts(stage: &Stage, ids: &mut Ids, now: u64) {
    let hop = |caller, callee, operation| calls(caller, callee, operation, 0);
    let hops = [
        hop("web", "orders", "Orders/Place"),
        hop("orders", "payments", "Payments/Charge"),
        hop("payments", "bank", "Bank/Book"),
    ];
    let mut of: [Vec<Span>; 3] = Default::default();
    for n in 0..1_200u64 {
        let (trace, end) = (ids.next(), now - n * 500_000_000 - 1_000_000_000);
        let mut parent = 0;
        for ((hop, out), ms) in hops.iter().zip(&mut of).zip([60, 40, 20]) {
            if parent != 0 {
                let id = ids.next();
                out.push(at(span(1, 1, 0, SERVER, "answer"), trace, (id, parent), end, ms + 5));
                parent = id;
            }
            parent = call(out, ids, hop, (trace, parent), (end, ms, false));
        }
    }
    for (hop, spans) in hops.iter().zip(of) {
        for part in spans.chunks(2_000) {
            stage.send(request(hop.caller, part.to_vec())).await;
        }
    }
}

async fn lint(stage: &Stage, document: Option<String>) -> Lints {
    let range = TimeRange::ending(UnixNanos::now(), Duration::from_secs(SECONDS + 60));
    match stage.ask_at(Question::Lint { range, document }, None).await.1 {
        Answer::Lint(lints) => lints,
        other => panic!("lints, not {other:?}"),
    }
}

/// A rule for an edge: what is wrong, and what is right in its place.
struct Case {
    rule: &'static str,
    edge: &'static str,
    severity: LintSeverity,
    /// Settings of the edge's rule (TOML) with which it is found, and with which it is not.
    bad: &'static str,
    good: &'static str,
    /// Whether an edit is proposed.
    fixable: bool,
}

const fn case(
    rule: &'static str,
    edge: &'static str,
    severity: LintSeverity,
    bad: &'static str,
    good: &'static str,
) -> Case {
    Case { rule, edge, severity, bad, good, fixable: true }
}

use LintSeverity::{Error, Note, Warn};

const CASES: &[Case] = &[
    case(
        "timeout.cuts_good_calls",
        "web:stock",
        Warn,
        "timeout = { attempt_ms = 200 }",
        "timeout = { attempt_ms = 500 }",
    ),
    case(
        "timeout.cuts_good_calls",
        "web:busy",
        Error,
        "timeout = { attempt_ms = 10 }",
        "timeout = { attempt_ms = 70 }",
    ),
    case(
        "timeout.retries_cut_short",
        "web:busy",
        Warn,
        "timeout = { attempt_ms = 130, overall_ms = 160 }\nretry = { max_attempts = 2, on = [\"deadline_exceeded\"], budget = { max_tokens = 10, token_ratio = 0.1 } }",
        "timeout = { attempt_ms = 100, overall_ms = 500 }\nretry = { max_attempts = 3, on = [\"deadline_exceeded\"], budget = { max_tokens = 10, token_ratio = 0.1 } }",
    ),
    case(
        "breaker.never_enough_calls",
        "web:rare",
        Note,
        "breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, min_calls = 20, failure_ratio = 0.5 }",
        "breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, min_calls = 20, failure_ratio = 0.5, consecutive_failures = 5 }",
    ),
    case(
        "breaker.never_enough_calls",
        "web:stock",
        Warn,
        "breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, min_calls = 80, failure_ratio = 0.5 }",
        "breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, min_calls = 20, failure_ratio = 0.5 }",
    ),
    case(
        "breaker.window_too_long",
        "web:rare",
        Warn,
        "breaker = { window = { kind = \"count\", size = 100000 }, min_calls = 10, failure_ratio = 0.5 }",
        "breaker = { window = { kind = \"count\", size = 20 }, min_calls = 10, failure_ratio = 0.5 }",
    ),
    case(
        "breaker.threshold_of_one",
        "web:busy",
        Warn,
        "breaker = { window = { kind = \"count\", size = 20 }, min_calls = 10, failure_ratio = 1.0 }",
        "breaker = { window = { kind = \"count\", size = 20 }, min_calls = 10, failure_ratio = 0.9 }",
    ),
    case(
        "breaker.never_slow",
        "web:busy",
        Warn,
        "timeout = { attempt_ms = 100 }\nbreaker = { window = { kind = \"count\", size = 20 }, min_calls = 10, slow_ms = 100, slow_ratio = 0.8 }",
        "timeout = { attempt_ms = 100 }\nbreaker = { window = { kind = \"count\", size = 20 }, min_calls = 10, slow_ms = 80, slow_ratio = 0.8 }",
    ),
    case(
        "breaker.mode_left",
        "web:busy",
        Error,
        "breaker = { preset = \"rpc-50\", mode = \"forced_open\" }",
        "breaker = { preset = \"rpc-50\" }",
    ),
    case(
        "breaker.mode_left",
        "web:busy",
        Note,
        "breaker = { preset = \"rpc-50\", mode = \"shadow\" }",
        "breaker = { preset = \"rpc-50\", mode = \"auto\" }",
    ),
    Case {
        fixable: false,
        ..case(
            "breaker.trips_on_usual_errors",
            "web:flaky",
            Warn,
            "breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, min_calls = 20, failure_ratio = 0.1 }",
            "breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, min_calls = 20, failure_ratio = 0.3 }",
        )
    },
    Case {
        fixable: false,
        ..case(
            "breaker.trips_on_usual_errors",
            "web:flaky",
            Error,
            "breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, min_calls = 40, failure_ratio = 0.03 }",
            "breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, min_calls = 20, failure_ratio = 0.5 }",
        )
    },
    case(
        "breaker.single_failure_trips",
        "web:busy",
        Warn,
        "breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, failure_ratio = 0.5 }",
        "breaker = { window = { kind = \"time\", ms = 10000, buckets = 10 }, min_calls = 10, failure_ratio = 0.5 }",
    ),
    case(
        "retry.budget_larger_than_traffic",
        "web:busy",
        Warn,
        "retry = { max_attempts = 3, budget = { ratio = 0.1, min_per_sec = 50, ttl_ms = 10000 } }",
        "retry = { max_attempts = 2, budget = { ratio = 0.1, min_per_sec = 1, ttl_ms = 10000 } }",
    ),
    Case {
        fixable: false,
        ..case(
            "retry.budget_larger_than_traffic",
            "web:rare",
            Note,
            "retry = { max_attempts = 2, budget = { ratio = 0.1, min_per_sec = 5, ttl_ms = 10000 } }",
            "retry = { max_attempts = 2, budget = { ratio = 0.1, min_per_sec = 0.05, ttl_ms = 10000 } }",
        )
    },
    case("retry.no_budget", "web:busy", Warn, "retry = { max_attempts = 3 }", "retry = { max_attempts = 1 }"),
    case(
        "retry.not_idempotent",
        "web:busy",
        Warn,
        "retry = { max_attempts = 2, non_idempotent = true }",
        "retry = { max_attempts = 2 }",
    ),
    case(
        "rate.refuses_usual_traffic",
        "web:busy",
        Error,
        "rate = { algorithm = \"token_bucket\", per_sec = 5, burst = 5 }",
        "rate = { algorithm = \"token_bucket\", per_sec = 20, burst = 20 }",
    ),
    Case {
        fixable: false,
        ..case(
            "rate.never_acts",
            "web:busy",
            Note,
            "rate = { algorithm = \"token_bucket\", per_sec = 10000, burst = 10 }",
            "rate = { algorithm = \"sliding_window\", limit = 50, window_ms = 1000 }",
        )
    },
    case(
        "concurrency.below_usual",
        "web:busy",
        Warn,
        "concurrency = { kind = \"fixed\", max = 1 }",
        "concurrency = { kind = \"fixed\", max = 8 }",
    ),
    case("hedge.too_early", "web:busy", Warn, "hedge = { after_ms = 5 }", "hedge = { after_ms = 30 }"),
    case("hedge.too_early", "web:busy", Warn, "hedge = { after_quantile = 0.5 }", "hedge = { after_quantile = 0.95 }"),
    case("hedge.too_late", "web:busy", Note, "hedge = { after_ms = 900 }", "hedge = { after_ms = 20 }"),
    Case {
        fixable: false,
        ..case(
            "fallback.hides_failure",
            "web:broken",
            Warn,
            "fallback = { kind = \"status\", code = \"unavailable\" }",
            "timeout = { attempt_ms = 900 }",
        )
    },
    case("edge.no_timeout", "web:busy", Warn, "criticality = \"low\"", "timeout = { overall_ms = 200 }"),
    case("edge.no_breaker", "web:busy", Note, "timeout = { overall_ms = 200 }", "breaker = { preset = \"rpc-50\" }"),
    Case {
        fixable: false,
        ..case("agent.missing", "stranger:stock", Warn, "criticality = \"high\"", "criticality = \"low\"")
    },
];

fn document(edge: &str, settings: &str) -> String {
    let (caller, service) = edge.split_once(':').expect("two names");
    format!("[[edge]]\ncaller = \"{caller}\"\nservice = \"{service}\"\n{settings}\n")
}

fn about<'a>(lints: &'a Lints, rule: &str, edge: &str) -> Option<&'a LintFinding> {
    let on = |f: &LintFinding| f.path.iter().any(|key| format!("{}:{}", key.caller, key.callee) == edge);
    lints.findings.iter().find(|f| f.rule == rule && on(f))
}

/// What a finding must have, whatever it is about.
fn is_whole(finding: &LintFinding) {
    assert!(!finding.numbers.is_empty() && finding.text.bytes().any(|b| b.is_ascii_digit()), "numbers: {finding:?}");
    assert!(!finding.source.is_empty() && !finding.advice.is_empty() && finding.id.len() == 8, "{finding:?}");
}

/// The document with edits, as the collector would write it.
async fn edited(stage: &Stage, document: &str, edits: &[PolicyEdit]) -> String {
    let range = TimeRange::default();
    let Answer::Policies(now) = stage.ask_at(Question::Policies { range }, None).await.1 else { panic!("policies") };
    let set = Action::set_policy(now.revision.number, document);
    let base = command(stage, set).await.expect("a valid document").revision.expect("a revision");
    command(stage, Action::edit_policy(base, edits.to_vec())).await.expect("what is proposed can be published");
    let Answer::Policies(now) = stage.ask_at(Question::Policies { range }, None).await.1 else { panic!("policies") };
    now.document
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_rule_finds_what_is_wrong_and_nothing_where_it_is_right() {
    let (stage, agents) = shop().await;
    for case in CASES {
        let name = format!("{} on {}", case.rule, case.edge);
        let bad = document(case.edge, case.bad);
        let lints = lint(&stage, Some(bad.clone())).await;
        let found = about(&lints, case.rule, case.edge);
        let found = found.unwrap_or_else(|| panic!("{name} is found with {bad}\nin {:#?}", lints.findings));
        assert_eq!(found.severity, case.severity, "{name}: {}", found.text);
        is_whole(found);
        assert_eq!(!found.fix.is_empty(), case.fixable, "{name}: {:?}", found.fix);
        let good = lint(&stage, Some(document(case.edge, case.good))).await;
        assert_eq!(about(&good, case.rule, case.edge), None, "{name} is not found with {}", case.good);
        if case.fixable {
            let mended = edited(&stage, &bad, &found.fix).await;
            let after = lint(&stage, Some(mended.clone())).await;
            assert_eq!(about(&after, case.rule, case.edge), None, "{name}: what is proposed mends it: {mended}");
        }
    }
    drop(agents);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_show_what_no_single_edge_does() {
    let (stage, agents) = shop().await;
    let chain = |top: &str, below: &str| {
        format!(
            "[[edge]]\ncaller = \"web\"\nservice = \"orders\"\n{top}\n[[edge]]\nservice = \"payments\"\n{below}\n[[edge]]\nservice = \"bank\"\n{below}\n"
        )
    };
    let retries = "retry = { max_attempts = 3 }";
    let lints = lint(&stage, Some(chain(retries, retries))).await;
    let found = about(&lints, "retry.amplification", "payments:bank").expect("found");
    is_whole(found);
    assert_eq!(found.path.len(), 3, "{:?}", found.path);
    assert_eq!(found.numbers[0].value, 27.0, "three times three times three");
    // First requests f and marked retries r: (1, 2) after one hop, (3, 2) after two, (5, 6) after three.
    assert_eq!(found.numbers[1].value, 11.0);
    let mended = edited(&stage, &chain(retries, retries), &found.fix).await;
    assert_eq!(about(&lint(&stage, Some(mended)).await, "retry.amplification", "payments:bank"), None);
    let budget = "retry = { max_attempts = 3, budget = { ratio = 0.1, min_per_sec = 0.1, ttl_ms = 10000 } }";
    let within = lint(&stage, Some(chain(budget, budget))).await;
    assert_eq!(about(&within, "retry.amplification", "payments:bank"), None, "budgets bound it");

    let lints = lint(&stage, Some(chain("timeout = { attempt_ms = 300 }", "timeout = { overall_ms = 2000 }"))).await;
    let found = about(&lints, "timeout.inverted", "orders:payments").expect("found");
    is_whole(found);
    assert_eq!(found.path.len(), 3, "the longest path through both");
    assert!(found.text.contains("300 ms") && found.text.contains("2,000 ms"), "{}", found.text);
    let good = lint(&stage, Some(chain("timeout = { attempt_ms = 2000 }", "timeout = { overall_ms = 2000 }"))).await;
    assert_eq!(about(&good, "timeout.inverted", "orders:payments"), None);
    drop(agents);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_do_nothing_are_told_and_can_be_removed() {
    let (stage, agents) = shop().await;
    let rule = |service: &str| format!("[[edge]]\nservice = \"{service}\"\ntimeout = {{ overall_ms = 900 }}\n");
    let text = format!(
        "{}{}{}[[edge]]\ncaller = \"web\"\nservice = \"stock\"\ntimeout = {{ overall_ms = 800 }}\n[[edge]]\ncaller = \"stranger\"\nservice = \"stock\"\ntimeout = {{ overall_ms = 700 }}\n",
        rule("nowhere"),
        rule("flakey"),
        rule("stock")
    );
    let lints = lint(&stage, Some(text.clone())).await;
    let by = |lints: &Lints, given: &str| lints.findings.iter().find(|f| f.given_by == given).cloned();
    let nowhere = by(&lints, "nowhere").expect("found");
    assert_eq!((nowhere.rule.as_str(), nowhere.severity), ("rule.matches_nothing", Note));
    let typo = by(&lints, "flakey").expect("found");
    assert_eq!(typo.severity, Warn);
    assert!(typo.text.contains("did you mean \"flaky\""), "{}", typo.text);
    let beaten = by(&lints, "stock").expect("found");
    assert_eq!(beaten.rule, "rule.shadowed");
    let both: Vec<PolicyEdit> = nowhere.fix.iter().chain(&beaten.fix).cloned().collect();
    let mended = edited(&stage, &text, &both).await;
    assert!(!mended.contains("nowhere") && mended.matches("stock").count() == 2, "{mended}");
    let after = lint(&stage, Some(mended)).await;
    assert!(by(&after, "nowhere").is_none() && by(&after, "stock").is_none());
    drop(agents);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_would_be_refused_is_a_finding_and_too_little_data_is_said() {
    let (stage, agents) = shop().await;
    let broken =
        lint(&stage, Some("[[edge]]\nservice = \"a\"\ntimeout = { attempt_ms = 9, overall_ms = 1 }\n".into())).await;
    assert!(broken.stops() && broken.draft);
    assert_eq!(broken.findings[0].rule, "document.refused");
    assert!(broken.findings[0].text.contains("attempt_ms"), "{}", broken.findings[0].text);
    let rare = lint(&stage, Some(document("web:rare", "timeout = { attempt_ms = 5 }"))).await;
    assert_eq!(about(&rare, "timeout.cuts_good_calls", "web:rare"), None, "ten calls prove nothing");
    let gap = rare.gaps.iter().find(|g| g.edge.as_ref().is_some_and(|e| e.callee == "rare")).expect("it says so");
    assert!(gap.text.contains("10 attempts"), "{}", gap.text);
    let again = lint(&stage, Some(document("web:busy", "timeout = { attempt_ms = 10 }"))).await;
    let same = lint(&stage, Some(document("web:busy", "timeout = { attempt_ms = 11 }"))).await;
    let id = |lints: &Lints| about(lints, "timeout.cuts_good_calls", "web:busy").map(|f| f.id.clone());
    assert_eq!(id(&again), id(&same), "an id stays while the finding does");
    let quiet = lint(&stage, Some("# nothing\n".into())).await;
    assert!(quiet.findings.iter().all(|f| f.rule.starts_with("edge.")), "{:#?}", quiet.findings);
    drop(agents);
    let empty = Stage::start().await;
    let lints = lint(&empty, Some(document("web:busy", "retry = { max_attempts = 3 }"))).await;
    assert_eq!(lints.findings, [], "nothing is known");
    assert!(lints.gaps.iter().any(|g| g.rules.contains(&"rule.matches_nothing".to_owned())), "{:?}", lints.gaps);
    empty.stop().await;
    stage.stop().await;
}
