//! Sending.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{LoadError, LoadPlan, Quantiles, Report};

/// Longest latency that is told apart, in microseconds (10 minutes); longer ones count as this.
const LONGEST_MICROS: u64 = 600_000_000;
/// How far ahead of the first due instant the connections' tasks are started.
const HEAD_START: Duration = Duration::from_millis(20);

/// Runs a plan to its end or until `cancel`.
///
/// Every connection is a task that takes the next ticket, waits until its request is due, sends it and waits for the
/// answer. When all of them are busy, tickets wait, and their wait is part of their latency. Requests still unsent one
/// `timeout` after the last was due are given up and reported as `unsent`.
///
/// # Errors
/// A plan that makes no sense; see [`LoadError`]. Failed requests are not errors, they are counted in the report.
pub async fn run(plan: &LoadPlan, cancel: CancellationToken) -> Result<Report, LoadError> {
    let (url, method) = plan.check()?;
    let client = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(plan.connections)
        .tcp_nodelay(true)
        .build()
        .map_err(LoadError::Client)?;
    let start = Instant::now() + HEAD_START;
    let shared = Arc::new(Shared {
        plan: plan.clone(),
        url,
        method,
        client,
        next: AtomicU64::new(0),
        tally: Mutex::new(Tally::new()?),
        start,
        give_up: start + plan.duration + plan.timeout,
        cancel,
    });
    let mut tasks = JoinSet::new();
    for _ in 0..plan.connections {
        tasks.spawn(connection(Arc::clone(&shared)));
    }
    while tasks.join_next().await.is_some() {}
    let tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(tally.report(&shared))
}

struct Shared {
    plan: LoadPlan,
    url: Url,
    method: Method,
    client: Client,
    next: AtomicU64,
    tally: Mutex<Tally>,
    start: Instant,
    give_up: Instant,
    cancel: CancellationToken,
}

async fn connection(shared: Arc<Shared>) {
    let requests = shared.plan.requests();
    loop {
        let ticket = shared.next.fetch_add(1, Ordering::Relaxed);
        if ticket >= requests {
            return;
        }
        let due = shared.start + shared.plan.due(ticket);
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            () = sleep_until(due) => {}
        }
        let sent_at = Instant::now();
        if sent_at >= shared.give_up {
            return;
        }
        // A request in flight when the run is cancelled was neither answered nor refused: it is not counted.
        let outcome = tokio::select! {
            () = shared.cancel.cancelled() => return,
            outcome = send(&shared, sent_at) => outcome,
        };
        let ended = Instant::now();
        shared.tally.lock().unwrap_or_else(PoisonError::into_inner).record(outcome, due, sent_at, ended);
    }
}

async fn send(shared: &Shared, sent_at: Instant) -> Result<(), String> {
    let mut request = shared.client.request(shared.method.clone(), shared.url.clone());
    if let Some(body) = &shared.plan.body {
        request = request.header("content-type", "application/json").body(body.clone());
    }
    let answer = async {
        let reply = request.send().await.map_err(|error| kind_of(&error).to_owned())?;
        let status = reply.status();
        reply.bytes().await.map_err(|_| "body".to_owned())?;
        if status.as_u16() < 400 { Ok(()) } else { Err(format!("http_{}", status.as_u16())) }
    };
    timeout_at(sent_at + shared.plan.timeout, answer).await.unwrap_or_else(|_| Err("timeout".to_owned()))
}

fn kind_of(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else if error.is_body() || error.is_decode() {
        "body"
    } else {
        "other"
    }
}

/// What all connections saw.
struct Tally {
    sent: u64,
    ok: u64,
    errors: BTreeMap<String, u64>,
    latency: Histogram<u64>,
    service: Histogram<u64>,
    last: Option<Instant>,
}

impl Tally {
    fn new() -> Result<Self, LoadError> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_MICROS, 3).map_err(LoadError::Histogram)?;
        Ok(Self { sent: 0, ok: 0, errors: BTreeMap::new(), latency: histogram.clone(), service: histogram, last: None })
    }

    fn record(&mut self, outcome: Result<(), String>, due: Instant, sent_at: Instant, ended: Instant) {
        self.sent += 1;
        self.last = self.last.max(Some(ended));
        self.latency.saturating_record(micros(ended - due));
        self.service.saturating_record(micros(ended - sent_at));
        match outcome {
            Ok(()) => self.ok += 1,
            Err(kind) => *self.errors.entry(kind).or_default() += 1,
        }
    }

    fn report(&self, shared: &Shared) -> Report {
        let requests = shared.plan.requests();
        let cancelled = shared.cancel.is_cancelled() && self.sent < requests;
        // A run takes at least as long as requests were due, also when the last ones were answered at once.
        let answered = self.last.map_or(Duration::ZERO, |last| last - shared.start);
        let took = if cancelled { answered } else { answered.max(shared.plan.duration) };
        Report {
            url: shared.plan.url.clone(),
            offered_rate: shared.plan.rate,
            achieved_rate: 0.0,
            seconds: took.as_secs_f64(),
            sent: self.sent,
            unsent: requests.saturating_sub(self.sent),
            ok: self.ok,
            errors: self.errors.clone(),
            error_ratio: 0.0,
            latency: Quantiles::of(&self.latency),
            service: Quantiles::of(&self.service),
            cancelled,
            checks: Vec::new(),
            passed: false,
        }
        .judged(&shared.plan.goals)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
