//! Which log records were stored lately, so that a request that is sent again is not stored again.

use std::collections::{HashSet, VecDeque};

use foldhash::fast::FixedState;

/// Records remembered at most; beyond it the oldest are forgotten. About 40 bytes each.
const MOST: usize = 500_000;

/// How long a record is remembered, in nanoseconds: senders give up trying again after five minutes.
const WINDOW: i64 = 15 * 60 * 1_000_000_000;

/// Records read back when a file is opened.
pub(super) const READ_BACK: usize = 100_000;

/// Identities of the records of the last 15 minutes, 500,000 at most.
///
/// A record of a request is a duplicate when an earlier request brought one that is equal in everything. Equal records
/// within one request are all kept: their sender means them.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    known: HashSet<u64, FixedState>,
    /// With the stamps of their commits, by age. One that was noted twice stands here twice.
    order: VecDeque<(i64, u64)>,
}

impl Recent {
    /// The earliest arrival that is remembered at a stamp.
    pub(super) fn since(stamp: i64) -> i64 {
        stamp.saturating_sub(WINDOW)
    }

    pub(crate) fn knows(&self, identity: u64) -> bool {
        self.known.contains(&identity)
    }

    /// Remembers records of one request, all of which were not known before; stamps never fall.
    pub(crate) fn note(&mut self, stamp: i64, identities: impl Iterator<Item = u64>) {
        for identity in identities {
            if self.known.insert(identity) {
                self.order.push_back((stamp, identity));
            }
        }
    }

    /// Forgets what is old, at the begin of a commit.
    pub(crate) fn turn(&mut self, stamp: i64) {
        let since = Self::since(stamp);
        while let Some((_, identity)) = self.order.pop_front_if(|(at, _)| *at < since) {
            self.known.remove(&identity);
        }
        while self.order.len() > MOST {
            if let Some((_, identity)) = self.order.pop_front() {
                self.known.remove(&identity);
            }
        }
    }

    /// How many are remembered.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Forgets all beyond the first so many: a job or a commit was undone.
    pub(crate) fn undo(&mut self, to: usize) {
        while self.order.len() > to {
            if let Some((_, identity)) = self.order.pop_back() {
                self.known.remove(&identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_undone_is_forgotten() {
        let mut recent = Recent::default();
        recent.note(1, [10, 10, 11].into_iter());
        recent.note(2, [11, 12].into_iter());
        let before = recent.len();
        recent.note(3, [13].into_iter());
        recent.undo(before);
        assert_eq!([10, 11, 12, 13].map(|i| recent.knows(i)), [true, true, true, false]);
        recent.turn(WINDOW + 2);
        assert_eq!([10, 11, 12].map(|i| recent.knows(i)), [false, false, true]);
        recent.note(WINDOW + 3, (0..MOST as u64 + 100).map(|i| i + 1_000));
        recent.turn(WINDOW + 4);
        assert!(!recent.knows(12) && !recent.knows(1_099) && recent.knows(1_100));
    }
}
