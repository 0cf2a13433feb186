//! The circuit breaker of one edge: closed = calls flow, open = calls are refused, half open = a few probes pass.
//!
//! It trips on the share of failed or slow calls in a window, on a number of failures in it, or on failures in a row; it
//! recovers by probes. Every call asks with [`Breaker::admit`] and reports with [`Breaker::finish`]. Times are nanoseconds
//! of any monotonic clock; a time before one already seen counts as that one.
//!
//! Where the rules come from: half-open permits, slow calls and windows follow resilience4j; generations that keep late
//! results away follow gobreaker; leases of probes, in-flight slow calls and exact ratios are our own.

mod inflight;
mod machine;
mod rules;
mod window;
mod words;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machine::Machine;

use crate::settings::{self, BreakerMode};

/// How many of a window's calls a report shows.
pub const SHOWN_CALLS: usize = 64;
/// How many transitions wait for the agent to fetch them; beyond, the oldest is dropped and counted.
pub const KEPT_TRANSITIONS: usize = 64;
/// Time open before a probe where none is set, in milliseconds.
pub const DEFAULT_OPEN_MS: u64 = 5_000;

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

/// The right to make one call. Give it back with [`Breaker::finish`], whatever happens.
#[derive(Debug)]
#[must_use = "a permit that is not finished holds a probe's place until its lease runs out"]
pub struct Permit {
    /// The phase it belongs to; 0 belongs to none, so its result reaches nothing.
    generation: u64,
    serial: u64,
    started: u64,
    probe: bool,
    would_refuse: bool,
    state: &'static str,
}

impl Permit {
    /// Whether the call is a probe of a half-open breaker.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// The breaker's state in words when it was admitted (see [`Breaker::state_name`]).
    #[must_use]
    pub fn state(&self) -> &'static str {
        self.state
    }

    /// Whether the call would be refused, were the breaker not in shadow mode.
    #[must_use]
    pub fn would_refuse(&self) -> bool {
        self.would_refuse
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
    /// The newest of those calls, newest last; at most [`SHOWN_CALLS`].
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

/// What would trip a breaker of these settings, in words: `50 % of ≥ 20 calls in 10 s fail`.
#[must_use]
pub fn rule_in_words(settings: &settings::Breaker) -> String {
    words::rule(settings)
}

/// The breaker of one edge. All methods take `&self`; the critical section is a few dozen instructions without allocation,
/// except at transitions.
#[derive(Debug)]
pub struct Breaker {
    machine: Mutex<Machine>,
    version: AtomicU64,
}

impl Breaker {
    /// A closed breaker with an empty window.
    #[must_use]
    pub fn new(settings: &settings::Breaker, now: u64) -> Self {
        Self { machine: Mutex::new(Machine::new(settings, now)), version: AtomicU64::new(1) }
    }

    /// Asks whether a call may be made now.
    pub fn admit(&self, now: u64) -> Admission {
        self.with(|machine| machine.admit(now))
    }

    /// Reports how the call of a permit ended.
    pub fn finish(&self, permit: Permit, now: u64, outcome: Outcome) {
        self.finish_traced(permit, now, outcome, None);
    }

    /// As [`Self::finish`], with the call's trace for reports.
    #[expect(clippy::needless_pass_by_value, reason = "a permit is used up by finishing it")]
    pub fn finish_traced(&self, permit: Permit, now: u64, outcome: Outcome, trace_id: Option<[u8; 16]>) {
        self.with(|machine| machine.finish(&permit, now, outcome, trace_id));
    }

    /// Gives a permit back without a result, at the latest time the breaker has seen.
    pub fn give_back(&self, permit: Permit) {
        self.finish(permit, 0, Outcome::Cancelled);
    }

    /// Looks at leases and at calls in flight. Call it about every 100 ms.
    pub fn tick(&self, now: u64) {
        self.with(|machine| machine.settle(now));
    }

    /// Other settings. With the same mode the state, counts and timers are kept; a change of mode starts clean.
    pub fn reconfigure(&self, settings: &settings::Breaker, now: u64) {
        self.with(|machine| machine.reconfigure(settings, now));
    }

    /// The state in words, as on spans: `closed`, `open`, `half_open`, `forced_open`, `forced_closed`, `disabled`.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        self.lock().state_name()
    }

    /// What it looks like at `now`. Probes and calls become overdue by [`Self::tick`], not by being looked at.
    #[must_use]
    pub fn snapshot(&self, now: u64) -> Snapshot {
        let mut snapshot = self.with(|machine| machine.snapshot(now));
        snapshot.version = self.version();
        snapshot
    }

    /// Grows with every change that a report would show, except that old calls leave a time window.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Takes the transitions since the last time, oldest first, and how many were dropped because nobody came.
    #[must_use]
    pub fn drain_transitions(&self) -> (Vec<Transition>, u64) {
        self.lock().drain_transitions()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.lock();
        let answer = act(&mut machine);
        if std::mem::take(&mut machine.changed) {
            self.version.fetch_add(1, Ordering::Release);
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
