//! The stream to the collector: dials for ever, says hello, applies what it is sent and says so at once.

use std::sync::Weak;
use std::time::Duration;

use fuseboard_policy::wire::v1::{self, from_agent, to_agent};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::dial::Dial;
use super::disk::StateFile;
use super::report::Seen;
use crate::agent::Inner;
use crate::generated::control::control_client::ControlClient;
use crate::log::{self, Severity};

/// Longest wait for a collector that took the connection to answer.
const ANSWER: Duration = Duration::from_secs(5);
const STATUS_EVERY: Duration = Duration::from_secs(5);
const BREAKERS_EVERY: Duration = Duration::from_secs(1);
/// Messages that may wait for a slow collector; beyond, only the stream waits.
const WAITING: usize = 64;
/// A collector that takes nothing for so long is dialled anew.
const UNREAD: Duration = Duration::from_secs(20);
/// Time between two messages that are obeyed, on average, whatever a collector sends; so many may come at once.
const PACE: Duration = Duration::from_millis(5);
const AT_ONCE: u32 = 40;

/// What the stream needs besides the agent.
pub(crate) struct Line {
    /// How to reach the collector; `None` keeps state without one.
    pub(crate) dial: Option<Dial>,
    /// What to say hello with.
    pub(crate) hello: v1::Hello,
    /// Transitions to tell.
    pub(crate) transitions: mpsc::Receiver<v1::BreakerTransition>,
    /// Largest message that is read, in bytes.
    pub(crate) most_bytes: usize,
    /// Where state is kept.
    pub(crate) state: Option<StateFile>,
    /// Ends it.
    pub(crate) closing: CancellationToken,
}

/// Runs until the agent is gone.
pub(crate) async fn run(agent: Weak<Inner>, mut line: Line) {
    let closing = line.closing.clone();
    let Some(dial) = line.dial.take() else {
        closing.cancelled().await;
        return;
    };
    let (mut pauses, mut told) = (Pauses::default(), None);
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            ended = session(&agent, &mut line, &dial) => ended,
            () = closing.cancelled() => return,
        };
        let (service, instance) = (&line.hello.service, &line.hello.instance);
        match ended {
            Ok(()) => {
                told = None;
                tracing::info!(%service, %instance, "lost the control plane; the last good policy stays in force");
            }
            Err(reason) if told.as_ref() != Some(&reason) => {
                let address = dial.uri();
                tracing::warn!(%service, %instance, %address, %reason, "no control plane; trying on, the last good policy is in force");
                told = Some(reason);
            }
            Err(_) => {}
        }
        let pause = pauses.next(began.elapsed(), rand::random());
        let waited = async {
            let Some(inner) = agent.upgrade() else { return false };
            let steering = inner.steering.clone();
            drop(inner);
            let over = tokio::time::sleep(pause);
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

/// One connection, until it ends; an error says why there was none.
async fn session(agent: &Weak<Inner>, line: &mut Line, dial: &Dial) -> Result<(), String> {
    let channel = dial.connect().await?;
    let (tx, rx) = mpsc::channel(WAITING);
    let mut seen = Seen::default();
    {
        let Some(inner) = agent.upgrade() else { return Ok(()) };
        let hello = from_agent::Message::Hello(line.hello.clone());
        for message in [Some(hello), Some(status(&inner)), breakers(&inner, &mut seen)].into_iter().flatten() {
            // The channel is new and has room for them.
            let _ = tx.try_send(v1::FromAgent { message: Some(message) });
        }
    }
    let mut client = ControlClient::new(channel).max_decoding_message_size(line.most_bytes);
    let answer = tokio::time::timeout(ANSWER, client.connect(ReceiverStream::new(rx))).await;
    let answer = answer.map_err(|_| String::from("the collector does not answer"))?;
    let answer = answer.map_err(|status| format!("the collector says {:?}: {}", status.code(), status.message()))?;
    tracing::info!(service = %line.hello.service, instance = %line.hello.instance, "connected to the control plane");
    let mut from_collector = answer.into_inner();
    let mut status_due = interval(STATUS_EVERY);
    let mut breakers_due = interval(BREAKERS_EVERY);
    let mut next = Instant::now();
    loop {
        let Some(steering) = agent.upgrade().map(|inner| inner.steering.clone()) else { return Ok(()) };
        let told = tokio::select! {
            message = async { tokio::time::sleep_until(next).await; from_collector.message().await } => match message {
                Ok(Some(message)) => {
                    let Some(inner) = agent.upgrade() else { return Ok(()) };
                    let now = Instant::now();
                    next = next.max(now.checked_sub(PACE * AT_ONCE).unwrap_or(now)) + PACE;
                    // A large policy takes a while: calls do not wait on this thread meanwhile. Told by `changed` in the
                    // next turn.
                    let _ = tokio::task::spawn_blocking(move || apply(&inner, message)).await;
                    None
                }
                Ok(None) => return Ok(()),
                Err(status) => return Err(format!("the connection broke: {}", status.message())),
            },
            () = steering.changed.notified() => {
                let Some(inner) = agent.upgrade() else { return Ok(()) };
                let mut told = vec![status(&inner)];
                told.extend(breakers(&inner, &mut seen));
                drop(inner);
                // What is kept does not wait for a collector that does not read.
                let (said, ()) = tokio::join!(say(&tx, told), save(agent, line));
                said?;
                None
            }
            Some(transition) = line.transitions.recv() => {
                let Some(inner) = agent.upgrade() else { return Ok(()) };
                Some(transitions(&inner, &mut seen, transition, &mut line.transitions))
            }
            _ = breakers_due.tick() => agent.upgrade().and_then(|inner| breakers(&inner, &mut seen)),
            _ = status_due.tick() => agent.upgrade().map(|inner| status(&inner)),
        };
        say(&tx, told.into_iter().collect()).await?;
    }
}

/// The waits between two dials: doubling up to two seconds, and from the start again after a connection that was of use. Half
/// of each is drawn, so that a restarted collector is not met by everybody at once.
struct Pauses(Duration);

impl Pauses {
    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(2);

    /// The wait after a try that took so long; `draw` is from 0 to 1.
    fn next(&mut self, took: Duration, draw: f64) -> Duration {
        // What broke at once may do so again: a collector whose words cannot be read is not dialled ten times a second.
        if took >= Self::MOST {
            self.0 = Self::FIRST;
        }
        let pause = self.0.mul_f64(0.5 + 0.5 * draw);
        self.0 = (self.0 * 2).min(Self::MOST);
        pause
    }
}

impl Default for Pauses {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

fn interval(every: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn say(tx: &mpsc::Sender<v1::FromAgent>, messages: Vec<from_agent::Message>) -> Result<(), String> {
    for message in messages {
        let sent = tokio::time::timeout(UNREAD, tx.send(v1::FromAgent { message: Some(message) })).await;
        let sent = sent.map_err(|_| format!("the collector has read nothing for {} s", UNREAD.as_secs()))?;
        sent.map_err(|_| String::from("the connection broke"))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_seconds_and_no_further() {
        let mut pauses = Pauses::default();
        let mut next = |took: u64, draw| pauses.next(Duration::from_millis(took), draw).as_millis();
        assert_eq!([0; 7].map(|took| next(took, 1.0)), [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!((next(1_999, 0.0), next(2_000, 0.0), next(0, 0.0)), (1_000, 50, 100));
    }
}
