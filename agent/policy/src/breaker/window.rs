//! The window that ratios look at. One call costs O(1); memory is bounded by the settings.

use std::collections::VecDeque;

use super::{SHOWN_CALLS, WindowCall};
use crate::settings;

/// Entries that are set aside at once; a larger window grows as it fills.
const RESERVED: u64 = 1 << 14;

const FAILED: u8 = 1;
const SLOW: u8 = 2;

/// What a window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) slow: u64,
}

impl Counts {
    fn add(&mut self, failed: bool, slow: bool) {
        self.calls += 1;
        self.failures += u64::from(failed);
        self.slow += u64::from(slow);
    }

    fn take(&mut self, other: Self) {
        self.calls -= other.calls;
        self.failures -= other.failures;
        self.slow -= other.slow;
    }
}

/// Where an entry sits, to find it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

#[derive(Debug)]
struct Slice {
    /// Which stretch of `width` nanoseconds since the clock's zero.
    index: u64,
    counts: Counts,
}

#[derive(Debug)]
enum Kind {
    Nothing,
    /// The last `size` calls, one byte each.
    Count {
        size: u64,
        entries: VecDeque<u8>,
        pushed: u64,
    },
    /// The slices that hold anything, oldest first.
    Time {
        width: u64,
        buckets: u64,
        slices: VecDeque<Slice>,
    },
}

#[derive(Debug)]
pub(super) struct Window {
    kind: Kind,
    total: Counts,
}

impl Window {
    pub(super) fn new(spec: Option<&settings::Window>) -> Self {
        let room = |wanted: u64| VecDeque::with_capacity(usize::try_from(wanted.min(RESERVED)).unwrap_or(0));
        let kind = match spec {
            None => Kind::Nothing,
            Some(&settings::Window::Count { size }) => {
                Kind::Count { size: size.max(1), entries: room(size), pushed: 0 }
            }
            Some(&settings::Window::Time { ms, buckets }) => {
                let buckets = buckets.max(1);
                let width = u128::from(ms) * 1_000_000 / u128::from(buckets);
                let width = u64::try_from(width).unwrap_or(u64::MAX).max(1);
                let slices = VecDeque::with_capacity(usize::try_from(buckets.min(RESERVED / 8)).unwrap_or(0));
                Kind::Time { width, buckets, slices }
            }
        };
        Self { kind, total: Counts::default() }
    }

    pub(super) fn clear(&mut self) {
        self.total = Counts::default();
        match &mut self.kind {
            Kind::Nothing => {}
            Kind::Count { entries, .. } => entries.clear(),
            Kind::Time { slices, .. } => slices.clear(),
        }
    }

    pub(super) fn exists(&self) -> bool {
        !matches!(self.kind, Kind::Nothing)
    }

    /// What the window holds at `now`.
    pub(super) fn counts(&mut self, now: u64) -> Counts {
        self.expire(now);
        self.total
    }

    fn expire(&mut self, now: u64) {
        if let Kind::Time { width, buckets, slices } = &mut self.kind {
            let current = now / *width;
            while let Some(slice) = slices.pop_front_if(|slice| current.saturating_sub(slice.index) >= *buckets) {
                self.total.take(slice.counts);
            }
        }
    }

    /// Adds a call that ended (or became slow) at `now`.
    pub(super) fn record(&mut self, now: u64, failed: bool, slow: bool) -> Mark {
        self.expire(now);
        match &mut self.kind {
            Kind::Nothing => return Mark(0),
            Kind::Count { size, entries, pushed } => {
                if entries.len() as u64 >= *size
                    && let Some(old) = entries.pop_front()
                {
                    self.total.take(counts_of(old));
                }
                entries.push_back(if failed { FAILED } else { 0 } | if slow { SLOW } else { 0 });
                *pushed += 1;
            }
            Kind::Time { width, slices, .. } => {
                let index = now / *width;
                match slices.back_mut() {
                    Some(last) if last.index >= index => last.counts.add(failed, slow),
                    _ => {
                        let mut counts = Counts::default();
                        counts.add(failed, slow);
                        slices.push_back(Slice { index, counts });
                    }
                }
            }
        }
        self.total.add(failed, slow);
        match &self.kind {
            Kind::Nothing => Mark(0),
            Kind::Count { pushed, .. } => Mark(*pushed - 1),
            Kind::Time { slices, .. } => Mark(slices.back().map_or(0, |slice| slice.index)),
        }
    }

