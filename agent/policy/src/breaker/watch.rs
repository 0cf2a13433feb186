//! Calls in flight of one thread, so that a hung callee can trip a breaker before its calls end. The thread that starts a
//! call takes a place, whichever thread ends it frees the place; who holds the lock marks the overdue.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Places of the first segment; each further one has twice as many, made when a call finds no place.
const FIRST: usize = 32;
const SEGMENTS: usize = 9;
/// Places looked at in a segment.
const LOOKS: usize = 8;

const FREE: u64 = 0;
/// In flight and not counted.
const YOUNG: u64 = 1;
/// Counted as slow.
const COUNTED: u64 = 2;
const STATE: u64 = 3;

#[derive(Debug, Default)]
struct Slot {
    /// Serial of the call in this place, and its state in the lowest two bits.
    word: AtomicU64,
    started: AtomicU64,
    epoch: AtomicU64,
    /// Number under which it was counted.
    number: AtomicU64,
}

/// Where a call is watched: the place, from 1, and its serial there. Place 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) place: u16,
    pub(super) serial: u64,
}

/// What became known of a call in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It has not been counted yet.
    New,
    /// It was counted as slow, under this number.
    Counted(u64),
}

#[derive(Debug, Default)]
pub(super) struct Watch {
    segments: [OnceLock<Box<[Slot]>>; SEGMENTS],
    /// Where a place was found last.
    cursor: AtomicUsize,
}

impl Watch {
    /// Takes a place for a call. Only for the thread that owns it; `None` when too many are in flight, which are looked at
    /// only when they end.
    #[inline]
    pub(super) fn start(&self, started: u64, epoch: u64) -> Option<Spot> {
        let cursor = self.cursor.load(Ordering::Relaxed);
        for (nth, segment) in self.segments.iter().enumerate() {
            let slots = segment.get_or_init(|| (0..FIRST << nth).map(|_| Slot::default()).collect());
            for look in 0..LOOKS {
                let index = (cursor + look) % (FIRST << nth);
                let Some(slot) = slots.get(index) else { continue };
                let word = slot.word.load(Ordering::Acquire);
                if word & STATE == FREE {
                    let serial = (word >> 2) + 1;
                    slot.started.store(started, Ordering::Relaxed);
                    slot.epoch.store(epoch, Ordering::Relaxed);
                    slot.word.store(serial << 2 | YOUNG, Ordering::Release);
                    self.cursor.store(index, Ordering::Relaxed);
                    let place = u16::try_from(before(nth) + index + 1).ok()?;
                    return Some(Spot { place, serial });
                }
            }
        }
        None
    }

    /// Frees the place of a call that has not been counted. False when it has been, or the place was taken from it.
    #[inline]
    pub(super) fn end_young(&self, spot: Spot) -> bool {
        let (young, free) = (spot.serial << 2 | YOUNG, spot.serial << 2 | FREE);
        let change = |slot: &Slot| slot.word.compare_exchange(young, free, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        self.slot(spot.place).is_some_and(change)
    }

    /// Frees the place of a call. With the lock.
    pub(super) fn end(&self, spot: Spot) -> Seen {
        if self.end_young(spot) {
            return Seen::New;
        }
        let Some(slot) = self.slot(spot.place) else { return Seen::New };
        let number = slot.number.load(Ordering::Relaxed);
        let (counted, free) = (spot.serial << 2 | COUNTED, spot.serial << 2 | FREE);
        match slot.word.compare_exchange(counted, free, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Seen::Counted(number),
            Err(_) => Seen::New,
        }
    }

    /// Counts a call as slow. With the lock; false when it has just ended.
    pub(super) fn count(&self, spot: Spot, number: u64) -> bool {
        let Some(slot) = self.slot(spot.place) else { return false };
        slot.number.store(number, Ordering::Relaxed);
        let (young, counted) = (spot.serial << 2 | YOUNG, spot.serial << 2 | COUNTED);
        slot.word.compare_exchange(young, counted, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Tells of each call of `epoch` in flight that was not counted: where, and its start. Places of other epochs become
    /// free. With the lock.
    pub(super) fn each_young(&self, epoch: u64, mut tell: impl FnMut(Spot, u64)) {
        for (nth, slots) in self.segments.iter().map_while(OnceLock::get).enumerate() {
            for (index, slot) in slots.iter().enumerate() {
                let word = slot.word.load(Ordering::Acquire);
                if word & STATE == FREE {
                    continue;
                }
                if slot.epoch.load(Ordering::Relaxed) != epoch {
                    // Its call may end this moment; then the place is free already.
                    let free = word & !STATE | FREE;
                    let _ = slot.word.compare_exchange(word, free, Ordering::AcqRel, Ordering::Relaxed);
                } else if word & STATE == YOUNG {
                    let place = u16::try_from(before(nth) + index + 1).unwrap_or(0);
                    tell(Spot { place, serial: word >> 2 }, slot.started.load(Ordering::Relaxed));
                }
            }
        }
    }

    fn slot(&self, place: u16) -> Option<&Slot> {
        let index = usize::from(place).checked_sub(1)?;
        let nth = (index / FIRST + 1).ilog2() as usize;
        self.segments.get(nth)?.get()?.get(index - before(nth))
    }
}

/// Places of the segments before the `nth`.
const fn before(nth: usize) -> usize {
    FIRST * ((1 << nth) - 1)
}

/// What the first segment takes.
#[cfg(test)]
pub(super) const FIRST_BYTES: usize = FIRST * size_of::<Slot>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_again_and_reused() {
        let watch = Watch::default();
        let spots: Vec<Spot> = (0..5_000).map_while(|at| watch.start(at, 1)).collect();
        assert_eq!(spots.len(), 5_000);
        assert!(watch.count(spots[7], 70));
        let mut young = 0;
        watch.each_young(1, |spot, started| {
            assert_eq!(spots[started as usize], spot);
            young += 1;
        });
        assert_eq!(young, 4_999);
        assert_eq!(watch.end(spots[7]), Seen::Counted(70));
        assert_eq!(watch.end(spots[7]), Seen::New, "it is free");
        assert!(spots.iter().enumerate().all(|(i, spot)| watch.end_young(*spot) == (i != 7)));
        let again = watch.start(0, 1).unwrap();
        assert!(again.serial > 1 || spots.iter().all(|spot| spot.place != again.place));
    }

    #[test]
    fn places_of_another_epoch_are_taken_back() {
        let watch = Watch::default();
        let old = watch.start(0, 1).unwrap();
        watch.each_young(2, |_, _| unreachable!("it is of the first epoch"));
        let new = watch.start(1, 2).unwrap();
        assert_eq!(new.place, old.place);
        assert!(!watch.end_young(old), "its place belongs to another call");
        assert!(watch.end_young(new));
    }

    #[test]
    fn there_is_an_end_to_places() {
        let watch = Watch::default();
        let found = (0..40_000).map_while(|at| watch.start(at, 1)).count();
        assert!((before(SEGMENTS) / 2..=before(SEGMENTS)).contains(&found), "{found}");
    }
}
