//! Breakers that trip although nothing is wrong.

use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::{Breaker, BreakerMode, Window};

use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Report, found};
use crate::lint::words::{count, grouped, percent};

const USUAL: &str = "breaker.trips_on_usual_errors";
const SINGLE: &str = "breaker.single_failure_trips";

const SHEWHART: &str = "three standard deviations of a share, as on Shewhart's control charts";
const VOLUME: &str = "Sentinel's minRequestAmount of 5, Hystrix's requestVolumeThreshold of 20";

/// How errors usually are is known from so many calls on.
const CALLS: u64 = 100;
/// So many standard deviations above what is usual still happen by chance.
const SIGMAS: f64 = 3.0;
/// A minimum of calls that a ratio means something for: Hystrix's default.
const GOOD_MINIMUM: u64 = 20;
/// Sentinel's.
const LEAST: u64 = 5;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed() {
        let Some(breaker) = &edge.settings.breaker else { continue };
        let (Some(ratio), BreakerMode::Auto | BreakerMode::Shadow) =
            (breaker.failure_ratio, breaker.mode.unwrap_or_default())
        else {
            continue;
        };
        if edge.calm.sent < CALLS {
            let had = count(edge.calm.sent, "call", "calls");
            let text =
                format!("{} had {had} in {}; {CALLS} are needed to know its usual errors", edge.key, facts.lasting());
            report.lacks(&[USUAL, SINGLE], Some(&edge.key), text);
            continue;
        }
        if !single(facts, edge, breaker, ratio, report) {
            usual(edge, breaker, ratio, report);
        }
    }
}

/// Calls that a decision rests on at least: what is in the window, and `min_calls`.
fn rests_on(edge: &EdgeFacts, breaker: &Breaker) -> f64 {
    let holds = match breaker.window {
        Some(Window::Time { ms, .. }) => edge.attempts_usual() * ms as f64 / 1e3,
        Some(Window::Count { size }) => size as f64,
        None => 0.0,
    };
    holds.max(breaker.min_calls.unwrap_or(1) as f64)
}

fn usual(edge: &EdgeFacts, breaker: &Breaker, ratio: f64, report: &mut Report) {
    let (errors, n) = (edge.calm.failed, rests_on(edge, breaker).max(1.0));
    let by_chance = errors + SIGMAS * (errors * (1.0 - errors) / n).sqrt();
    if errors <= 0.0 || ratio > by_chance {
        return;
    }
    let severity = if errors >= ratio { LintSeverity::Error } else { LintSeverity::Warn };
    let text = format!(
        "{}: its breaker trips at {} failures, and {} usually fail ({}, outages left out); among {} calls {} happen by chance",
        edge.key,
        percent(ratio),
        percent(errors),
        count(edge.calm.sent, "call", "calls"),
        grouped(n),
        percent(by_chance.min(1.0))
    );
    report.add(
        found(USUAL, severity, SHEWHART)
            .on([&edge.key])
            .about("breaker.failure_ratio", edge.given_by("breaker.failure_ratio"))
            .says(text)
            .number("threshold", ratio * 100.0, "%")
            .number("usual errors", errors * 100.0, "%")
            .number("happen by chance", by_chance.min(1.0) * 100.0, "%")
            .number("calls a decision rests on", n, "calls")
            .advise("find out what fails: a breaker is no use where this is usual; until then a higher threshold or min_calls"),
    );
}

fn single(facts: &Facts, edge: &EdgeFacts, breaker: &Breaker, ratio: f64, report: &mut Report) -> bool {
    let min = breaker.min_calls.unwrap_or(1);
    // The share of failures that one failure is among the fewest calls that decide.
    if min as f64 * ratio > 1.0 || ratio >= 1.0 && min > 1 {
        return false;
    }
    let text = format!(
        "{}: a single failed call can open its breaker: {} of {} {} enough at a threshold of {}; {} of its calls usually fail",
        edge.key,
        1,
        count(min, "call", "calls"),
        if min == 1 { "is" } else { "are" },
        percent(ratio),
        percent(edge.calm.failed)
    );
    let holds = match breaker.window {
        Some(Window::Time { ms, .. }) => edge.attempts_usual() * ms as f64 / 1e3,
        Some(Window::Count { size }) => size as f64,
        None => 0.0,
    };
    let wanted = ((holds / 2.0) as u64).clamp(LEAST, GOOD_MINIMUM);
    report.add(
        found(SINGLE, LintSeverity::Warn, VOLUME)
            .on([&edge.key])
            .about("breaker.min_calls", edge.given_by("breaker.min_calls"))
            .says(text)
            .number("min_calls", min as f64, "calls")
            .number("threshold", ratio * 100.0, "%")
            .number("usual errors", edge.calm.failed * 100.0, "%")
            .number("calls the window usually holds", holds, "calls")
            .advise(format!("ask for at least {wanted} calls before a share of failures counts"))
            .fix([facts.set(edge, "breaker.min_calls", wanted.to_string())]),
    );
    true
}
