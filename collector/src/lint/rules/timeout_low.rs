//! Attempt timeouts that cut calls which would have come out well.

use fuseboard_api::lint::LintSeverity;

use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Report, found};
use crate::lint::words::{count, ms, percent, round_up};

pub(super) const RULE: &str = "timeout.cuts_good_calls";
const SOURCE: &str = "Amazon Builders' Library, Timeouts, retries and backoff with jitter: choose the share of false timeouts \
    that is acceptable and take that percentile of the latency";

/// Attempts are judged from so many on: five are then expected beyond the 99th percentile.
const ATTEMPTS: u64 = 500;
/// A larger share that is cut is worth a warning: the timeout lies below the 99th percentile.
const WARN: f64 = 0.01;
/// Most calls are cut: below the median.
const ERROR: f64 = 0.5;
/// The proposal lies so far above the 99th percentile.
const ROOM: f64 = 1.5;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed() {
        let Some(timeout) = edge.settings.timeout.as_ref().and_then(|t| t.attempt_ms) else { continue };
        if edge.attempts.count() < ATTEMPTS {
            let text = format!(
                "{} had {} in {}; {ATTEMPTS} are needed to say what its attempt timeout of {} cuts",
                edge.key,
                count(edge.attempts.count(), "attempt", "attempts"),
                facts.lasting(),
                ms(timeout as f64)
            );
            report.lacks(&[RULE], Some(&edge.key), text);
            continue;
        }
        let share = cut(edge, timeout);
        if share > WARN {
            add(facts, edge, timeout, share, report);
        }
    }
}

/// The share of attempts that the timeout cuts. Under the timeout in force cuts are counted, without the worst stretches;
/// for another it follows from how long attempts took.
fn cut(edge: &EdgeFacts, timeout: u64) -> f64 {
    let observed = edge.in_force.timeout.as_ref().and_then(|t| t.attempt_ms);
    if observed == Some(timeout) {
        return edge.calm.cut;
    }
    edge.attempts.share_above(std::time::Duration::from_millis(timeout))
}

fn add(facts: &Facts, edge: &EdgeFacts, timeout: u64, share: f64, report: &mut Report) {
    let severity = if share >= ERROR { LintSeverity::Error } else { LintSeverity::Warn };
    let (p50, p99) = (edge.attempt_ms(0.5).unwrap_or_default(), edge.attempt_ms(0.99).unwrap_or_default());
    let text = format!(
        "{}: {} of attempts take longer than the attempt timeout of {} and are cut (median {}, p99 {}, {})",
        edge.key,
        percent(share),
        ms(timeout as f64),
        ms(p50),
        ms(p99),
        count(edge.attempts.count(), "attempt", "attempts"),
    );
    let mut draft = found(RULE, severity, SOURCE)
        .on([&edge.key])
        .about("timeout.attempt_ms", edge.given_by("timeout.attempt_ms"))
        .says(text)
        .number("attempt timeout", timeout as f64, "ms")
        .number("share cut", share * 100.0, "%")
        .number("median of attempts", p50, "ms")
        .number("p99 of attempts", p99, "ms")
        .number("attempts", edge.attempts.count() as f64, "");
    // What was cut never told how long it would have taken: only a p99 well below the cut says what would be enough.
    let wanted = round_up(p99 * ROOM);
    let overall = edge.settings.timeout.as_ref().and_then(|t| t.overall_ms);
    draft = match wanted {
        wanted if p99 > timeout as f64 * 1.05 && overall.is_none_or(|overall| wanted <= overall) => draft
            .advise(format!("raise it to {}, half as much again as the p99", ms(wanted as f64)))
            .fix([facts.set(edge, "timeout.attempt_ms", wanted.to_string())]),
        _ => draft.advise(
            "raise it step by step until fewer than 1 % are cut, or find out why the callee is slow: what is cut never told \
             how long it would have taken",
        ),
    };
    report.add(draft);
}
