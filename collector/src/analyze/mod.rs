//! What is normal, and what comes next: bands, forecasts and anomalies of every edge's rate, errors and latency.
//!
//! One named thread looks every five seconds at the rollups of the last ten minutes and appends what it issues; pictures
//! are made from the stored rows alone, so that a replay shows forecasts as they were issued. Nothing is kept in memory
//! between two rounds: a restart goes on where the file stands. Work is bounded: [`MOST_EDGES`] busiest edges, ten minutes
//! of steps, and beyond [`MODEL_TIME`] a round the remaining series carry their last level on.

mod ahead;
mod forget;
mod limits;
mod normal;
mod picture;
mod round;
mod schema;
mod series;
mod words;

use std::thread::JoinHandle;
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::live::Touched;
use tokio_util::sync::CancellationToken;

pub(crate) use self::picture::{forecasts as picture, marks};
pub(crate) use self::schema::SCHEMA;
use crate::store::{Store, StoreError};

/// Edges that are forecast, busiest first.
const MOST_EDGES: usize = 200;
/// Time that fitting models may take in one round.
const MODEL_TIME: Duration = Duration::from_millis(400);
/// How long after its end a step is taken as complete: senders batch for about a second.
const SETTLED: Duration = Duration::from_secs(3);

/// The thread that looks.
#[derive(Debug)]
pub(crate) struct Analyst {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Analyst {
    /// Starts the thread. It waits on a runtime of its own, so that it ends whatever becomes of the caller's.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(store: Store) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread =
            std::thread::Builder::new().name("analyst".into()).spawn(move || runtime.block_on(work(store, stopped)))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends the thread; waits for the round under way.
    pub(crate) fn stop(mut self) {
        self.stop.cancel();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the analyst's thread had panicked");
        }
    }
}

impl Drop for Analyst {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn work(store: Store, stop: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(series::STEP.unsigned_abs()));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut done = i64::MIN;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let end = settled(UnixNanos::now());
        if end == done {
            continue;
        }
        match issue(&store, end).await {
            Ok(()) => done = end,
            Err(StoreError::Closed) => return,
            Err(error) => tracing::warn!("no forecasts this time: {error}"),
        }
    }
}

/// The end of the newest step that is complete at `now`, in Unix seconds.
fn settled(now: UnixNanos) -> i64 {
    (now - SETTLED).0.div_euclid(1_000_000_000).div_euclid(series::STEP) * series::STEP
}

/// One round: reads, computes and appends.
async fn issue(store: &Store, end: i64) -> Result<(), StoreError> {
    let as_of = store.as_of_now();
    let issued = store.read(move |conn| Ok::<_, StoreError>(round::compute(conn, end, as_of)?)).await?;
    if issued.is_empty() {
        return Ok(());
    }
    store
        .transact(&[Touched::Forecasts], move |tx, stamp| {
            forget::forget(tx)?;
            Ok(round::append(tx, stamp, end, &issued)?)
        })
        .await
}
