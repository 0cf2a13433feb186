//! Arrival stamps: every commit has one, each greater than all before it and greater than every instant that a question
//! was already answered as of. That makes an answer as of T repeatable: nothing can arrive at or before T any more.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

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
    calm: Calm,
}

/// The system's clock as far as it can be believed: set ahead, it is followed at most twice as fast as time passes, so that a
/// clock which is a year ahead for an hour makes nothing a year old. What it says at the start is believed.
#[derive(Debug, Clone, Copy)]
struct Calm {
    at: Instant,
    nanos: i64,
}

impl Calm {
    fn look(&mut self, at: Instant, system: i64) -> i64 {
        let passed = i64::try_from(at.saturating_duration_since(self.at).as_nanos()).unwrap_or(i64::MAX);
        let most = self.nanos.saturating_add(passed.saturating_mul(2));
        *self = Self { at, nanos: system.min(most) };
        self.nanos
    }
}

impl Clock {
    /// A clock that goes on after `last`, the newest stamp in the file.
    pub(super) fn after(last: i64) -> Self {
        let calm = Calm { at: Instant::now(), nanos: UnixNanos::now().0 };
        Self { inner: Mutex::new(Inner { floor: last, flight: None, calm }) }
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

    /// The instant that ages are judged by: now, unless the system's clock was set ahead a moment ago.
    pub(super) fn calm(&self) -> UnixNanos {
        UnixNanos(self.lock().calm.look(Instant::now(), UnixNanos::now().0))
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
    use std::time::Duration;

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
    fn a_clock_that_jumps_ahead_makes_nothing_old() {
        const SECOND: i64 = 1_000_000_000;
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut calm = Calm { at: begun, nanos: 1_000 * SECOND };
        assert_eq!(calm.look(after(10), 1_010 * SECOND), 1_010 * SECOND, "as the system says");
        assert_eq!(calm.look(after(20), 1_000_000 * SECOND), 1_030 * SECOND, "ahead: twice as fast at most");
        assert_eq!(calm.look(after(30), 1_030 * SECOND), 1_030 * SECOND, "right again");
        assert_eq!(calm.look(after(40), 5 * SECOND), 5 * SECOND, "set back: everything is younger");
        assert_eq!(calm.look(after(100), 1_100 * SECOND), 125 * SECOND);
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
