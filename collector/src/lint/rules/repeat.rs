//! Operations that are done twice although nobody said that they may be.

use fuseboard_api::lint::LintSeverity;

use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Report, found};
use crate::lint::words::count;

const RULE: &str = "retry.not_idempotent";
const SOURCE: &str =
    "RFC 9110, section 9.2.2: a client should not retry a request with a method that is not idempotent";

/// Methods that may be repeated (RFC 9110, section 9.2.2): to retry these is what retries are for.
const IDEMPOTENT: [&str; 6] = ["GET ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "TRACE "];

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed() {
        let all = edge.settings.retry.as_ref().is_some_and(|r| r.non_idempotent == Some(true));
        if !all || edge.most_attempts() < 2 || IDEMPOTENT.iter().any(|m| edge.key.operation.starts_with(m)) {
            continue;
        }
        report.add(draft(facts, edge));
    }
}

fn draft(facts: &Facts, edge: &EdgeFacts) -> crate::lint::report::Draft {
    let again = edge.stats.attempts.saturating_sub(edge.stats.calls.saturating_sub(edge.stats.refused));
    let hedged = edge.settings.hedge.is_some();
    let text = format!(
        "{}: calls that nobody marked as repeatable are {} up to {} times: {} of {} in {} were sent again, and may have been done twice",
        edge.key,
        if hedged { "tried and hedged" } else { "tried" },
        edge.most_attempts(),
        count(again, "attempt", "attempts"),
        count(edge.stats.attempts, "attempt", "attempts"),
        facts.lasting()
    );
    found(RULE, LintSeverity::Warn, SOURCE)
        .on([&edge.key])
        .about("retry.non_idempotent", edge.given_by("retry.non_idempotent"))
        .says(text)
        .number("attempts allowed", f64::from(edge.most_attempts()), "")
        .number("attempts beyond the first", again as f64, "")
        .number("attempts", edge.stats.attempts as f64, "")
        .advise("mark what may be repeated in the service (idempotent operations, idempotency-key) and take the setting away")
        .fix([facts.set(edge, "retry.non_idempotent", "false")])
}
