//! The policy words of Fuseboard and, beside each, the engine that obeys it.

pub mod names;
pub mod overrides;
pub mod settings;
#[cfg(feature = "wire")]
pub mod wire;
