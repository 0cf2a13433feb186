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

impl Default for OverrideAction {
    /// Leaves everything to the policy.
    fn default() -> Self {
        Self::Timeout { attempt_ms: None, overall_ms: None }
    }
}

/// A temporary operator action with its author, reason and expiry.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Override {
    /// Its number; newer ones are greater, and win.
    pub id: u64,
    /// Which edges.
    pub selector: Selector,
    /// What it does.
    pub action: OverrideAction,
    /// What was left of it when it was sent, in milliseconds; runs on the agent's monotonic clock.
    pub remaining_ms: u64,
    /// When it expires on the wall clock, in nanoseconds since 1970; the earlier of the two wins.
    pub expires_unix_nanos: i64,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl OverrideAction {
    /// Whether an agent can do this.
    ///
    /// # Errors
    /// What is wrong with it, by the setting's name.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Mode(_) => Ok(()),
            Self::Timeout { attempt_ms: None, overall_ms: None } => {
                Err("timeout: nothing is given; set attempt_ms or overall_ms".to_owned())
            }
            Self::Timeout { attempt_ms: Some(0), .. } => Err("timeout.attempt_ms: 0 would fail every call".to_owned()),
            Self::Timeout { overall_ms: Some(0), .. } => Err("timeout.overall_ms: 0 would fail every call".to_owned()),
            Self::Timeout { attempt_ms: Some(attempt), overall_ms: Some(overall) } if attempt > overall => {
                Err(format!("timeout.attempt_ms: {attempt} is more than overall_ms, {overall}, and would never act"))
            }
            Self::Timeout { .. } => Ok(()),
            Self::Fault(fault) => fault.check(),
        }
    }
}

impl Fault {
    fn check(&self) -> Result<(), String> {
        for (name, ratio) in [("delay_ratio", self.delay_ratio), ("abort_ratio", self.abort_ratio)] {
            if !(0.0..=1.0).contains(&ratio) {
                return Err(format!("fault.{name}: {ratio} is not a share; give a number from 0 to 1"));
            }
        }
        if self.abort_ratio > 0.0 && !crate::codes::is_failure(&self.abort_code) {
            return Err(format!(
                "fault.abort_code: `{}` is no failure; give a gRPC status name such as `unavailable`",
                self.abort_code
            ));
        }
        if self.delay_ms > 600_000 {
            return Err(format!("fault.delay_ms: {} is more than ten minutes", self.delay_ms));
        }
        if self.abort_ratio == 0.0 && (self.delay_ratio == 0.0 || self.delay_ms == 0) {
            return Err("fault: would never act; give delay_ms with delay_ratio, or abort_ratio".to_owned());
        }
        Ok(())
    }
}
