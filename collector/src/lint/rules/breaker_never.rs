//! Breakers that cannot trip.

use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::{Breaker, BreakerMode, Criticality, Window};

use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Report, found};
use crate::lint::words::{grouped, lasting, ms, per_sec};

const RARE: &str = "breaker.never_enough_calls";
const LONG: &str = "breaker.window_too_long";
const ONE: &str = "breaker.threshold_of_one";
const SLOW: &str = "breaker.never_slow";

const MINIMUM: &str =
    "Hystrix issue 1195 and its circuitBreaker.requestVolumeThreshold: below the minimum of calls no ratio trips";
const SENTINEL: &str = "Sentinel's slow-call ratio of 1.0, which one good call holds back";
const CUT: &str =
    "the breaker's rule: slow is strictly longer than slow_ms, and the attempt timeout ends an attempt before that";

/// Fewer calls than this say nothing: Sentinel's `minRequestAmount`.
const LEAST: u64 = 5;
/// Calls a second, over all instances, from which a breaker that never trips is worth a warning.
const BUSY: f64 = 1.0;
/// What a breaker still remembers of yesterday is no window, in seconds.
const DAY: f64 = 86_400.0;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed() {
        let Some(breaker) = &edge.settings.breaker else { continue };
        if !matches!(breaker.mode.unwrap_or_default(), BreakerMode::Auto | BreakerMode::Shadow) {
            continue;
        }
        rare(facts, edge, breaker, report);
        long(facts, edge, breaker, report);
        one(facts, edge, breaker, report);
        slow(facts, edge, breaker, report);
    }
}

/// Whether something trips it that needs no minimum of calls in a window of time.
fn trips_otherwise(breaker: &Breaker, calls: f64) -> bool {
    breaker.consecutive_failures.is_some() || breaker.failure_count.is_some_and(|n| n as f64 <= calls)
}

fn rare(facts: &Facts, edge: &EdgeFacts, breaker: &Breaker, report: &mut Report) {
    let Some(Window::Time { ms: window, .. }) = breaker.window else { return };
    let rate = edge.attempts_peak();
    let calls = rate * window as f64 / 1e3;
    let ratio = breaker.failure_ratio.is_some() || breaker.slow_ratio.is_some();
    let needs = match (ratio, breaker.failure_count) {
        (true, _) => breaker.min_calls.unwrap_or(1),
        (false, Some(count)) => count,
        (false, None) => return,
    };
    if rate <= 0.0 || calls >= needs as f64 || trips_otherwise(breaker, calls) {
        return;
    }
    let setting = if ratio { "breaker.min_calls" } else { "breaker.failure_count" };
    let text = format!(
        "{}: its breaker can never trip: it needs {} {} in {}, and each instance of {} makes {} calls at its busiest ({})",
        edge.key,
        grouped(needs as f64),
        if ratio { "calls" } else { "failures" },
        lasting(window as f64 / 1e3),
        edge.key.caller,
        if calls < 10.0 { format!("{calls:.1}") } else { grouped(calls) },
        per_sec(rate)
    );
    let usual = (edge.attempts_usual() * window as f64 / 1e3 / 2.0) as u64;
    let (advice, fix) = if ratio && usual >= LEAST {
        (format!("ask for {usual} calls, half of what usually comes"), facts.set(edge, setting, usual.to_string()))
    } else {
        let fix = facts.set(edge, "breaker.consecutive_failures", "5");
        ("too few calls for a ratio: trip after 5 failures in a row as well, which needs no minimum".to_owned(), fix)
    };
    // Where hardly anything is called hardly anything is lost, unless it matters.
    let matters = edge.stats.rate() >= BUSY || edge.settings.criticality == Some(Criticality::High);
    let severity = if matters { LintSeverity::Warn } else { LintSeverity::Note };
    report.add(
        found(RARE, severity, MINIMUM)
            .on([&edge.key])
            .about(setting, edge.given_by(setting))
            .says(text)
            .number("calls needed", needs as f64, "calls")
            .number("window", window as f64, "ms")
            .number("calls in the window at the busiest", calls, "calls")
            .number("calls a second of an instance at its busiest", rate, "/s")
            .number("instances", edge.instances, "")
            .advise(advice)
            .fix([fix]),
    );
}

