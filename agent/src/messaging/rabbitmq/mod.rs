//! RabbitMQ, over a channel of the application's own.
//!
//! ```no_run
//! # async fn run(agent: fuseboard_agent::Agent) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use fuseboard_agent::messaging::{Failure, Handling};
//! use lapin::{BasicProperties, Connection, ConnectionProperties};
//!
//! // Recovers by itself, for ever; for that lapin needs a runtime of several threads.
//! let properties = ConnectionProperties::default().configure_backoff(|b| b.without_max_times()).enable_auto_recover();
//! let channel = Connection::connect("amqp://127.0.0.1:5672/%2f", properties).await?.create_channel().await?;
//!
//! let orders = agent.rabbitmq_publisher(&channel, "orders").await?;
//! orders.publish(b"order 17", BasicProperties::default()).await?;
//!
//! let mailer = agent.rabbitmq_consumer(&channel, "orders");
//! mailer.run(Handling::default(), |message| async move { send_mail(&message.data).await }).await?;
//! # Ok(())
//! # }
//! # async fn send_mail(_: &[u8]) -> Result<(), fuseboard_agent::messaging::Failure> { Ok(()) }
//! ```
//!
//! | step | what happens | a message is |
//! |---|---|---|
//! | publish | persistent and mandatory; ends with the broker's confirm | taken at most once; at least once with [`RabbitPublisher::idempotent`] |
//! | take | a prefetch of [`Handling::concurrency`](super::Handling::concurrency), unacknowledged | handed out at least once |
//! | handler answers `Ok` | `basic.ack` | done |
//! | it answers `Err` | confirmed publish to `QUEUE.retry.MS`, whose messages go back to `QUEUE` after the pause; `basic.ack` | handed out again |
//! | too often, or rejected | confirmed publish to `QUEUE.dead`; `basic.ack` | a dead letter, at least once |
//! | handling is dropped | `basic.nack`, requeued | handed out again |
//! | the consumer dies | the broker requeues | handed out again, at the end of the queue |
//!
//! Queues for retries and dead letters are durable and made when first needed; those for retries go again when they were not
//! used for a while. Pauses are rounded up to one digit (1, 2, 3, 4, 5, 6 or 8 times a power of ten milliseconds), so that
//! there are few such queues.
//!
//! A classic queue does not count how often it hands a message out. The headers do: a message that was handed out before to a
//! consumer that died is first put back with its count, so that one that kills its consumers ends as a dead letter too.

mod consumer;
mod publisher;

use std::collections::BTreeMap;

use ::lapin::options::ConfirmSelectOptions;
use ::lapin::types::{AMQPValue, FieldTable, ShortString};
use ::lapin::{BasicProperties, Channel, Confirmation, ErrorKind};

pub use self::consumer::RabbitConsumer;
pub use self::publisher::RabbitPublisher;
use super::{Place, Producer};
use crate::Agent;
use crate::propagation::Headers;

/// `messaging.system`.
const SYSTEM: &str = "rabbitmq";
/// Message header: how often it was handed out already.
const DELIVERIES: &str = "x-fuseboard-deliveries";

impl Agent {
    /// Publishes to a queue, through the default exchange; see [`crate::messaging::rabbitmq`].
    ///
    /// # Errors
    /// The channel cannot be put into confirm mode.
    pub async fn rabbitmq_publisher(&self, channel: &Channel, queue: &str) -> Result<RabbitPublisher, RabbitError> {
        RabbitPublisher::new(Producer::new(&self.inner, Place::new(SYSTEM, queue)), channel, "", queue).await
    }

    /// Publishes to an exchange; see [`crate::messaging::rabbitmq`].
    ///
    /// # Errors
    /// The channel cannot be put into confirm mode.
    pub async fn rabbitmq_exchange(&self, channel: &Channel, exchange: &str) -> Result<RabbitPublisher, RabbitError> {
        RabbitPublisher::new(Producer::new(&self.inner, Place::new(SYSTEM, exchange)), channel, exchange, "").await
    }

    /// Processes the messages of a queue; see [`crate::messaging::rabbitmq`].
    pub fn rabbitmq_consumer(&self, channel: &Channel, queue: &str) -> RabbitConsumer {
        RabbitConsumer::new(&self.inner, channel, queue)
    }
}

/// A message that RabbitMQ did not take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RabbitError {
    /// It never left: the channel is not open.
    #[error("the channel is not open: {0}; let the connection recover (enable_auto_recover), or give another channel")]
    NotOpen(::lapin::Error),
    /// The connection or the channel broke before the broker confirmed: it may have been taken.
    #[error("nobody knows whether the broker took it: {0}")]
    Broken(::lapin::Error),
    /// The broker could not take it.
    #[error("the broker could not take it (nack): look at its log")]
    Nacked,
    /// No queue is bound to where it went.
    #[error("no queue takes what is sent to exchange `{exchange}` with key `{key}`: bind one")]
    Unroutable {
        /// Where it was sent.
        exchange: String,
        /// With which key.
        key: String,
    },
    /// A name of more than 255 bytes.
    #[error("`{0}` is too long for a name: 255 bytes at most")]
    Name(String),
}

/// Where a message goes.
struct Address<'a> {
    exchange: &'a str,
    key: &'a str,
    /// Whether it must reach a queue.
    mandatory: bool,
}

/// Publishes a message and waits for the broker's word.
async fn publish(channel: &Channel, to: &Address<'_>, body: &[u8], about: BasicProperties) -> Result<(), RabbitError> {
    let options = ::lapin::options::BasicPublishOptions { mandatory: to.mandatory, immediate: false };
    let (exchange, key) = (name(to.exchange)?, name(to.key)?);
    let sent = channel.basic_publish(exchange, key, options, body, about).await.map_err(broken)?;
    match sent.await.map_err(RabbitError::Broken)? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => {
            Err(RabbitError::Unroutable { exchange: to.exchange.to_owned(), key: to.key.to_owned() })
        }
        // Without confirms nobody would ever say so.
        Confirmation::Nack(_) | Confirmation::NotRequested => Err(RabbitError::Nacked),
    }
}

/// From now on the broker says what it took.
async fn confirm(channel: &Channel) -> Result<(), RabbitError> {
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(broken)
}

fn broken(error: ::lapin::Error) -> RabbitError {
    match error.kind() {
        ErrorKind::InvalidChannel(_) | ErrorKind::InvalidChannelState(..) | ErrorKind::InvalidConnectionState(_) => {
            RabbitError::NotOpen(error)
        }
        _ => RabbitError::Broken(error),
    }
}

fn name(text: &str) -> Result<ShortString, RabbitError> {
    ShortString::try_new(text).map_err(|_| RabbitError::Name(text.to_owned()))
}

/// A message's headers.
impl Headers for FieldTable {
    fn get_header(&self, name: &str) -> Option<&str> {
        match self.inner().get(name)? {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
            AMQPValue::ShortString(text) => Some(text.as_str()),
            _ => None,
        }
    }

    fn set_header(&mut self, name: &'static str, value: String) {
        self.insert(ShortString::from(name), AMQPValue::LongString(value.into()));
    }
}

/// Arguments of a queue.
fn arguments<const N: usize>(all: [(&'static str, AMQPValue); N]) -> FieldTable {
    FieldTable::from(all.into_iter().map(|(name, value)| (name.into(), value)).collect::<BTreeMap<_, _>>())
}
