//! What agents tell of their breakers.

pub use fuseboard_policy::settings::BreakerMode;
use serde::{Deserialize, Serialize};

use crate::graph::EdgeKey;
use crate::{TimeRange, TraceId, UnixNanos};

/// A breaker's state: closed = calls flow, open = calls are refused, half open = a few probes pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls flow.
    #[default]
    Closed,
    /// A few probes pass.
    HalfOpen,
    /// Calls are refused.
    Open,
}

/// One call in a breaker's window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WindowCall {
    /// When it ended.
    pub at: UnixNanos,
    /// Whether it failed.
    pub failed: bool,
    /// Whether it was slow.
    pub slow: bool,
    /// How long it took, in microseconds.
    pub micros: u32,
    /// Its trace, where it was sampled.
    pub trace_id: Option<TraceId>,
}

/// One breaker of one instance of a caller, as it last told.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Breaker {
    /// The edge it guards.
    pub key: EdgeKey,
    /// The caller's instance that holds it.
    pub instance: String,
    /// Its state (in shadow mode: the state it would be in).
    pub state: BreakerState,
    /// Its mode.
    pub mode: BreakerMode,
    /// Since when it is in that state or mode.
    pub since: UnixNanos,
    /// Calls in the window.
    pub calls: u64,
    /// Failed ones of those.
    pub failures: u64,
    /// Slow ones of those.
    pub slow: u64,
    /// The newest calls of the window, oldest first; at most 64. While open: the window that tripped it.
    pub window: Vec<WindowCall>,
    /// The rule that would trip it, in words: `50 % of ≥ 20 calls in 10 s fail`.
    pub rule: String,
    /// The failure ratio at which it trips, 0…1.
    pub failure_ratio: Option<f64>,
    /// The slow ratio at which it trips, 0…1.
    pub slow_ratio: Option<f64>,
    /// Calls needed before a ratio counts.
    pub min_calls: u64,
    /// Why it left the closed state last: `12 of 20 calls failed (60 % ≥ 50 %)`; empty if never.
    pub cause: String,
    /// When the next call will be let through as a probe, while open.
    pub probe_at: Option<UnixNanos>,
    /// Good probes so far and good probes needed, while half open.
    pub probes: Option<(u32, u32)>,
    /// Calls refused since the agent started (in shadow mode: that it would have refused).
    pub refused: u64,
    /// How often it has opened since the agent started.
    pub trips: u64,
    /// Policy revision it runs under.
    pub revision: u64,
    /// The override in force on it.
    pub override_id: Option<u64>,
    /// When this was told.
    pub reported: UnixNanos,
    /// Failure ratio of the edge over the last minutes, oldest first, one point per 5 s; for a line under the window.
    pub history: Vec<f32>,
}

/// A change of a breaker's state.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BreakerTransition {
    /// When, on the agent's clock.
    pub at: UnixNanos,
    /// The edge.
    pub key: EdgeKey,
    /// The caller's instance.
    pub instance: String,
    /// From which state.
    pub from: BreakerState,
    /// To which state.
    pub to: BreakerState,
    /// Why: the numbers that decided.
    pub cause: String,
    /// The window that decided, newest last; at most 64.
    pub window: Vec<WindowCall>,
    /// Revision in force.
    pub revision: u64,
    /// Whether it was told to, by a change of mode (an override), rather than driven to it by calls.
    pub by_mode: bool,
}

/// A breaker's state over a stretch of time, for the band above a waterfall.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BreakerBand {
    /// The edge.
    pub key: EdgeKey,
    /// The caller's instance.
    pub instance: String,
    /// When.
    pub range: TimeRange,
    /// Which state.
    pub state: BreakerState,
}

/// All breakers, and the transitions of the range asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Breakers {
    /// By edge and instance.
    pub breakers: Vec<Breaker>,
    /// Newest first; at most 500.
    pub transitions: Vec<BreakerTransition>,
}
