//! The breaker under real threads: what must hold however their steps fall between each other.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use fuseboard_policy::breaker::{Admission, Breaker, Outcome, Permit, State};
use fuseboard_policy::settings::{self, BreakerMode, Window};

const MS: u64 = 1_000_000;
const THREADS: u64 = 4;
const CALLS: u64 = 20_000;

fn count(size: u64) -> settings::Breaker {
    settings::Breaker { window: Some(Window::Count { size }), open_ms: Some(1), ..settings::Breaker::default() }
}

fn time(ms: u64, buckets: u64) -> settings::Breaker {
    settings::Breaker { window: Some(Window::Time { ms, buckets }), ..count(1) }
}

fn admit(breaker: &Breaker, now: u64) -> Option<Permit> {
    match breaker.admit(now) {
        Admission::Admitted(permit) => Some(permit),
        Admission::Refused(_) => None,
    }
}

/// Runs `work` on so many threads at once, each told its number.
fn together<T: Send>(threads: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        let run = |number| {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(number)
            })
        };
        let handles: Vec<_> = (0..threads).map(run).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

/// Windows that hold all calls lose none of them and count none twice, whichever way each went; and so does the version.
#[test]
fn nothing_is_lost_and_nothing_counted_twice() {
    for mut settings in [count(u64::MAX), time(1_000_000, 10)] {
        (settings.failure_ratio, settings.min_calls) = (Some(0.9), Some(100));
        let breaker = Breaker::new(&settings, 0);
        // Looked at all the while; more threads than have seats.
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut last = (0, 0);
                while !over.load(Ordering::Relaxed) {
                    let seen = breaker.snapshot(0);
                    assert!(seen.calls >= last.0 && breaker.version() >= last.1 && seen.failures <= seen.calls);
                    assert!(seen.window.len() <= 64);
                    last = (seen.calls, seen.version);
                }
            });
            together(40, |number| {
                for call in 0..1_000 {
                    let permit = admit(&breaker, call * MS).unwrap();
                    let failed = (call + number) % 10 == 0;
                    breaker.finish(permit, call * MS, if failed { Outcome::Failure } else { Outcome::Success });
                }
            });
            over.store(true, Ordering::Relaxed);
            watcher.join().unwrap();
        });
        let seen = breaker.snapshot(0);
        assert_eq!((seen.calls, seen.failures, seen.trips), (40_000, 4_000, 0));
    }
}

/// While slices turn and leave, what the window holds is at most what was made, and what is left at the end is exact.
#[test]
fn slices_turn_under_way() {
    let mut settings = time(40, 4);
    (settings.failure_ratio, settings.min_calls) = (Some(1.0), Some(10));
    let breaker = Breaker::new(&settings, 0);
    let clock = AtomicU64::new(0);
    together(THREADS, |_| {
        for _ in 0..CALLS {
            let now = clock.fetch_add(MS / 100, Ordering::Relaxed);
            breaker.finish(admit(&breaker, now).unwrap(), now, Outcome::Success);
        }
    });
    let end = clock.load(Ordering::Relaxed);
    assert!(breaker.snapshot(end).calls <= 4_000);
    // All is gone when the window has passed, and a round number of calls comes after.
    let later = end + 100 * MS;
    assert_eq!(breaker.snapshot(later).calls, 0);
    together(THREADS, |_| {
        (0..1_000).for_each(|_| breaker.finish(admit(&breaker, later).unwrap(), later, Outcome::Success));
    });
    assert_eq!(breaker.snapshot(later).calls, THREADS * 1_000);
}

