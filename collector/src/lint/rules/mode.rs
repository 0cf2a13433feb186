//! Breakers that a document tells not to work: modes are for overrides, which end.

use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::BreakerMode;

use crate::lint::facts::Facts;
use crate::lint::report::{Report, found};
use crate::lint::words::{count, per_sec};

const RULE: &str = "breaker.mode_left";
const SOURCE: &str = "a mode in a document has no end; an override has an actor, a reason and an expiry";

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed() {
        let mode = edge.settings.breaker.as_ref().and_then(|b| b.mode).unwrap_or_default();
        let (severity, does) = match mode {
            BreakerMode::Auto => continue,
            BreakerMode::ForcedOpen => (LintSeverity::Error, "refuses every call"),
            BreakerMode::ForcedClosed => (LintSeverity::Warn, "lets every call through, whatever fails"),
            BreakerMode::Disabled => (LintSeverity::Warn, "lets every call through and counts nothing"),
            BreakerMode::Shadow => (LintSeverity::Note, "only tells what it would do"),
        };
        let rate = edge.stats.rate();
        let text = format!(
            "{}: the policy leaves its breaker in a mode that {does}, for {} ({} in {})",
            edge.key,
            per_sec(rate),
            count(edge.stats.calls, "call", "calls"),
            facts.lasting()
        );
        let (by, auto) = (edge.given_by("breaker.mode"), "\"auto\"".to_owned());
        let fix = match facts.rule(by) {
            Some(rule) => Facts::set_in(rule, "breaker.mode", Some(auto)),
            None => facts.set(edge, "breaker.mode", auto),
        };
        report.add(
            found(RULE, severity, SOURCE)
                .on([&edge.key])
                .about("breaker.mode", by)
                .says(text)
                .number("calls a second", rate, "/s")
                .number("calls", edge.stats.calls as f64, "calls")
                .advise("let it work by its rules; use an override with an expiry for anything else")
                .fix([fix]),
        );
    }
}
