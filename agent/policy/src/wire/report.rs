//! What an agent tells of its breakers.

use super::v1;
use crate::breaker::{Snapshot, State, Transition, WindowCall};

/// What the engine does not know about a report.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The callee.
    pub service: &'a str,
    /// The callee's operation.
    pub operation: &'a str,
    /// Policy revision in force.
    pub revision: u64,
    /// The override in force on the breaker; 0 for none.
    pub override_id: u64,
    /// Wall clock at the engine clock's zero, in nanoseconds since 1970.
    pub clock_zero: i64,
}

impl Stamp<'_> {
    fn wall(&self, nanos: u64) -> i64 {
        self.clock_zero.saturating_add(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    fn call(&self, call: &WindowCall) -> v1::WindowCall {
        v1::WindowCall {
            at_unix_nanos: self.wall(call.at),
            failed: call.failed,
            slow: call.slow,
            micros: call.micros,
            trace_id: call.trace_id.map(|id| id.to_vec()).unwrap_or_default(),
        }
    }
}

impl From<State> for v1::BreakerState {
    fn from(state: State) -> Self {
        match state {
            State::Closed => Self::Closed,
            State::HalfOpen => Self::HalfOpen,
            State::Open => Self::Open,
        }
    }
}

/// The state of a message; `None` for one that is not given or not known.
#[must_use]
pub fn breaker_state(number: i32) -> Option<State> {
    match v1::BreakerState::try_from(number).ok()? {
        v1::BreakerState::Unspecified => None,
        v1::BreakerState::Closed => Some(State::Closed),
        v1::BreakerState::HalfOpen => Some(State::HalfOpen),
        v1::BreakerState::Open => Some(State::Open),
    }
}

/// A breaker's snapshot as a message.
#[must_use]
pub fn status(stamp: Stamp<'_>, snapshot: &Snapshot) -> v1::BreakerStatus {
    v1::BreakerStatus {
        service: stamp.service.to_owned(),
        operation: stamp.operation.to_owned(),
        state: v1::BreakerState::from(snapshot.state).into(),
        mode: v1::Mode::from(snapshot.mode).into(),
        since_unix_nanos: stamp.wall(snapshot.since),
        calls: snapshot.calls,
        failures: snapshot.failures,
        slow: snapshot.slow,
        window: snapshot.window.iter().map(|call| stamp.call(call)).collect(),
        cause: snapshot.cause.to_string(),
        probe_at_unix_nanos: snapshot.probe_at.map(|at| stamp.wall(at)),
        good_probes: u32::try_from(snapshot.good_probes).unwrap_or(u32::MAX),
        refused: snapshot.refused,
        trips: snapshot.trips,
        revision: stamp.revision,
        override_id: stamp.override_id,
    }
}

/// A breaker's transition as a message.
#[must_use]
pub fn transition(stamp: Stamp<'_>, transition: &Transition) -> v1::BreakerTransition {
    v1::BreakerTransition {
        service: stamp.service.to_owned(),
        operation: stamp.operation.to_owned(),
        at_unix_nanos: stamp.wall(transition.at),
        from: v1::BreakerState::from(transition.from).into(),
        to: v1::BreakerState::from(transition.to).into(),
        cause: transition.cause.to_string(),
        window: transition.window.iter().map(|call| stamp.call(call)).collect(),
        revision: stamp.revision,
        by_mode: transition.by_mode,
    }
}
