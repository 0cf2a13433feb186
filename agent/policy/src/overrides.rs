//! Temporary operator actions on edges.

use serde::{Deserialize, Serialize};

use crate::settings::{BreakerMode, Fault};

/// Which edges, on which instances. An absent part matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Selector {
    /// `service.name` of the caller.
    pub caller: Option<String>,
    /// `service.name` of the callee.
    pub service: Option<String>,
    /// The callee's operation.
    pub operation: Option<String>,
    /// `service.instance.id` of the caller.
    pub instance: Option<String>,
}

impl Selector {
    /// Whether an edge of a caller's instance is meant.
    #[must_use]
    pub fn matches(&self, caller: &str, instance: &str, service: &str, operation: &str) -> bool {
        let fits = |want: &Option<String>, have: &str| want.as_deref().is_none_or(|w| w == have);
        fits(&self.caller, caller)
            && fits(&self.instance, instance)
            && fits(&self.service, service)
            && fits(&self.operation, operation)
    }
}

/// What an override does to the edges it selects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideAction {
    /// The breaker's mode.
    Mode(BreakerMode),
    /// Other timeouts; `None` leaves the policy's.
    Timeout {
        /// For one attempt, in milliseconds.
        attempt_ms: Option<u64>,
        /// For the whole call, in milliseconds.
        overall_ms: Option<u64>,
    },
    /// An injected fault.
    Fault(Fault),
}
