//! Counters by stretches of time, without a lock: each slot holds the number of its stretch beside its value, in one atomic,
//! so that starting a new stretch and adding to it are the same step.

use std::sync::atomic::{AtomicU64, Ordering};

use portable_atomic::AtomicU128;

/// In place of a slot once the ring is closed. No stretch has this number.
const CLOSED: u128 = u128::MAX;

/// A counter for each of the last `N` stretches of `width` nanoseconds, counted from the clock's zero.
#[derive(Debug)]
pub(crate) struct Slots<const N: usize> {
    slots: [AtomicU128; N],
}

/// What slots hold: stretch and value.
pub(crate) type Held<const N: usize> = [(u64, u64); N];

fn pack(index: u64, value: u64) -> u128 {
    u128::from(index) << 64 | u128::from(value)
}

fn unpack(slot: u128) -> (u64, u64) {
    ((slot >> 64) as u64, slot as u64)
}

impl<const N: usize> Slots<N> {
    pub(crate) fn new(held: Held<N>) -> Self {
        Self { slots: held.map(|(index, value)| AtomicU128::new(pack(index, value))) }
    }

    fn slot(&self, index: u64) -> &AtomicU128 {
        // `N` is not zero, and a remainder is within.
        &self.slots[(index % N as u64) as usize]
    }

    /// Changes the value of a stretch, which begins at 0. `None` once closed.
    #[inline]
    pub(crate) fn change(&self, index: u64, change: impl Fn(u64) -> u64) -> Option<()> {
        let slot = self.slot(index);
        let mut old = slot.load(Ordering::SeqCst);
        while old != CLOSED {
            let (at, value) = unpack(old);
            // Where a whole ring passed meanwhile it counts as made now.
            let new = if at < index { pack(index, change(0)) } else { pack(at, change(value)) };
            match slot.compare_exchange_weak(old, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Some(()),
                Err(changed) => old = changed,
            }
        }
        None
    }

    /// The value of a stretch. `None` once closed.
    #[inline]
    pub(crate) fn value(&self, index: u64) -> Option<u64> {
        let slot = self.slot(index).load(Ordering::SeqCst);
        let (at, value) = unpack(slot);
        (slot != CLOSED).then_some(if at == index { value } else { 0 })
    }

    /// The values of `index` and the `N − 1` stretches before it, folded. `None` once closed.
    pub(crate) fn fold<A>(&self, index: u64, start: A, mut add: impl FnMut(A, u64, u64) -> A) -> Option<A> {
        let mut sum = start;
        for slot in &self.slots {
            let slot = slot.load(Ordering::SeqCst);
            if slot == CLOSED {
                return None;
            }
            let (at, value) = unpack(slot);
            if index.saturating_sub(at) < N as u64 {
                sum = add(sum, at, value);
            }
        }
        Some(sum)
    }

    /// Ends it; tells what it held. `None` if it was closed already.
    pub(crate) fn close(&self) -> Option<Held<N>> {
        let mut held = [(0, 0); N];
        for (slot, held) in self.slots.iter().zip(&mut held) {
            let old = slot.swap(CLOSED, Ordering::SeqCst);
            if old == CLOSED {
                return None;
            }
            *held = unpack(old);
        }
        Some(held)
    }
}

/// The latest stretch of time that was seen; it never goes back.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// Nanoseconds; at least 1.
    width: u64,
    latest: AtomicU64,
}

impl Stretch {
    pub(crate) fn new(width: u64, latest: u64) -> Self {
        Self { width: width.max(1), latest: AtomicU64::new(latest) }
    }

    pub(crate) fn width(&self) -> u64 {
        self.width
    }

    /// The stretch of `now`, or the latest one if that is later.
    #[inline]
    pub(crate) fn at(&self, now: u64) -> u64 {
        let (index, latest) = (now / self.width, self.latest.load(Ordering::Relaxed));
        if index > latest { self.latest.fetch_max(index, Ordering::Relaxed).max(index) } else { latest }
    }

    pub(crate) fn latest(&self) -> u64 {
        self.latest.load(Ordering::Relaxed)
    }
}
