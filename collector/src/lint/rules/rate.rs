//! Rate limits that refuse usual traffic, or that never act.

use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::Rate;

use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Report, found};
use crate::lint::words::{per_sec, round_up};

const REFUSES: &str = "rate.refuses_usual_traffic";
const NEVER: &str = "rate.never_acts";
const SOURCE: &str = "a limit holds for each instance of the caller, so it is held against the calls of one";

/// A limit so many times the busiest rate protects nothing that exists.
const FAR: f64 = 20.0;
/// Room above the busiest rate in what is proposed.
const ROOM: f64 = 1.5;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for edge in facts.governed().filter(|e| e.peak > 0.0) {
        let Some(rate) = &edge.settings.rate else { continue };
        let (limit, path) = match *rate {
            Rate::TokenBucket { per_sec, .. } => (per_sec as f64, "rate.per_sec"),
            Rate::SlidingWindow { limit, window_ms } => {
                (limit as f64 * 1e3 / (window_ms as f64).max(1.0), "rate.limit")
            }
        };
        if limit < edge.peak {
            refuses(facts, edge, rate, (limit, path), report);
        } else if limit > edge.peak * FAR {
            never(edge, (limit, path), report);
        }
    }
}

fn refuses(facts: &Facts, edge: &EdgeFacts, rate: &Rate, (limit, path): (f64, &str), report: &mut Report) {
    let always = limit < edge.usual;
    let severity = if always { LintSeverity::Error } else { LintSeverity::Warn };
    let text = format!(
        "{}: the rate limit of {} refuses {} traffic: an instance of {} usually makes {}, at its busiest {}",
        edge.key,
        per_sec(limit),
        if always { "usual" } else { "its busiest" },
        edge.key.caller,
        per_sec(edge.usual),
        per_sec(edge.peak)
    );
    let wanted = edge.peak * ROOM;
    let value = match *rate {
        Rate::TokenBucket { .. } => round_up(wanted),
        Rate::SlidingWindow { window_ms, .. } => round_up(wanted * window_ms as f64 / 1e3),
    };
    report.add(
        numbers(found(REFUSES, severity, SOURCE), edge, limit, path)
            .says(text)
            .advise(format!("allow half as much again as the busiest: {path} = {value}"))
            .fix([facts.set(edge, path, value.to_string())]),
    );
}

fn never(edge: &EdgeFacts, (limit, path): (f64, &str), report: &mut Report) {
    let text = format!(
        "{}: the rate limit of {} is {:.0} times what an instance of {} makes at its busiest ({}): it would not slow a runaway loop",
        edge.key,
        per_sec(limit),
        limit / edge.peak,
        edge.key.caller,
        per_sec(edge.peak)
    );
    report.add(
        numbers(found(NEVER, LintSeverity::Note, SOURCE), edge, limit, path)
            .says(text)
            .advise("lower it to what the callee can bear of one instance, or take it away"),
    );
}

fn numbers(draft: crate::lint::report::Draft, edge: &EdgeFacts, limit: f64, path: &str) -> crate::lint::report::Draft {
    draft
        .on([&edge.key])
        .about(path, edge.given_by("rate"))
        .number("limit of an instance", limit, "/s")
        .number("usual rate of an instance", edge.usual, "/s")
        .number("busiest rate of an instance", edge.peak, "/s")
        .number("instances", edge.instances, "")
}
