//! Overrides that have been in force so long that they are policy by now.

use fuseboard_api::change::OverrideAction;
use fuseboard_api::lint::LintSeverity;
use fuseboard_policy::settings::BreakerMode;

use crate::lint::facts::Facts;
use crate::lint::report::{Report, found};
use crate::lint::words::lasting;

const RULE: &str = "override.long";
const SOURCE: &str = "an override is for an incident; what lasts belongs into the policy, where it is reviewed";

/// In force for longer than this it is no quick measure any more, in seconds.
const LONG: f64 = 3_600.0;

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for change in facts.overrides.iter().filter(|_| !facts.draft) {
        let age = facts.as_of.since(change.at).as_secs_f64();
        if age < LONG {
            continue;
        }
        let action = change.override_spec.as_ref().map(|spec| &spec.action);
        // While shadowed, closed by force or disabled, nothing protects; a fault still injects.
        let harmless = matches!(action, Some(OverrideAction::Timeout { .. } | OverrideAction::Mode(BreakerMode::Auto)));
        let severity = if harmless { LintSeverity::Note } else { LintSeverity::Warn };
        let left = change.expires.map_or(0.0, |at| at.since(facts.as_of).as_secs_f64());
        let text = format!(
            "override {} has been in force for {} ({}, by {}: {}), and will be for {} more",
            change.id,
            lasting(age),
            change.summary,
            change.actor,
            change.reason,
            lasting(left)
        );
        report.add(
            found(RULE, severity, SOURCE)
                .about("", &format!("override {}", change.id))
                .says(text)
                .number("override", change.id as f64, "")
                .number("in force for", age, "s")
                .number("ends in", left, "s")
                .advise("end it, or write it into the policy"),
        );
    }
}
