//! The stream to the collector: dials for ever, says hello, applies what it is sent and says so at once.

use std::sync::Weak;
use std::time::Duration;

use fuseboard_policy::wire::v1::{self, from_agent, to_agent};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use super::disk::StateFile;
use super::report::Seen;
use crate::agent::Inner;
use crate::generated::control::control_client::ControlClient;
use crate::log::{self, Severity};

/// Longest wait before the next dial.
const MOST_WAIT: Duration = Duration::from_secs(2);
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait for a collector that took the connection to answer.
const ANSWER: Duration = Duration::from_secs(5);
const STATUS_EVERY: Duration = Duration::from_secs(5);
const BREAKERS_EVERY: Duration = Duration::from_secs(1);
/// Messages that may wait for a slow collector; beyond, only the stream waits.
const WAITING: usize = 64;

/// What the stream needs besides the agent.
pub(crate) struct Line {
    /// The collector; `None` keeps state without one.
    pub(crate) endpoint: Option<Endpoint>,
    /// What to say hello with.
    pub(crate) hello: v1::Hello,
    /// Transitions to tell.
    pub(crate) transitions: mpsc::Receiver<v1::BreakerTransition>,
    /// Where state is kept.
    pub(crate) state: Option<StateFile>,
    /// Ends it.
    pub(crate) closing: CancellationToken,
}

/// Runs until the agent is gone.
pub(crate) async fn run(agent: Weak<Inner>, mut line: Line) {
    let closing = line.closing.clone();
    let Some(endpoint) = line.endpoint.take() else {
        closing.cancelled().await;
        return;
    };
    let endpoint = endpoint
        .connect_timeout(Duration::from_secs(2))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true);
    let (mut wait, mut told) = (FIRST_WAIT, false);
    loop {
        let connected = tokio::select! {
            connected = session(&agent, &mut line, &endpoint) => connected,
            () = closing.cancelled() => return,
        };
        let (service, instance) = (&line.hello.service, &line.hello.instance);
        if connected {
            wait = FIRST_WAIT;
            tracing::info!(%service, %instance, "lost the control plane; the last good policy stays in force");
        } else if !told {
            let address = endpoint.uri();
            tracing::warn!(%service, %instance, %address, "no control plane; trying on, the last good policy is in force");
        }
        told = !connected;
        // Half of the wait is drawn, so that a restarted collector is not met by everybody at once.
        let jittered = wait.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        wait = (wait * 2).min(MOST_WAIT);
        let waited = async {
            let Some(inner) = agent.upgrade() else { return false };
            let steering = inner.steering.clone();
            drop(inner);
            let over = tokio::time::sleep(jittered);
            tokio::pin!(over);
            loop {
                tokio::select! {
                    () = &mut over => return true,
                    // Overrides that end meanwhile are not kept for the next start.
                    () = steering.changed.notified() => save(&agent, &line).await,
                }
            }
        };
        tokio::select! {
            on = waited => if !on { return },
            () = closing.cancelled() => return,
        }
    }
}

