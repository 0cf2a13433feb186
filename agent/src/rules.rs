//! What the agent obeys: a policy set and the overrides in force.

use fuseboard_policy::document::Problem;
use fuseboard_policy::overrides::Override;
use fuseboard_policy::set::PolicySet;

use crate::edges::InForce;
use crate::messaging::PROCESS;

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

/// All problems of a document in one line.
pub(crate) fn one_line(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_policy::overrides::{OverrideAction, Selector};
    use fuseboard_policy::settings::BreakerMode;

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
