//! The policy words of Fuseboard and, beside each, the engine that obeys it.
//!
//! Everything here is *sans IO*: an engine is told the time (nanoseconds of any monotonic clock), what happened, and the
//! random draws it needs, and answers with a decision. The agent enforces with these engines, the collector rehearses
//! recorded calls with them, and the console previews an edit with them.

pub mod backoff;
pub mod balance;
pub mod breaker;
pub mod codes;
pub mod concurrency;
pub mod deadline;
pub mod document;
pub mod fraction;
mod handover;
pub mod hedge;
mod merge;
pub mod names;
pub mod outlier;
pub mod overrides;
pub mod pipeline;
pub mod pool;
pub mod presets;
pub mod rate;
pub mod retry_budget;
pub mod set;
pub mod settings;
pub mod shed;
mod slots;
pub mod throttle;
#[cfg(feature = "wire")]
pub mod wire;

/// Nanoseconds in a millisecond.
pub(crate) const NANOS_PER_MS: u64 = 1_000_000;

/// Milliseconds of a setting as nanoseconds; more than the clock can hold counts as never.
pub(crate) const fn ms_to_nanos(ms: u64) -> u64 {
    ms.saturating_mul(NANOS_PER_MS)
}
