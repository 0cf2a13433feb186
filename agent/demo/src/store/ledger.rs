//! The bank's ledger.

use std::sync::{Mutex, PoisonError};

use crate::store::Bounded;

/// Authorizations remembered; the oldest are forgotten beyond.
const MOST_ENTRIES: usize = 50_000;

/// What was authorized under which key.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<Bounded<u64>>);

impl Default for Ledger {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(MOST_ENTRIES)))
    }
}

impl Ledger {
    /// Books an amount under a key, once.
    pub(crate) fn book(&self, key: &str, cents: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, cents);
    }

    /// Gives back what is booked under a key: 0 when nothing is, or nothing any more.
    pub(crate) fn refund(&self, key: &str) -> u64 {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get_mut(key).map_or(0, std::mem::take)
    }

    /// What is booked under a key.
    #[cfg(test)]
    pub(crate) fn booked(&self, key: &str) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_booked_once_and_refunded_once() {
        let ledger = Ledger::default();
        ledger.book("o", 500);
        ledger.book("o", 900);
        assert_eq!(ledger.booked("o"), 500);
        assert_eq!((ledger.refund("o"), ledger.refund("o"), ledger.refund("x")), (500, 0, 0));
    }
}
