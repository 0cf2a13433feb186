//! Rate, retry budget and concurrency beside `governor`, tower's retry budget and tokio's semaphore.
//!
//! Governor and tower read a clock themselves, ours is given the time: beside them it is measured with one `Instant::now` a
//! call. Governor with a clock that stands still stands beside ours with the time given.
//!
//! Measured on two cores of a shared Xeon (ours over theirs, `cargo bench -p fuseboard-agent --bench rivals -- limits`):
//!
//! | | one thread | two threads |
//! |---|---|---|
//! | token bucket, governor | 1.14 | |
//! | token bucket that refuses, governor | 1.01 | 1.01 |
//! | sliding window (exact), governor (which has none) | 1.77 | |
//! | retry budget by ratio, a call, `TpsBudget` | 0.97 | 0.45 |
//! | the same with one retry in ten calls | 1.01 | 0.59 |
//! | retry budget by tokens, `TpsBudget` | 0.07 | 0.01 |
//! | concurrency, fixed, semaphore | 0.60 | 0.45 |
//! | concurrency, gradient2, semaphore | 1.04 | 0.85 |
//!
//! The bucket pays for being exact: governor's cell is rounded to nanoseconds and fits 64 bits, ours is not and takes 128.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use fuseboard_agent::policy::concurrency::{ConcurrencyLimiter, Ended};
use fuseboard_agent::policy::rate::RateLimiter;
use fuseboard_agent::policy::retry_budget::{RetryBudget, TokenOutcome};
use fuseboard_agent::policy::settings::{self, Concurrency, Rate};
use governor::clock::FakeRelativeClock;
use governor::{DefaultDirectRateLimiter, Quota};
use tower::retry::budget::{Budget as _, TpsBudget};

use super::{Bench, Calls, Contender, Failed, print};

/// More calls a second than a thread can make.
const FAST: u32 = 1_000_000_000;
/// One retry is asked for in so many calls.
const RETRIES: u64 = 10;

/// Prints the lines of this section.
pub(crate) fn run(bench: &Bench) -> Result<(), Failed> {
    for threads in [1, 2] {
        for (weather, per_sec) in [("all pass", FAST), ("most refused", 1)] {
            rate(bench, threads, weather, per_sec)?;
        }
        budget(bench, threads);
        concurrency(bench, threads);
    }
    Ok(())
}

fn nanos(zero: Instant) -> u64 {
    zero.elapsed().as_nanos() as u64
}

/// So many times the same.
pub(crate) fn again<'a>(mut one: impl FnMut() + 'a) -> Calls<'a> {
    Box::new(move |calls| (0..calls).for_each(|_| one()))
}

/// Tells of each call whether it asks for a retry.
fn retrying<'a>(mut one: impl FnMut(bool) + 'a) -> Calls<'a> {
    let mut made = 0u64;
    again(move || {
        made += 1;
        one(made.is_multiple_of(RETRIES));
    })
}

fn rate(bench: &Bench, threads: usize, weather: &str, per_sec: u32) -> Result<(), Failed> {
    let (zero, many) = (Instant::now(), NonZeroU32::new(per_sec).ok_or("no rate")?);
    let bucket = RateLimiter::new(&Rate::TokenBucket { per_sec: per_sec.into(), burst: per_sec.into() }, 0);
    // Its window is short, so that the log turns over while all pass; a million entries are the most it may have.
    let limit = u64::from(per_sec).min(1_000_000);
    let log = RateLimiter::new(&Rate::SlidingWindow { limit, window_ms: if per_sec == 1 { 1_000 } else { 1 } }, 0);
    let governor = DefaultDirectRateLimiter::direct(Quota::per_second(many));
    let still = governor::RateLimiter::direct_with_clock(Quota::per_second(many), FakeRelativeClock::default());
    // Of its own: its time goes on by a few nanoseconds a call, and a clock beside it would leave it behind.
    let given = RateLimiter::new(&Rate::TokenBucket { per_sec: per_sec.into(), burst: per_sec.into() }, 0);
    let given = &given;
    let times = bench.compare(
        threads,
        &[
            Contender::new("bucket", || again(|| _ = black_box(bucket.acquire(nanos(zero), 1)))),
            Contender::new("bucket, time given", || {
                let mut now = nanos(zero);
                again(move || {
                    now += 8;
                    black_box(given.acquire(black_box(now), 1));
                })
            }),
            Contender::new("log", || again(|| _ = black_box(log.acquire(nanos(zero), 1)))),
            Contender::new("governor", || again(|| _ = black_box(governor.check()))),
            Contender::new("governor, clock stands still", || again(|| _ = black_box(still.check()))),
        ],
    );
    if let [bucket, given, log, governor, still] = *times {
        let figure = |what: &str| format!("rate, {what}, {weather}, {threads} threads");
        print(&figure("token bucket, one clock reading"), bucket, "governor", governor);
        print(&figure("token bucket, time given"), given, "governor, clock stands still", still);
        print(&figure("sliding window, one clock reading"), log, "governor", governor);
    }
    Ok(())
}

