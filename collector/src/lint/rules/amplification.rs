//! What retries multiply to along a path when its last callee fails.
//!
//! Three bounds, each sharper: the product of the attempts; what is left of it because the agent does not retry a request
//! that is a retry itself (a retry's own calls count as first ones again, so this holds from one hop to the next); and the
//! budgets, which bound not a single request but the sum over time.

use std::collections::BTreeMap;

use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::RetryBudget;

use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Report, found};
use crate::lint::words::times;

const RULE: &str = "retry.amplification";
const SOURCE: &str = "Google, Site Reliability Engineering, chapters 21 and 22: retry at one layer only, at most three attempts \
    a request, within a budget of a tenth of the calls";

/// More load than this over time, budgets counted, is worth a warning: what one layer alone may do at most.
const WARN: f64 = 3.0;

/// What one path multiplies calls with.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Factor {
    /// The product of the attempts.
    product: f64,
    /// The most calls that one request can cause at the end.
    request: f64,
    /// Calls at the end a request, over time, while all of them fail.
    load: f64,
}

pub(super) fn check(facts: &Facts, report: &mut Report) {
    if facts.paths.traces == 0 {
        report.lacks(&[RULE], None, format!("no trace of the last {} is stored: paths are not known", facts.lasting()));
        return;
    }
    // One finding for each callee at the end: its worst path.
    let mut worst: BTreeMap<&str, (Factor, Vec<&EdgeFacts>)> = BTreeMap::new();
    for path in facts.paths.whole.keys() {
        let edges: Vec<&EdgeFacts> = path.iter().filter_map(|at| facts.edges.get(*at)).collect();
        let retrying = edges.iter().filter(|e| retries(e)).count();
        let factor = factor(&edges);
        let (Some(last), true) = (edges.last(), retrying >= 2 && factor.load > WARN) else { continue };
        let held = worst.entry(&last.key.callee).or_insert_with(|| (factor, edges.clone()));
        if factor.load > held.0.load {
            *held = (factor, edges);
        }
    }
    for (factor, path) in worst.into_values() {
        add(facts, factor, &path, report);
    }
}

fn retries(edge: &EdgeFacts) -> bool {
    edge.governed && edge.most_attempts() > 1
}

fn factor(path: &[&EdgeFacts]) -> Factor {
    let (mut first, mut retried, mut product, mut load) = (1.0, 0.0, 1.0, 1.0);
    for edge in path {
        let most = if retries(edge) { f64::from(edge.most_attempts()) } else { 1.0 };
        // Each first request is tried `most` times, of which all but the first are marked; a marked one is tried once, and
        // that one goes unmarked.
        (first, retried) = (first + retried, first * (most - 1.0));
        product *= most;
        load *= 1.0 + (most - 1.0).min(extra(edge));
    }
    let request: f64 = first + retried;
    Factor { product, request, load: load.min(request) }
}

/// Retries a call that the budget pays for, over time, while every call fails.
fn extra(edge: &EdgeFacts) -> f64 {
    match edge.settings.retry.as_ref().and_then(|r| r.budget.as_ref()) {
        None => f64::INFINITY,
        Some(RetryBudget::Ratio { ratio, min_per_sec, .. }) => {
            ratio + if edge.usual > 0.0 { min_per_sec / edge.usual } else { 0.0 }
        }
        // Successes alone give tokens back.
        Some(RetryBudget::Tokens { token_ratio, .. }) => *token_ratio,
    }
}

fn add(facts: &Facts, factor: Factor, path: &[&EdgeFacts], report: &mut Report) {
    let Some(nearest) = path.iter().rposition(|e| retries(e)) else { return };
    let (Some(once), Some(last)) = (path.get(nearest), path.last()) else { return };
    let way: Vec<String> = path
        .iter()
        .map(|e| format!("{} → {} (x{})", e.key.caller, e.key.callee, if retries(e) { e.most_attempts() } else { 1 }))
        .collect();
    let text = format!(
        "when {} fails, one request can become {:.0} calls to it ({:.0} without the rule that retries are not retried), and the load {} over time, budgets counted: {}",
        last.key.callee,
        factor.request,
        factor.product,
        times(factor.load),
        way.join(", ")
    );
    let upstream = path.get(..nearest).unwrap_or_default().iter().filter(|e| retries(e));
    report.add(
        found(RULE, LintSeverity::Warn, SOURCE)
            .on(path.iter().map(|e| &e.key))
            .about("retry.max_attempts", last.given_by("retry.max_attempts"))
            .says(text)
            .number("product of the attempts", factor.product, "x")
            .number("calls one request can cause", factor.request, "x")
            .number("load over time with budgets", factor.load, "x")
            .advise(format!("retry only nearest the failure, on {}; one attempt above it", once.key))
            .fix(upstream.map(|e| facts.set(e, "retry.max_attempts", "1"))),
    );
}
