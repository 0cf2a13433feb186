//! The requests that the local service is answering, by trace: its own calls inherit their deadlines.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::trace::TraceId;
use tokio::time::Instant;

/// Most traces that are remembered; requests beyond them pass nothing on.
const MOST: usize = 65_536;

/// Requests with a deadline, or that are retries.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    traces: Mutex<HashMap<TraceId, Known>>,
}

/// What is known of the requests of one trace. Where there are several at once nobody can tell whose calls are whose: the
/// latest deadline and the earliest attempt count.
#[derive(Debug, Clone, Copy)]
struct Known {
    requests: u32,
    deadline: Option<Instant>,
    attempt: Option<u32>,
}

/// Keeps a request remembered until it is dropped.
#[derive(Debug)]
pub(super) struct Remembered {
    all: Arc<UnderWay>,
    trace: TraceId,
}

impl UnderWay {
    /// Remembers a request that has something to pass on.
    pub(super) fn remember(
        self: &Arc<Self>,
        trace: TraceId,
        deadline: Option<Instant>,
        attempt: Option<u32>,
    ) -> Option<Remembered> {
        if (deadline.is_none() && attempt.is_none_or(|n| n < 2)) || trace == TraceId::INVALID {
            return None;
        }
        let mut traces = self.lock();
        let full = traces.len() >= MOST;
        match traces.entry(trace) {
            Entry::Vacant(_) if full => return None,
            Entry::Vacant(entry) => drop(entry.insert(Known { requests: 1, deadline, attempt })),
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                known.requests += 1;
                known.deadline = known.deadline.zip(deadline).map(|(a, b)| a.max(b));
                known.attempt = known.attempt.zip(attempt).map(|(a, b)| a.min(b));
            }
        }
        Some(Remembered { all: self.clone(), trace })
    }

    /// Deadline and attempt of what is being answered in a trace.
    pub(super) fn of(&self, trace: TraceId) -> (Option<Instant>, Option<u32>) {
        self.lock().get(&trace).map_or((None, None), |known| (known.deadline, known.attempt))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TraceId, Known>> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        let mut traces = self.all.lock();
        if let Entry::Occupied(mut entry) = traces.entry(self.trace) {
            entry.get_mut().requests -= 1;
            if entry.get().requests == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_trace_is_known_as_long_as_one_of_its_requests_is_answered() {
        let all = Arc::new(UnderWay::default());
        let (trace, now) = (TraceId::from(7_u128), Instant::now());
        let sooner = all.remember(trace, Some(now), Some(1)).unwrap();
        assert_eq!(all.of(trace), (Some(now), Some(1)));
        let later = now + Duration::from_secs(1);
        let second = all.remember(trace, Some(later), Some(3)).unwrap();
        assert_eq!(all.of(trace), (Some(later), Some(1)), "whose calls are whose is unknown: the milder of both");
        drop(sooner);
        assert_eq!(all.of(trace).0, Some(later));
        drop(second);
        assert_eq!(all.of(trace), (None, None));
        assert!(all.remember(trace, None, Some(1)).is_none(), "nothing to pass on");
    }
}
