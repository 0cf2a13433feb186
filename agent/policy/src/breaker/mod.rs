//! The circuit breaker of one edge: closed = calls flow, open = calls are refused, half open = a few probes pass.
//!
//! It trips on the share of failed or slow calls in a window, on a number of failures in it, or on failures in a row; it
//! recovers by probes. Every call asks with [`Breaker::admit`] and reports with [`Breaker::finish`]. Times are nanoseconds
//! of any monotonic clock; a time before one already seen counts as that one.
//!
//! Where the rules come from: half-open permits, slow calls and windows follow resilience4j; generations that keep late
//! results away follow gobreaker; leases of probes, in-flight slow calls and exact ratios are our own.
//!
//! # Calls without the lock
//!
//! A mutex guards the machine that knows the rules. Admissions while closed, good results that cannot trip, refusals and late
//! results do without it:
//!
//! * Each thread that calls has a *seat*, and in each breaker it calls a *stripe* that it alone writes: plain stores, no locked
//!   instruction (calls watched in flight need one, to end). Threads beyond 32 seats call under the lock.
//! * Whoever holds the lock publishes on the *board* how calls are treated from then on: a sequence lock whose word is never
//!   the same twice. A thread counts in its stripe only under the word for which it has *rolled* the stripe, which it does
//!   under the lock; the machine then notes to which phase and slice that stripe's count belongs.
//! * Whoever takes the lock first *collects* what the stripes have counted since: counts only grow, and the machine remembers
//!   how much it has taken, so that nothing is lost and nothing taken twice. What arrives late goes where it belonged when its
//!   call looked at the board: to its slice if that is alive, nowhere if its phase is over.
//!
//! Why verdicts are exact. Failures, slow calls, the first result of a slice and the first after other settings come under the
//! lock, and are judged there with all that was collected. A good call elsewhere can trip in one way only: as the one that
//! completes `min_calls` while there are enough bad ones, for within a slice the bad ones change under the lock alone and
//! each further good one lowers the ratios. Once the window holds `min_calls` (it is *settled*) that is over until the slice
//! turns. Until then, whoever counts a good call looks at the board again behind a full fence, and whoever is about to count a
//! bad one changes the board before a full fence and collects after it: one of the two sees the other, and judges. Where the
//! bad ones already suffice, all calls go to the lock until `min_calls` is complete.
//!
//! In which order. A result counts in the order of its thread, and before everything that happens after it (in the sense of
//! the memory model: through whatever tells another thread of it). Between results that end on several threads at the same
//! moment the order is open, as it would be before a lock: a run of failures ends with any success collected before the next
//! failure, a count window takes the good calls in before that failure. Within a thread, and so for all that is driven from
//! one, time never runs back; between threads it is as good as their clock, and who takes the lock goes by the latest time any
//! of them has seen.
//!
//! # Memory
//!
//! A breaker takes less than 2 KiB and, on the heap, its rule in words and its window: 16 bytes a call of a count window or
//! 32 bytes a slice of a time window, for at most 256 of them at first. Each thread that calls it adds 2.4 KB (most of it the
//! 64 calls that reports show), and 1 KiB for calls watched in flight; more than 32 of these a thread double it as they come.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_is_as_small_as_it_says() {
        assert!(size_of::<Breaker>() < 2_048);
        assert!(size_of::<CachePadded<stripe::Stripe>>() <= 2_432);
        assert_eq!(watch::FIRST_BYTES, 1_024);
        assert_eq!(size_of::<Permit>(), 32);
    }
}
