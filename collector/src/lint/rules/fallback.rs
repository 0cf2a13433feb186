//! Fallbacks that are given so often that nobody sees the failure.

use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::Fallback;

use crate::lint::facts::Facts;
use crate::lint::report::{Report, found};
use crate::lint::words::{count, percent};

const RULE: &str = "fallback.hides_failure";
const SOURCE: &str = "Amazon Builders' Library, Avoiding fallback in distributed systems";

/// How calls usually end is known from so many on.
const CALLS: u64 = 100;
/// A fallback given to more calls than this is no exception any more.
const USUAL: f64 = 0.5;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed() {
        let Some(fallback) = &edge.settings.fallback else { continue };
        if edge.calm.sent < CALLS {
            let had = count(edge.calm.sent, "call", "calls");
            let text =
                format!("{} had {had} in {}; {CALLS} are needed to judge its fallback", edge.key, facts.lasting());
            report.lacks(&[RULE], Some(&edge.key), text);
            continue;
        }
        // Refused calls are given it, too.
        let given = edge.stats.error_ratio();
        if edge.calm.failed < USUAL {
            continue;
        }
        let what = match fallback {
            Fallback::Status { code } => format!("the status {code}"),
            Fallback::Value { name } => format!("the value {name:?}"),
        };
        let text = format!(
            "{}: {} of {} fail and are given {what} instead, day in, day out: the application does not see that {} is broken",
            edge.key,
            percent(given),
            count(edge.stats.calls, "call", "calls"),
            edge.key.callee
        );
        report.add(
            found(RULE, LintSeverity::Warn, SOURCE)
                .on([&edge.key])
                .about("fallback", edge.given_by("fallback"))
                .says(text)
                .number("calls given the fallback", given * 100.0, "%")
                .number("usual errors", edge.calm.failed * 100.0, "%")
                .number("calls", edge.stats.calls as f64, "calls")
                .advise("mend what fails, or stop calling it; then see whether the fallback is still wanted"),
        );
    }
}
