//! Retry budgets that never refuse, and retries without one. Told once for each rule of the document.

use std::collections::BTreeMap;

use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::RetryBudget;

use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Report, found};
use crate::lint::words::{per_sec, times};

const LARGER: &str = "retry.budget_larger_than_traffic";
const NONE: &str = "retry.no_budget";
const SRE: &str = "Google, Site Reliability Engineering, chapter 21: retries within a tenth of the calls";
const FINAGLE: &str = "Finagle's and Linkerd's reserve of 10 retries a second: what is below it hurts nobody";

/// Retries a second, over all instances, that no callee feels.
const HARMLESS: f64 = 10.0;
/// Calls a second from which retries without a budget matter.
const BUSY: f64 = 1.0;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    let mut without: BTreeMap<&str, Vec<&EdgeFacts>> = BTreeMap::new();
    let mut larger: BTreeMap<&str, Vec<(&EdgeFacts, f64)>> = BTreeMap::new();
    for edge in facts.governed() {
        let Some(retry) = edge.settings.retry.as_ref().filter(|r| r.max_attempts.unwrap_or(1) > 1) else { continue };
        match retry.budget {
            None => without.entry(edge.given_by("retry.max_attempts")).or_default().push(edge),
            Some(RetryBudget::Ratio { min_per_sec, .. }) if min_per_sec >= most_retries(edge) && edge.peak > 0.0 => {
                larger.entry(edge.given_by("retry.budget.min_per_sec")).or_default().push((edge, min_per_sec));
            }
            Some(_) => {}
        }
    }
    for (by, edges) in without {
        no_budget(facts, by, &edges, report);
    }
    for (by, edges) in larger {
        too_large(facts, by, &edges, report);
    }
}

/// Retries a second that an instance could make at its busiest.
fn most_retries(edge: &EdgeFacts) -> f64 {
    edge.peak * f64::from(edge.most_attempts() - 1)
}

fn no_budget(facts: &Facts, by: &str, edges: &[&EdgeFacts], report: &mut Report) {
    let Some(busiest) = edges.iter().max_by(|a, b| a.stats.rate().total_cmp(&b.stats.rate())) else { return };
    if busiest.stats.rate() < BUSY {
        return;
    }
    let most = f64::from(busiest.most_attempts());
    let text = format!(
        "{}: retries have no budget: when {} fails, {} becomes {}{}",
        busiest.key,
        busiest.key.callee,
        per_sec(busiest.stats.rate()),
        per_sec(busiest.stats.rate() * most),
        others(edges.len(), by)
    );
    let budget = "{ ratio = 0.1, min_per_sec = 1, ttl_ms = 10000 }".to_owned();
    let fix = match facts.rule(by) {
        Some(rule) => Facts::set_in(rule, "retry.budget", Some(budget)),
        None => facts.set(busiest, "retry.budget", budget),
    };
    report.add(
        found(NONE, LintSeverity::Warn, SRE)
            .on([&busiest.key])
            .about("retry.budget", by)
            .says(text)
            .number("calls a second", busiest.stats.rate(), "/s")
            .number("attempts a call", most, "x")
            .number("edges without a budget", edges.len() as f64, "")
            .advise(format!("a tenth of the calls, and one a second: {} at most", times(1.1)))
            .fix([fix]),
    );
}

fn too_large(facts: &Facts, by: &str, edges: &[(&EdgeFacts, f64)], report: &mut Report) {
    let extra = |e: &EdgeFacts| most_retries(e) * e.instances;
    let Some((busiest, reserve)) = edges.iter().max_by(|(a, _), (b, _)| extra(a).total_cmp(&extra(b))) else { return };
    let harmful = extra(busiest) > HARMLESS;
    let severity = if harmful { LintSeverity::Warn } else { LintSeverity::Note };
    let text = format!(
        "{}: the retry budget never refuses: its reserve of {} an instance is more than the {} retries that {} at the busiest could ask for{}{}",
        busiest.key,
        per_sec(*reserve),
        per_sec(most_retries(busiest)),
        per_sec(busiest.peak),
        if harmful { "" } else { "; harmless at this rate" },
        others(edges.len(), by)
    );
    let mut draft = found(LARGER, severity, FINAGLE)
        .on([&busiest.key])
        .about("retry.budget.min_per_sec", by)
        .says(text)
        .number("reserve of an instance", *reserve, "/s")
        .number("retries at the busiest", most_retries(busiest), "/s")
        .number("calls a second of an instance at its busiest", busiest.peak, "/s")
        .number("instances", busiest.instances, "")
        .number("edges", edges.len() as f64, "");
    if harmful {
        let wanted = (HARMLESS / busiest.instances / 2.0).max(0.1);
        draft = draft
            .advise(format!("keep {} an instance as the reserve and let the ratio do the rest", per_sec(wanted)))
            .fix([facts.set(busiest, "retry.budget.min_per_sec", format!("{wanted:.1}"))]);
    } else {
        draft = draft.advise("know that max_attempts alone bounds retries here; lower the reserve when traffic grows");
    }
    report.add(draft);
}

fn others(edges: usize, by: &str) -> String {
    match edges - 1 {
        0 => String::new(),
        1 => format!(" (1 more edge of {by:?} likewise)"),
        n => format!(" ({n} more edges of {by:?} likewise)"),
    }
}
