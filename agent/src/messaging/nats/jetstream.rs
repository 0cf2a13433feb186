//! JetStream: at least once.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::{PullConsumer, pull::Batch};
use async_nats::jetstream::context::{PublishError as Error, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{AckKind, Context, Message};
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
/// How long a request for messages stands.
const EXPIRES: Duration = Duration::from_secs(2);
/// Headers of a dead letter.
const REASON: &str = "x-fuseboard-dead-reason";
const SUBJECT: &str = "x-fuseboard-dead-subject";

/// Publishes to a subject of a stream; see [`crate::Agent::jetstream_publisher`].
#[derive(Debug, Clone)]
pub struct JetStreamPublisher {
    producer: Producer,
    context: Context,
    subject: Arc<str>,
}

impl JetStreamPublisher {
    pub(super) fn new(producer: Producer, context: &Context, subject: &str) -> Self {
        Self { producer, context: context.clone(), subject: subject.into() }
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

    /// Publishes; answers with the stream's word that it has it.
    ///
    /// # Errors
    /// A rule refused, no stream takes it, or none answered.
    pub async fn publish(&self, payload: Bytes) -> Result<PublishAck, PublishError<Error>> {
        self.publish_to(&self.subject, HeaderMap::new(), payload).await
    }

    /// Publishes with headers to a subject below the destination (`orders.eu`), which keeps the destination's name. Without a
    /// `Nats-Msg-Id` it gets one, the same for all attempts.
    ///
    /// # Errors
    /// A rule refused, no stream takes it, or none answered.
    pub async fn publish_to(
        &self,
        subject: &str,
        mut headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAck, PublishError<Error>> {
        if headers.get(NATS_MESSAGE_ID).is_none() {
            headers.insert(NATS_MESSAGE_ID, format!("{:032x}", rand::random::<u128>()));
        }
        let id = headers.get(NATS_MESSAGE_ID).map_or("", |id| id.as_str());
        let details = vec![KeyValue::new("messaging.message.id", id.to_owned())];
        let send = |headers: HeaderMap| {
            let payload = payload.clone();
            async move {
                if !is_connected(&self.context.client()) {
                    // The client would keep it until it is connected again, and nobody would know.
                    return Err(Error::with_source(PublishErrorKind::BrokenPipe, NotConnected));
                }
                self.context.publish_with_headers(subject.to_owned(), headers, payload).await?.await
            }
        };
        self.producer.publish(Outgoing { headers, details, deduplicated: true }, send, read).await
    }
}

/// A message never left.
#[derive(Debug, thiserror::Error)]
#[error("the client is not connected: it connects again by itself")]
struct NotConnected;

fn read(got: &Result<PublishAck, Error>) -> Ended {
    let Err(error) = got else { return Ended::with("ok") };
    let source = std::error::Error::source(error);
    match error.kind() {
        PublishErrorKind::BrokenPipe if source.is_some_and(|source| source.is::<NotConnected>()) => {
            Ended::no_connection()
        }
        PublishErrorKind::BrokenPipe => Ended::with("reset"),
        PublishErrorKind::TimedOut => Ended::timed_out(),
        PublishErrorKind::StreamNotFound => Ended::with("not_found"),
        PublishErrorKind::WrongLastMessageId | PublishErrorKind::WrongLastSequence => {
            Ended::with("failed_precondition")
        }
        PublishErrorKind::MaxAckPending => Ended::with("resource_exhausted"),
        PublishErrorKind::MaxPayloadExceeded => Ended::with("invalid_argument"),
        _ => Ended::with("unavailable"),
    }
}

/// Processes the messages of a pull consumer; see [`crate::Agent::jetstream_consumer`].
#[derive(Debug, Clone)]
#[must_use = "a consumer does nothing until it runs"]
pub struct JetStreamConsumer {
    consumer: Consumer,
    pull: PullConsumer,
    dead: Option<Arc<str>>,
}

impl JetStreamConsumer {
    pub(super) fn new(consumer: Consumer, pull: PullConsumer) -> Self {
        let name: Arc<str> = pull.cached_info().name.as_str().into();
        Self { consumer: consumer.group(name), pull, dead: None }
    }

    /// The subject to which dead letters are published; a stream must take it. Without one they only stay in the stream they are
    /// in, if its retention keeps them.
    pub fn dead_letters(mut self, subject: impl Into<Arc<str>>) -> Self {
        self.dead = Some(subject.into());
        self
    }

    /// Where NATS is, for the spans.
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.consumer = self.consumer.server(host, port);
        self
    }

    /// Processes messages for ever.
    ///
    /// # Errors
    /// None: the server is asked again for as long as it does not answer.
    pub async fn run<H, F>(self, handling: Handling, handler: H) -> Result<(), BrokerError>
    where
        H: Fn(Arc<Message>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.run_until(pending(), handling, handler).await
    }

    /// Processes messages until `stop` is ready, then waits for those under way.
    ///
    /// # Errors
    /// None: the server is asked again for as long as it does not answer.
    pub async fn run_until<H, F>(
        self,
        stop: impl Future<Output = ()> + Send,
        handling: Handling,
        handler: H,
    ) -> Result<(), BrokerError>
    where
        H: Fn(Arc<Message>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let Self { consumer, pull, dead } = self;
        let wait = pull.cached_info().config.ack_wait;
        let pulled = Pulled { pull, batch: None, way: Arc::new(Way { dead, wait }), depth: None };
        consumer.run(pulled, handling, stop, handler).await
    }
}

/// What all messages of a consumer have in common.
#[derive(Debug)]
struct Way {
    dead: Option<Arc<str>>,
    /// How long the server waits for a word.
    wait: Duration,
}

/// Messages that were asked for. Never more are under way than there was room for.
struct Pulled {
    pull: PullConsumer,
    batch: Option<Batch>,
    way: Arc<Way>,
    depth: Option<u64>,
}

/// The end of a message.
struct Unacked {
    message: Arc<Message>,
    way: Arc<Way>,
}

impl Pulled {
    fn read(&mut self, message: Message) -> Taken<Arc<Message>, Unacked> {
        let mut incoming = message.headers.as_ref().map_or_else(Incoming::default, Incoming::from_headers);
        if let Ok(info) = message.info() {
            incoming = incoming
                .delivery(u32::try_from(info.delivered).unwrap_or(1))
                .sent(SystemTime::from(info.published))
                .detail(KeyValue::new("messaging.nats.stream_sequence", whole(info.stream_sequence)));
            self.depth = Some(info.pending);
        }
        if let Some(id) = message.headers.as_ref().and_then(|headers| headers.get(NATS_MESSAGE_ID)) {
            incoming = incoming.detail(KeyValue::new("messaging.message.id", id.as_str().to_owned()));
        }
        let message = Arc::new(message);
        Taken { incoming, message: message.clone(), settle: Unacked { message, way: self.way.clone() } }
    }
}

impl Source for Pulled {
    type Message = Arc<Message>;
    type Settle = Unacked;

    async fn take(&mut self, room: usize) -> Result<Vec<Taken<Arc<Message>, Unacked>>, BrokerError> {
        let mut batch = match self.batch.take() {
            Some(batch) => batch,
            None => self.pull.batch().max_messages(room).expires(EXPIRES).messages().await?,
        };
        let mut all = Vec::new();
        let mut next = timeout(WAIT, batch.next()).await;
        while let Ok(got) = next {
            match got {
                Some(Ok(message)) => all.push(self.read(message)),
                Some(Err(error)) if all.is_empty() => return Err(error),
                // It stands no longer.
                Some(Err(_)) => return Ok(all),
                None => {
                    if all.is_empty() {
                        self.depth = self.depth.map(|_| 0);
                    }
                    return Ok(all);
                }
            }
            match batch.next().now_or_never() {
                Some(more) => next = Ok(more),
                None => break,
            }
        }
        self.batch = Some(batch);
        Ok(all)
    }

    async fn depth(&mut self) -> Option<u64> {
        self.depth
    }

    async fn close(&mut self) {
        let Some(mut batch) = self.batch.take() else { return };
        while let Some(Some(Ok(message))) = batch.next().now_or_never() {
            // What goes wrong here the server finds out by itself.
            let _ = message.ack_with(AckKind::Nak(None)).await;
        }
    }
}

impl Settle for Unacked {
    async fn ack(self) -> Result<(), BrokerError> {
        self.message.ack().await
    }

    async fn retry(self, after: Duration) -> Result<(), BrokerError> {
        self.message.ack_with(AckKind::Nak(Some(after))).await
    }

    async fn dead(self, why: &str) -> Result<(), BrokerError> {
        if let Some(subject) = &self.way.dead {
            let mut headers = self.message.headers.clone().unwrap_or_default();
            // A header has one line.
            headers.insert(REASON, why.replace(['\r', '\n'], " "));
            headers.insert(SUBJECT, self.message.subject.as_str());
            if let Ok(info) = self.message.info() {
                // Told twice, it is there once.
                let id = format!("dead-{}-{}-{}", info.stream, info.consumer, info.stream_sequence);
                headers.insert(NATS_MESSAGE_ID, id);
            }
            let payload = self.message.payload.clone();
            self.message.context.publish_with_headers(subject.to_string(), headers, payload).await?.await?;
        }
        self.message.ack_with(AckKind::Term).await
    }

    async fn requeue(self) -> Result<(), BrokerError> {
        self.message.ack_with(AckKind::Nak(None)).await
    }

    fn beat(&self) -> Option<Duration> {
        Some(self.way.wait / 3).filter(|beat| !beat.is_zero())
    }

    async fn alive(&self) {
        // If this fails, somebody else may process it too: at least once.
        let _ = self.message.ack_with(AckKind::Progress).await;
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
