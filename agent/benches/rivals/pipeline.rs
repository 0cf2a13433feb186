//! What the whole pipeline adds to a call of a bare tower service: deadline, rate, concurrency, breaker, retry budget,
//! balancing over ten instances, with both readings of the clock; and the same once more with every engine there is.
//!
//! Beside it the same chain made of the rivals: `governor`, tokio's semaphore, `recloser`, tower's `TpsBudget`, and tower's
//! `PeakEwma` under its `p2c::Balance`. They do less: no deadline, no time window, no ejection, nothing that can be changed
//! while it runs.
//!
//! Measured on two cores of a shared Xeon (`cargo bench -p fuseboard-agent --bench rivals -- pipeline`): the six rules add
//! 351 ns to a call on one thread (0.57 of the rivals' chain) and 847 ns on two that share everything (0.71; theirs do not
//! share the balancer); every engine adds 438 ns (0.71) and 1,103 ns (0.93).

use std::hint::black_box;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fuseboard_agent::policy::document::PolicyDocument;
use fuseboard_agent::policy::pipeline::{Attempt, AttemptKind, AttemptOutcome, Call, EdgeEngine, Inbound};
use fuseboard_agent::policy::set::PolicySet;
use fuseboard_agent::policy::settings::EdgeSettings;
use governor::{DefaultDirectRateLimiter, Quota};
use recloser::Recloser;
use tower::Service;
use tower::retry::budget::{Budget as _, TpsBudget};

use super::balance::{Callee, draws, members, towers};
use super::limits::again;
use super::{Bench, Calls, Contender, Failed, print};

/// Set so that none of them acts.
const POLICY: &str = r#"
    [[edge]]
    service = "*"
    timeout = { attempt_ms = 1000, overall_ms = 2000 }
    rate = { algorithm = "token_bucket", per_sec = 1000000000, burst = 1000000000 }
    concurrency = { kind = "fixed", max = 1000 }
    [edge.retry]
    max_attempts = 3
    budget = { ratio = 0.2, min_per_sec = 10, ttl_ms = 10000 }
    [edge.breaker]
    window = { kind = "time", ms = 10000, buckets = 10 }
    min_calls = 20
    failure_ratio = 0.5
    [edge.balance]
    algorithm = "p2c_peak_ewma"
"#;

/// In place of or beside those.
const EVERYTHING: &str = r#"
    [[edge]]
    service = "callee"
    throttle = { kind = "sre", k = 2.0 }
    concurrency = { kind = "gradient2", initial = 200, min = 200, max = 1000, smoothing = 0.2, queue = 4, long_window = 600, tolerance = 1.5 }
    hedge = { after_quantile = 0.95, max_extra = 1 }
    [edge.breaker]
    slow_ms = 700
    slow_ratio = 0.8
    inflight_slow = true
    [edge.outlier]
    interval_ms = 10000
    base_ejection_ms = 30000
    consecutive_failures = 5
"#;

/// Prints the lines of this section.
pub(crate) fn run(bench: &Bench) -> Result<(), Failed> {
    for threads in [1, 2] {
        let zero = Instant::now();
        let (usual, all) = (engine(POLICY)?, engine(&format!("{POLICY}{EVERYTHING}"))?);
        let governor = DefaultDirectRateLimiter::direct(Quota::per_second(NonZeroU32::MAX));
        let breaker = Recloser::custom().error_rate(0.5).closed_len(100).build();
        let rivals = Rivals {
            governor,
            places: tokio::sync::Semaphore::new(1_000),
            breaker,
            budget: TpsBudget::new(Duration::from_secs(10), 10, 0.2),
        };
        let contenders = [
            Contender::new("bare", bare),
            Contender::new("pipeline", || piped(&usual, zero)),
            Contender::new("everything", || piped(&all, zero)),
            Contender::new("chain of rivals", || chain(&rivals)),
        ];
        if let [bare, pipeline, everything, rivals] = *bench.compare(threads, &contenders) {
            let figure = |what: &str| format!("pipeline, {what}, over a bare tower service, {threads} threads");
            let chain = "governor, semaphore, recloser, TpsBudget, PeakEwma under p2c";
            print(&figure("six rules"), pipeline - bare, chain, rivals - bare);
            print(&figure("every engine"), everything - bare, chain, rivals - bare);
        }
    }
    Ok(())
}

