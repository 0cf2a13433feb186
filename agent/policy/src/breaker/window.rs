//! The window that verdicts look at. One call costs O(1), any number of good ones at once too; memory is bounded by the
//! settings.

use std::collections::VecDeque;

use crate::settings;

/// Bad calls or slices for which room is set aside at once; a larger window grows as it fills.
const RESERVED: u64 = 1 << 8;

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
    fn new(calls: u64, flags: u8) -> Self {
        Self { calls, failures: u64::from(flags & FAILED != 0), slow: u64::from(flags & SLOW != 0) }
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failures += other.failures;
        self.slow += other.slow;
    }

    fn take(&mut self, other: Self) {
        self.calls -= other.calls;
        self.failures -= other.failures;
        self.slow -= other.slow;
    }
}

/// Where a call sits, to find it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

#[derive(Debug)]
struct Slice {
    /// Which stretch of `width` nanoseconds since the clock's zero.
    index: u64,
    counts: Counts,
}

/// A call that failed or was slow.
#[derive(Debug, Clone, Copy)]
struct Bad {
    /// Calls before it.
    position: u64,
    flags: u8,
}

#[derive(Debug)]
enum Kind {
    Nothing,
    /// The last `size` calls. Good ones leave no trace but their number.
    Count {
        size: u64,
        /// Calls so far.
        pushed: u64,
        /// Those of the last `size` that were bad, oldest first.
        bad: VecDeque<Bad>,
    },
    /// The slices that were looked at, oldest first.
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
        let room = |wanted: u64| usize::try_from(wanted.min(RESERVED)).unwrap_or(0);
        let kind = match spec {
            None => Kind::Nothing,
            Some(&settings::Window::Count { size }) => {
                Kind::Count { size: size.max(1), pushed: 0, bad: VecDeque::with_capacity(room(size)) }
            }
            Some(&settings::Window::Time { ms, buckets }) => {
                let buckets = buckets.max(1);
                let width = u128::from(ms) * 1_000_000 / u128::from(buckets);
                let width = u64::try_from(width).unwrap_or(u64::MAX).max(1);
                // The oldest leaves after the newest has come.
                let slices = VecDeque::with_capacity(room(buckets.saturating_add(1)));
                Kind::Time { width, buckets, slices }
            }
        };
        Self { kind, total: Counts::default() }
    }

    pub(super) fn clear(&mut self) {
        self.total = Counts::default();
        match &mut self.kind {
            Kind::Nothing => {}
            Kind::Count { pushed, bad, .. } => {
                *pushed = 0;
                bad.clear();
            }
            Kind::Time { slices, .. } => slices.clear(),
        }
    }

    pub(super) fn exists(&self) -> bool {
        !matches!(self.kind, Kind::Nothing)
    }

    /// The slice of a moment; 0 where there are none.
    pub(super) fn slice_at(&self, now: u64) -> u64 {
        match &self.kind {
            Kind::Time { width, .. } => now / width,
            Kind::Nothing | Kind::Count { .. } => 0,
        }
    }

    /// The first moment after a slice; none ever where there are no slices.
    pub(super) fn end_of(&self, slice: u64) -> u64 {
        match &self.kind {
            Kind::Time { width, .. } => slice.saturating_add(1).saturating_mul(*width),
            Kind::Nothing | Kind::Count { .. } => u64::MAX,
        }
    }

    /// What the window holds at `now`.
    pub(super) fn counts(&mut self, now: u64) -> Counts {
        self.expire(now);
        self.total
    }

    fn expire(&mut self, now: u64) {
        match &mut self.kind {
            Kind::Nothing => {}
            Kind::Count { size, pushed, bad } => {
                let oldest = pushed.saturating_sub(*size);
                while let Some(call) = bad.pop_front_if(|call| call.position < oldest) {
                    self.total.take(Counts::new(0, call.flags));
                }
            }
            Kind::Time { width, buckets, slices } => {
                let current = now / *width;
                while let Some(slice) = slices.pop_front_if(|slice| current.saturating_sub(slice.index) >= *buckets) {
                    self.total.take(slice.counts);
                }
            }
        }
    }

    /// Opens the slice of `now`, so that good calls can be added to it later.
    pub(super) fn turn(&mut self, now: u64) {
        self.expire(now);
        if let Kind::Time { width, slices, .. } = &mut self.kind {
            let index = now / *width;
            if slices.back().is_none_or(|last| last.index < index) {
                slices.push_back(Slice { index, counts: Counts::default() });
            }
        }
    }

    /// Adds a call that ended (or became slow) at `now`.
    pub(super) fn record(&mut self, now: u64, failed: bool, slow: bool) -> Mark {
        self.turn(now);
        let flags = if failed { FAILED } else { 0 } | if slow { SLOW } else { 0 };
        let bad_one = Counts::new(0, flags);
        let mark = match &mut self.kind {
            Kind::Nothing => return Mark(0),
            Kind::Count { pushed, bad, .. } => {
                if flags != 0 {
                    bad.push_back(Bad { position: *pushed, flags });
                }
                *pushed
            }
            Kind::Time { slices, .. } => slices.back_mut().map_or(0, |slice| {
                slice.counts.add(bad_one);
                slice.index
            }),
        };
        self.total.add(bad_one);
        self.add_calls(mark, 1, now);
        Mark(mark)
    }

    /// Adds calls, good unless counted as bad beside; to this slice if it is still there.
    pub(super) fn add_calls(&mut self, slice: u64, calls: u64, now: u64) {
        match &mut self.kind {
            Kind::Nothing => return,
            Kind::Count { size, pushed, .. } => {
                *pushed += calls;
                self.total.calls = (*pushed).min(*size);
            }
            Kind::Time { slices, .. } => {
                let Some(slice) = slices.iter_mut().rev().find(|open| open.index == slice) else { return };
                slice.counts.calls += calls;
                self.total.calls += calls;
            }
        }
        self.expire(now);
    }

    /// A call recorded before as slow has failed now. False when it is no longer in the window.
    pub(super) fn fail(&mut self, mark: Mark, now: u64) -> bool {
        self.expire(now);
        let found = match &mut self.kind {
            Kind::Nothing => false,
            Kind::Count { bad, .. } => {
                let place = bad.binary_search_by_key(&mark.0, |call| call.position).ok();
                place.and_then(|i| bad.get_mut(i)).is_some_and(|call| {
                    let was_good = call.flags & FAILED == 0;
                    call.flags |= FAILED;
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

    /// Another window with what is alive in this one: newest kept, nothing forgotten comes back.
    pub(super) fn become_like(&mut self, spec: Option<&settings::Window>, now: u64) {
        self.expire(now);
        let mut next = Self::new(spec);
        let held = self.total;
        match (&self.kind, &mut next.kind) {
            (Kind::Nothing, _) | (_, Kind::Nothing) => {}
            (Kind::Count { pushed: before, bad: old, .. }, Kind::Count { size, pushed, bad }) => {
                *pushed = held.calls.min(*size);
                let oldest = *before - *pushed;
                let kept = old.iter().filter(|call| call.position >= oldest);
                bad.extend(kept.map(|call| Bad { position: call.position - oldest, flags: call.flags }));
            }
            (Kind::Count { .. }, Kind::Time { width, slices, .. }) => {
                slices.push_back(Slice { index: now / *width, counts: held });
            }
            (Kind::Time { slices: old, .. }, Kind::Count { size, pushed, bad }) => {
                *pushed = held.calls.min(*size);
                fill(*pushed, old, bad);
            }
            (Kind::Time { slices: old, .. }, Kind::Time { slices, width, .. }) => {
                for slice in old {
                    let index = self.end_of(slice.index).saturating_sub(1).min(now) / *width;
                    match slices.back_mut() {
                        Some(last) if last.index == index => last.counts.add(slice.counts),
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
        let mut total = Counts::default();
        match &self.kind {
            Kind::Nothing => {}
            Kind::Count { size, pushed, bad } => {
                bad.iter().for_each(|call| total.add(Counts::new(0, call.flags)));
                total.calls = (*pushed).min(*size);
            }
            Kind::Time { slices, .. } => slices.iter().for_each(|slice| total.add(slice.counts)),
        }
        self.total = total;
    }
}

/// Puts the bad calls of slices into the last `pushed` positions, newest slices first. Inside a slice the bad ones count as
/// the newest.
fn fill(pushed: u64, slices: &VecDeque<Slice>, bad: &mut VecDeque<Bad>) {
    let mut room = pushed;
    for slice in slices.iter().rev() {
        let Counts { calls, failures, slow } = slice.counts;
        for nth in 0..failures.max(slow).min(calls).min(room) {
            let flags = if nth < failures { FAILED } else { 0 } | if nth < slow { SLOW } else { 0 };
            bad.push_front(Bad { position: room - nth - 1, flags });
        }
        room -= calls.min(room);
    }
}
