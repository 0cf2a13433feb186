//! Hedges that begin too early or too late to help.

use fuseboard_api::lint::LintSeverity;

use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Draft, Report, found};
use crate::lint::words::{count, ms, percent, round_up};

const EARLY: &str = "hedge.too_early";
const LATE: &str = "hedge.too_late";
const SOURCE: &str =
    "Dean and Barroso, The Tail at Scale (2013): hedge beyond the 95th percentile, for some 5 % more load";

/// More calls that are hedged than this are more load than the tail is worth.
const OFTEN: f64 = 0.25;
/// Fewer than this are not worth their setting.
const SELDOM: f64 = 0.001;
/// Attempts are judged from so many on: five are then expected beyond the rarest share that is judged here.
const ATTEMPTS: u64 = 5_000;
/// The same for hedges that come often.
const FEW: u64 = 100;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed() {
        let Some(hedge) = edge.settings.hedge.as_ref().filter(|h| h.max_extra != Some(0)) else { continue };
        let n = edge.attempts.count();
        if let Some(q) = hedge.after_quantile {
            if 1.0 - q > OFTEN {
                let text = format!(
                    "{}: {} of calls are hedged, those slower than the {} quantile: that much more load ({} seen)",
                    edge.key,
                    percent(1.0 - q),
                    q,
                    count(n, "attempt", "attempts")
                );
                let draft = found(EARLY, LintSeverity::Warn, SOURCE).number("share hedged", (1.0 - q) * 100.0, "%");
                let fix = facts.set(edge, "hedge.after_quantile", "0.95");
                report.add(
                    about(draft, edge, "hedge.after_quantile").says(text).advise("hedge the slowest 5 %").fix([fix]),
                );
            }
            continue;
        }
        let Some(after) = hedge.after_ms else { continue };
        if n < FEW {
            let text = format!(
                "{} had {} in {}; {FEW} are needed to judge its hedges",
                edge.key,
                count(n, "attempt", "attempts"),
                facts.lasting()
            );
            report.lacks(&[EARLY, LATE], Some(&edge.key), text);
            continue;
        }
        let share = edge.attempts.share_above(std::time::Duration::from_millis(after));
        if share > OFTEN || (n >= ATTEMPTS && share < SELDOM) {
            report.add(fixed(facts, edge, after, share));
        }
    }
}

fn about(draft: Draft, edge: &EdgeFacts, setting: &str) -> Draft {
    draft.on([&edge.key]).about(setting, edge.given_by(setting)).number("attempts", edge.attempts.count() as f64, "")
}

fn fixed(facts: &Facts, edge: &EdgeFacts, after: u64, share: f64) -> Draft {
    let (p50, p95) = (edge.attempts.quantile(0.5), edge.attempts.quantile(0.95));
    let [p50, p95] = [p50, p95].map(|q| q.map_or(0.0, |d| d.as_secs_f64() * 1e3));
    let (rule, severity, why) = if share > OFTEN {
        (EARLY, LintSeverity::Warn, "that much more load, for calls that are not slow")
    } else {
        (LATE, LintSeverity::Note, "the tail is over before a hedge begins")
    };
    let text = format!(
        "{}: a hedge after {} joins {} of attempts (median {}, p95 {}): {why}",
        edge.key,
        ms(after as f64),
        percent(share),
        ms(p50),
        ms(p95)
    );
    let wanted = round_up(p95);
    let draft = found(rule, severity, SOURCE)
        .number("hedge after", after as f64, "ms")
        .number("share hedged", share * 100.0, "%")
        .number("median of attempts", p50, "ms")
        .number("p95 of attempts", p95, "ms");
    about(draft, edge, "hedge.after_ms")
        .says(text)
        .advise(format!("hedge after the p95: {}", ms(wanted as f64)))
        .fix([facts.set(edge, "hedge.after_ms", wanted.to_string())])
}
