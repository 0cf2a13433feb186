//! One agent's stream: its words in, the desired state out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuseboard_api::UnixNanos;
use fuseboard_policy::wire::v1::{self, FromAgent, ToAgent, from_agent, to_agent};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::note::{ChangeId, Note, SessionEnd};
use super::{Fleet, Member};
use crate::control::desired::{Desired, Given};
use crate::control::policy;
use crate::identity::Caller;

/// The greeting must come within this time.
const GREETING: Duration = Duration::from_secs(10);
/// An agent speaks every 5 s; silent for so long, it counts as lost.
const SILENCE: Duration = Duration::from_secs(20);
/// No name may have more bytes.
const MAX_NAME: usize = 512;
/// One report may tell of so many breakers or transitions.
const MAX_REPORTED: usize = 2_000;

type Out = mpsc::Sender<Result<ToAgent, Status>>;

/// Serves one stream from greeting to end.
pub(super) async fn run(fleet: Arc<Fleet>, caller: Caller, mut inbound: Streaming<FromAgent>, out: Out) {
    let hello = tokio::select! {
        () = fleet.stop.cancelled() => return,
        hello = tokio::time::timeout(GREETING, greeting(&mut inbound)) => hello,
    };
    let entered = match hello {
        Ok(Ok(hello)) if !caller.speaks_for(&hello.service) => Err(stranger(&caller, &hello)),
        Ok(Ok(hello)) => {
            fleet.enter(&hello.service, &hello.instance).map(|(session, replaced)| (hello, session, replaced))
        }
        Ok(Err(status)) => Err(status),
        Err(_) => Err(Status::deadline_exceeded("no hello came within 10 s")),
    };
    let (hello, number, replaced) = match entered {
        Ok(entered) => entered,
        Err(status) => {
            // When nobody reads any more there is nobody to tell.
            let _ = out.send(Err(status)).await;
            return;
        }
    };
    let member = Member { session: number, replaced };
    let mut session = Session {
        desired: fleet.desired.clone(),
        hello,
        number,
        since: Instant::now(),
        sent_policy: None,
        sent_generation: None,
        told: BTreeSet::new(),
        told_reverted: 0,
        fleet,
    };
    let (how, detail) = session.serve(&mut inbound, &out, &member).await;
    session.fleet.leave(&session.hello.service, &session.hello.instance, number);
    if how == SessionEnd::Replaced {
        let _ = out.try_send(Err(Status::aborted("the same instance has opened a newer stream")));
    }
    let v1::Hello { service, instance, .. } = session.hello.clone();
    session.note(Note::Ended { session: number, service, instance, how, detail }).await;
}

/// An agent that says it is of another's service.
fn stranger(caller: &Caller, hello: &v1::Hello) -> Status {
    let said = format!(
        "{} may not speak for the service {:?}: its token or certificate names others",
        caller.name(),
        hello.service
    );
    tracing::warn!("{said}; instance {:?}", hello.instance);
    Status::permission_denied(said)
}

async fn greeting(inbound: &mut Streaming<FromAgent>) -> Result<v1::Hello, Status> {
    let first = inbound.message().await?;
    let Some(from_agent::Message::Hello(hello)) = first.and_then(|m| m.message) else {
        return Err(Status::invalid_argument("the first message of a stream is hello"));
    };
    for (what, name) in [("service", &hello.service), ("instance", &hello.instance)] {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Status::invalid_argument(format!("{what} of hello must have 1 to {MAX_NAME} bytes")));
        }
    }
    if hello.version.len() > MAX_NAME || hello.agent_version.len() > MAX_NAME {
        return Err(Status::invalid_argument(format!("a version of hello has more than {MAX_NAME} bytes")));
    }
    Ok(hello)
}

struct Session {
    fleet: Arc<Fleet>,
    desired: watch::Receiver<Arc<Desired>>,
    hello: v1::Hello,
    number: i64,
    since: Instant,
    /// The revision that was sent last, and until when it was to be confirmed.
    sent_policy: Option<(u64, Option<UnixNanos>)>,
    sent_generation: Option<u64>,
    /// Changes that this agent has acknowledged or refused on this stream.
    told: BTreeSet<(ChangeId, bool)>,
    /// The revision from which this agent went back by itself, as noted last.
    told_reverted: u64,
}

impl Session {
    async fn serve(&mut self, inbound: &mut Streaming<FromAgent>, out: &Out, member: &Member) -> (SessionEnd, String) {
        self.note(Note::Connected { session: self.number, hello: self.hello.clone() }).await;
        let mut heard = tokio::time::Instant::now();
        loop {
            tokio::select! {
                biased;
                () = member.replaced.cancelled() => {
                    return (SessionEnd::Replaced, "the same instance opened a newer stream".into());
                }
                () = self.fleet.stop.cancelled() => return (SessionEnd::Stopped, "the collector was stopped".into()),
                permit = out.reserve(), if self.owes() => match permit {
                    Ok(permit) => {
                        if let Some(message) = self.next_message() {
                            permit.send(Ok(message));
                        }
                    }
                    Err(_) => return (SessionEnd::Lost, "the stream broke".into()),
                },
                changed = self.desired.changed(), if !self.owes() => {
                    if changed.is_err() {
                        return (SessionEnd::Stopped, "the collector was stopped".into());
                    }
                }
                message = inbound.message() => match message {
                    Ok(Some(message)) => {
                        heard = tokio::time::Instant::now();
                        self.hear(message).await;
                    }
                    Ok(None) => return (SessionEnd::Closed, "the agent ended the stream".into()),
                    Err(status) => return (SessionEnd::Lost, format!("the stream broke: {}", status.message())),
                },
                () = tokio::time::sleep_until(heard + SILENCE) => {
                    return (SessionEnd::Lost, format!("nothing was heard for {} s", SILENCE.as_secs()));
                }
            }
        }
    }

