//! Publishing.

use std::sync::Arc;

use ::lapin::types::FieldTable;
use ::lapin::{BasicProperties, Channel, Error};
use opentelemetry::KeyValue;

use super::{Address, RabbitError, confirm, publish};
use crate::call::Ended;
use crate::messaging::producer::Outgoing;
use crate::messaging::{Producer, PublishError};

/// AMQP's number for messages that are written to disk.
const PERSISTENT: u8 = 2;

/// Publishes to a queue or an exchange; see [`crate::Agent::rabbitmq_publisher`].
#[derive(Debug, Clone)]
pub struct RabbitPublisher {
    producer: Producer,
    channel: Channel,
    exchange: Arc<str>,
    key: Arc<str>,
    mandatory: bool,
}

impl RabbitPublisher {
    pub(super) async fn new(
        producer: Producer,
        channel: &Channel,
        exchange: &str,
        key: &str,
    ) -> Result<Self, RabbitError> {
        confirm(channel).await?;
        let (channel, exchange, key) = (channel.clone(), exchange.into(), key.into());
        Ok(Self { producer, channel, exchange, key, mandatory: true })
    }

    /// As [`Producer::idempotent`]: a message whose fate is unknown may be sent again, with the same `message_id`.
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

    /// Messages that no queue takes are dropped by the broker and count as sent. Without this they are errors.
    #[must_use]
    pub fn drop_unroutable(mut self) -> Self {
        self.mandatory = false;
        self
    }

    /// Where the broker is, for the spans.
    #[must_use]
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.producer = self.producer.server(host, port);
        self
    }

    /// Publishes to the queue, or to the exchange without a key. Messages are persistent and get a `message_id`, unless
    /// `properties` say otherwise.
    ///
    /// # Errors
    /// A rule refused, the broker did, or it did not confirm.
    pub async fn publish(&self, body: &[u8], properties: BasicProperties) -> Result<(), PublishError<RabbitError>> {
        self.publish_to(&self.key, body, properties).await
    }

    /// Publishes with a routing key.
    ///
    /// # Errors
    /// A rule refused, the broker did, or it did not confirm.
    pub async fn publish_to(
        &self,
        key: &str,
        body: &[u8],
        mut properties: BasicProperties,
    ) -> Result<(), PublishError<RabbitError>> {
        if properties.delivery_mode().is_none() {
            properties = properties.with_delivery_mode(PERSISTENT);
        }
        if properties.message_id().is_none() {
            properties = properties.with_message_id(format!("{:032x}", rand::random::<u128>()).into());
        }
        let id = properties.message_id().as_ref().map_or("", |id| id.as_str());
        let details = vec![
            KeyValue::new("messaging.message.id", id.to_owned()),
            KeyValue::new("messaging.rabbitmq.destination.routing_key", key.to_owned()),
            KeyValue::new("messaging.message.body.size", i64::try_from(body.len()).unwrap_or(i64::MAX)),
        ];
        let headers = properties.headers().clone().unwrap_or_default();
        let to = Address { exchange: &self.exchange, key, mandatory: self.mandatory };
        let send = |headers: FieldTable| {
            let properties = properties.clone().with_headers(headers);
            publish(&self.channel, &to, body, properties)
        };
        self.producer.publish(Outgoing { headers, details, deduplicated: false }, send, read).await
    }
}

/// How publishing ended.
fn read(got: &Result<(), RabbitError>) -> Ended {
    match got {
        Ok(()) => Ended::with("ok"),
        Err(RabbitError::NotOpen(_)) => Ended::no_connection(),
        Err(RabbitError::Broken(error)) => Ended::with(code(error)),
        // It said that it did not take it: another try can do no harm.
        Err(RabbitError::Nacked) => Ended { never_sent: true, ..Ended::with("unavailable") },
        Err(RabbitError::Unroutable { .. }) => Ended::with("not_found"),
        Err(RabbitError::Name(_)) => Ended::with("invalid_argument"),
    }
}

/// What a broker says when it closes a channel is about what was asked, not about its health.
fn code(error: &Error) -> &'static str {
    let ::lapin::ErrorKind::ProtocolError(said) = error.kind() else { return "reset" };
    match said.get_id() {
        403 => "permission_denied",
        404 => "not_found",
        405 | 406 => "failed_precondition",
        _ => "reset",
    }
}