/// However a failure races with the success that completes `min_calls`, the verdict falls: with every result in, a window that
/// must trip has tripped.
#[test]
fn no_verdict_is_missed_at_the_minimum() {
    const ROUNDS: usize = 4_000;
    let mut settings = count(10);
    // Six calls, one of them bad, trip, whichever comes last.
    (settings.failure_ratio, settings.min_calls) = (Some(0.16), Some(6));
    let breakers: Vec<Breaker> = (0..ROUNDS).map(|_| Breaker::new(&settings, 0)).collect();
    let come = AtomicU64::new(0);
    // Spins: sleepers would not wake at the same moment.
    let meet = |times: u64| {
        come.fetch_add(1, Ordering::AcqRel);
        while come.load(Ordering::Acquire) < 2 * times {
            std::thread::yield_now();
        }
    };
    together(2, |number| {
        for (round, breaker) in (0..).zip(&breakers) {
            // From the second on they go without the lock.
            (0..2).for_each(|_| breaker.finish(admit(breaker, 0).unwrap(), 0, Outcome::Success));
            let permit = admit(breaker, 0).unwrap();
            meet(round + 1);
            breaker.finish(permit, 0, if number == 0 { Outcome::Success } else { Outcome::Failure });
        }
    });
    for breaker in &breakers {
        assert_eq!((breaker.state_name(), breaker.snapshot(0).trips), ("open", 1));
    }
}

/// A thread that comes back after others have changed the phase or turned the slice counts in what is there now.
#[test]
fn a_thread_that_comes_back_counts_in_the_present() {
    let auto = time(1_000, 10);
    let closed = settings::Breaker { mode: Some(BreakerMode::ForcedClosed), ..auto.clone() };
    let breaker = Breaker::new(&auto, 0);
    let call = |now| breaker.finish(admit(&breaker, now).unwrap(), now, Outcome::Success);
    let barrier = Barrier::new(2);
    let phase = std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..3).for_each(|_| call(0));
            barrier.wait();
            barrier.wait();
            // Another phase by now.
            call(0);
            barrier.wait();
            barrier.wait();
            // Another slice by now.
            call(1_050 * MS);
        });
        barrier.wait();
        breaker.reconfigure(&closed, 0);
        breaker.reconfigure(&auto, 0);
        call(0);
        barrier.wait();
        barrier.wait();
        let phase = breaker.snapshot(0).calls;
        call(1_050 * MS);
        barrier.wait();
        phase
    });
    assert_eq!((phase, breaker.snapshot(1_050 * MS).calls), (2, 2));
}

/// Each opening is one trip and told once, and nothing that happens between keeps it from recovering.
#[test]
fn one_trip_an_opening() {
    let mut settings = count(20);
    (settings.failure_ratio, settings.min_calls) = (Some(0.5), Some(5));
    (settings.half_open_permits, settings.half_open_successes) = (Some(2), Some(3));
    let breaker = Breaker::new(&settings, 0);
    let (clock, told) = (AtomicU64::new(0), AtomicU64::new(0));
    let tell = || {
        let (transitions, dropped) = breaker.drain_transitions();
        let opened = transitions.iter().filter(|told| told.to == State::Open).count() as u64;
        told.fetch_add(opened, Ordering::Relaxed);
        assert_eq!(dropped, 0);
    };
    together(THREADS, |number| {
        for call in 0..CALLS {
            let now = clock.fetch_add(MS / 50, Ordering::Relaxed);
            tell();
            let Some(permit) = admit(&breaker, now) else { continue };
            let outcome = match (call + number) % 400 {
                0..100 => Outcome::Failure,
                100 => Outcome::Cancelled,
                _ => Outcome::Success,
            };
            breaker.finish(permit, now, outcome);
        }
    });
    tell();
    let seen = breaker.snapshot(0);
    assert!(seen.trips > 10, "it went open {} times", seen.trips);
    assert_eq!(told.load(Ordering::Relaxed), seen.trips);
    let mut now = clock.load(Ordering::Relaxed);
    for _ in 0..10 {
        now += 10 * MS;
        let permit = admit(&breaker, now).unwrap();
        breaker.finish(permit, now, Outcome::Success);
    }
    assert_eq!(breaker.state_name(), "closed");
}

