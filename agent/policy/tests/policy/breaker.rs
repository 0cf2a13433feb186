use fuseboard_policy::breaker::{Admission, Breaker, Outcome, Permit, State};
use fuseboard_policy::settings::{self, BreakerMode, Window};
use proptest::prelude::*;

const MS: u64 = 1_000_000;

fn breaker(window: Window) -> settings::Breaker {
    settings::Breaker { window: Some(window), open_ms: Some(1_000), ..settings::Breaker::default() }
}

fn admit(breaker: &Breaker, now: u64) -> Option<Permit> {
    match breaker.admit(now) {
        Admission::Admitted(permit) => Some(permit),
        Admission::Refused(_) => None,
    }
}

fn call(breaker: &Breaker, now: u64, outcome: Outcome) -> bool {
    let permit = admit(breaker, now);
    let admitted = permit.is_some();
    if let Some(permit) = permit {
        breaker.finish(permit, now, outcome);
    }
    admitted
}

fn windows() -> impl Strategy<Value = Window> {
    prop_oneof![
        (1u64..40).prop_map(|size| Window::Count { size }),
        (1u64..12, 1u64..50).prop_map(|(buckets, each)| Window::Time { ms: buckets * each, buckets }),
    ]
}

/// What a window holds, from the whole list of calls.
fn naive(window: &Window, log: &[(u64, bool)], now: u64) -> (u64, u64) {
    let alive: Vec<bool> = match *window {
        Window::Count { size } => log.iter().rev().take(size as usize).map(|(_, failed)| *failed).collect(),
        Window::Time { ms, buckets } => {
            let width = ms * MS / buckets;
            log.iter().filter(|(at, _)| at / width + buckets > now / width).map(|(_, failed)| *failed).collect()
        }
    };
    (alive.len() as u64, alive.iter().filter(|failed| **failed).count() as u64)
}

proptest! {
    #[test]
    fn the_window_equals_its_naive_model(
        window in windows(),
        calls in prop::collection::vec((0u64..30, any::<bool>()), 1..200),
    ) {
        let breaker = Breaker::new(&breaker(window.clone()), 0);
        let (mut log, mut now) = (Vec::new(), 0);
        for (wait, failed) in calls {
            now += wait * MS;
            let outcome = if failed { Outcome::Failure } else { Outcome::Success };
            prop_assert!(call(&breaker, now, outcome));
            log.push((now, failed));
            let seen = breaker.snapshot(now);
            prop_assert_eq!((seen.calls, seen.failures), naive(&window, &log, now));
            let shown: Vec<(u64, bool)> = seen.window.iter().map(|call| (call.at, call.failed)).collect();
            let newest = log.len().saturating_sub((seen.calls as usize).min(64));
            prop_assert_eq!(&shown[..], &log[newest..]);
        }
    }

    /// However calls end, and whatever is changed meanwhile, there are never more probes in flight than allowed, and when
    /// all have ended the breaker still lets one through.
    #[test]
    fn permits_never_leak(
        permits in 1u64..4,
        events in prop::collection::vec((0u64..700, 0u8..5, any::<prop::sample::Index>()), 1..300),
    ) {
        let mut settings = breaker(Window::Count { size: 4 });
        settings.min_calls = Some(2);
        settings.failure_ratio = Some(0.5);
        settings.half_open_permits = Some(permits);
        settings.half_open_successes = Some(2);
        let breaker = Breaker::new(&settings, 0);
        let (mut held, mut now) = (Vec::<Permit>::new(), 0);
        for (wait, event, which) in events {
            now += wait * MS;
            match event {
                0 | 1 => held.extend(admit(&breaker, now)),
                _ if held.is_empty() => {}
                event => {
                    let permit = held.swap_remove(which.index(held.len()));
                    match event {
                        2 => breaker.finish(permit, now, Outcome::Success),
                        3 => breaker.finish(permit, now, Outcome::Failure),
                        _ => breaker.give_back(permit),
                    }
                }
            }
            if breaker.state_name() != "half_open" {
                continue;
            }
            // Probes of an earlier phase do not count against this one.
            let extra = std::iter::from_fn(|| admit(&breaker, now)).take(8).collect::<Vec<_>>();
            prop_assert!(extra.len() as u64 <= permits);
            extra.into_iter().for_each(|permit| breaker.give_back(permit));
        }
        held.into_iter().for_each(|permit| breaker.give_back(permit));
        let last = admit(&breaker, now + 3_600_000 * MS);
        prop_assert!(last.is_some());
    }
}

