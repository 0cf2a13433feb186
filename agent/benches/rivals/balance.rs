//! Choosing one of ten instances beside tower's `PeakEwma` under its `p2c::Balance`, for a callee that answers at once.
//!
//! Tower's balancer belongs to one task (many share it through a buffer, which is not measured here), so on two threads each
//! has one of its own while ours is shared. It reads the clock when a call begins, when it ends and for each estimate that
//! it looks at; ours is measured with the two readings that a call needs anyway. `p2c_peak_ewma` is the like of it.
//!
//! Measured on two cores of a shared Xeon (ours over theirs, `cargo bench -p fuseboard-agent --bench rivals -- balance`):
//! `p2c_peak_ewma` 0.34 on one thread and 0.76 on two (shared, theirs not), the others 0.20 to 0.23 and 0.35 to 0.76.

use std::hint::black_box;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use fuseboard_agent::policy::pool::{Pool, Showed, Tried};
use fuseboard_agent::policy::settings::{Algorithm, Balance, Outlier};
use tower::Service as _;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma};

use super::limits::again;
use super::{Bench, Calls, Contender, Failed, print};

/// Instances.
pub(crate) const INSTANCES: u64 = 10;

const ALGORITHMS: [(Algorithm, &str); 6] = [
    (Algorithm::P2cPeakEwma, "p2c_peak_ewma"),
    (Algorithm::RoundRobin, "round_robin"),
    (Algorithm::WeightedRoundRobin, "weighted_round_robin"),
    (Algorithm::Random, "random"),
    (Algorithm::LeastRequest, "least_request"),
    (Algorithm::ConsistentHash, "consistent_hash"),
];

/// Prints the lines of this section.
pub(crate) fn run(bench: &Bench) -> Result<(), Failed> {
    let zero = Instant::now();
    for threads in [1, 2] {
        let pools: Vec<Pool> = ALGORITHMS.iter().map(|(algorithm, _)| pool(*algorithm)).collect();
        let ours = pools.iter().zip(ALGORITHMS).map(|(pool, (_, name))| Contender::new(name, || picks(pool, zero)));
        let contenders: Vec<_> = ours.chain([Contender::new("tower PeakEwma under p2c", towers)]).collect();
        let times = bench.compare(threads, &contenders);
        let Some((tower, ours)) = times.split_last() else { continue };
        for (time, (_, name)) in ours.iter().zip(ALGORITHMS) {
            let figure = format!("balance, {name}, pick and report, {threads} threads");
            print(&figure, *time, "tower PeakEwma under p2c", *tower);
        }
    }
    Ok(())
}

/// With outlier ejection, which counts each result.
fn pool(algorithm: Algorithm) -> Pool {
    let balance = Balance { algorithm, default_rtt_ms: 30, decay_ms: 10_000, key: None, max_load: Some(1.25) };
    let outlier = Outlier {
        interval_ms: 10_000,
        base_ejection_ms: 30_000,
        max_ejection_ms: 300_000,
        max_ejection_percent: 10,
        consecutive_failures: Some(5),
        success_rate: None,
        failure_percentage: None,
    };
    let pool = Pool::new(Some(&balance), Some(&outlier), 0);
    pool.join(1, &members(), 0);
    pool
}

/// Ids with weights.
pub(crate) fn members() -> Vec<(Arc<str>, u64)> {
    (0..INSTANCES).map(|i| (format!("10.0.0.{i}:8080").into(), 1 + i % 3)).collect()
}

/// A cheap sequence of numbers in [0, 1): what is measured is not the generator.
pub(crate) fn draws() -> impl FnMut() -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn picks(pool: &Pool, zero: Instant) -> Calls<'_> {
    let (mut draw, mut made) = (draws(), 0u64);
    again(move || {
        made += 1;
        let begun = zero.elapsed().as_nanos() as u64;
        let Some(pick) = pool.pick(begun, &made.to_ne_bytes(), &mut Tried::default(), &mut draw) else { return };
        black_box(pick.id());
        pool.done(pick, zero.elapsed().as_nanos() as u64, Showed::Well);
    })
}

#[derive(Clone, Debug)]
pub(crate) struct Callee;

impl tower::Service<()> for Callee {
    type Response = ();
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

/// One call after the other through tower's balancer.
pub(crate) fn towers<'a>() -> Calls<'a> {
    let measured =
        (0..INSTANCES).map(|_| PeakEwma::new(Callee, Duration::from_millis(30), 10e9, CompleteOnResponse::default()));
    let mut balance = tower::balance::p2c::Balance::new(ServiceList::new::<()>(measured.collect::<Vec<_>>()));
    again(move || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(balance.poll_ready(&mut cx), Poll::Ready(Ok(()))), "its instances are always ready");
        let mut call = std::pin::pin!(balance.call(()));
        assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Ok(()))), "the callee answers at once");
    })
}