    /// Whether the agent lacks something.
    fn owes(&self) -> bool {
        let desired = self.desired.borrow();
        self.lacks(desired.given(&self.hello.service, &self.hello.instance))
            || self.sent_generation != Some(desired.generation)
    }

    /// Whether a revision, or that it is confirmed, was not sent yet.
    fn lacks(&self, given: &Given) -> bool {
        given.policy.is_some() && self.sent_policy != Some((given.revision, given.confirm_by))
    }

    /// What the agent lacks most: the policy first, since overrides beat it.
    fn next_message(&mut self) -> Option<ToAgent> {
        let desired = self.desired.borrow_and_update().clone();
        let given = desired.given(&self.hello.service, &self.hello.instance);
        if let Some(policy) = given.policy.as_ref().filter(|_| self.lacks(given)) {
            self.sent_policy = Some((given.revision, given.confirm_by));
            let left = given.confirm_by.map(|by| by.since(UnixNanos::now()).as_millis());
            // 0 would say that there is nothing to confirm.
            let confirm_within_ms = left.map_or(0, |ms| u64::try_from(ms).unwrap_or(u64::MAX).max(1));
            let policy = v1::Policy { confirm_within_ms, ..policy.as_ref().clone() };
            return Some(ToAgent { message: Some(to_agent::Message::Policy(policy)) });
        }
        if self.sent_generation == Some(desired.generation) {
            return None;
        }
        self.sent_generation = Some(desired.generation);
        let now = UnixNanos::now();
        let mine = desired.overrides_for(&self.hello.service, &self.hello.instance);
        let overrides = v1::Overrides {
            generation: desired.generation,
            overrides: mine.map(|(o, _)| policy::wire_override(o, now)).filter(|o| o.remaining_ms > 0).collect(),
        };
        Some(ToAgent { message: Some(to_agent::Message::Overrides(overrides)) })
    }

    async fn hear(&mut self, message: FromAgent) {
        match message.message {
            Some(from_agent::Message::Status(status)) => {
                for note in self.acknowledgements(&status) {
                    self.note(note).await;
                }
                let reverted = status.reverted_from;
                self.note(Note::Status { session: self.number, status }).await;
                if reverted != 0 && self.told_reverted != reverted {
                    self.told_reverted = reverted;
                    let v1::Hello { service, instance, .. } = self.hello.clone();
                    self.note(Note::Reverted { service, instance, revision: reverted }).await;
                }
            }
            Some(from_agent::Message::Breakers(mut report)) => {
                report.breakers.truncate(MAX_REPORTED);
                report.transitions.truncate(MAX_REPORTED);
                let v1::Hello { service, instance, .. } = self.hello.clone();
                self.note(Note::Breakers { service, instance, report }).await;
            }
            // A second greeting changes nothing; a message of a newer agent that is not known here is passed over.
            Some(from_agent::Message::Hello(_)) | None => {}
        }
    }

    /// What this status says of the changes published now, once each.
    fn acknowledgements(&mut self, status: &v1::Status) -> Vec<Note> {
        let desired = self.desired.borrow().clone();
        let mut said = Vec::new();
        let given = desired.given(&self.hello.service, &self.hello.instance);
        if given.policy.is_some() {
            let id = ChangeId::Revision(given.revision);
            if status.running == given.revision {
                said.push((id, given.since, None));
            } else if let Some(failed) = status.last_failed.as_ref().filter(|f| f.revision == given.revision) {
                said.push((id, given.since, Some(failed.reason.clone())));
            }
        }
        for (stored, since) in desired.overrides_for(&self.hello.service, &self.hello.instance) {
            let id = ChangeId::Override { id: stored.id, generation: stored.generation };
            if status.overrides_generation < stored.generation {
                // It speaks of what it had before this one was set or renewed.
            } else if status.overrides.contains(&stored.id) {
                said.push((id, *since, None));
            } else if let Some(refused) = status.refused_overrides.iter().find(|r| r.id == stored.id) {
                said.push((id, *since, Some(refused.reason.clone())));
            }
        }
        // Only what is published now can be said again, so nothing else needs to be remembered.
        self.told.retain(|(told, _)| said.iter().any(|(id, ..)| id == told));
        let now = Instant::now();
        said.into_iter()
            .filter(|(id, _, refused)| self.told.insert((*id, refused.is_some())))
            .map(|(change, published, refused)| Note::Acknowledged {
                change,
                service: self.hello.service.clone(),
                instance: self.hello.instance.clone(),
                latency_ms: now.duration_since(published.max(self.since)).as_secs_f64() * 1000.0,
                refused: refused.map(|r| r.chars().take(MAX_NAME).collect()),
            })
            .collect()
    }

    /// Waits while the store is behind: the agent's own buffers hold what it says next.
    async fn note(&self, note: Note) {
        if self.fleet.notes.send(note).await.is_err() {
            tracing::debug!("the recorder has stopped before the stream of {}", self.hello.instance);
        }
    }
}
