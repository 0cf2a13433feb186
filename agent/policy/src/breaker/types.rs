//! What a breaker says: permits, refusals, transitions, snapshots.

use std::sync::Arc;

use super::{Permit, words};
use crate::settings::BreakerMode;

/// A breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// Calls flow.
    #[default]
    Closed,
    /// A few probes pass.
    HalfOpen,
    /// Calls are refused.
    Open,
}

/// How an admitted call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The callee answered.
    Success,
    /// The callee failed, or did not answer in time.
    Failure,
    /// The caller gave up or the permit was thrown away: counts for nothing.
    Cancelled,
}

/// State and mode in one word, as on spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateName {
    Closed,
    HalfOpen,
    Open,
    ForcedOpen,
    ForcedClosed,
    Disabled,
}

impl StateName {
    pub(super) fn new(mode: BreakerMode, phase: State) -> Self {
        match (mode, phase) {
            (BreakerMode::ForcedOpen, _) => Self::ForcedOpen,
            (BreakerMode::ForcedClosed, _) => Self::ForcedClosed,
            (BreakerMode::Disabled, _) => Self::Disabled,
            (_, State::Closed) => Self::Closed,
            (_, State::HalfOpen) => Self::HalfOpen,
            (_, State::Open) => Self::Open,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
            Self::ForcedOpen => words::mode(BreakerMode::ForcedOpen),
            Self::ForcedClosed => words::mode(BreakerMode::ForcedClosed),
            Self::Disabled => words::mode(BreakerMode::Disabled),
        }
    }

    /// Three bits.
    pub(super) fn bits(self) -> u64 {
        self as u64
    }

    /// From the lowest three bits.
    pub(super) fn from_bits(bits: u64) -> Self {
        match bits & 0b111 {
            0 => Self::Closed,
            1 => Self::HalfOpen,
            2 => Self::Open,
            3 => Self::ForcedOpen,
            4 => Self::ForcedClosed,
            _ => Self::Disabled,
        }
    }
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// State in words, as on spans: `open`, `half_open`, `forced_open`.
    pub state: &'static str,
    /// When the next call will be let through as a probe; absent where no time decides that.
    pub probe_at: Option<u64>,
    /// Why the breaker left the closed state.
    pub cause: Arc<str>,
}

/// The answer to a call that asks.
#[derive(Debug)]
pub enum Admission {
    /// Go on, and report with the permit.
    Admitted(Permit),
    /// Do not call.
    Refused(Refusal),
}

/// One call in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowCall {
    /// When it ended (or passed `slow_ms`).
    pub at: u64,
    /// Whether it failed.
    pub failed: bool,
    /// Whether it was slow.
    pub slow: bool,
    /// How long it took, in microseconds, saturating.
    pub micros: u32,
    /// Its trace, where the caller gave one.
    pub trace_id: Option<[u8; 16]>,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: u64,
    /// From which state.
    pub from: State,
    /// To which state.
    pub to: State,
    /// Why, with the numbers that decided.
    pub cause: Arc<str>,
    /// The window that decided, newest last; empty where a probe or a command decided.
    pub window: Arc<[WindowCall]>,
    /// Whether it was told to, by a change of mode, rather than driven to it by calls.
    pub by_mode: bool,
}

/// What a breaker looks like at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// State in force: with `forced_open` that is open, with `forced_closed` and `disabled` closed; in shadow mode the state
    /// it would be in.
    pub state: State,
    /// Mode.
    pub mode: BreakerMode,
    /// Since when it is in that state or mode.
    pub since: u64,
    /// Calls in the window; while open or half open, in the window that tripped it.
    pub calls: u64,
    /// Failed ones of those.
    pub failures: u64,
    /// Slow ones of those.
    pub slow: u64,
    /// The newest of those calls, newest last; at most [`SHOWN_CALLS`](super::SHOWN_CALLS).
    pub window: Arc<[WindowCall]>,
    /// The rule that would trip it, in words.
    pub rule: Arc<str>,
    /// Why it left the closed state last; empty if never.
    pub cause: Arc<str>,
    /// When the next call will be let through as a probe, while open by its own rules.
    pub probe_at: Option<u64>,
    /// Good probes in a row so far, while half open.
    pub good_probes: u64,
    /// Good probes that close.
    pub needed_probes: u64,
    /// Calls refused since it was made (in shadow mode: that it would have refused).
    pub refused: u64,
    /// How often it has opened since it was made.
    pub trips: u64,
    /// Grows with every change that a report would show.
    pub version: u64,
}
