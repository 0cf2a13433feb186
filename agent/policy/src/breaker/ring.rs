//! The newest calls of one thread, for people. Its thread writes, anybody reads.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{SHOWN_CALLS, WindowCall};

const FAILED: u64 = 1 << 32;
const SLOW: u64 = 1 << 33;
const TRACED: u64 = 1 << 34;
/// Counted while it was in flight; its number stands where a trace would.
const IN_FLIGHT: u64 = 1 << 35;
const PLACES: u64 = SHOWN_CALLS as u64;

#[derive(Debug, Default)]
struct Entry {
    at: AtomicU64,
    /// Microseconds in the lower half, flags above.
    what: AtomicU64,
    trace: [AtomicU64; 2],
}

#[derive(Debug)]
pub(super) struct Ring {
    /// Entries begun and ended: an entry is whole when no later one has begun in its place.
    begun: AtomicU64,
    ended: AtomicU64,
    entries: [Entry; SHOWN_CALLS],
}

/// A call as a ring shows it; the number of one that was counted in flight.
pub(super) type Shown = (WindowCall, Option<u64>);

impl Ring {
    pub(super) fn new() -> Self {
        let entries = std::array::from_fn(|_| Entry::default());
        Self { begun: AtomicU64::new(0), ended: AtomicU64::new(0), entries }
    }

    /// Adds a call.
    #[inline]
    pub(super) fn push(&self, call: &WindowCall) {
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let what = u64::from(call.micros) | flag(call.failed, FAILED) | flag(call.slow, SLOW);
        match call.trace_id {
            None => self.write(call.at, what, None),
            Some(id) => {
                let id = u128::from_ne_bytes(id);
                self.write(call.at, what | TRACED, Some([id as u64, (id >> 64) as u64]));
            }
        }
    }

    /// Adds a call that was counted as slow in flight; `number` finds it again.
    pub(super) fn push_in_flight(&self, call: &WindowCall, number: u64) {
        self.write(call.at, u64::from(call.micros) | SLOW | IN_FLIGHT, Some([number, 0]));
    }

    #[inline]
    fn write(&self, at: u64, what: u64, trace: Option<[u64; 2]>) {
        let number = self.ended.load(Ordering::Relaxed);
        self.begun.store(number + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        if let Some(entry) = self.entries.get((number % PLACES) as usize) {
            entry.at.store(at, Ordering::Relaxed);
            entry.what.store(what, Ordering::Relaxed);
            if let Some([low, high]) = trace {
                entry.trace[0].store(low, Ordering::Relaxed);
                entry.trace[1].store(high, Ordering::Relaxed);
            }
        }
        self.ended.store(number + 1, Ordering::Release);
    }

    /// How many were added since it was made.
    pub(super) fn pushed(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// The newest, from the one numbered `first` on, oldest first.
    pub(super) fn newest(&self, first: u64) -> Vec<Shown> {
        let ended = self.ended.load(Ordering::Acquire);
        let first = first.max(ended.saturating_sub(PLACES));
        let read = |number: u64| self.entries.get((number % PLACES) as usize).map(Entry::read);
        let mut calls: Vec<Shown> = (first..ended).filter_map(read).collect();
        fence(Ordering::Acquire);
        // What was written over meanwhile is torn.
        let whole = self.begun.load(Ordering::Relaxed).saturating_sub(PLACES);
        calls.drain(..calls.len().min(usize::try_from(whole.saturating_sub(first)).unwrap_or(usize::MAX)));
        calls
    }
}

impl Entry {
    fn read(&self) -> Shown {
        let what = self.what.load(Ordering::Relaxed);
        let (low, high) = (self.trace[0].load(Ordering::Relaxed), self.trace[1].load(Ordering::Relaxed));
        let id = u128::from(low) | u128::from(high) << 64;
        let call = WindowCall {
            at: self.at.load(Ordering::Relaxed),
            failed: what & FAILED != 0,
            slow: what & SLOW != 0,
            micros: what as u32,
            trace_id: (what & TRACED != 0).then(|| id.to_ne_bytes()),
        };
        (call, (what & IN_FLIGHT != 0).then_some(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_beside_the_writer_sees_only_whole_calls() {
        let ring = Ring::new();
        let call = |n: u64| {
            let trace_id = Some(u128::from(n).to_ne_bytes());
            WindowCall { at: n, micros: n as u32, failed: n.is_multiple_of(3), slow: n.is_multiple_of(5), trace_id }
        };
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..200_000).for_each(|n| ring.push(&call(n))));
            let mut looks = 0;
            while !writer.is_finished() || looks == 0 {
                let seen = ring.newest(0);
                assert!(seen.iter().all(|(seen, number)| *seen == call(seen.at) && number.is_none()));
                assert!(seen.windows(2).all(|pair| pair[0].0.at + 1 == pair[1].0.at));
                looks += 1;
            }
        });
        assert_eq!(ring.newest(0).len(), SHOWN_CALLS);
        assert_eq!(ring.newest(199_990).len(), 10);
    }
}