fn long(facts: &Facts, edge: &EdgeFacts, breaker: &Breaker, report: &mut Report) {
    let Some(Window::Count { size }) = breaker.window else { return };
    let rate = edge.attempts_usual();
    let spans = size as f64 / rate;
    if rate <= 0.0 || spans <= DAY {
        return;
    }
    let text = format!(
        "{}: its breaker looks at the last {} calls, which reach back {} at {} a second and instance: what happened yesterday decides today",
        edge.key,
        grouped(size as f64),
        lasting(spans),
        per_sec(rate)
    );
    let wanted = breaker.min_calls.unwrap_or(LEAST).max(LEAST);
    let mut draft = found(LONG, LintSeverity::Warn, "a window is meant to tell how the callee does now")
        .on([&edge.key])
        .about("breaker.window", edge.given_by("breaker.window"))
        .says(text)
        .number("window", size as f64, "calls")
        .number("reaches back", spans, "s")
        .number("calls a second of an instance", rate, "/s");
    draft = if wanted as f64 / rate <= DAY && wanted < size {
        draft
            .advise(format!("look at the last {wanted} calls, which reach back {}", lasting(wanted as f64 / rate)))
            .fix([facts.set(edge, "breaker.window.size", wanted.to_string())])
    } else {
        draft.advise("too few calls for a ratio: use consecutive_failures alone")
    };
    report.add(draft);
}

fn one(facts: &Facts, edge: &EdgeFacts, breaker: &Breaker, report: &mut Report) {
    let calls = edge.attempts_usual() * 10.0;
    let whole = |ratio: Option<f64>| ratio.is_some_and(|r| r >= 1.0);
    let only = match (whole(breaker.failure_ratio), whole(breaker.slow_ratio)) {
        (true, _) => "failure_ratio",
        (false, true) => "slow_ratio",
        (false, false) => return,
    };
    // A slow ratio of 1.0 beside another rule that trips is resilience4j's own default.
    if trips_otherwise(breaker, f64::INFINITY) || (only == "slow_ratio" && breaker.failure_ratio.is_some()) {
        return;
    }
    let setting = format!("breaker.{only}");
    let share = 1.0 - edge.calm.failed;
    let text = format!(
        "{}: {only} 1.0 trips only when every single call of the window is bad: one good call of {} every 10 s holds it back",
        edge.key,
        grouped(calls.max(1.0))
    );
    report.add(
        found(ONE, LintSeverity::Warn, SENTINEL)
            .on([&edge.key])
            .about(&setting, edge.given_by(&setting))
            .says(text)
            .number("threshold", 100.0, "%")
            .number("calls of an instance in 10 s", calls, "calls")
            .number("calls that are usually good", share * 100.0, "%")
            .advise("trip at half, the default of Hystrix and resilience4j")
            .fix([facts.set(edge, &setting, "0.5")]),
    );
}

fn slow(facts: &Facts, edge: &EdgeFacts, breaker: &Breaker, report: &mut Report) {
    let attempt = edge.settings.timeout.as_ref().and_then(|t| t.attempt_ms);
    let (Some(slow), Some(ratio), Some(attempt)) = (breaker.slow_ms, breaker.slow_ratio, attempt) else { return };
    if slow < attempt {
        return;
    }
    let p50 = edge.attempt_ms(0.5);
    let text = format!(
        "{}: no call is ever slow: slow_ms is {}, and the attempt timeout ends an attempt at {}; slow_ratio {ratio} never acts",
        edge.key,
        ms(slow as f64),
        ms(attempt as f64)
    );
    let wanted = attempt * 3 / 4;
    let mut draft = found(SLOW, LintSeverity::Warn, CUT)
        .on([&edge.key])
        .about("breaker.slow_ms", edge.given_by("breaker.slow_ms"))
        .says(text)
        .number("slow_ms", slow as f64, "ms")
        .number("attempt timeout", attempt as f64, "ms");
    if let Some(p50) = p50 {
        draft = draft.number("median of attempts", p50, "ms");
    }
    report.add(
        draft
            .advise(format!("call three quarters of the attempt timeout slow: {}", ms(wanted as f64)))
            .fix([facts.set(edge, "breaker.slow_ms", wanted.to_string())]),
    );
}