/// One connection. Whether there was one.
async fn session(agent: &Weak<Inner>, line: &mut Line, endpoint: &Endpoint) -> bool {
    let Ok(channel) = endpoint.connect().await else { return false };
    let (tx, rx) = mpsc::channel(WAITING);
    let mut seen = Seen::default();
    {
        let Some(inner) = agent.upgrade() else { return true };
        let hello = from_agent::Message::Hello(line.hello.clone());
        for message in [Some(hello), Some(status(&inner)), breakers(&inner, &mut seen)].into_iter().flatten() {
            // The channel is new and has room for them.
            let _ = tx.try_send(v1::FromAgent { message: Some(message) });
        }
    }
    let mut client = ControlClient::new(channel);
    let answer = tokio::time::timeout(ANSWER, client.connect(ReceiverStream::new(rx))).await;
    let Ok(Ok(answer)) = answer else { return false };
    tracing::info!(service = %line.hello.service, instance = %line.hello.instance, "connected to the control plane");
    let mut from_collector = answer.into_inner();
    let mut status_due = interval(STATUS_EVERY);
    let mut breakers_due = interval(BREAKERS_EVERY);
    loop {
        let Some(steering) = agent.upgrade().map(|inner| inner.steering.clone()) else { return true };
        let told = tokio::select! {
            message = from_collector.message() => match message {
                Ok(Some(message)) => {
                    let Some(inner) = agent.upgrade() else { return true };
                    // Told by `changed` in the next turn.
                    apply(&inner, message);
                    None
                }
                Ok(None) | Err(_) => return true,
            },
            () = steering.changed.notified() => {
                let Some(inner) = agent.upgrade() else { return true };
                let mut told = vec![status(&inner)];
                told.extend(breakers(&inner, &mut seen));
                drop(inner);
                if !say(&tx, told).await {
                    return true;
                }
                save(agent, line).await;
                None
            }
            Some(transition) = line.transitions.recv() => {
                let Some(inner) = agent.upgrade() else { return true };
                Some(transitions(&inner, &mut seen, transition, &mut line.transitions))
            }
            _ = breakers_due.tick() => agent.upgrade().and_then(|inner| breakers(&inner, &mut seen)),
            _ = status_due.tick() => agent.upgrade().map(|inner| status(&inner)),
        };
        if !say(&tx, told.into_iter().collect()).await {
            return true;
        }
    }
}

fn interval(every: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn say(tx: &mpsc::Sender<v1::FromAgent>, messages: Vec<from_agent::Message>) -> bool {
    for message in messages {
        if tx.send(v1::FromAgent { message: Some(message) }).await.is_err() {
            return false;
        }
    }
    true
}

fn apply(inner: &Inner, message: v1::ToAgent) {
    match message.message {
        Some(to_agent::Message::Policy(policy)) => inner.steering.apply_policy(policy, &inner.edges),
        Some(to_agent::Message::Overrides(overrides)) => inner.steering.apply_overrides(overrides, &inner.edges),
        // A kind that this version does not know.
        None => {}
    }
}

fn status(inner: &Inner) -> from_agent::Message {
    from_agent::Message::Status(inner.steering.status(&inner.edges, inner.telemetry.dropped()))
}

/// Statuses of the breakers that changed.
fn breakers(inner: &Inner, seen: &mut Seen) -> Option<from_agent::Message> {
    let breakers = seen.changed(inner);
    let report = v1::BreakerReport { breakers, transitions: Vec::new() };
    (!report.breakers.is_empty()).then_some(from_agent::Message::Breakers(report))
}

/// The transitions that wait, with how their breakers look now.
fn transitions(
    inner: &Inner,
    seen: &mut Seen,
    first: v1::BreakerTransition,
    more: &mut mpsc::Receiver<v1::BreakerTransition>,
) -> from_agent::Message {
    let mut transitions = vec![first];
    while let Ok(next) = more.try_recv() {
        transitions.push(next);
    }
    let mut breakers: Vec<v1::BreakerStatus> = Vec::new();
    for t in &transitions {
        if !breakers.iter().any(|b| b.service == t.service && b.operation == t.operation) {
            breakers.extend(seen.one(inner, &t.service, &t.operation));
        }
    }
    from_agent::Message::Breakers(v1::BreakerReport { breakers, transitions })
}

async fn save(agent: &Weak<Inner>, line: &Line) {
    let (Some(inner), Some(file)) = (agent.upgrade(), line.state.clone()) else { return };
    let saved = inner.steering.to_save();
    let written = tokio::task::spawn_blocking(move || file.save(&saved)).await;
    if let Ok(Err(error)) = written {
        let text = format!("the policy in force cannot be kept for the next start: {error}");
        log::write(&inner, Severity::Warn, text, &[]);
    }
}