    /// A call recorded before as slow has failed now. False when it is no longer in the window.
    pub(super) fn fail(&mut self, mark: Mark, now: u64) -> bool {
        self.expire(now);
        let found = match &mut self.kind {
            Kind::Nothing => false,
            Kind::Count { entries, pushed, .. } => {
                let oldest = *pushed - entries.len() as u64;
                let entry = mark.0.checked_sub(oldest).and_then(|i| entries.get_mut(usize::try_from(i).ok()?));
                entry.is_some_and(|entry| {
                    let was_good = *entry & FAILED == 0;
                    *entry |= FAILED;
                    was_good
                })
            }
            Kind::Time { slices, .. } => {
                let place = slices.binary_search_by_key(&mark.0, |slice| slice.index).ok();
                place.and_then(|i| slices.get_mut(i)).is_some_and(|slice| {
                    slice.counts.failures += 1;
                    true
                })
            }
        };
        self.total.failures += u64::from(found);
        found
    }

    /// Carries what is alive over to another window: newest kept, nothing forgotten comes back.
    pub(super) fn become_like(&mut self, spec: Option<&settings::Window>, now: u64) {
        self.expire(now);
        let mut next = Self::new(spec);
        match (&mut self.kind, &mut next.kind) {
            (Kind::Nothing, _) | (_, Kind::Nothing) => {}
            (Kind::Count { entries: old, .. }, Kind::Count { size, entries, pushed }) => {
                let keep = usize::try_from(*size).unwrap_or(usize::MAX).min(old.len());
                entries.extend(old.iter().skip(old.len() - keep));
                *pushed = entries.len() as u64;
            }
            (Kind::Count { .. }, Kind::Time { width, slices, .. }) => {
                if self.total.calls > 0 {
                    slices.push_back(Slice { index: now / *width, counts: self.total });
                }
            }
            (Kind::Time { slices: old, .. }, Kind::Count { size, entries, pushed }) => {
                for slice in old.iter().rev() {
                    let room = size.saturating_sub(entries.len() as u64).min(slice.counts.calls);
                    for i in 0..room {
                        let failed = if i < slice.counts.failures { FAILED } else { 0 };
                        entries.push_front(failed | if i < slice.counts.slow { SLOW } else { 0 });
                    }
                }
                *pushed = entries.len() as u64;
            }
            (Kind::Time { slices: old, width: before, .. }, Kind::Time { slices, width, .. }) => {
                for slice in old.drain(..) {
                    let end = slice.index.saturating_mul(*before).saturating_add(*before - 1).min(now);
                    let index = end / *width;
                    match slices.back_mut() {
                        Some(last) if last.index == index => {
                            last.counts.calls += slice.counts.calls;
                            last.counts.failures += slice.counts.failures;
                            last.counts.slow += slice.counts.slow;
                        }
                        _ => slices.push_back(Slice { index, counts: slice.counts }),
                    }
                }
            }
        }
        next.recount();
        next.expire(now);
        *self = next;
    }

    fn recount(&mut self) {
        let parts: Box<dyn Iterator<Item = Counts>> = match &self.kind {
            Kind::Nothing => Box::new(std::iter::empty()),
            Kind::Count { entries, .. } => Box::new(entries.iter().map(|&entry| counts_of(entry))),
            Kind::Time { slices, .. } => Box::new(slices.iter().map(|slice| slice.counts)),
        };
        self.total = parts.fold(Counts::default(), |mut sum, part| {
            sum.calls += part.calls;
            sum.failures += part.failures;
            sum.slow += part.slow;
            sum
        });
    }
}

fn counts_of(entry: u8) -> Counts {
    Counts { calls: 1, failures: u64::from(entry & FAILED != 0), slow: u64::from(entry & SLOW != 0) }
}

/// The newest calls, for people.
#[derive(Debug)]
pub(super) struct Samples {
    ring: [(u64, WindowCall); SHOWN_CALLS],
    next: usize,
    len: usize,
}

impl Samples {
    pub(super) fn new() -> Self {
        Self { ring: [(0, WindowCall::default()); SHOWN_CALLS], next: 0, len: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds a call; `serial` finds it again.
    pub(super) fn push(&mut self, serial: u64, call: WindowCall) {
        if let Some(place) = self.ring.get_mut(self.next) {
            *place = (serial, call);
        }
        self.next = (self.next + 1) % SHOWN_CALLS;
        self.len = (self.len + 1).min(SHOWN_CALLS);
    }

    /// A call shown before as slow has failed.
    pub(super) fn fail(&mut self, serial: u64, micros: u32, trace_id: Option<[u8; 16]>) {
        if let Some((_, call)) = self.ring.iter_mut().find(|(s, _)| *s == serial) {
            (call.failed, call.micros, call.trace_id) = (true, micros, trace_id);
        }
    }

    /// The newest calls, at most `most`, newest last.
    pub(super) fn newest(&self, most: u64) -> Vec<WindowCall> {
        let take = self.len.min(usize::try_from(most).unwrap_or(SHOWN_CALLS));
        let first = self.next + SHOWN_CALLS - take;
        (0..take).filter_map(|i| self.ring.get((first + i) % SHOWN_CALLS).map(|(_, call)| *call)).collect()
    }
}