#[test]
fn failures_in_the_window_trip_without_a_minimum() {
    let mut settings = breaker(Window::Time { ms: 10_000, buckets: 10 });
    settings.failure_count = Some(3);
    let breaker = Breaker::new(&settings, 0);
    for (at, outcome) in [(0, Outcome::Failure), (5_000, Outcome::Success), (9_000, Outcome::Failure)] {
        assert!(call(&breaker, at * MS, outcome));
    }
    // The first has left the window.
    call(&breaker, 10_500 * MS, Outcome::Failure);
    assert_eq!(breaker.state_name(), "closed");
    call(&breaker, 10_600 * MS, Outcome::Failure);
    assert_eq!(breaker.state_name(), "open");
    let (transitions, dropped) = breaker.drain_transitions();
    assert_eq!((transitions.len(), dropped), (1, 0));
    assert_eq!(&*transitions[0].cause, "3 failures in 10 s (≥ 3)");
    assert_eq!(transitions[0].window.len(), 4);
}

fn hung() -> settings::Breaker {
    let mut settings = breaker(Window::Count { size: 10 });
    settings.min_calls = Some(4);
    settings.slow_ms = Some(100);
    settings.slow_ratio = Some(0.5);
    settings.failure_ratio = Some(1.0);
    settings.inflight_slow = Some(true);
    settings
}

#[test]
fn a_hung_callee_trips_before_its_calls_end() {
    let breaker = Breaker::new(&hung(), 0);
    let permits: Vec<Permit> = (0..4).map(|_| admit(&breaker, 0).unwrap()).collect();
    breaker.tick(100 * MS);
    assert_eq!(breaker.state_name(), "closed", "slow is strictly longer");
    breaker.tick(101 * MS);
    assert_eq!(breaker.state_name(), "open");
    let seen = breaker.snapshot(101 * MS);
    assert_eq!((seen.calls, seen.slow, seen.failures), (4, 4, 0));
    assert_eq!(&*seen.cause, "4 of 4 calls took longer than 100 ms (100 % ≥ 50 %)");
    for permit in permits {
        breaker.finish(permit, 5_000 * MS, Outcome::Failure);
    }
    assert_eq!(breaker.snapshot(5_000 * MS).trips, 1, "late results change nothing");
}

#[test]
fn a_call_counted_in_flight_is_not_counted_again_but_its_failure_is() {
    let mut settings = hung();
    settings.min_calls = Some(10);
    let breaker = Breaker::new(&settings, 0);
    let (good, bad) = (admit(&breaker, 0).unwrap(), admit(&breaker, 0).unwrap());
    breaker.tick(200 * MS);
    let seen = breaker.snapshot(200 * MS);
    assert_eq!((seen.calls, seen.slow, seen.failures), (2, 2, 0));
    breaker.finish(good, 300 * MS, Outcome::Success);
    breaker.finish(bad, 300 * MS, Outcome::Failure);
    let seen = breaker.snapshot(300 * MS);
    assert_eq!((seen.calls, seen.slow, seen.failures), (2, 2, 1));
}

#[test]
fn forced_modes_show_as_their_state_and_are_told() {
    let mut settings = hung();
    let breaker = Breaker::new(&settings, 0);
    settings.mode = Some(BreakerMode::ForcedOpen);
    breaker.reconfigure(&settings, 5);
    assert!(admit(&breaker, 6).is_none());
    let seen = breaker.snapshot(6);
    assert_eq!((seen.state, seen.since, seen.trips, seen.probe_at), (State::Open, 5, 0, None));
    settings.mode = Some(BreakerMode::Auto);
    breaker.reconfigure(&settings, 7);
    let (transitions, _) = breaker.drain_transitions();
    let path: Vec<(State, State)> = transitions.iter().map(|t| (t.from, t.to)).collect();
    assert_eq!(path, [(State::Closed, State::Open), (State::Open, State::Closed)]);
    assert_eq!(&*transitions[0].cause, "mode changed from auto to forced_open");
}

#[test]
fn transitions_that_nobody_fetches_are_dropped_and_counted() {
    let mut settings = settings::Breaker { consecutive_failures: Some(1), open_ms: Some(1), ..Default::default() };
    settings.half_open_successes = Some(1);
    let breaker = Breaker::new(&settings, 0);
    for i in 0..100 {
        call(&breaker, i * 2 * MS, Outcome::Failure);
    }
    let (transitions, dropped) = breaker.drain_transitions();
    assert_eq!(transitions.len(), 64);
    // One trip, then a probe and its failure each time.
    assert_eq!(dropped, 1 + 99 * 2 - 64);
}

#[test]
fn many_threads_share_a_half_open_breaker_fairly() {
    let mut settings = breaker(Window::Count { size: 10 });
    settings.consecutive_failures = Some(1);
    settings.half_open_permits = Some(3);
    settings.half_open_successes = Some(100);
    let breaker = Breaker::new(&settings, 0);
    call(&breaker, 0, Outcome::Failure);
    let admitted: Vec<Permit> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| admit(&breaker, 2_000 * MS))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(admitted.len(), 3);
    admitted.into_iter().for_each(|permit| breaker.give_back(permit));
    assert!(admit(&breaker, 2_000 * MS).is_some());
}
