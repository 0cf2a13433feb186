//! Calls in flight, so that a hung callee can trip a breaker before its calls end.

use std::collections::VecDeque;

use super::window::Mark;

/// Most calls that are watched; more than these are looked at only when they end.
const MOST: usize = 1 << 14;
/// Places that are set aside where calls are watched; more are added as they are needed.
const RESERVED: usize = 1 << 10;

#[derive(Debug, Clone, Copy)]
struct Young {
    serial: u64,
    started: u64,
    ended: bool,
}

/// What became known of a call in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It has not been counted yet.
    New,
    /// It was counted as slow, here; the place is lost when the window was exchanged since.
    Counted(Option<Mark>),
}

/// Watched calls of the present phase.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// Not slow yet, in order of start and serial.
    young: VecDeque<Young>,
    /// Counted as slow, in order of serial.
    counted: Vec<(u64, Option<Mark>)>,
}

impl InFlight {
    /// Sets room aside, so that starting a call does not allocate.
    pub(super) fn reserve(&mut self) {
        self.young.reserve(RESERVED);
        self.counted.reserve(RESERVED);
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.counted.clear();
    }

    pub(super) fn start(&mut self, serial: u64, started: u64) {
        if self.young.len() < MOST {
            self.young.push_back(Young { serial, started, ended: false });
        }
    }

    /// The next call that has been in flight for more than `limit`, with its start; none while too many are remembered.
    pub(super) fn pop_slow(&mut self, now: u64, limit: u64) -> Option<(u64, u64)> {
        if self.counted.len() >= MOST {
            return None;
        }
        loop {
            let first = self.young.pop_front_if(|call| call.ended || now.saturating_sub(call.started) > limit)?;
            if !first.ended {
                return Some((first.serial, first.started));
            }
        }
    }

    /// Remembers that a call was counted as slow.
    pub(super) fn count(&mut self, serial: u64, mark: Mark) {
        self.counted.push((serial, Some(mark)));
    }

    /// The window was exchanged: places in it are void.
    pub(super) fn lose_marks(&mut self) {
        for (_, mark) in &mut self.counted {
            *mark = None;
        }
    }

    pub(super) fn end(&mut self, serial: u64) -> Seen {
        if let Ok(place) = self.counted.binary_search_by_key(&serial, |(serial, _)| *serial) {
            return Seen::Counted(self.counted.remove(place).1);
        }
        if let Ok(place) = self.young.binary_search_by_key(&serial, |call| call.serial)
            && let Some(call) = self.young.get_mut(place)
        {
            call.ended = true;
        }
        Seen::New
    }
}
