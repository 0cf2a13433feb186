//! What the hot path may rely on, published by whoever holds the lock and read by everybody without it.
//!
//! A sequence lock: `word` is different after each publication, and says [`Kind::Locked`] while one is under way, so that a
//! reader who finds the same word before and after has read one publication.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::types::StateName;

/// How calls are treated without the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Not at all.
    Locked,
    /// Closed: admitted; good results that cannot trip are counted.
    Closed,
    /// Refused until `due` (in shadow mode: admitted as such).
    Refuse,
    /// Admitted by mode, results reach nothing.
    Free,
}

/// One publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub(super) kind: Kind,
    pub(super) state: StateName,
    /// Refusals are only noted.
    pub(super) shadow: bool,
    /// Calls in flight are watched.
    pub(super) watched: bool,
    /// Fewer calls than `min_calls` may be in the window: whoever counts one looks again whether the word still stands.
    pub(super) unsettled: bool,
    pub(super) generation: u64,
    /// Results from this time on belong to another slice.
    pub(super) turn_at: u64,
    /// Calls that took longer are slow.
    pub(super) slow_over: u64,
    /// From this time on somebody with the lock has to look: at calls or probes in flight, or whether the wait is over. The
    /// one thing that may grow without a new publication.
    pub(super) due: u64,
    /// Calls watched under another epoch are forgotten.
    pub(super) epoch: u64,
}

#[derive(Debug)]
pub(super) struct Board {
    /// Number of the publication, 56 bits; below it 8 bits of [`View`].
    word: AtomicU64,
    generation: AtomicU64,
    turn_at: AtomicU64,
    slow_over: AtomicU64,
    due: AtomicU64,
    epoch: AtomicU64,
}

const KIND: u64 = 0b11;
const LOCKED: u64 = 0;
const CLOSED: u64 = 1;
const REFUSE: u64 = 2;
const FREE: u64 = 3;
const UNSETTLED: u64 = 1 << 2;
const SHADOW: u64 = 1 << 3;
const WATCHED: u64 = 1 << 4;
const STATE: u32 = 5;
const NUMBER: u32 = 8;

impl Board {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { word: zero(), generation: zero(), turn_at: zero(), slow_over: zero(), due: zero(), epoch: zero() }
    }

    /// The word as it stands.
    #[inline]
    pub(super) fn word(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> StateName {
        StateName::from_bits(self.word() >> STATE)
    }

    /// What `look` sees of the publication that stands, with its word; `None` while there is another one under way.
    #[inline(always)]
    pub(super) fn read<T>(&self, look: impl FnOnce(u64, &Self) -> T) -> Option<(u64, T)> {
        let word = self.word.load(Ordering::Acquire);
        let seen = look(word, self);
        fence(Ordering::Acquire);
        (word & KIND != LOCKED && self.word.load(Ordering::Relaxed) == word).then_some((word, seen))
    }

    /// All of the publication that stands.
    #[inline]
    pub(super) fn view(&self) -> Option<(u64, View)> {
        self.read(|word, board| View {
            kind: match word & KIND {
                CLOSED => Kind::Closed,
                REFUSE => Kind::Refuse,
                FREE => Kind::Free,
                _ => Kind::Locked,
            },
            state: StateName::from_bits(word >> STATE),
            shadow: word & SHADOW != 0,
            watched: word & WATCHED != 0,
            unsettled: word & UNSETTLED != 0,
            generation: board.generation.load(Ordering::Relaxed),
            turn_at: board.turn_at.load(Ordering::Relaxed),
            slow_over: board.slow_over.load(Ordering::Relaxed),
            due: board.due.load(Ordering::Relaxed),
            epoch: board.epoch.load(Ordering::Relaxed),
        })
    }

    /// Sends everybody to the lock until the next publication. Whoever has counted a call and then looks at the word either
    /// sees this, or its call is seen by whoever holds the lock from now on.
    pub(super) fn hold(&self) {
        let word = self.word.load(Ordering::Relaxed);
        self.word.store(((word >> NUMBER) + 1) << NUMBER | (word & 0xff & !KIND), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// What a call needs that asks a closed breaker; `None` when it is not closed or its calls are watched.
    #[inline(always)]
    pub(super) fn pass(&self) -> Option<u64> {
        let (word, generation) = self.read(|_, board| board.generation.load(Ordering::Relaxed))?;
        (word & (KIND | WATCHED) == CLOSED).then_some(generation)
    }

    /// Only with the lock.
    pub(super) fn publish(&self, view: &View) {
        self.hold();
        self.generation.store(view.generation, Ordering::Relaxed);
        self.turn_at.store(view.turn_at, Ordering::Relaxed);
        self.slow_over.store(view.slow_over, Ordering::Relaxed);
        self.due.store(view.due, Ordering::Relaxed);
        self.epoch.store(view.epoch, Ordering::Relaxed);
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let kind = match view.kind {
            Kind::Locked => LOCKED,
            Kind::Closed => CLOSED,
            Kind::Refuse => REFUSE,
            Kind::Free => FREE,
        };
        let bits = kind
            | flag(view.unsettled, UNSETTLED)
            | flag(view.shadow, SHADOW)
            | flag(view.watched, WATCHED)
            | view.state.bits() << STATE;
        let number = (self.word.load(Ordering::Relaxed) >> NUMBER) + 1;
        self.word.store(number << NUMBER | bits, Ordering::Release);
    }

    /// Nothing becomes overdue before `due`.
    pub(super) fn put_off(&self, due: u64) {
        self.due.store(due, Ordering::Release);
    }
}
