//! A flip that is being prepared: what, where, why, for how long, and whether it may be sent.

use std::time::Duration;

use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::change::{OverrideAction, OverrideSpec, Selector};
use fuseboard_api::command::Action;
use fuseboard_api::graph::EdgeKey;
use fuseboard_policy::settings::Criticality;

use super::impact;
use super::switches::Switch;
use crate::widgets::format;

/// The expiries offered.
pub(crate) const EXPIRIES: [Duration; 4] =
    [Duration::from_secs(120), Duration::from_secs(300), Duration::from_secs(900), Duration::from_secs(3600)];

/// The expiry that is chosen when the panel opens.
pub(crate) const DEFAULT_EXPIRY: Duration = EXPIRIES[1];

/// The longest expiry that the collector accepts.
pub(crate) const LONGEST_EXPIRY: Duration = Duration::from_secs(86_400);

/// A flip before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flip {
    /// The edge.
    pub(crate) key: EdgeKey,
    /// To which mode.
    pub(crate) mode: BreakerMode,
    /// Why.
    pub(crate) reason: String,
    /// For how long.
    pub(crate) expiry: Duration,
    /// One instance of the caller; `None` for all.
    pub(crate) instance: Option<String>,
    /// The service's name as typed, where that is asked for.
    pub(crate) typed: String,
    /// Whether the service's name has to be typed.
    pub(crate) confirm: bool,
    /// The overrides that "auto" ends.
    pub(crate) ends: Vec<u64>,
    /// Whether reason, confirmation and the override to end have been filled in.
    filled: bool,
}

impl Flip {
    /// A flip of an edge's breaker, on one instance or all; the rest is filled in when it is first shown.
    pub(crate) fn new(key: EdgeKey, instance: Option<String>, mode: BreakerMode) -> Self {
        Self {
            key,
            mode,
            reason: String::new(),
            expiry: DEFAULT_EXPIRY,
            instance,
            typed: String::new(),
            confirm: false,
            ends: Vec::new(),
            filled: false,
        }
    }

    /// Fills in what is known of the switch; `true` the first time.
    pub(crate) fn fill(&mut self, switch: &Switch<'_>, overrides: impl Iterator<Item = u64>) -> bool {
        if self.filled {
            return false;
        }
        self.filled = true;
        self.reason = impact::default_reason(switch, self.mode);
        self.confirm = switch.criticality() == Criticality::High && is_forced(self.mode);
        self.ends = overrides.collect();
        true
    }

    /// Whether it may be sent, or what is missing.
    ///
    /// # Errors
    /// What the operator still has to do, as a sentence.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.reason.trim().is_empty() {
            return Err("Say why: the reason is written to the audit.".to_owned());
        }
        if self.confirm && self.typed.trim() != self.key.callee {
            return Err(format!("Criticality high: type {} to go on.", self.key.callee));
        }
        Ok(())
    }

    /// Whether it ends what somebody set, rather than setting something.
    pub(crate) fn is_ending(&self) -> bool {
        self.mode == BreakerMode::Auto && !self.ends.is_empty()
    }

    /// What the collector is asked to do.
    pub(crate) fn actions(&self) -> Vec<Action> {
        if self.is_ending() {
            return self.ends.iter().map(|id| Action::EndOverride { id: *id }).collect();
        }
        vec![Action::SetOverride {
            spec: OverrideSpec { selector: self.selector(), action: OverrideAction::Mode(self.mode) },
            ttl_ms: u64::try_from(self.expiry.min(LONGEST_EXPIRY).as_millis()).unwrap_or(u64::MAX),
        }]
    }

    fn selector(&self) -> Selector {
        Selector {
            caller: Some(self.key.caller.clone()),
            service: Some(self.key.callee.clone()),
            operation: Some(self.key.operation.clone()).filter(|o| !o.is_empty()),
            instance: self.instance.clone(),
        }
    }

    /// The question on top of the panel.
    #[must_use]
    pub(crate) fn title(&self) -> &'static str {
        match self.mode {
            BreakerMode::Auto => "Back to automatic?",
            BreakerMode::ForcedOpen => "Force open?",
            BreakerMode::ForcedClosed => "Force closed?",
            BreakerMode::Shadow => "Only shadow?",
            BreakerMode::Disabled => "Disable?",
        }
    }

    /// What the button says: what happens, where, how long.
    #[must_use]
    pub(crate) fn button(&self) -> String {
        let what = match self.mode {
            BreakerMode::Auto if self.ends.len() == 1 => return "End the override now".to_owned(),
            BreakerMode::Auto if !self.ends.is_empty() => return format!("End {} overrides now", self.ends.len()),
            BreakerMode::Auto => "Set to auto",
            BreakerMode::ForcedOpen => "Force open",
            BreakerMode::ForcedClosed => "Force closed",
            BreakerMode::Shadow => "Shadow",
            BreakerMode::Disabled => "Disable",
        };
        format!("{what} for {}", format::duration(self.expiry))
    }

    /// Where it happens: `all 2 instances of orders`, `orders-1 only`.
    #[must_use]
    pub(crate) fn place(&self, instances: usize) -> String {
        match &self.instance {
            Some(one) => format!("{one} only"),
            None => Self::everywhere(&self.key, instances),
        }
    }

    /// `all 2 instances of orders`.
    pub(crate) fn everywhere(key: &EdgeKey, instances: usize) -> String {
        match instances {
            1 => format!("the 1 instance of {}", key.caller),
            n => format!("all {n} instances of {}", key.caller),
        }
    }

    /// The next expiry of the list (the first one after the last).
    pub(crate) fn next_expiry(&mut self) {
        let next = EXPIRIES.iter().find(|e| **e > self.expiry).unwrap_or(&EXPIRIES[0]);
        self.expiry = *next;
    }
}

