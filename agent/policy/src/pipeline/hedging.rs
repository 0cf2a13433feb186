//! What a call knows of its attempts that run side by side.

use crate::pool::Pick;

/// Most attempts that are told apart: gRPC's proposal A6 has five.
const MOST: usize = 5;
/// No hedge is due.
const NEVER: u64 = u64::MAX;

/// The hedges of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hedges {
    /// Those it may still have.
    left: u32,
    /// Attempts under way.
    under_way: u32,
    /// When the next is due.
    due: u64,
    /// The next attempt is a hedge and paid for.
    pub(super) paid: bool,
    /// A reply forbade any further attempt of the call.
    pub(super) forbidden: bool,
    /// When the first attempt began, while it runs.
    pub(super) first: Option<u64>,
    /// Numbers of the instances that attempts under way went to; 0 is none.
    busy: [u64; MOST],
}

impl Hedges {
    pub(super) fn new(most: u32) -> Self {
        Self { left: most, under_way: 0, due: NEVER, paid: false, forbidden: false, first: None, busy: [0; MOST] }
    }

    /// Whether there may be another.
    pub(super) fn any_left(&self) -> bool {
        self.left > 0
    }

    /// One is made.
    pub(super) fn take(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// There will be no more.
    pub(super) fn stop(&mut self) {
        (self.left, self.due) = (0, NEVER);
    }

    /// Attempts under way.
    pub(super) fn under_way(&self) -> u32 {
        self.under_way
    }

    /// When the next is due, beside those under way.
    pub(super) fn due(&self) -> Option<u64> {
        (self.left > 0 && self.under_way > 0 && self.due != NEVER).then_some(self.due)
    }

    /// The next is due then; `None` for never.
    pub(super) fn set_due(&mut self, at: Option<u64>) {
        self.due = at.unwrap_or(NEVER);
    }

    /// An attempt begins.
    pub(super) fn began(&mut self, number: u32, now: u64, pick: Option<&Pick>) {
        self.under_way += 1;
        self.first = if number == 1 { Some(now) } else { self.first };
        if let (Some(pick), Some(place)) = (pick, self.busy.iter_mut().find(|place| **place == 0)) {
            *place = pick.number();
        }
    }

    /// An attempt is over.
    pub(super) fn ended(&mut self, number: u32, pick: Option<&Pick>) {
        self.under_way = self.under_way.saturating_sub(1);
        self.first = self.first.filter(|_| number != 1);
        if let Some(place) = pick.and_then(|pick| self.busy.iter_mut().find(|place| **place == pick.number())) {
            *place = 0;
        }
    }

    /// Whether an attempt under way went to this instance.
    pub(super) fn is_busy(&self, pick: &Pick) -> bool {
        self.busy.contains(&pick.number())
    }
}
