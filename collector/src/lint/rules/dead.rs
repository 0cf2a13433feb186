//! Rules of the document that do nothing: no edge matches them, or others beat them on every edge.

use fuseboard_api::command::PolicyEdit;
use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::document::Rule;

use crate::lint::facts::{EdgeFacts, Facts};
use crate::lint::report::{Report, found};
use crate::lint::words::{count, grouped};

const UNMATCHED: &str = "rule.matches_nothing";
const BEATEN: &str = "rule.shadowed";
const SOURCE: &str = "what nobody runs nobody reads: it misleads at night";

pub(super) fn check(facts: &Facts, report: &mut Report) {
    if facts.edges.is_empty() {
        let text =
            format!("no call of the last {} is stored: which rules match anything is not known", facts.lasting());
        report.lacks(&[UNMATCHED, BEATEN], None, text);
        return;
    }
    for rule in facts.document.rules().iter().filter(|rule| rule.service != "*" || rule.caller.is_some()) {
        let matched: Vec<&EdgeFacts> = facts.edges.iter().filter(|e| matches(rule, e)).collect();
        if matched.is_empty() {
            unmatched(facts, rule, report);
        } else if !names_a_preset(rule) && !matched.iter().any(|e| gives(rule, e)) {
            beaten(rule, &matched, report);
        }
    }
}

fn matches(rule: &Rule, edge: &EdgeFacts) -> bool {
    rule.caller.as_ref().is_none_or(|c| *c == edge.key.caller)
        && (rule.service == "*" || rule.service == edge.key.callee)
        && rule.operation.as_ref().is_none_or(|o| *o == edge.key.operation)
}

fn gives(rule: &Rule, edge: &EdgeFacts) -> bool {
    let label = rule.to_string();
    edge.provenance.values().any(|by| *by == label)
}

/// What a preset fills names the preset, not the rule.
fn names_a_preset(rule: &Rule) -> bool {
    let named = |table: &toml::Table| table.contains_key("preset");
    named(rule.table()) || rule.table().values().filter_map(toml::Value::as_table).any(named)
}

fn unmatched(facts: &Facts, rule: &Rule, report: &mut Report) {
    let known = |name: &str| facts.edges.iter().any(|e| e.key.callee == name || e.key.caller == name);
    // A name that nobody has is more than a quiet hour: nothing will ever match it.
    let strange = [Some(&rule.service).filter(|s| *s != "*"), rule.caller.as_ref()];
    let strange = strange.into_iter().flatten().find(|name| !known(name));
    let near = strange.and_then(|name| facts.nearest_service(name));
    let severity = if near.is_some() { LintSeverity::Warn } else { LintSeverity::Note };
    let why = match (strange, &near) {
        (Some(name), Some(near)) => format!("no service is called {name:?}, did you mean {near:?}?"),
        (Some(name), None) => format!("{name:?} was not seen"),
        (None, _) => "this caller, service and operation were not seen together".to_owned(),
    };
    let text = format!(
        "the rule {rule} matches none of {} of the last {}: {why}",
        count(facts.edges.len() as u64, "edge", "edges"),
        facts.lasting()
    );
    let draft = found(UNMATCHED, severity, SOURCE)
        .about("", &rule.to_string())
        .says(text)
        .number("edges", facts.edges.len() as f64, "")
        .number("calls", facts.edges.iter().map(|e| e.stats.calls).sum::<u64>() as f64, "calls");
    report.add(match near {
        Some(near) => draft.advise(format!("write {near:?}, if that is meant")),
        None => draft.advise("look over a longer range; if it still matches nothing, remove it").fix(removed(rule)),
    });
}

fn beaten(rule: &Rule, matched: &[&EdgeFacts], report: &mut Report) {
    let calls: u64 = matched.iter().map(|e| e.stats.calls).sum();
    let by = matched.first().and_then(|e| {
        let own = rule.table().keys().find(|key| !e.given_by(key).is_empty())?;
        Some(e.given_by(own))
    });
    let text = format!(
        "the rule {rule} gives nothing: on {} that it matches ({} calls) more specific rules set everything it says, like {}",
        if matched.len() == 1 { "the one edge".to_owned() } else { format!("all {} edges", matched.len()) },
        grouped(calls as f64),
        by.unwrap_or("others")
    );
    report.add(
        found(BEATEN, LintSeverity::Note, SOURCE)
            .about("", &rule.to_string())
            .on(matched.iter().take(1).map(|e| &e.key))
            .says(text)
            .number("edges that match", matched.len() as f64, "")
            .number("calls", calls as f64, "calls")
            .advise("remove it, or the rule that beats it")
            .fix(removed(rule)),
    );
}

fn removed(rule: &Rule) -> impl Iterator<Item = PolicyEdit> {
    rule.table().keys().map(|key| Facts::set_in(rule, key, None))
}
