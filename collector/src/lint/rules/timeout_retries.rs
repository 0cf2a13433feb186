//! Retries after a timeout for which the overall timeout leaves no time.

use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::backoff::{DEFAULT_BASE_MS, DEFAULT_MAX_MS, DEFAULT_MULTIPLIER};
use fuseboard_policy::settings::{Jitter, Retry};

use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Report, found};
use crate::lint::words::{count, ms};

const RULE: &str = "timeout.retries_cut_short";
const SOURCE: &str = "gRPC proposal A6: the deadline covers all attempts and the waits between them";

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed() {
        let timeout = edge.settings.timeout.clone().unwrap_or_default();
        let (Some(attempt), Some(overall), Some(retry)) =
            (timeout.attempt_ms, timeout.overall_ms, &edge.settings.retry)
        else {
            continue;
        };
        // Elsewhere retries follow replies that came, and these leave the time they left.
        let after_timeouts = retry.on.as_ref().is_some_and(|on| on.iter().any(|o| o == "deadline_exceeded"));
        let most = retry.max_attempts.unwrap_or(1);
        if after_timeouts && most > 1 {
            look(facts, edge, (attempt, overall, retry), report);
        }
    }
}

/// The wait before each retry at its longest, in milliseconds.
pub(super) fn waits(retry: &Retry) -> impl Iterator<Item = f64> {
    let backoff = retry.backoff.clone().unwrap_or_default();
    let base = backoff.base_ms.unwrap_or(DEFAULT_BASE_MS) as f64;
    let most = backoff.max_ms.unwrap_or(DEFAULT_MAX_MS) as f64;
    let factor = backoff.multiplier.unwrap_or(DEFAULT_MULTIPLIER);
    let spread = match backoff.jitter.unwrap_or_default() {
        Jitter::Grpc => 1.2,
        Jitter::None | Jitter::Full | Jitter::Equal | Jitter::Decorrelated => 1.0,
    };
    (0..retry.max_attempts.unwrap_or(1).saturating_sub(1)).map(move |n| {
        let n = i32::try_from(n).unwrap_or(i32::MAX);
        (base * factor.powi(n)).min(most) * spread
    })
}

fn look(facts: &Facts, edge: &EdgeFacts, (attempt, overall, retry): (u64, u64, &Retry), report: &mut Report) {
    let Some(p50) = edge.attempt_ms(0.5) else {
        let had = count(edge.attempts.count(), "attempt", "attempts");
        let text = format!("{} had {had} in {}; 10 are needed to say what a retry takes", edge.key, facts.lasting());
        report.lacks(&[RULE], Some(&edge.key), text);
        return;
    };
    let mut begins = 0.0;
    for (number, wait) in (2..).zip(waits(retry)) {
        begins += attempt as f64 + wait;
        let left = (overall as f64 - begins).max(0.0);
        if left >= p50 {
            continue;
        }
        // A second attempt without time is no retry at all; a later one is one that only seems to be there.
        let severity = if number == 2 { LintSeverity::Warn } else { LintSeverity::Note };
        let most = retry.max_attempts.unwrap_or(1);
        let fits = (overall as f64 - (begins - attempt as f64 * f64::from(number - 1))) / f64::from(number);
        let slowest = edge.attempt_ms(0.99).unwrap_or(p50 * 3.0);
        let text = format!(
            "{}: attempt {number} of {most} never really runs after timeouts: overall_ms {} leaves it {}, the median attempt takes {}",
            edge.key,
            ms(overall as f64),
            ms(left),
            ms(p50)
        );
        report.add(
            found(RULE, severity, SOURCE)
                .on([&edge.key])
                .about("timeout.overall_ms", edge.given_by("timeout.overall_ms"))
                .says(text)
                .number("overall timeout", overall as f64, "ms")
                .number("attempt timeout", attempt as f64, "ms")
                .number("attempts allowed", f64::from(most), "")
                .number("left for the attempt", left, "ms")
                .number("median of attempts", p50, "ms")
                .number("attempt timeout with which it fits", fits.max(0.0), "ms")
                .number("p99 of attempts", slowest, "ms")
                .advise(if fits >= slowest {
                    format!(
                        "shorten the attempt timeout to {}, still above the p99 of {}",
                        ms(fits.floor()),
                        ms(slowest)
                    )
                } else {
                    format!("it still runs after quick failures; for timeouts allow {} over all", ms(begins + slowest))
                })
                .fix((fits >= slowest).then(|| facts.set(edge, "timeout.attempt_ms", format!("{}", fits as u64)))),
        );
        return;
    }
}