fn engine(policy: &str) -> Result<Arc<EdgeEngine>, Failed> {
    let engine = EdgeEngine::new(&settings(policy)?, 0);
    engine.pool().join(1, &members(), 0);
    Ok(engine)
}

fn settings(policy: &str) -> Result<EdgeSettings, Failed> {
    let document = PolicyDocument::parse(policy).map_err(|problems| format!("{problems:?}"))?;
    Ok(PolicySet::new(1, &document).effective("bench", "callee", "Pay/Charge").settings)
}

fn bare<'a>() -> Calls<'a> {
    let mut service = Callee;
    again(move || call(&mut service))
}

/// A call is one poll: the callee never waits.
fn call<S: Service<(), Error: std::fmt::Debug>>(service: &mut S) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready(), "it is always ready");
    let mut call = std::pin::pin!(service.call(()));
    assert!(matches!(black_box(call.as_mut().poll(&mut cx)), Poll::Ready(Ok(_))), "it answers at once");
}

/// The pipeline around a service, as the agent's layers drive it.
struct Piped<'a, S, D> {
    engine: &'a EdgeEngine,
    zero: Instant,
    draw: D,
    inner: S,
}

struct Answering<F> {
    zero: Instant,
    under_way: Option<(Call, Attempt)>,
    draw: f64,
    inner: F,
}

impl<S: Service<()>, D: FnMut() -> f64> Service<()> for Piped<'_, S, D>
where
    S::Future: Unpin,
{
    type Response = S::Response;
    type Error = String;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        let now = self.zero.elapsed().as_nanos() as u64;
        let asked = self.engine.begin(now, Inbound::default(), (self.draw)()).and_then(|mut call| {
            let attempt = call.attempt(now, b"", &mut self.draw)?;
            Ok((call, attempt))
        });
        Answering { zero: self.zero, under_way: asked.ok(), draw: (self.draw)(), inner: self.inner.call(()) }
    }
}

impl<F: Future<Output = Result<T, E>> + Unpin, T, E> Future for Answering<F> {
    type Output = Result<T, String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(answer) = Pin::new(&mut self.inner).poll(cx) else { return Poll::Pending };
        let draw = self.draw;
        let Some((mut call, attempt)) = self.under_way.take() else {
            return Poll::Ready(Err("a rule refused".to_owned()));
        };
        let kind = if answer.is_ok() { AttemptKind::Success } else { AttemptKind::Failure { code: "unavailable" } };
        let now = self.zero.elapsed().as_nanos() as u64;
        black_box(call.finish(attempt, now, AttemptOutcome::plain(kind), draw));
        Poll::Ready(answer.map_err(|_| "the callee failed".to_owned()))
    }
}

fn piped(engine: &EdgeEngine, zero: Instant) -> Calls<'_> {
    let (mut service, members) = (Piped { engine, zero, draw: draws(), inner: Callee }, members());
    again(move || {
        // As the agent's clients do at every call.
        engine.pool().join(1, &members, 0);
        call(&mut service);
    })
}

struct Rivals {
    governor: DefaultDirectRateLimiter,
    places: tokio::sync::Semaphore,
    breaker: Recloser,
    budget: TpsBudget,
}

fn chain(rivals: &Rivals) -> Calls<'_> {
    let mut balance = towers();
    again(move || {
        assert!(rivals.governor.check().is_ok(), "its rate is too high to refuse");
        let place = rivals.places.try_acquire();
        assert!(place.is_ok(), "there is always a place");
        rivals.budget.deposit();
        let _ = black_box(rivals.breaker.call(|| {
            balance(1);
            Ok::<(), ()>(())
        }));
    })
}
