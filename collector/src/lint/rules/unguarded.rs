//! Busy edges without a timeout or a breaker.

use fuseboard_api::lint::LintSeverity;

use crate::lint::facts::Facts;
use crate::lint::report::{Report, found};
use crate::lint::words::{count, ms, per_sec, round_up};

const TIMEOUT: &str = "edge.no_timeout";
const BREAKER: &str = "edge.no_breaker";
const NYGARD: &str = "Nygard, Release It!, stability patterns: Timeouts, Circuit Breaker";

/// Calls a second from which an edge counts as busy.
const BUSY: f64 = 1.0;
/// The timeout that is proposed, as a multiple of the p99.
const ROOM: f64 = 2.0;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed().filter(|e| e.stats.rate() >= BUSY && !e.asynchronous) {
        let timeout = edge.settings.timeout.clone().unwrap_or_default();
        let none = timeout.attempt_ms.is_none() && timeout.overall_ms.is_none();
        let rate = edge.stats.rate();
        let draft = |rule, severity, text: String| {
            found(rule, severity, NYGARD).on([&edge.key]).says(text).number("calls a second", rate, "/s").number(
                "calls",
                edge.stats.calls as f64,
                "calls",
            )
        };
        let seen = format!("{} ({} in {})", per_sec(rate), count(edge.stats.calls, "call", "calls"), facts.lasting());
        if none {
            let text = format!("{}: nothing ends a call that hangs: no timeout at {seen}", edge.key);
            let mut finding = draft(TIMEOUT, LintSeverity::Warn, text).about("timeout", "");
            finding = match edge.attempt_ms(0.99) {
                Some(p99) => {
                    let wanted = round_up(p99 * ROOM);
                    finding
                        .number("p99 of attempts", p99, "ms")
                        .advise(format!("{}, twice the p99 of {}", ms(wanted as f64), ms(p99)))
                        .fix([facts.set(edge, "timeout.overall_ms", wanted.to_string())])
                }
                None => finding.advise("some multiple of the p99, once there are enough calls to know it"),
            };
            report.add(finding);
        }
        if edge.settings.breaker.is_none() {
            let text = format!(
                "{}: no breaker at {seen}: while {} is down every call still waits for it",
                edge.key, edge.key.callee
            );
            report.add(
                draft(BREAKER, LintSeverity::Note, text)
                    .about("breaker", "")
                    .advise("50 % of at least 20 calls in 10 s is what most begin with: the preset rpc-50")
                    .fix([facts.set(edge, "breaker.preset", "\"rpc-50\"")]),
            );
        }
    }
}
