//! Arrival stamps: every commit has one, each greater than all before it and greater than every instant that a question
//! was already answered as of. That makes an answer as of T repeatable: nothing can arrive at or before T any more.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fuseboard_api::UnixNanos;

/// Hands out stamps and instants.
#[derive(Debug)]
pub(super) struct Clock {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// No later stamp may be at or below this.
    floor: i64,
    /// Stamp of the transaction that is being written.
    flight: Option<i64>,
}

impl Clock {
    /// A clock that goes on after `last`, the newest stamp in the file.
    pub(super) fn after(last: i64) -> Self {
        Self { inner: Mutex::new(Inner { floor: last, flight: None }) }
    }

    /// The stamp of a transaction that begins now.
    pub(super) fn begin(&self) -> UnixNanos {
        let mut inner = self.lock();
        let stamp = UnixNanos::now().0.max(inner.floor.saturating_add(1));
        inner.floor = stamp;
        inner.flight = Some(stamp);
        UnixNanos(stamp)
    }

    /// The transaction has ended, well or not.
    pub(super) fn end(&self) {
        self.lock().flight = None;
    }

    /// An instant up to which everything is stored and nothing can be added any more.
    pub(super) fn as_of_now(&self) -> UnixNanos {
        let mut inner = self.lock();
        if let Some(stamp) = inner.flight {
            return UnixNanos(stamp - 1);
        }
        inner.floor = inner.floor.max(UnixNanos::now().0);
        UnixNanos(inner.floor)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_even_when_the_system_clock_lags() {
        let future = UnixNanos::now().0 + 1_000_000_000_000;
        let clock = Clock::after(future);
        let first = clock.begin();
        clock.end();
        let second = clock.begin();
        assert_eq!((first.0, second.0), (future + 1, future + 2));
    }

    #[test]
    fn nothing_arrives_at_an_instant_already_asked_for() {
        let clock = Clock::after(0);
        let idle = clock.as_of_now();
        let stamp = clock.begin();
        assert!(stamp > idle);
        assert_eq!(clock.as_of_now().0, stamp.0 - 1, "what is in flight does not count yet");
        clock.end();
        assert!(clock.as_of_now() >= stamp);
    }
}
