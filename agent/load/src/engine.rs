//! Sending at a pace, whatever is sent.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::report::{Mode, Quantiles, Report};
use crate::tally::{Tallies, histogram, micros};
use crate::{LoadError, Pace, Thresholds};

/// How far ahead of the first due instant the connections' tasks are started.
const HEAD_START: Duration = Duration::from_millis(20);
/// The pacer looks at least this often whether the run was cancelled.
const LONGEST_NAP: Duration = Duration::from_millis(50);

/// One connection, or one stream of a connection: sends one request at a time.
pub trait Caller: Send + 'static {
    /// Sends a request and reads its answer whole. Dropped before its end, the request is given up.
    ///
    /// An error is its kind in a word, as the report counts it: `connect`, `http_503`….
    fn call(&mut self) -> impl Future<Output = Result<(), Cow<'static, str>>> + Send;
}

/// Sends at a pace through any [`Caller`]s.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Named in the report.
    pub name: String,
    /// When requests are sent.
    pub pace: Pace,
    /// For how long requests are due, or sent in a closed loop.
    pub duration: Duration,
    /// A request without an answer for this long, from its sending, has failed. Also how long the end of the run is waited for.
    pub timeout: Duration,
    /// What the report is held against.
    pub thresholds: Thresholds,
}

struct Shared {
    engine: Engine,
    /// Requests that will fall due.
    requests: u64,
    next: AtomicU64,
    /// A permit for each request that is due; the open loop only.
    due: Semaphore,
    progress: Progress,
    /// Requests still unsent then are given up.
    give_up: Instant,
    cancel: CancellationToken,
}

/// What a run has seen so far; clones look at the same run.
#[derive(Debug, Clone)]
pub struct Progress {
    tallies: Arc<Tallies>,
}

/// A run at an instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snapshot {
    /// Requests answered or failed.
    pub sent: u64,
    /// Good answers.
    pub ok: u64,
    /// Latencies so far.
    pub latency: Quantiles,
}

impl Progress {
    /// Nothing seen yet.
    ///
    /// # Errors
    /// The histograms could not be made.
    pub fn new() -> Result<Self, LoadError> {
        Ok(Self { tallies: Arc::new(Tallies::new()?) })
    }

    /// What was seen so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let all = self.tallies.sum();
        Snapshot { sent: all.sent, ok: all.ok, latency: Quantiles::of(&all.latency) }
    }
}

impl Engine {
    /// Runs to the end or until `cancel`; `progress` may be looked at meanwhile.
    ///
    /// When all callers are busy, requests that are due wait, and their wait is part of their latency. Requests still unsent one
    /// `timeout` after the last was due are given up and reported as `unsent`.
    ///
    /// # Errors
    /// A pace or timeout that makes no sense. Failed requests are not errors, they are counted in the report.
    pub async fn run<C: Caller>(
        &self,
        callers: Vec<C>,
        progress: &Progress,
        cancel: CancellationToken,
    ) -> Result<Report, LoadError> {
        self.pace.check(self.duration)?;
        if self.timeout.is_zero() {
            return Err(LoadError::Number { name: "timeout", value: "0".to_owned(), must: "longer than 0" });
        }
        let start = Instant::now() + HEAD_START;
        let shared = Arc::new(Shared {
            engine: self.clone(),
            requests: self.pace.due_by(self.duration),
            next: AtomicU64::new(0),
            due: Semaphore::new(0),
            progress: progress.clone(),
            give_up: start + self.duration + self.timeout,
            cancel,
        });
        let mut tasks = JoinSet::new();
        for (index, caller) in callers.into_iter().enumerate() {
            match self.pace {
                Pace::Open { .. } => tasks.spawn(open(Arc::clone(&shared), index, caller, start)),
                Pace::Closed => tasks.spawn(closed(Arc::clone(&shared), index, caller, start)),
            };
        }
        let pacer = matches!(self.pace, Pace::Open { .. }).then(|| Pacer::start(Arc::clone(&shared), start));
        while tasks.join_next().await.is_some() {}
        let lag = match pacer {
            Some(pacer) => pacer?.join().await?,
            None => histogram()?,
        };
        Ok(shared.report(start, &lag))
    }
}

