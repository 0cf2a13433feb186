//! Both limits of the rate against their naive models, one step at a time, with other settings in the middle of it.

use fuseboard_policy::rate::RateLimiter;
use fuseboard_policy::settings::Rate;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

#[derive(Debug, Clone)]
enum Step {
    Ask { wait: u64, n: u64 },
    Change(u64, u64),
}

/// Mostly calls; the numbers of a change mean what the algorithm makes of them.
fn steps(change: impl Strategy<Value = (u64, u64)> + 'static) -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![Just(0), 0..2_000u64, 0..300 * MS, Just(5_000 * MS)];
    let ask = (wait, prop_oneof![8 => Just(1u64), 1 => 0..6u64]).prop_map(|(wait, n)| Step::Ask { wait, n });
    let change = change.prop_map(|(a, b)| Step::Change(a, b));
    prop::collection::vec(prop_oneof![15 => ask, 1 => change], 1..300)
}

proptest! {
    #[test]
    fn a_bucket_is_its_naive_model(
        first in (1..5_000_000u64, 1..20u64),
        steps in steps((1..5_000_000u64, 1..20u64)),
    ) {
        const TOKEN: u128 = 1_000_000_000;
        let (mut per_sec, mut burst) = first;
        let mut limiter = RateLimiter::new(&Rate::TokenBucket { per_sec, burst }, 0);
        let (mut now, mut level) = (0, u128::from(burst) * TOKEN);
        for step in steps {
            match step {
                Step::Ask { wait, n } => {
                    now += wait;
                    level = (level + u128::from(per_sec) * u128::from(wait)).min(u128::from(burst) * TOKEN);
                    let granted = level >= u128::from(n) * TOKEN;
                    if granted {
                        level -= u128::from(n) * TOKEN;
                    }
                    prop_assert_eq!(limiter.acquire(now, n), granted);
                }
                Step::Change(new_rate, new_burst) => {
                    (per_sec, burst) = (new_rate, new_burst);
                    level = level.min(u128::from(burst) * TOKEN);
                    limiter = limiter.reconfigured(&Rate::TokenBucket { per_sec, burst }, now);
                }
            }
        }
    }

    #[test]
    fn a_log_is_its_naive_model(
        first in (1..30u64, 1..2_000u64),
        steps in steps((1..30u64, 1..2_000u64)),
    ) {
        let (mut limit, mut window_ms) = first;
        let mut limiter = RateLimiter::new(&Rate::SlidingWindow { limit, window_ms }, 0);
        let (mut now, mut log) = (0, Vec::<(u64, u64)>::new());
        for step in steps {
            log.retain(|(at, _)| now - at < window_ms * MS);
            match step {
                Step::Ask { wait, n } => {
                    now += wait;
                    log.retain(|(at, _)| now - at < window_ms * MS);
                    let granted = log.iter().map(|(_, n)| n).sum::<u64>() + n <= limit;
                    if granted {
                        log.push((now, n));
                    }
                    prop_assert_eq!(limiter.acquire(now, n), granted);
                }
                Step::Change(new_limit, new_window) => {
                    (limit, window_ms) = (new_limit, new_window);
                    limiter = limiter.reconfigured(&Rate::SlidingWindow { limit, window_ms }, now);
                }
            }
        }
    }
}

#[test]
fn a_log_of_a_million_calls_holds_them_all() {
    let limiter = RateLimiter::new(&Rate::SlidingWindow { limit: 1_000_000, window_ms: 1_000 }, 0);
    assert!((0..1_000_000).all(|i| limiter.acquire(i, 1)));
    assert!(!limiter.acquire(1_000_000, 1));
    assert!(!limiter.acquire(1_000 * MS - 1, 1));
    assert!((0..1_000_000).all(|i| limiter.acquire(1_000 * MS + i, 1)), "each makes room for one");
    assert!(!limiter.acquire(1_000 * MS + 999_999, 1));
}
