//! Callers that give up before what they called does.
//!
//! The agent's deadline rule makes this harmless where it reaches: a call takes its caller's deadline along, and every call
//! made for it ends by then. So this speaks only where calls were seen to begin with more time than their caller waits.

use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::EdgeSettings;

use super::timeout_retries::waits;
use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Report, found};
use crate::lint::words::ms;

const RULE: &str = "timeout.inverted";
const SOURCE: &str =
    "Google, Site Reliability Engineering, chapter 22, Addressing Cascading Failures: deadline propagation";

/// A deadline is read a little after it was set, and histograms round: what is so little above counts as equal.
const SLACK: f64 = 1.03;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    if facts.paths.traces == 0 {
        report.lacks(&[RULE], None, format!("no trace of the last {} is stored: paths are not known", facts.lasting()));
        return;
    }
    for ((above, below), pair) in &facts.paths.pairs {
        let (Some(caller), Some(callee)) = (facts.edges.get(*above), facts.edges.get(*below)) else { continue };
        if !(caller.governed && callee.governed) {
            continue;
        }
        let (Some(waits), Some(allows)) = (waits_for(&caller.settings), allows(&callee.settings)) else { continue };
        let bounded = pair.unbounded == 0 && pair.left_ms <= waits * SLACK;
        if allows > waits * SLACK && !bounded {
            let path = facts.paths.longest_through(*above, *below);
            let path: Vec<&EdgeFacts> = path.into_iter().flatten().filter_map(|at| facts.edges.get(*at)).collect();
            let text = format!(
                "{} gives up on {} after {}, which goes on for up to {} with {}: in {} traces no deadline came along, so that work is for nobody",
                caller.key.caller,
                caller.key.callee,
                ms(waits),
                ms(allows),
                callee.key,
                pair.seen
            );
            let mut draft = found(RULE, LintSeverity::Warn, SOURCE)
                .on(path.iter().map(|e| &e.key))
                .about("timeout.overall_ms", callee.given_by("timeout"))
                .says(text)
                .number("caller waits", waits, "ms")
                .number("callee allows itself", allows, "ms")
                .number("traces", pair.seen as f64, "")
                .number("most time a deadline left", pair.left_ms, "ms")
                .advise(format!(
                    "let {} take its caller's deadline along, or give {} at most {}",
                    caller.key.callee,
                    callee.key,
                    ms(waits)
                ));
            let slowest = callee.attempt_ms(0.99);
            if slowest.is_some_and(|p99| p99 < waits) {
                draft = draft.fix(shorter(facts, callee, waits as u64));
            }
            report.add(draft);
        }
    }
}

/// How long a caller waits for one attempt, in milliseconds.
fn waits_for(settings: &EdgeSettings) -> Option<f64> {
    let timeout = settings.timeout.as_ref()?;
    [timeout.attempt_ms, timeout.overall_ms].into_iter().flatten().min().map(|ms| ms as f64)
}

/// How long a call may go on, in milliseconds.
fn allows(settings: &EdgeSettings) -> Option<f64> {
    let timeout = settings.timeout.as_ref()?;
    let retry = settings.retry.clone().unwrap_or_default();
    let attempts = f64::from(retry.max_attempts.unwrap_or(1).max(1));
    let all = timeout.attempt_ms.map(|ms| ms as f64 * attempts + waits(&retry).sum::<f64>());
    let overall = timeout.overall_ms.map(|ms| ms as f64);
    match (all, overall) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn shorter(facts: &Facts, edge: &EdgeFacts, most: u64) -> Vec<fuseboard_api::command::PolicyEdit> {
    let attempt = edge.settings.timeout.as_ref().and_then(|t| t.attempt_ms).filter(|ms| *ms > most);
    let attempt = attempt.map(|_| facts.set(edge, "timeout.attempt_ms", most.to_string()));
    attempt.into_iter().chain([facts.set(edge, "timeout.overall_ms", most.to_string())]).collect()
}