fn budget(bench: &Bench, threads: usize) {
    let zero = Instant::now();
    let ours = RetryBudget::new(Some(&settings::RetryBudget::Ratio { ratio: 0.2, min_per_sec: 10.0, ttl_ms: 10_000 }));
    let tokens = RetryBudget::new(Some(&settings::RetryBudget::Tokens { max_tokens: 100, token_ratio: 0.1 }));
    let tower = TpsBudget::new(Duration::from_secs(10), 10, 0.2);
    let deposits = bench.compare(
        threads,
        &[
            Contender::new("ours", || again(|| ours.deposit(nanos(zero), 1))),
            Contender::new("tower", || again(|| tower.deposit())),
        ],
    );
    let mixed = bench.compare(
        threads,
        &[
            Contender::new("ours", || {
                retrying(|retries| {
                    let now = nanos(zero);
                    ours.deposit(now, 1);
                    if retries {
                        black_box(ours.withdraw(now, 1));
                    }
                })
            }),
            Contender::new("tokens", || {
                retrying(|retries| {
                    tokens.outcome(TokenOutcome::Success, 1);
                    if retries {
                        black_box(tokens.withdraw(0, 1));
                    }
                })
            }),
            Contender::new("tower", || {
                retrying(|retries| {
                    tower.deposit();
                    if retries {
                        black_box(tower.withdraw());
                    }
                })
            }),
        ],
    );
    if let [ours, tower] = *deposits {
        print(&format!("retry budget, a call, one clock reading, {threads} threads"), ours, "tower TpsBudget", tower);
    }
    if let [ours, tokens, tower] = *mixed {
        let figure = |what: &str| format!("retry budget, {what}, one retry in {RETRIES} calls, {threads} threads");
        print(&figure("ratio, one clock reading"), ours, "tower TpsBudget", tower);
        print(&figure("tokens"), tokens, "tower TpsBudget", tower);
    }
}

fn concurrency(bench: &Bench, threads: usize) {
    let fixed = ConcurrencyLimiter::new(&Concurrency::Fixed { max: 1_000 }, || 0.5);
    let gradient = ConcurrencyLimiter::new(
        &Concurrency::Gradient2 {
            initial: 20,
            min: 20,
            max: 200,
            smoothing: 0.2,
            queue: 4,
            long_window: 600,
            tolerance: 1.5,
        },
        || 0.5,
    );
    let semaphore = tokio::sync::Semaphore::new(1_000);
    let of = |limiter: &ConcurrencyLimiter| {
        if let Some(ticket) = limiter.acquire(black_box(0)) {
            limiter.release(black_box(ticket), 1_000_000, Ended::Success, || 0.5);
        }
    };
    let times = bench.compare(
        threads,
        &[
            Contender::new("fixed", || again(|| of(&fixed))),
            Contender::new("gradient2", || again(|| of(&gradient))),
            Contender::new("semaphore", || again(|| _ = black_box(semaphore.try_acquire()))),
        ],
    );
    if let [fixed, gradient, semaphore] = *times {
        let figure = |kind: &str| format!("concurrency, {kind}, take and give back, {threads} threads");
        print(&figure("fixed"), fixed, "tokio semaphore", semaphore);
        print(&figure("gradient2, which learns from each"), gradient, "tokio semaphore", semaphore);
    }
}
