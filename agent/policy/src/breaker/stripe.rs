//! What each thread keeps of a breaker for itself. One thread writes it, so that nothing needs a locked instruction.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use super::ring::Ring;
use super::seat::{self, SEATS};
use super::watch::Watch;

/// The stripe of all threads without a seat, used under the lock only.
pub(super) const COMMON: usize = SEATS;

#[derive(Debug)]
pub(super) struct Stripe {
    /// Latest time its thread has seen.
    latest: AtomicU64,
    /// Good calls counted without the lock; only grows.
    good: AtomicU64,
    /// Calls refused without the lock; only grows.
    refused: AtomicU64,
    /// The publication under which `good` is counted: only under that one may it grow.
    word: AtomicU64,
    pub(super) ring: Ring,
    pub(super) watch: Watch,
}

impl Stripe {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self { latest: zero(), good: zero(), refused: zero(), word: zero(), ring: Ring::new(), watch: Watch::default() }
    }

    /// The later of `now` and all its thread has seen before.
    #[inline]
    pub(super) fn see(&self, now: u64) -> u64 {
        let latest = self.latest.load(Ordering::Relaxed);
        if now > latest {
            self.latest.store(now, Ordering::Relaxed);
        }
        now.max(latest)
    }

    pub(super) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn word(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Its thread counts under this publication from now on. With the lock.
    pub(super) fn roll(&self, word: u64) {
        self.word.store(word, Ordering::Relaxed);
    }

    pub(super) fn good(&self) -> u64 {
        self.good.load(Ordering::Acquire)
    }

    /// Counts a good call; says how many there were before.
    #[inline]
    pub(super) fn add_good(&self) -> u64 {
        let good = self.good.load(Ordering::Relaxed);
        self.good.store(good + 1, Ordering::Release);
        good
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn add_refused(&self) {
        self.refused.store(self.refused.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

/// The stripes of a breaker, each made when its thread first calls.
#[derive(Debug)]
pub(super) struct Stripes([OnceLock<Box<CachePadded<Stripe>>>; SEATS + 1]);

impl Stripes {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| OnceLock::new()))
    }

    /// The stripe of this thread and its seat, if it has called before.
    #[inline]
    pub(super) fn mine(&self) -> Option<(usize, &Stripe)> {
        let seat = seat::mine()?;
        Some((seat, self.get(seat)?))
    }

    #[inline]
    pub(super) fn get(&self, seat: usize) -> Option<&Stripe> {
        self.0.get(seat)?.get().map(|stripe| &***stripe)
    }

    pub(super) fn get_or_make(&self, seat: usize) -> Option<&Stripe> {
        let stripe = self.0.get(seat)?.get_or_init(|| Box::new(CachePadded::new(Stripe::new())));
        Some(stripe)
    }

    /// Those that exist.
    pub(super) fn each(&self) -> impl Iterator<Item = &Stripe> {
        self.0.iter().filter_map(OnceLock::get).map(|stripe| &***stripe)
    }
}
