//! Sending: a call on the edge to the destination.

use std::future::Future;
use std::sync::Arc;

use opentelemetry::KeyValue;

use super::failure::PublishError;
use super::{PUBLISH, Place, carry};
use crate::agent::Inner;
use crate::call::{Ended, LiveAttempt, LiveCall, NoPlace, Protocol, Read, Target, Transport, drive};
use crate::propagation::Headers;

/// The sending side of a destination; see [`crate::Agent::producer`], and the modules of the brokers for theirs.
///
/// **Names.** In policies and in the graph a destination is called by `messaging.destination.name`: the queue, stream,
/// subject or topic; for RabbitMQ the exchange, or the queue where that is the default exchange. Use few names: a key or a
/// user's id belongs into the message.
#[derive(Clone)]
pub struct Producer {
    agent: Arc<Inner>,
    place: Place,
    idempotent: bool,
    with_deadline: bool,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Producer {
    pub(crate) fn new(agent: &Arc<Inner>, place: Place) -> Self {
        Self { agent: agent.clone(), place, idempotent: false, with_deadline: false }
    }

    /// Says that a message may arrive twice, so that a publish whose outcome is unknown may be tried again: consumers
    /// drop duplicates, or do not mind them.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sends the current deadline along. Consumers that obey it ([`super::Handling::obey_deadline`]) do not start on
    /// messages that nobody waits for any more. Off by default: a message usually outlives the request that sent it.
    #[must_use]
    pub fn with_deadline(mut self) -> Self {
        self.with_deadline = true;
        self
    }

    /// Where the broker is, for the spans.
    #[must_use]
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.place.server(host, port);
        self
    }

    /// The destination, as policies name it.
    #[must_use]
    pub fn destination(&self) -> &str {
        &self.place.destination
    }

    /// Sends a message, as often as the policy allows: `headers` are given what travels along, then `send` runs with them.
    /// An `Err` counts as `unavailable`; [`Producer::send_with`] tells them apart.
    ///
    /// # Errors
    /// A rule refused, or the last attempt failed.
    pub async fn send<H, F, T, E>(&self, headers: H, send: impl Fn(H) -> F + Sync) -> Result<T, PublishError<E>>
    where
        H: Headers + Clone + Send + Sync,
        F: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: Send,
    {
        self.send_with(headers, send, |_| "unavailable").await
    }

    /// Sends a message; `code` says what an error means, in the words of the policy: a gRPC status in lower case, `reset`, or
    /// `connect` for a message that certainly never left.
    ///
    /// # Errors
    /// A rule refused, or the last attempt failed.
    pub async fn send_with<H, F, T, E>(
        &self,
        headers: H,
        send: impl Fn(H) -> F + Sync,
        code: impl Fn(&E) -> &'static str + Sync,
    ) -> Result<T, PublishError<E>>
    where
        H: Headers + Clone + Send + Sync,
        F: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: Send,
    {
        let message = Outgoing { headers, details: Vec::new(), deduplicated: false };
        let read = |got: &Result<T, E>| match got {
            Ok(_) => Ended::with("ok"),
            Err(error) => ended(code(error)),
        };
        self.publish(message, send, read).await
    }

    /// Sends a message; `read` says how an attempt ended.
    pub(super) async fn publish<H, F, T, E>(
        &self,
        message: Outgoing<H>,
        send: impl Fn(H) -> F + Sync,
        read: impl Fn(&Result<T, E>) -> Ended + Sync,
    ) -> Result<T, PublishError<E>>
    where
        H: Headers + Clone + Send + Sync,
        F: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: Send,
    {
        let Outgoing { mut headers, details, deduplicated } = message;
        let call = LiveCall::begin(&self.agent, self.target(details, deduplicated));
        carry::write(&call.span_context(), self.with_deadline, &mut headers);
        drive(&Sending { headers, send, read }, call, b"").await
    }

    fn target(&self, mut details: Vec<KeyValue>, deduplicated: bool) -> Target {
        details.extend(self.place.details.iter().cloned());
        Target {
            protocol: Protocol::Messaging,
            service: self.place.destination.clone(),
            operation: PUBLISH.into(),
            idempotent: self.idempotent || deduplicated,
            limit: None,
            replayable: true,
            members: None,
            attributes: self.place.labels(PUBLISH, "send"),
            details,
        }
    }
}

/// A message to be sent.
pub(super) struct Outgoing<H> {
    /// Without what is to travel along.
    pub(super) headers: H,
    /// For its spans.
    pub(super) details: Vec<KeyValue>,
    /// Whether the broker drops it when it comes twice.
    pub(super) deduplicated: bool,
}

/// One message on its way.
struct Sending<H, S, R> {
    headers: H,
    send: S,
    read: R,
}

impl<H, F, T, E, S, R> Transport for Sending<H, S, R>
where
    H: Clone + Send + Sync,
    S: Fn(H) -> F + Sync,
    F: Future<Output = Result<T, E>> + Send,
    T: Send,
    E: Send,
    R: Fn(&Result<T, E>) -> Ended + Sync,
{
    type Request = H;
    type Got = Result<T, E>;
    type Answer = T;
    type Error = PublishError<E>;

    async fn request(&self, _: &mut LiveAttempt) -> Result<H, NoPlace> {
        Ok(self.headers.clone())
    }

    async fn send(&self, headers: H) -> Result<T, E> {
        (self.send)(headers).await
    }

    fn read(&self, _: &LiveAttempt, got: Result<T, E>) -> Read<T, PublishError<E>> {
        Read::Ended((self.read)(&got), got.map_err(PublishError::Failed))
    }

    fn late(&self) -> PublishError<E> {
        PublishError::TimedOut
    }
}

/// The end of an attempt with this code.
pub(super) fn ended(code: &'static str) -> Ended {
    if code == "connect" { Ended::no_connection() } else { Ended::with(code) }
}