/// Never more probes are in flight than allowed, and each place is used again.
#[test]
fn no_more_probes_than_allowed() {
    const PROBES: i64 = 3;
    let mut settings = count(10);
    settings.consecutive_failures = Some(1);
    (settings.half_open_permits, settings.half_open_successes) = (Some(PROBES as u64), Some(u64::MAX));
    let breaker = Breaker::new(&settings, 0);
    let tripping = admit(&breaker, 0).unwrap();
    breaker.finish(tripping, 0, Outcome::Failure);
    let flying = AtomicI64::new(0);
    let made: u64 = together(8, |number| {
        let mut made = 0;
        for call in 0..CALLS / 4 {
            let Some(probe) = admit(&breaker, MS) else { continue };
            assert!(probe.is_probe() && flying.fetch_add(1, Ordering::SeqCst) < PROBES);
            flying.fetch_sub(1, Ordering::SeqCst);
            made += 1;
            match (call + number) % 3 {
                0 => breaker.give_back(probe),
                _ => breaker.finish(probe, MS, Outcome::Success),
            }
        }
        made
    })
    .into_iter()
    .sum();
    let all: Vec<Permit> = std::iter::from_fn(|| admit(&breaker, MS)).take(10).collect();
    assert_eq!(all.len(), PROBES as usize);
    assert_eq!(breaker.snapshot(0).refused, 8 * CALLS / 4 - made + 1);
}

/// Calls in flight that end on other threads, while they become overdue, while settings change.
#[test]
fn calls_in_flight_are_counted_once() {
    let mut settings = count(u64::MAX);
    (settings.slow_ms, settings.inflight_slow) = (Some(5), Some(true));
    let mut other = settings.clone();
    other.open_ms = Some(2);
    let breaker = Breaker::new(&settings, 0);
    let clock = AtomicU64::new(0);
    let held = std::sync::Mutex::new(Vec::<Permit>::new());
    together(THREADS, |number| {
        for call in 0..CALLS / 2 {
            let now = clock.fetch_add(MS / 10, Ordering::Relaxed);
            held.lock().unwrap().extend(admit(&breaker, now));
            if number == 0 && call % 500 == 0 {
                breaker.tick(now);
                breaker.reconfigure(if call % 1_000 == 0 { &other } else { &settings }, now);
            }
            let mut held = held.lock().unwrap();
            let which = (now / 7) as usize % held.len();
            let permit = held.swap_remove(which);
            drop(held);
            breaker.finish(permit, now, Outcome::Success);
        }
    });
    let seen = breaker.snapshot(0);
    assert_eq!(seen.calls, THREADS * CALLS / 2);
    assert!(seen.slow <= seen.calls && held.into_inner().unwrap().is_empty());
}

/// A change of mode in the midst of traffic starts clean: nothing of before is seen after.
#[test]
fn a_change_of_mode_starts_clean_under_way() {
    let auto = count(u64::MAX);
    let closed = settings::Breaker { mode: Some(BreakerMode::ForcedClosed), ..auto.clone() };
    let breaker = Breaker::new(&auto, 0);
    let counted = AtomicU64::new(0);
    together(THREADS, |number| {
        for call in 0..CALLS {
            if number == 0 && call % 100 == 0 {
                breaker.reconfigure(if call % 200 == 0 { &closed } else { &auto }, 0);
                continue;
            }
            if let Some(permit) = admit(&breaker, 0) {
                breaker.finish(permit, 0, Outcome::Success);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    assert!(breaker.snapshot(0).calls < counted.load(Ordering::Relaxed));
    breaker.reconfigure(&closed, 0);
    breaker.reconfigure(&auto, 0);
    assert_eq!(breaker.snapshot(0).calls, 0);
    let permit = admit(&breaker, 0).unwrap();
    breaker.finish(permit, 0, Outcome::Success);
    assert_eq!(breaker.snapshot(0).calls, 1);
}
