//! Warnings about records that make no sense: told at once, but not more than once a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Signal;
use crate::otlp::Refused;

/// Between two warnings at least so long.
const PAUSE: Duration = Duration::from_secs(1);

/// What waits to be told.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    waiting: Vec<(Signal, Refused, u64)>,
}

/// What to do about a complaint.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Say this now.
    Say(String),
    /// Look again then.
    Wait(Instant),
    /// Somebody looks already.
    Nothing,
}

impl Complaints {
    /// Warns of what was refused, now or together with what else comes within the second.
    pub(super) fn add(self: &Arc<Self>, signal: Signal, refused: &Refused) {
        match self.note(signal, refused, Instant::now()) {
            Next::Say(sentence) => tracing::warn!("{sentence}"),
            Next::Wait(until) => {
                let complaints = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep_until(until.into()).await;
                    for sentence in complaints.waiting(Instant::now()) {
                        tracing::warn!("{sentence}");
                    }
                });
            }
            Next::Nothing => {}
        }
    }

    fn note(&self, signal: Signal, refused: &Refused, now: Instant) -> Next {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let again = state.told.map(|told| told + PAUSE).filter(|again| now < *again || !state.waiting.is_empty());
        let Some(again) = again else {
            state.told = Some(now);
            return Next::Say(refused.sentence(signal.record()));
        };
        let first = state.waiting.is_empty();
        match state.waiting.iter_mut().find(|(s, ..)| *s == signal) {
            Some((_, sum, requests)) => {
                sum.merge(refused);
                *requests += 1;
            }
            None => state.waiting.push((signal, refused.clone(), 1)),
        }
        if first { Next::Wait(again) } else { Next::Nothing }
    }

    fn waiting(&self, now: Instant) -> Vec<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.told = Some(now);
        let say = |(signal, refused, requests): (Signal, Refused, u64)| {
            let plural = if requests == 1 { "" } else { "s" };
            format!("{} (in {requests} request{plural})", refused.sentence(signal.record()))
        };
        state.waiting.drain(..).map(say).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_a_second_with_its_count() {
        let complaints = Complaints::default();
        let mut refused = Refused::default();
        refused.add("without an end time", "GET /");
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let Next::Say(first) = complaints.note(Signal::Traces, &refused, at(0)) else { panic!("told at once") };
        assert!(first.starts_with("1 span refused"), "{first}");
        assert_eq!(complaints.note(Signal::Traces, &refused, at(10)), Next::Wait(at(1000)));
        for ms in 11..1010 {
            assert_eq!(complaints.note(Signal::Traces, &refused, at(ms)), Next::Nothing);
        }
        let told = complaints.waiting(at(1010));
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("1000 spans refused") && told[0].ends_with("(in 1000 requests)"), "{told:?}");
        assert_eq!(complaints.note(Signal::Logs, &refused, at(1011)), Next::Wait(at(2010)));
        assert_eq!(complaints.waiting(at(2010)).len(), 1);
        assert!(matches!(complaints.note(Signal::Logs, &refused, at(3011)), Next::Say(_)));
    }
}
