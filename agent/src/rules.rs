//! What the agent obeys: a policy set and the overrides in force. And what it refuses to obey, whoever says so.

use fuseboard_policy::document::{PolicyDocument, Problem};
use fuseboard_policy::overrides::{Override, OverrideAction};
use fuseboard_policy::set::PolicySet;
use fuseboard_policy::settings::Timeout;

use crate::edges::InForce;
use crate::messaging::PROCESS;

/// The agent's own hard bounds of every timeout, in milliseconds: 1 ms to 10 min.
const TIMEOUT_MS: std::ops::RangeInclusive<u64> = 1..=600_000;

/// A snapshot of everything in force; changed by replacing it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// The policy.
    pub(crate) set: PolicySet,
    /// The overrides meant for this instance and not expired.
    pub(crate) overrides: Vec<Override>,
}

impl Rules {
    /// What is in force on an edge.
    pub(crate) fn resolve(&self, caller: &str, instance: &str, service: &str, operation: &str) -> InForce {
        // Rules for calls at large are not meant for messages that are processed.
        let named = operation == PROCESS;
        let meant = self.overrides.iter().filter(|o| {
            o.selector.matches(caller, instance, service, operation) && (!named || o.selector.operation.is_some())
        });
        let effective = match named {
            true => self.set.effective_named(caller, service, operation),
            false => self.set.effective(caller, service, operation),
        };
        let effective = effective.with_overrides(meant);
        InForce {
            hash: effective.hash(),
            override_id: effective.mode_override.or(effective.overrides.last().copied()).unwrap_or(0),
            settings: effective.settings,
            revision: self.set.revision(),
            fault: effective.fault,
        }
    }
}

/// Checks a policy against the agent's own bounds.
///
/// # Errors
/// The first setting that is out of bounds.
pub(crate) fn check_policy(document: &PolicyDocument) -> Result<(), String> {
    document.rules().iter().try_for_each(|rule| {
        let number = |name: &str| {
            let value = rule.table().get("timeout").and_then(|t| t.get(name)).and_then(|v| v.as_integer());
            value.and_then(|n| u64::try_from(n).ok())
        };
        let timeout = Timeout { attempt_ms: number("attempt_ms"), overall_ms: number("overall_ms") };
        check_timeout(timeout.attempt_ms, timeout.overall_ms).map_err(|e| format!("{rule}: {e}"))
    })
}

/// Checks an override against the agent's own bounds.
///
/// # Errors
/// The setting that is out of bounds.
pub(crate) fn check_override(one: &Override) -> Result<(), String> {
    one.action.check()?;
    match &one.action {
        OverrideAction::Timeout { attempt_ms, overall_ms } => check_timeout(*attempt_ms, *overall_ms),
        OverrideAction::Mode(_) | OverrideAction::Fault(_) => Ok(()),
    }
}

fn check_timeout(attempt_ms: Option<u64>, overall_ms: Option<u64>) -> Result<(), String> {
    for (name, value) in [("attempt_ms", attempt_ms), ("overall_ms", overall_ms)] {
        if let Some(ms) = value.filter(|ms| !TIMEOUT_MS.contains(ms)) {
            let (least, most) = (TIMEOUT_MS.start(), TIMEOUT_MS.end());
            return Err(format!("timeout.{name}: this agent takes {least} to {most} ms, not {ms}"));
        }
    }
    Ok(())
}

/// All problems of a document in one line.
pub(crate) fn one_line(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_policy::overrides::Selector;
    use fuseboard_policy::settings::BreakerMode;

    #[test]
    fn the_agents_own_bounds_beat_a_policy() {
        let document = |ms: u64| {
            let text = format!("[[edge]]\nservice = \"*\"\ntimeout = {{ overall_ms = {ms} }}\n");
            PolicyDocument::parse(&text).unwrap()
        };
        assert_eq!(check_policy(&document(600_000)), Ok(()));
        let refused = check_policy(&document(600_001)).unwrap_err();
        assert!(refused.contains("overall_ms") && refused.contains("600001"), "{refused}");
    }

    #[test]
    fn an_override_acts_only_where_it_is_meant() {
        let mode = OverrideAction::Mode(BreakerMode::ForcedOpen);
        let selector =
            Selector { service: Some("payments".into()), instance: Some("a-1".into()), ..Selector::default() };
        let one = Override { id: 7, selector, action: mode, ..Override::default() };
        let rules = Rules { overrides: vec![one], ..Rules::default() };
        assert_eq!(rules.resolve("a", "a-1", "payments", "x").override_id, 7);
        assert_eq!(rules.resolve("a", "a-2", "payments", "x").override_id, 0);
        assert_eq!(rules.resolve("a", "a-1", "stock", "x").settings.breaker, None);
    }
}
