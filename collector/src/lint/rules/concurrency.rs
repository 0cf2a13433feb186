//! Limits of calls in flight below what usually is in flight, by Little's law.

use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::Concurrency;

use crate::lint::facts::{Facts, mean_ms};
use crate::lint::report::{Report, found};
use crate::lint::words::{ms, per_sec, round_up};

const RULE: &str = "concurrency.below_usual";
const SOURCE: &str =
    "Little's law: calls in flight = rate x mean latency; arrivals at random spread by its square root";

/// So many standard deviations above the mean still happen by chance.
const SIGMAS: f64 = 3.0;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed() {
        let Some(concurrency) = &edge.settings.concurrency else { continue };
        let Some(mean) = mean_ms(&edge.stats.latency) else { continue };
        let max = match *concurrency {
            Concurrency::Fixed { max }
            | Concurrency::Aimd { max, .. }
            | Concurrency::Vegas { max, .. }
            | Concurrency::Gradient2 { max, .. } => max,
        };
        let (usual, busy) = (edge.usual * mean / 1e3, edge.peak * mean / 1e3);
        let most = busy + SIGMAS * busy.sqrt();
        if max as f64 >= most {
            continue;
        }
        let severity = if (max as f64) < usual { LintSeverity::Error } else { LintSeverity::Warn };
        let text = format!(
            "{}: at most {max} calls may be in flight from an instance of {}; at its busiest {busy:.1} are ({} of {} each), and {most:.0} now and then",
            edge.key,
            edge.key.caller,
            per_sec(edge.peak),
            ms(mean)
        );
        let wanted = round_up(most * 2.0);
        report.add(
            found(RULE, severity, SOURCE)
                .on([&edge.key])
                .about("concurrency.max", edge.given_by("concurrency"))
                .says(text)
                .number("limit of an instance", max as f64, "calls")
                .number("usually in flight", usual, "calls")
                .number("in flight at the busiest", busy, "calls")
                .number("in flight now and then", most, "calls")
                .number("mean latency", mean, "ms")
                .number("busiest rate of an instance", edge.peak, "/s")
                .advise(format!("allow twice what happens now and then: {wanted}"))
                .fix([facts.set(edge, "concurrency.max", wanted.to_string())]),
        );
    }
}
