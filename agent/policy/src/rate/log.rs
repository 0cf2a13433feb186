//! The exact sliding window: a ring of what was admitted and when.
//!
//! An admission claims the next entry with a single compare-and-swap on the ring's head, which also holds the sum of all
//! tokens ever admitted, and then writes it. As long as the head stands still nothing that was read can have been
//! overwritten, so the head is the version of everything else. An entry that is claimed but not written yet counts as just
//! admitted. Each call looks at no more old entries than it needs to free its own tokens, and at one more.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use portable_atomic::AtomicU128;

/// Most entries: the largest limit that a document may ask for. A larger one is held to about so many separate calls.
const MOST: u64 = 1_000_000;
/// Entries that are set aside at once, when the first of them is needed, as a power of two: 4 KiB.
const CHUNK: u32 = 8;
/// In place of the head once the log is closed.
const CLOSED: u128 = u128::MAX;
/// Times are kept in 63 bits.
const LATEST: u64 = u64::MAX >> 1;

/// One admission.
#[derive(Debug, Default)]
struct Entry {
    /// When, and in the lowest bit in which lap of the ring: what an earlier lap left there is not this entry.
    stamp: AtomicU64,
    /// Tokens admitted up to and including this one, since the log began; wraps.
    sum: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Log {
    limit: u64,
    /// Nanoseconds.
    window: u64,
    /// Entries claimed (high half) and the sum of their tokens (low half, wraps).
    head: AtomicU128,
    /// All entries before this one have expired.
    tail: AtomicU64,
    /// Entries of the ring, as a power of two.
    bits: u32,
    chunks: Box<[OnceLock<Box<[Entry]>>]>,
}

/// What is still counted when a log ends: when and how many, oldest first.
pub(super) type Kept = Vec<(u64, u64)>;

fn pack(entries: u64, sum: u64) -> u128 {
    u128::from(entries) << 64 | u128::from(sum)
}

fn unpack(head: u128) -> (u64, u64) {
    ((head >> 64) as u64, head as u64)
}

impl Log {
    /// A log that goes on with `kept`.
    pub(super) fn new(limit: u64, window: u64, kept: &[(u64, u64)]) -> Self {
        // One more than can be alive, so that the sum before the oldest one that is stays readable.
        let bits = (limit.min(MOST).max(kept.len() as u64) + 1).next_power_of_two().ilog2();
        let chunks = (0..1u64 << bits.saturating_sub(CHUNK)).map(|_| OnceLock::new()).collect();
        let log = Self { limit, window, head: AtomicU128::new(0), tail: AtomicU64::new(0), bits, chunks };
        let mut sum = 0u64;
        for (index, (at, n)) in (0..).zip(kept) {
            sum = sum.wrapping_add(*n);
            log.write(index, *at, sum);
        }
        log.head.store(pack(kept.len() as u64, sum), Ordering::Release);
        log
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        let (place, chunk) = (index & ((1 << self.bits) - 1), self.bits.min(CHUNK));
        let entries = self.chunks.get((place >> chunk) as usize)?;
        let entries = entries.get_or_init(|| (0..1u64 << chunk).map(|_| Entry::default()).collect());
        entries.get((place & ((1 << chunk) - 1)) as usize)
    }

    /// The first lap is marked 1: a ring of zeros holds nothing.
    fn lap(&self, index: u64) -> u64 {
        ((index >> self.bits) + 1) & 1
    }

    fn write(&self, index: u64, at: u64, sum: u64) {
        if let Some(entry) = self.entry(index) {
            entry.sum.store(sum, Ordering::Relaxed);
            entry.stamp.store(at.min(LATEST) << 1 | self.lap(index), Ordering::Release);
        }
    }

    /// When an entry was admitted and the sum up to it; `None` while it is not written.
    fn read(&self, index: u64) -> Option<(u64, u64)> {
        let entry = self.entry(index)?;
        let stamp = entry.stamp.load(Ordering::Acquire);
        (stamp & 1 == self.lap(index)).then(|| (stamp >> 1, entry.sum.load(Ordering::Relaxed)))
    }

    /// Whether `n` tokens are granted; `None` once closed.
    pub(super) fn acquire(&self, now: u64, n: u64) -> Option<bool> {
        let now = now.min(LATEST);
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            if head == CLOSED {
                return None;
            }
            let (entries, sum) = unpack(head);
            let room = self.make_room(now, n, entries, sum);
            if room && n > 0 {
                let claimed = pack(entries + 1, sum.wrapping_add(n));
                match self.head.compare_exchange_weak(head, claimed, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => {
                        // A time before that of the last entry counts as that one.
                        let last = entries.checked_sub(1).and_then(|last| self.read(last)).map_or(0, |(at, _)| at);
                        self.write(entries, now.max(last), sum.wrapping_add(n));
                        return Some(true);
                    }
                    Err(changed) => head = changed,
                }
            } else {
                let current = self.head.load(Ordering::Acquire);
                if current == head {
                    return Some(room);
                }
                head = current;
            }
        }
    }

    /// Moves the tail over expired entries, as far as `n` tokens need it and one further. Whether they have room then;
    /// meaningless if the head has moved meanwhile.
    fn make_room(&self, now: u64, n: u64, entries: u64, sum: u64) -> bool {
        let first = self.tail.load(Ordering::Acquire);
        let before = first.checked_sub(1).map_or(Some(0), |last| self.read(last).map(|(_, sum)| sum));
        // Overwritten: the head has moved.
        let Some(mut before) = before else { return false };
        let mut tail = first;
        let mut fits = self.fits(n, entries - tail.min(entries), sum.wrapping_sub(before));
        while tail < entries
            && let Some((at, up_to)) = self.read(tail)
            && now.saturating_sub(at) >= self.window
        {
            let enough = fits;
            (tail, before) = (tail + 1, up_to);
            fits = self.fits(n, entries - tail, sum.wrapping_sub(before));
            if enough {
                break;
            }
        }
        if tail > first {
            self.tail.fetch_max(tail, Ordering::AcqRel);
        }
        fits
    }

    fn fits(&self, n: u64, alive_entries: u64, alive: u64) -> bool {
        alive.checked_add(n).is_some_and(|count| count <= self.limit)
            && (n == 0 || alive_entries < (1 << self.bits) - 1)
    }

    /// Ends it; tells what counts at `now`. `None` if it was closed already.
    pub(super) fn close(&self, now: u64) -> Option<Kept> {
        let head = self.head.swap(CLOSED, Ordering::AcqRel);
        if head == CLOSED {
            return None;
        }
        let ((entries, total), first) = (unpack(head), self.tail.load(Ordering::Acquire));
        let mut sum = first.checked_sub(1).and_then(|last| self.read(last)).map_or(0, |(_, sum)| sum);
        let mut kept = Kept::new();
        for index in first..entries {
            match self.read(index) {
                Some((at, up_to)) => {
                    if now.saturating_sub(at) < self.window {
                        kept.push((at, up_to.wrapping_sub(sum)));
                    }
                    sum = up_to;
                }
                // Claimed and not written yet, like all after it: as if just admitted.
                None => break,
            }
        }
        let unwritten = total.wrapping_sub(sum);
        kept.extend((unwritten > 0).then_some((now, unwritten)));
        Some(kept)
    }
}
