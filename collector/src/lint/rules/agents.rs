//! Callers of critical edges that no change can reach.

use std::collections::BTreeMap;

use fuseboard_api::fleet::Member;
use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::Criticality;

use crate::lint::facts::Facts;
use crate::lint::report::{Report, found};
use crate::lint::words::{count, grouped};

const RULE: &str = "agent.missing";
const SOURCE: &str = "only an instance whose agent is connected gets a new revision or an override";

pub(super) fn check(facts: &Facts, report: &mut Report) {
    let mut told = std::collections::BTreeSet::new();
    let mut by_service: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
    for member in &facts.members {
        by_service.entry(&member.service).or_default().push(member);
    }
    for edge in facts.edges.iter().filter(|e| e.settings.criticality == Some(Criticality::High)) {
        let Some(members) = by_service.get(edge.key.caller.as_str()) else { continue };
        let out: Vec<&&Member> = members.iter().filter(|m| m.connected != Some(true)).collect();
        if out.is_empty() || !told.insert((edge.key.caller.as_str(), edge.key.callee.as_str())) {
            continue;
        }
        let (never, gone) = (out.iter().filter(|m| m.connected.is_none()).count(), out.len());
        let names: Vec<&str> = out.iter().take(3).map(|m| m.instance.as_str()).collect();
        let text = format!(
            "{} → {} is critical, and {} of {} of {} cannot be steered ({} without an agent, {} not connected): {}",
            edge.key.caller,
            edge.key.callee,
            gone,
            count(members.len() as u64, "instance", "instances"),
            edge.key.caller,
            grouped(never as f64),
            grouped((gone - never) as f64),
            names.join(", ")
        );
        report.add(
            found(RULE, LintSeverity::Warn, SOURCE)
                .on([&edge.key])
                .about("criticality", edge.given_by("criticality"))
                .says(text)
                .number("instances", members.len() as f64, "")
                .number("not connected", gone as f64, "")
                .number("calls", edge.stats.calls as f64, "calls")
                .advise("give these instances an agent, or find out why theirs does not reach the collector"),
        );
    }
}
