//! The messages between agent and collector, and the ways from them to the types of this crate and back.

mod overrides;
mod report;
mod rules;
mod table;

pub use report::{Stamp, breaker_state, status, transition};
pub use rules::policy;

use crate::settings::BreakerMode;

/// Generated from `proto/control.proto`.
#[expect(missing_docs, clippy::all)]
pub mod v1 {
    include!("generated/control.rs");
}

/// A message that does not make sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct WireError {
    /// The field, by its name in the message.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl WireError {
    fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into() }
    }
}

impl From<BreakerMode> for v1::Mode {
    fn from(mode: BreakerMode) -> Self {
        match mode {
            BreakerMode::Auto => Self::Auto,
            BreakerMode::ForcedOpen => Self::ForcedOpen,
            BreakerMode::ForcedClosed => Self::ForcedClosed,
            BreakerMode::Shadow => Self::Shadow,
            BreakerMode::Disabled => Self::Disabled,
        }
    }
}

impl TryFrom<v1::Mode> for BreakerMode {
    type Error = WireError;

    fn try_from(mode: v1::Mode) -> Result<Self, WireError> {
        match mode {
            v1::Mode::Unspecified => Err(WireError::new("mode", "is not given")),
            v1::Mode::Auto => Ok(Self::Auto),
            v1::Mode::ForcedOpen => Ok(Self::ForcedOpen),
            v1::Mode::ForcedClosed => Ok(Self::ForcedClosed),
            v1::Mode::Shadow => Ok(Self::Shadow),
            v1::Mode::Disabled => Ok(Self::Disabled),
        }
    }
}