/// Whether a mode takes the decision away from the rule.
#[must_use]
pub(crate) fn is_forced(mode: BreakerMode) -> bool {
    matches!(mode, BreakerMode::ForcedOpen | BreakerMode::ForcedClosed | BreakerMode::Disabled)
}

/// The modes on a card with their keys, in order.
pub(crate) const MODES: [(char, BreakerMode, &str, &str); 4] = [
    ('A', BreakerMode::Auto, "auto", "auto"),
    ('O', BreakerMode::ForcedOpen, "open", "force open"),
    ('C', BreakerMode::ForcedClosed, "close", "force closed"),
    ('S', BreakerMode::Shadow, "shadow", "shadow"),
];

/// The accessible name of one of a card's mode buttons: `orders → payments, force open`.
pub(crate) fn mode_name(switch: &str, deed: &str) -> String {
    format!("{switch}, {deed}")
}

#[cfg(test)]
mod tests {
    use super::super::choice::Order;
    use super::super::switches::{Sources, gather};
    use super::*;
    use fuseboard_api::breaker::{Breaker, Breakers};
    use fuseboard_api::policy::{EffectiveEdge, Policies};

    fn flip(mode: BreakerMode, criticality: Option<Criticality>, override_id: Option<u64>) -> Flip {
        let key = EdgeKey::new("orders", "payments", "payments.v1.Payments/Charge");
        let breaker = Breaker { key: key.clone(), instance: "orders-1".into(), ..Breaker::default() };
        let all = Breakers { breakers: vec![breaker], transitions: Vec::new() };
        let mut policy = EffectiveEdge { key, ..EffectiveEdge::default() };
        policy.settings.criticality = criticality;
        let policies = Policies { edges: vec![policy], ..Policies::default() };
        let from = Sources { breakers: Some(&all), policies: Some(&policies), ..Sources::default() };
        let switches = gather(&from, Order::Risk);
        let mut flip = Flip::new(switches[0].key.clone(), None, mode);
        let ends = || override_id.into_iter();
        assert!(flip.fill(&switches[0], ends()) && !flip.fill(&switches[0], ends()), "filled in once");
        flip
    }

    #[test]
    fn a_flip_is_ready_as_it_opens_unless_criticality_is_high() {
        assert_eq!(flip(BreakerMode::ForcedOpen, None, None).ready(), Ok(()));
        let mut high = flip(BreakerMode::ForcedOpen, Some(Criticality::High), None);
        assert_eq!(high.ready(), Err("Criticality high: type payments to go on.".to_owned()));
        high.typed = "payments".into();
        assert_eq!(high.ready(), Ok(()));
        assert_eq!(flip(BreakerMode::Shadow, Some(Criticality::High), None).ready(), Ok(()), "shadow refuses nothing");
        high.reason = "  ".into();
        assert!(high.ready().is_err());
    }

    #[test]
    fn it_becomes_the_override_that_was_read_on_the_button() {
        let mut f = flip(BreakerMode::ForcedOpen, None, None);
        f.next_expiry();
        assert_eq!(f.button(), "Force open for 15 min");
        assert_eq!(f.place(2), "all 2 instances of orders");
        let actions = f.actions();
        let [Action::SetOverride { spec, ttl_ms }] = actions.as_slice() else { panic!("one override") };
        assert_eq!(*ttl_ms, 900_000);
        assert_eq!(spec.action, OverrideAction::Mode(BreakerMode::ForcedOpen));
        assert!(spec.selector.matches("orders", "orders-9", "payments", "payments.v1.Payments/Charge"));
        assert!(!spec.selector.matches("gateway", "g-1", "payments", "payments.v1.Payments/Charge"));
    }

    #[test]
    fn auto_ends_the_override_in_force() {
        let f = flip(BreakerMode::Auto, None, Some(7));
        assert_eq!(f.actions(), [Action::EndOverride { id: 7 }]);
        assert_eq!(f.button(), "End the override now");
    }
}
