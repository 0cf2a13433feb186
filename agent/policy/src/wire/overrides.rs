//! Overrides.

use super::{WireError, v1};
use crate::overrides::{Override, OverrideAction, Selector};
use crate::settings::{BreakerMode, Fault};

impl From<&Selector> for v1::Selector {
    fn from(s: &Selector) -> Self {
        let Selector { caller, service, operation, instance } = s.clone();
        Self { caller, service, operation, instance }
    }
}

impl From<v1::Selector> for Selector {
    fn from(s: v1::Selector) -> Self {
        Self { caller: s.caller, service: s.service, operation: s.operation, instance: s.instance }
    }
}

impl From<&OverrideAction> for v1::r#override::Action {
    fn from(action: &OverrideAction) -> Self {
        match action {
            OverrideAction::Mode(mode) => Self::Mode(v1::Mode::from(*mode).into()),
            &OverrideAction::Timeout { attempt_ms, overall_ms } => {
                Self::Timeout(v1::Timeout { attempt_ms, overall_ms })
            }
            OverrideAction::Fault(fault) => Self::Fault(v1::Fault {
                delay_ms: fault.delay_ms,
                delay_ratio: fault.delay_ratio,
                abort_ratio: fault.abort_ratio,
                abort_code: fault.abort_code.clone(),
            }),
        }
    }
}

/// Checks the action too ([`OverrideAction::check`]).
impl TryFrom<v1::r#override::Action> for OverrideAction {
    type Error = WireError;

    fn try_from(action: v1::r#override::Action) -> Result<Self, WireError> {
        let action = match action {
            v1::r#override::Action::Mode(number) => {
                let mode = v1::Mode::try_from(number)
                    .map_err(|_| WireError::new("mode", format!("{number} is not a mode that this version knows")))?;
                Self::Mode(BreakerMode::try_from(mode)?)
            }
            v1::r#override::Action::Timeout(v1::Timeout { attempt_ms, overall_ms }) => {
                Self::Timeout { attempt_ms, overall_ms }
            }
            v1::r#override::Action::Fault(fault) => Self::Fault(Fault {
                delay_ms: fault.delay_ms,
                delay_ratio: fault.delay_ratio,
                abort_ratio: fault.abort_ratio,
                abort_code: fault.abort_code,
            }),
        };
        action.check().map_err(|message| WireError::new("action", message))?;
        Ok(action)
    }
}

impl From<&Override> for v1::Override {
    fn from(o: &Override) -> Self {
        Self {
            id: o.id,
            selector: Some((&o.selector).into()),
            action: Some((&o.action).into()),
            remaining_ms: o.remaining_ms,
            expires_unix_nanos: o.expires_unix_nanos,
            actor: o.actor.clone(),
            reason: o.reason.clone(),
        }
    }
}

impl TryFrom<v1::Override> for Override {
    type Error = WireError;

    fn try_from(o: v1::Override) -> Result<Self, WireError> {
        let action =
            o.action.ok_or_else(|| WireError::new("action", "is missing, or of a kind this version does not know"))?;
        Ok(Self {
            id: o.id,
            selector: o.selector.unwrap_or_default().into(),
            action: action.try_into()?,
            remaining_ms: o.remaining_ms,
            expires_unix_nanos: o.expires_unix_nanos,
            actor: o.actor,
            reason: o.reason,
        })
    }
}
