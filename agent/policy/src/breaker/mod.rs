//! The circuit breaker of one edge: closed = calls flow, open = calls are refused, half open = a few probes pass.
//!
//! It trips on the share of failed or slow calls in a window, on a number of failures in it, or on failures in a row; it
//! recovers by probes. Every call asks with [`Breaker::admit`] and reports with [`Breaker::finish`]. Times are nanoseconds
//! of any monotonic clock; a time before one already seen counts as that one.
//!
//! Where the rules come from: half-open permits, slow calls and windows follow resilience4j; generations that keep late
//! results away follow gobreaker; leases of probes, in-flight slow calls and exact ratios are our own.

mod board;
mod cause;
mod collect;
mod hot;
mod machine;
mod permit;
mod phase;
mod ring;
mod rules;
mod seat;
mod stripe;
mod types;
mod watch;
mod window;
mod words;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use board::Board;
use collect::Place;
use crossbeam_utils::CachePadded;
use machine::Machine;
use stripe::{COMMON, Stripes};

pub use self::permit::Permit;
pub use self::types::{Admission, Outcome, Refusal, Snapshot, State, Transition, WindowCall};
use crate::settings;

/// How many of a window's calls a report shows.
pub const SHOWN_CALLS: usize = 64;
/// How many transitions wait for the agent to fetch them; beyond, the oldest is dropped and counted.
pub const KEPT_TRANSITIONS: usize = 64;
/// Time open before a probe where none is set, in milliseconds.
pub const DEFAULT_OPEN_MS: u64 = 5_000;

/// What would trip a breaker of these settings, in words: `50 % of ≥ 20 calls in 10 s fail`.
#[must_use]
pub fn rule_in_words(settings: &settings::Breaker) -> String {
    words::rule(settings)
}

/// Tells breakers apart, for what threads remember of them.
static MADE: AtomicU64 = AtomicU64::new(0);

/// The breaker of one edge. All methods take `&self`.
#[derive(Debug)]
pub struct Breaker {
    board: CachePadded<Board>,
    stripes: Stripes,
    number: u64,
    machine: CachePadded<Mutex<Machine>>,
    /// Changes made under the lock.
    changes: AtomicU64,
    /// Whether there are transitions to fetch.
    moved: AtomicBool,
}

impl Breaker {
    /// A closed breaker with an empty window.
    #[must_use]
    pub fn new(settings: &settings::Breaker, now: u64) -> Self {
        let breaker = Self {
            board: CachePadded::new(Board::new()),
            stripes: Stripes::new(),
            number: MADE.fetch_add(1, Ordering::Relaxed),
            machine: CachePadded::new(Mutex::new(Machine::new(settings, now))),
            changes: AtomicU64::new(0),
            moved: AtomicBool::new(false),
        };
        // The first publication.
        breaker.with(|_, _| {});
        breaker
    }

    /// Asks whether a call may be made now.
    #[inline]
    pub fn admit(&self, now: u64) -> Admission {
        match self.pass(now) {
            Some(permit) => Admission::Admitted(permit),
            None => self.admit_otherwise(now),
        }
    }

    /// Reports how the call of a permit ended.
    #[inline]
    pub fn finish(&self, permit: Permit, now: u64, outcome: Outcome) {
        self.finish_traced(permit, now, outcome, None);
    }

    /// As [`Self::finish`], with the call's trace for reports.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "a permit is used up by finishing it")]
    pub fn finish_traced(&self, permit: Permit, now: u64, outcome: Outcome, trace_id: Option<[u8; 16]>) {
        if outcome != Outcome::Success || !self.count_good(&permit, now, trace_id) {
            self.finish_otherwise(&permit, now, outcome, trace_id);
        }
    }

    /// Gives a permit back without a result, at the latest time the breaker has seen.
    pub fn give_back(&self, permit: Permit) {
        self.finish(permit, 0, Outcome::Cancelled);
    }

    /// Looks at leases and at calls in flight. Call it about every 100 ms.
    pub fn tick(&self, now: u64) {
        self.with(|machine, place| machine.settle(place, now));
    }

    /// Other settings. With the same mode the state, counts and timers are kept; a change of mode starts clean.
    pub fn reconfigure(&self, settings: &settings::Breaker, now: u64) {
        self.with(|machine, place| machine.reconfigure(place, settings, now));
    }

    /// The state in words, as on spans: `closed`, `open`, `half_open`, `forced_open`, `forced_closed`, `disabled`.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        self.board.state().text()
    }

    /// What it looks like at `now`. Probes and calls become overdue by [`Self::tick`], not by being looked at.
    #[must_use]
    pub fn snapshot(&self, now: u64) -> Snapshot {
        // Before the look: what changes meanwhile makes a greater one.
        let version = self.version();
        Snapshot { version, ..self.with(|machine, place| machine.snapshot(place, now)) }
    }

    /// Grows with every change that a report would show, except that old calls leave a time window. It is counted where the
    /// calls are and summed up here.
    #[must_use]
    pub fn version(&self) -> u64 {
        let counted = self.stripes.each().map(|stripe| stripe.good() + stripe.refused()).sum::<u64>();
        self.changes.load(Ordering::Acquire) + counted
    }

    /// Takes the transitions since the last time, oldest first, and how many were dropped because nobody came.
    #[must_use]
    pub fn drain_transitions(&self) -> (Vec<Transition>, u64) {
        if !self.moved.load(Ordering::Acquire) {
            return (Vec::new(), 0);
        }
        let mut machine = self.lock();
        self.moved.store(false, Ordering::Release);
        (machine.transitions.drain(..).collect(), std::mem::take(&mut machine.dropped_transitions))
    }

    fn admit_locked(&self, now: u64) -> Admission {
        seat::take();
        self.with(|machine, place| {
            let mut admission = machine.admit(place, now);
            machine.leave(place);
            if let Admission::Refused(refusal) = &mut admission
                && place.seat != COMMON
            {
                refusal.cause = cause::remember(self.number, self.board.word(), &refusal.cause);
            }
            admission
        })
    }

    fn finish_locked(&self, permit: &Permit, now: u64, outcome: Outcome, trace_id: Option<[u8; 16]>) {
        seat::take();
        self.with(|machine, place| machine.finish(place, permit, now, outcome, trace_id));
    }

    /// Judges what was counted without the lock.
    fn judge_locked(&self) {
        self.with(|machine, place| machine.judge(place));
    }

    /// Acts under the lock: with all that was counted before, and published after.
    fn with<T>(&self, act: impl FnOnce(&mut Machine, &Place<'_>) -> T) -> T {
        let mut machine = self.lock();
        let place = Place { board: &self.board, stripes: &self.stripes, seat: seat::mine().unwrap_or(COMMON) };
        machine.collect(&place);
        let answer = act(&mut machine, &place);
        machine.leave(&place);
        if std::mem::take(&mut machine.changed) {
            self.changes.store(self.changes.load(Ordering::Relaxed) + 1, Ordering::Release);
            self.moved.store(!machine.transitions.is_empty(), Ordering::Release);
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
