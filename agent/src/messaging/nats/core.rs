//! Core NATS: at most once.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use opentelemetry::KeyValue;
use tokio::time::timeout;

use super::is_connected;
use crate::call::Ended;
use crate::messaging::producer::Outgoing;
use crate::messaging::{
    BrokerError, Consumer, Failure, Handling, Incoming, Producer, PublishError, Settle, Source, Taken,
};

/// Longest wait for a message before the consumer looks whether it is to stop.
const WAIT: Duration = Duration::from_millis(250);

/// A message that core NATS did not send.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsError {
    /// It never left.
    #[error("the client is not connected: it connects again by itself")]
    NotConnected,
    /// The client refused it.
    #[error("the client refused it: {0}")]
    Refused(#[from] async_nats::PublishError),
    /// The connection broke while it was written.
    #[error("the connection broke while it was written: {0}")]
    Broken(#[from] async_nats::client::FlushError),
}

/// Publishes to a subject; see [`crate::Agent::nats_publisher`].
#[derive(Debug, Clone)]
pub struct NatsPublisher {
    producer: Producer,
    client: Client,
    subject: Arc<str>,
}

impl NatsPublisher {
    pub(super) fn new(producer: Producer, client: &Client, subject: &str) -> Self {
        Self { producer, client: client.clone(), subject: subject.into() }
    }

    /// As [`Producer::idempotent`].
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.producer = self.producer.idempotent();
        self
    }

    /// As [`Producer::with_deadline`].
    #[must_use]
    pub fn with_deadline(mut self) -> Self {
        self.producer = self.producer.with_deadline();
        self
    }

    /// Where NATS is, for the spans.
    #[must_use]
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.producer = self.producer.server(host, port);
        self
    }

    /// Publishes, and waits until it is written to the connection.
    ///
    /// # Errors
    /// A rule refused, or it could not be written.
    pub async fn publish(&self, payload: Bytes) -> Result<(), PublishError<NatsError>> {
        self.publish_to(&self.subject, HeaderMap::new(), payload).await
    }

    /// Publishes with headers to a subject below the destination (`orders.eu`), which keeps the destination's name.
    ///
    /// # Errors
    /// A rule refused, or it could not be written.
    pub async fn publish_to(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<(), PublishError<NatsError>> {
        let message = Outgoing { headers, details: Vec::new(), deduplicated: false };
        let send = |headers: HeaderMap| {
            let payload = payload.clone();
            async move {
                if !is_connected(&self.client) {
                    return Err(NatsError::NotConnected);
                }
                self.client.publish_with_headers(subject.to_owned(), headers, payload).await?;
                Ok(self.client.flush().await?)
            }
        };
        self.producer.publish(message, send, read).await
    }
}

fn read(got: &Result<(), NatsError>) -> Ended {
    match got {
        Ok(()) => Ended::with("ok"),
        Err(NatsError::NotConnected) => Ended::no_connection(),
        Err(NatsError::Refused(error)) => match error.kind() {
            async_nats::client::PublishErrorKind::Send => Ended::with("reset"),
            _ => Ended::with("invalid_argument"),
        },
        Err(NatsError::Broken(_)) => Ended::with("reset"),
    }
}

/// Processes what is published to a subject; see [`crate::Agent::nats_subscriber`].
#[derive(Debug, Clone)]
#[must_use = "a subscriber does nothing until it runs"]
pub struct NatsSubscriber {
    consumer: Consumer,
    client: Client,
    subject: Arc<str>,
    group: Option<Arc<str>>,
}

impl NatsSubscriber {
    pub(super) fn new(consumer: Consumer, client: &Client, subject: &str) -> Self {
        Self { consumer, client: client.clone(), subject: subject.into(), group: None }
    }

    /// Shares the messages with the others of this queue group.
    pub fn queue_group(mut self, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        self.consumer = self.consumer.group(name.clone());
        self.group = Some(name);
        self
    }

    /// Where NATS is, for the spans.
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.consumer = self.consumer.server(host, port);
        self
    }

    /// Processes messages for ever. One whose handler fails is gone.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn run<H, F>(self, handling: Handling, handler: H) -> Result<(), BrokerError>
    where
        H: Fn(Message) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.run_until(pending(), handling, handler).await
    }

    /// Processes messages until `stop` is ready, then waits for those under way.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn run_until<H, F>(
        self,
        stop: impl Future<Output = ()> + Send,
        handling: Handling,
        handler: H,
    ) -> Result<(), BrokerError>
    where
        H: Fn(Message) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let subject = self.subject.to_string();
        let subscriber = match &self.group {
            Some(group) => self.client.queue_subscribe(subject, group.to_string()).await?,
            None => self.client.subscribe(subject).await?,
        };
        self.consumer.run(Heard { subscriber, closed: false }, handling, stop, handler).await
    }
}

/// What a subscription hears.
struct Heard {
    subscriber: Subscriber,
    closed: bool,
}

/// The end of a message that nobody waits to hear of.
struct Gone;

impl Source for Heard {
    type Message = Message;
    type Settle = Gone;

    async fn take(&mut self, room: usize) -> Result<Vec<Taken<Message, Gone>>, BrokerError> {
        let mut all = Vec::new();
        let mut next = timeout(WAIT, self.subscriber.next()).await.ok();
        while let Some(got) = next.take() {
            let Some(message) = got else {
                self.closed = true;
                return if all.is_empty() { Err("the client is closed".into()) } else { Ok(all) };
            };
            let incoming = message.headers.as_ref().map_or_else(Incoming::default, Incoming::from_headers);
            let subject = KeyValue::new("messaging.nats.subject", message.subject.to_string());
            all.push(Taken { incoming: incoming.detail(subject).delivery(1), message, settle: Gone });
            if all.len() < room {
                next = self.subscriber.next().now_or_never();
            }
        }
        Ok(all)
    }

    fn is_gone(&self) -> bool {
        self.closed
    }
}

impl Settle for Gone {
    const ONCE: bool = true;

    async fn ack(self) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn retry(self, _: Duration) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn dead(self, _: &str) -> Result<(), BrokerError> {
        Ok(())
    }

    async fn requeue(self) -> Result<(), BrokerError> {
        Ok(())
    }
}