/// Takes due requests until there are none left.
async fn open<C: Caller>(shared: Arc<Shared>, index: usize, mut caller: C, start: Instant) {
    loop {
        tokio::select! {
            () = shared.cancel.cancelled() => return,
                permit = shared.due.acquire() => match permit {
                Ok(permit) => permit.forget(),
                Err(_) => return,
            },
        }
        let ticket = shared.next.fetch_add(1, Ordering::Relaxed);
        if ticket + 1 >= shared.requests {
            shared.due.close();
        }
        let due = start + shared.engine.pace.due(ticket);
        if !send(&shared, index, &mut caller, Some(due)).await {
            return;
        }
    }
}

/// Sends one request after the other until the time is over.
async fn closed<C: Caller>(shared: Arc<Shared>, index: usize, mut caller: C, start: Instant) {
    tokio::time::sleep_until(start).await;
    let end = start + shared.engine.duration;
    while Instant::now() < end {
        if !send(&shared, index, &mut caller, None).await {
            return;
        }
    }
}

/// Sends one request and notes what came of it; false when the run is over.
async fn send<C: Caller>(shared: &Shared, index: usize, caller: &mut C, due: Option<Instant>) -> bool {
    let sent_at = Instant::now();
    if sent_at >= shared.give_up {
        return false;
    }
    let answer = timeout_at(sent_at + shared.engine.timeout, caller.call());
    // A request in flight when the run is cancelled was neither answered nor refused: it is not counted.
    let outcome = tokio::select! {
        () = shared.cancel.cancelled() => return false,
        outcome = answer => outcome.unwrap_or_else(|_| Err("timeout".into())),
    };
    let ended = Instant::now();
    shared.progress.tallies.of(index).record(outcome, due.unwrap_or(sent_at), sent_at, ended);
    true
}

/// The thread that says when requests are due: a sleeping thread wakes some 60 µs late, a tokio timer up to 1 ms.
struct Pacer(tokio::sync::oneshot::Receiver<Histogram<u64>>);

impl Pacer {
    fn start(shared: Arc<Shared>, start: Instant) -> Result<Self, LoadError> {
        let mut lag = histogram()?;
        let (done, lags) = tokio::sync::oneshot::channel();
        let work = move || {
            pace(&shared, start, &mut lag);
            // Nobody waits for it any more when the run was dropped.
            let _ = done.send(lag);
        };
        std::thread::Builder::new().name("load-pacer".to_owned()).spawn(work).map_err(LoadError::Thread)?;
        Ok(Self(lags))
    }

    async fn join(self) -> Result<Histogram<u64>, LoadError> {
        match self.0.await {
            Ok(lag) => Ok(lag),
            Err(_) => histogram(),
        }
    }
}

fn pace(shared: &Shared, start: Instant, lag: &mut Histogram<u64>) {
    let pace = &shared.engine.pace;
    let mut released = 0;
    while released < shared.requests && !shared.cancel.is_cancelled() && !shared.due.is_closed() {
        let due = start + pace.due(released);
        let now = Instant::now();
        if now < due {
            std::thread::sleep((due - now).min(LONGEST_NAP));
            continue;
        }
        // The one that is due and all that fell due while this thread slept.
        let by_now = pace.due_by(now - start).clamp(released + 1, shared.requests);
        lag.saturating_record(micros(now - due));
        shared.due.add_permits(usize::try_from(by_now - released).unwrap_or(usize::MAX));
        released = by_now;
    }
}

impl Shared {
    fn report(&self, start: Instant, lag: &Histogram<u64>) -> Report {
        let seen = self.progress.tallies.sum();
        let engine = &self.engine;
        let open = matches!(engine.pace, Pace::Open { .. });
        let unsent = if open { self.requests.saturating_sub(seen.sent) } else { 0 };
        let cancelled = self.cancel.is_cancelled() && (unsent > 0 || !open);
        // A run takes at least as long as requests were due, also when the last ones were answered at once.
        let answered = seen.last.map_or(Duration::ZERO, |last| last.saturating_duration_since(start));
        let took = if cancelled { answered } else { answered.max(engine.duration) };
        Report {
            url: engine.name.clone(),
            mode: if open { Mode::Open } else { Mode::Closed },
            offered_rate: engine.pace.rate(),
            achieved_rate: 0.0,
            seconds: took.as_secs_f64(),
            sent: seen.sent,
            unsent,
            ok: seen.ok,
            errors: seen.errors.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
            error_ratio: 0.0,
            latency: Quantiles::of(&seen.latency),
            service: Quantiles::of(&seen.service),
            generator_lag: Quantiles::of(lag),
            cancelled,
            checks: Vec::new(),
            passed: false,
        }
        .judged(&engine.thresholds)
    }
}
