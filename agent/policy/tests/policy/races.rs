//! The engines under real threads, with other settings in the middle of it: nothing is given twice and nothing is lost.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fuseboard_policy::concurrency::{ConcurrencyLimiter, Ended};
use fuseboard_policy::pool::{Pool, Showed, Tried};
use fuseboard_policy::rate::RateLimiter;
use fuseboard_policy::retry_budget::RetryBudget;
use fuseboard_policy::settings::{self, Algorithm, Balance, Concurrency, Outlier, Rate};
use fuseboard_policy::throttle::Throttle;

const MS: u64 = 1_000_000;
const THREADS: usize = 4;

/// Runs `work` on all threads at once, and `meanwhile` on this one, again and again until they are done. Sums what they
/// return.
fn together(work: impl Fn(usize) -> u64 + Sync, mut meanwhile: impl FnMut()) -> u64 {
    let (start, running) = (Barrier::new(THREADS + 1), AtomicU64::new(THREADS as u64));
    thread::scope(|scope| {
        let (start, running, work) = (&start, &running, &work);
        let spawned: Vec<_> = (0..THREADS)
            .map(|i| {
                scope.spawn(move || {
                    start.wait();
                    let sum = work(i);
                    running.fetch_sub(1, Ordering::Release);
                    sum
                })
            })
            .collect();
        start.wait();
        while running.load(Ordering::Acquire) > 0 {
            meanwhile();
            thread::yield_now();
        }
        spawned.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

fn granted(limiter: &RateLimiter, now: u64, tries: u64) -> u64 {
    (0..tries).map(|_| u64::from(limiter.acquire(now, 1))).sum()
}

#[test]
fn a_bucket_gives_each_token_once() {
    for round in 0..20 {
        let settings = Rate::TokenBucket { per_sec: 1_000, burst: 5_000 };
        let limiter = RateLimiter::new(&settings, 0);
        assert_eq!(together(|_| granted(&limiter, 0, 2_000), || {}), 5_000);
        let refilled = together(|_| granted(&limiter, 1_000 * MS, 500 + round), || {});
        assert_eq!(refilled, 1_000);
    }
}

#[test]
fn a_bucket_gives_nothing_extra_while_it_changes() {
    for _ in 0..20 {
        let of = |burst| Rate::TokenBucket { per_sec: 1, burst };
        let limiter = RateLimiter::new(&of(5_000), 0);
        let (mut newest, mut turn) = (limiter.clone(), 0);
        // Threads keep the name they began with.
        let sum = together(
            |_| granted(&limiter, 0, 2_000),
            || {
                turn += 1;
                newest = newest.reconfigured(&of(5_000 + turn % 3), 0);
            },
        );
        assert_eq!(sum, 5_000);
    }
}

#[test]
fn a_log_never_admits_more_than_its_limit_in_any_window() {
    const LIMIT: u64 = 100;
    let of = |limit| Rate::SlidingWindow { limit, window_ms: 4 };
    let limiter = RateLimiter::new(&of(LIMIT), 0);
    let mut admitted: Vec<u64> = Vec::new();
    for step in 0..400u64 {
        // Sometimes a few, so that the steps of a window differ.
        let tries = if step % 3 == 0 { 3 } else { 60 };
        admitted.push(together(|_| granted(&limiter, step * MS, tries), || {}));
        let before: u64 = admitted.iter().rev().skip(1).take(3).sum();
        let newest = admitted.last().copied().unwrap();
        assert_eq!(newest, (LIMIT - before).min(tries * THREADS as u64), "step {step}");
    }
}

#[test]
fn a_log_admits_nothing_extra_while_it_changes() {
    let of = |limit| Rate::SlidingWindow { limit, window_ms: 4 };
    let limiter = RateLimiter::new(&of(100), 0);
    let (mut newest, mut turn, mut admitted) = (limiter.clone(), 0, Vec::new());
    for step in 0..400u64 {
        admitted.push(together(
            |_| granted(&limiter, step * MS, 40),
            || {
                turn += 1;
                newest = newest.reconfigured(&of([100, 60, 80][turn % 3]), step * MS);
            },
        ));
        let window: u64 = admitted.iter().rev().take(4).sum();
        assert!(window <= 100, "{window} in the window that ends with step {step}");
    }
    assert!(admitted.iter().sum::<u64>() >= 400 / 4 * 60, "but the narrowest limit was used up");
}

#[test]
fn never_more_in_flight_than_the_limit() {
    let of = |max| Concurrency::Fixed { max };
    let limiter = ConcurrencyLimiter::new(&of(3), || 0.5);
    let (in_flight, most) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut turn = 0;
    let admitted = together(
        |_| {
            let mut admitted = 0;
            for _ in 0..20_000 {
                let Some(ticket) = limiter.acquire(0) else { continue };
                most.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                admitted += 1;
                in_flight.fetch_sub(1, Ordering::SeqCst);
                limiter.release(ticket, 1, Ended::Success, || 0.5);
            }
            admitted
        },
        || {
            turn += 1;
            limiter.reconfigure(&of(2 + turn % 2), || 0.5);
        },
    );
    assert!(admitted > 0 && most.load(Ordering::SeqCst) <= 3);
    assert_eq!(limiter.in_flight(), 0);
}

#[test]
fn an_adaptive_limit_keeps_its_places_and_bounds() {
    let settings = [
        Concurrency::Aimd { initial: 3, min: 2, max: 6, backoff_ratio: 0.5, timeout_ms: 100 },
        Concurrency::Vegas { initial: 3, max: 6, smoothing: 1.0, probe_multiplier: 30 },
        Concurrency::Gradient2 {
            initial: 3,
            min: 2,
            max: 6,
            smoothing: 0.5,
            queue: 2,
            long_window: 100,
            tolerance: 1.5,
        },
    ];
    for settings in settings {
        let limiter = ConcurrencyLimiter::new(&settings, || 0.5);
        together(
            |thread| {
                for i in 0..5_000u64 {
                    let Some(ticket) = limiter.acquire(0) else { continue };
                    assert!(ticket.in_flight() <= 6);
                    let ended = if i % 7 == 0 { Ended::Dropped } else { Ended::Success };
                    limiter.release(ticket, (1 + thread as u64) * MS, ended, || 0.5);
                }
                0
            },
            || assert!((1..=6).contains(&limiter.limit())),
        );
        assert_eq!(limiter.in_flight(), 0, "{settings:?}");
    }
}

#[test]
fn a_budget_gives_each_retry_once() {
    for round in 0..30 {
        let of = |min_per_sec| settings::RetryBudget::Ratio { ratio: 0.5, min_per_sec, ttl_ms: 1_000 };
        let budget = RetryBudget::new(Some(&of(10.0)));
        let (mut turn, mut newest) = (0, budget.clone());
        let granted = together(
            |_| {
                (0..500).for_each(|_| budget.deposit(0, 1));
                (0..400).map(|_| budget.withdraw(0, 1)).sum()
            },
            || {
                turn += 1;
                if round % 2 == 0 {
                    newest = newest.reconfigured(Some(&of(10.0)));
                }
            },
        );
        // What a race refused is still there.
        assert_eq!(granted + newest.withdraw(0, u64::MAX), 10 + THREADS as u64 * 500 / 2, "{turn} changes");
    }
}

#[test]
fn a_throttle_counts_every_request() {
    let of = |k| settings::Throttle::Sre { k, window_ms: 1_000 };
    let throttle = Throttle::new(&of(1.5), 0);
    let (mut newest, mut turn) = (throttle.clone(), 0u32);
    together(
        |_| {
            for i in 0..5_000 {
                // A draw of 1 never comes; here it lets every request pass.
                let _ = throttle.admit(i, 1.0);
                if i % 2 == 0 {
                    throttle.accepted(i);
                }
            }
            0
        },
        || {
            turn += 1;
            newest = newest.reconfigured(&of(1.5 + f64::from(turn % 2)), 0);
        },
    );
    let requests = (THREADS * 5_000) as f64;
    let newest = newest.reconfigured(&of(1.5), 0);
    assert_eq!(newest.chance(6_000), (requests - 1.5 * requests / 2.0) / (requests + 1.0));
}

fn members(n: usize) -> Vec<(std::sync::Arc<str>, u64)> {
    (0..n).map(|i| (format!("instance-{i}").into(), 1 + i as u64 % 3)).collect()
}

fn balance(algorithm: Algorithm) -> Balance {
    Balance { algorithm, default_rtt_ms: 30, decay_ms: 1_000, key: None, max_load: Some(1.25) }
}

#[test]
fn picks_of_all_threads_are_one_sequence() {
    const ROUNDS: u64 = 500;
    for (algorithm, round) in [(Algorithm::RoundRobin, 6), (Algorithm::WeightedRoundRobin, 12)] {
        let pool = Pool::new(Some(&balance(algorithm)), None, 0);
        pool.join(1, &members(6), 0);
        let counts: [AtomicU64; 6] = Default::default();
        together(
            |_| {
                for _ in 0..ROUNDS * round {
                    let pick = pool.pick(0, b"", &mut Tried::default(), || 0.5).unwrap();
                    let index: usize = pick.id().rsplit('-').next().unwrap().parse().unwrap();
                    counts[index].fetch_add(1, Ordering::Relaxed);
                    pool.done(pick, 0, Showed::Well);
                }
                0
            },
            || {},
        );
        for (index, count) in counts.iter().enumerate() {
            let weight = if algorithm == Algorithm::RoundRobin { 1 } else { 1 + index as u64 % 3 };
            assert_eq!(count.load(Ordering::Relaxed), ROUNDS * weight * THREADS as u64, "{algorithm:?}");
        }
    }
}

#[test]
fn a_pool_keeps_its_counts_while_everything_changes() {
    let outlier = Outlier {
        interval_ms: 1,
        base_ejection_ms: 1,
        max_ejection_ms: 10,
        max_ejection_percent: 50,
        consecutive_failures: Some(3),
        success_rate: None,
        failure_percentage: None,
    };
    let algorithms = [
        Algorithm::RoundRobin,
        Algorithm::WeightedRoundRobin,
        Algorithm::Random,
        Algorithm::LeastRequest,
        Algorithm::P2cPeakEwma,
        Algorithm::ConsistentHash,
    ];
    let pool = Pool::new(None, Some(&outlier), 0);
    pool.join(1, &members(3), 0);
    let (mut turn, now) = (1, AtomicU64::new(0));
    let picked = together(
        |thread| {
            let mut picked = 0;
            for i in 0..3_000u64 {
                let draw = (i % 97) as f64 / 97.0;
                let mut tried = Tried::default();
                let at = now.load(Ordering::Relaxed);
                let pick = pool.pick(at, &i.to_ne_bytes(), &mut tried, || draw).unwrap();
                picked += 1;
                let other = pool.pick(at, &i.to_ne_bytes(), &mut tried, || draw).unwrap();
                let showed =
                    [Showed::Well, Showed::Failed, Showed::Unreachable, Showed::Nothing][(i as usize + thread) % 4];
                pool.done(pick, at + i % 5, showed);
                pool.done(other, at + i % 3, Showed::Well);
            }
            picked
        },
        || {
            turn += 1;
            let at = now.fetch_add(MS, Ordering::Relaxed);
            pool.join(turn, &members(3 + turn as usize % 3), at);
            pool.tick(at, || 0.5);
            let watched = (turn % 5 > 0).then_some(&outlier);
            pool.reconfigure(Some(&balance(algorithms[turn as usize % algorithms.len()])), watched, at);
        },
    );
    assert_eq!(picked, THREADS as u64 * 3_000);
    // Nobody is busy any more: the fewest calls in flight are those of each in turn.
    pool.join(u64::MAX, &members(4), 0);
    pool.reconfigure(Some(&balance(Algorithm::LeastRequest)), None, 0);
    pool.tick(u64::MAX, || 0.5);
    let picks: Vec<_> = (0..4).filter_map(|_| pool.pick(0, b"", &mut Tried::default(), || 0.5)).collect();
    let mut ids: Vec<_> = picks.iter().map(|pick| pick.id().to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["instance-0", "instance-1", "instance-2", "instance-3"]);
}
