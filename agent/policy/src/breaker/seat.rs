//! Seats of threads: each thread that calls has a number of its own while it lives, so that it alone writes its stripes.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many threads have a seat at a time. More than these make their calls under the lock.
pub(super) const SEATS: usize = 32;

/// No seat was free, or none was asked for yet.
const NONE: usize = usize::MAX;
/// The thread is ending.
const GONE: usize = usize::MAX - 1;

/// One bit a seat. Whoever takes one sees all that its former owner wrote: giving back releases, taking acquires.
static TAKEN: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// Needs no destructor, so that reading it is one load.
    static SEAT: Cell<usize> = const { Cell::new(NONE) };
    static HELD: Held = const { Held(Cell::new(NONE)) };
}

/// Gives the seat back when its thread ends.
struct Held(Cell<usize>);

impl Drop for Held {
    fn drop(&mut self) {
        SEAT.set(GONE);
        give_back(self.0.get());
    }
}

/// The seat of this thread, if it has sat down.
#[inline]
pub(super) fn mine() -> Option<usize> {
    let seat = SEAT.get();
    (seat < SEATS).then_some(seat)
}

/// The seat of this thread; takes one if there is one.
pub(super) fn take() -> Option<usize> {
    if SEAT.get() == NONE
        && let Some(seat) = find()
    {
        match HELD.try_with(|held| held.0.set(seat)) {
            Ok(()) => SEAT.set(seat),
            Err(_) => give_back(seat),
        }
    }
    mine()
}

fn find() -> Option<usize> {
    let mut taken = TAKEN.load(Ordering::Relaxed);
    loop {
        let seat = taken.trailing_ones();
        let bit = 1_u32.checked_shl(seat)?;
        match TAKEN.compare_exchange_weak(taken, taken | bit, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return usize::try_from(seat).ok(),
            Err(now) => taken = now,
        }
    }
}

fn give_back(seat: usize) {
    if seat < SEATS {
        TAKEN.fetch_and(!(1 << seat), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn seats_are_exclusive_and_come_back() {
        for _ in 0..3 {
            let (threads, barrier) = (SEATS + 8, Barrier::new(SEATS + 8));
            let seats: Vec<usize> = std::thread::scope(|scope| {
                let sit = || {
                    let seat = take();
                    barrier.wait();
                    assert_eq!(seat.is_some(), mine().is_some());
                    seat
                };
                let handles: Vec<_> = (0..threads).map(|_| scope.spawn(sit)).collect();
                handles.into_iter().filter_map(|handle| handle.join().unwrap()).collect()
            });
            // Threads of other tests sit too.
            assert!(!seats.is_empty() && seats.len() <= SEATS);
            assert_eq!(seats.iter().collect::<BTreeSet<_>>().len(), seats.len());
        }
    }
}
