//! Consuming, and what becomes of messages.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use ::lapin::message::Delivery;
use ::lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
    QueueDeclareOptions,
};
use ::lapin::types::{AMQPValue, FieldTable};
use ::lapin::{BasicProperties, Channel};
use futures_util::{FutureExt as _, StreamExt as _};
use opentelemetry::KeyValue;
use tokio::time::timeout;

use super::{Address, DELIVERIES, SYSTEM, arguments, confirm, name, publish};
use crate::agent::Inner;
use crate::messaging::{BrokerError, Consumer, Failure, Handling, Incoming, Place, Settle, Source, Taken};
use crate::propagation::Headers as _;

/// Longest wait for a message before the consumer looks whether it is to stop.
const WAIT: Duration = Duration::from_millis(250);
/// A quorum queue counts itself.
const COUNTED: &str = "x-delivery-count";
/// Where a message was sent first; on its way through a queue for retries it forgets.
const EXCHANGE: &str = "x-fuseboard-exchange";
const KEY: &str = "x-fuseboard-routing-key";
const REASON: &str = "x-fuseboard-dead-reason";
/// A queue for retries is kept for this long beyond its pause when nobody uses it.
const UNUSED_MS: u64 = 600_000;

/// Processes the messages of a queue; see [`crate::Agent::rabbitmq_consumer`].
#[derive(Debug, Clone)]
#[must_use = "a consumer does nothing until it runs"]
pub struct RabbitConsumer {
    consumer: Consumer,
    channel: Channel,
    queue: Arc<str>,
    dead: Dead,
}

/// What becomes of dead letters.
#[derive(Debug, Clone)]
enum Dead {
    /// This queue gets them.
    Queue(Arc<str>),
    /// The queue's own dead-letter exchange, if it has one.
    Rejected,
}

impl RabbitConsumer {
    pub(super) fn new(agent: &Arc<Inner>, channel: &Channel, queue: &str) -> Self {
        let consumer = Consumer::new(agent, Place::new(SYSTEM, queue));
        let dead = Dead::Queue(format!("{queue}.dead").into());
        Self { consumer, channel: channel.clone(), queue: queue.into(), dead }
    }

    /// The exchange from which the queue gets its messages: it is the destination then, as for those who publish to it, and
    /// the queue is its subscription.
    pub fn of_exchange(mut self, exchange: &str) -> Self {
        let queue = KeyValue::new("messaging.destination.subscription.name", self.queue.to_string());
        self.consumer.place.destination = exchange.into();
        self.consumer.place.details.push(queue);
        self
    }

    /// The queue of dead letters, `QUEUE.dead` without this.
    pub fn dead_letters(mut self, queue: &str) -> Self {
        self.dead = Dead::Queue(queue.into());
        self
    }

    /// Leaves dead letters to the queue's own dead-letter exchange (`basic.reject`). Without one the broker drops them.
    pub fn reject_dead_letters(mut self) -> Self {
        self.dead = Dead::Rejected;
        self
    }

    /// Where the broker is, for the spans.
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.consumer = self.consumer.server(host, port);
        self
    }

    /// Processes messages for ever.
    ///
    /// # Errors
    /// The channel is gone and does not recover, or the queue is.
    pub async fn run<H, F>(self, handling: Handling, handler: H) -> Result<(), BrokerError>
    where
        H: Fn(Arc<Delivery>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.run_until(pending(), handling, handler).await
    }

    /// Processes messages until `stop` is ready, then waits for those under way.
    ///
    /// # Errors
    /// The channel is gone and does not recover, or the queue is.
    pub async fn run_until<H, F>(
        self,
        stop: impl Future<Output = ()> + Send,
        handling: Handling,
        handler: H,
    ) -> Result<(), BrokerError>
    where
        H: Fn(Arc<Delivery>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let Self { consumer, channel, queue, dead } = self;
        confirm(&channel).await?;
        let prefetch = u16::try_from(handling.concurrency).unwrap_or(u16::MAX);
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let (tag, options) = (format!("{queue}-{:016x}", rand::random::<u64>()), BasicConsumeOptions::default());
        let stream = channel.basic_consume(name(&queue)?, name(&tag)?, options, FieldTable::default()).await?;
        let way = Arc::new(Way { channel, queue, dead });
        consumer.run(Messages { way, stream, gone: false }, handling, stop, handler).await
    }
}

/// The way to a queue and back.
#[derive(Debug)]
struct Way {
    channel: Channel,
    queue: Arc<str>,
    dead: Dead,
}

/// The messages of a queue.
struct Messages {
    way: Arc<Way>,
    stream: ::lapin::Consumer,
    gone: bool,
}

/// The end of a message.
struct Unacked {
    way: Arc<Way>,
    delivery: Arc<Delivery>,
    deliveries: u32,
}

impl Messages {
    /// A message with what is known of it; `None` for one that was put back with its count.
    async fn read(&self, mut delivery: Delivery) -> Result<Option<Taken<Arc<Delivery>, Unacked>>, BrokerError> {
        let none = FieldTable::default();
        let headers = delivery.properties.headers().as_ref().unwrap_or(&none);
        let before = headers.get_header(DELIVERIES).and_then(|n| n.parse().ok()).unwrap_or(0_u32);
        let by_queue = headers.inner().get(COUNTED).and_then(whole);
        if delivery.redelivered && by_queue.is_none() {
            let acker = delivery.acker.clone();
            let delivery = Arc::new(delivery);
            let unacked = Unacked { way: self.way.clone(), delivery, deliveries: before.saturating_add(1) };
            let moved = unacked.move_to(&self.way.queue, &[]).await;
            if moved.is_err() {
                // Else it would stay here for as long as the channel is open.
                let _ = acker.nack(BasicNackOptions { requeue: true, multiple: false }).await;
            }
            return moved.map(|()| None);
        }
        let deliveries = before.saturating_add(by_queue.unwrap_or(0)).saturating_add(1);
        let mut incoming = Incoming::from_headers(headers).delivery(deliveries);
        let first = |header| headers.get_header(header).and_then(|text| name(text).ok());
        if let (Some(exchange), Some(key)) = (first(EXCHANGE), first(KEY)) {
            (delivery.exchange, delivery.routing_key) = (exchange, key);
        }
        if let Some(id) = delivery.properties.message_id() {
            incoming = incoming.detail(KeyValue::new("messaging.message.id", id.to_string()));
        }
        let key = delivery.routing_key.to_string();
        let incoming = incoming.detail(KeyValue::new("messaging.rabbitmq.destination.routing_key", key));
        let delivery = Arc::new(delivery);
        let settle = Unacked { way: self.way.clone(), delivery: delivery.clone(), deliveries };
        Ok(Some(Taken { incoming, message: delivery, settle }))
    }
}

impl Source for Messages {
    type Message = Arc<Delivery>;
    type Settle = Unacked;

    async fn take(&mut self, room: usize) -> Result<Vec<Taken<Arc<Delivery>, Unacked>>, BrokerError> {
        let mut all = Vec::new();
        let mut next = timeout(WAIT, self.stream.next()).await.ok();
        while let Some(got) = next.take() {
            let delivery = match got {
                Some(Ok(delivery)) => delivery,
                Some(Err(error)) => {
                    // With recovery the same stream goes on.
                    if let Ok(Err(error)) = timeout(WAIT, self.way.channel.wait_for_recovery(error)).await {
                        self.gone = true;
                        return Err(error.into());
                    }
                    break;
                }
                None => {
                    self.gone = true;
                    return Err(format!(
                        "the broker cancelled the consumer of `{}`: is the queue gone?",
                        self.way.queue
                    )
                    .into());
                }
            };
            match self.read(delivery).await {
                Ok(taken) => all.extend(taken),
                Err(error) if all.is_empty() => return Err(error),
                Err(_) => break,
            }
            if all.len() < room {
                next = self.stream.next().now_or_never();
            }
        }
        Ok(all)
    }

    fn is_gone(&self) -> bool {
        self.gone
    }

    async fn depth(&mut self) -> Option<u64> {
        let passive = QueueDeclareOptions::default().passive();
        let queue = name(&self.way.queue).ok()?;
        let told = self.way.channel.queue_declare(queue, passive, FieldTable::default()).await.ok()?;
        Some(u64::from(told.message_count()))
    }

    async fn close(&mut self) {
        // What goes wrong here the broker finds out when the channel is closed.
        let _ = self.way.channel.basic_cancel(self.stream.tag(), BasicCancelOptions::default()).await;
        while let Some(Some(Ok(delivery))) = self.stream.next().now_or_never() {
            let _ = delivery.nack(BasicNackOptions { requeue: true, multiple: false }).await;
        }
    }
}

impl Unacked {
    /// Publishes it to a queue with its count and what else is to be said, then lets go of it.
    async fn move_to(self, queue: &str, more: &[(&'static str, &str)]) -> Result<(), BrokerError> {
        let mut headers = self.delivery.properties.headers().clone().unwrap_or_default();
        headers.set_header(DELIVERIES, self.deliveries.to_string());
        if headers.get_header(EXCHANGE).is_none() {
            headers.set_header(EXCHANGE, self.delivery.exchange.to_string());
            headers.set_header(KEY, self.delivery.routing_key.to_string());
        }
        for (name, value) in more {
            headers.set_header(name, (*value).to_owned());
        }
        let properties: BasicProperties = self.delivery.properties.clone().with_headers(headers);
        let to = Address { exchange: "", key: queue, mandatory: true };
        publish(&self.way.channel, &to, &self.delivery.data, properties).await?;
        self.ack().await
    }

    /// Whether the broker was told; not when the channel is another one by now. A handler that settled it itself is right.
    fn told(&self, told: bool) -> Result<(), BrokerError> {
        if told || !self.delivery.acker.poisoned() {
            return Ok(());
        }
        Err("the channel is another one by now".into())
    }

    async fn declare(&self, queue: &str, arguments: FieldTable) -> Result<(), BrokerError> {
        let options = QueueDeclareOptions::durable();
        self.way.channel.queue_declare(name(queue)?, options, arguments).await?;
        Ok(())
    }
}

impl Settle for Unacked {
    async fn ack(self) -> Result<(), BrokerError> {
        let told = self.delivery.acker.ack(BasicAckOptions::default()).await?;
        self.told(told)
    }

    async fn retry(self, after: Duration) -> Result<(), BrokerError> {
        let ms = rounded(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        let queue = format!("{}.retry.{ms}", self.way.queue);
        let number = |n: u64| AMQPValue::LongLongInt(i64::try_from(n).unwrap_or(i64::MAX));
        let back = arguments([
            ("x-dead-letter-exchange", AMQPValue::LongString("".into())),
            ("x-dead-letter-routing-key", AMQPValue::LongString(self.way.queue.as_bytes().into())),
            ("x-message-ttl", number(ms)),
            // Longer than any message stays in it: declaring it now begins the time anew.
            ("x-expires", number(ms.saturating_mul(2).saturating_add(UNUSED_MS).min(u64::from(u32::MAX)))),
        ]);
        self.declare(&queue, back).await?;
        self.move_to(&queue, &[]).await
    }

    async fn dead(self, why: &str) -> Result<(), BrokerError> {
        let way = self.way.clone();
        match &way.dead {
            Dead::Rejected => {
                let told = self.delivery.acker.reject(BasicRejectOptions { requeue: false }).await?;
                self.told(told)
            }
            Dead::Queue(queue) => {
                self.declare(queue, FieldTable::default()).await?;
                self.move_to(queue, &[(REASON, why)]).await
            }
        }
    }

    async fn requeue(self) -> Result<(), BrokerError> {
        let told = self.delivery.acker.nack(BasicNackOptions { requeue: true, multiple: false }).await?;
        self.told(told)
    }
}

/// A count, in whichever type the broker has it.
fn whole(value: &AMQPValue) -> Option<u32> {
    match value {
        AMQPValue::LongLongInt(n) => u32::try_from(*n).ok(),
        AMQPValue::LongInt(n) => u32::try_from(*n).ok(),
        AMQPValue::LongUInt(n) => Some(*n),
        AMQPValue::ShortInt(n) => u32::try_from(*n).ok(),
        AMQPValue::ShortUInt(n) => Some(u32::from(*n)),
        _ => None,
    }
}

/// Rounds up to one of seven digits times a power of ten; a queue for each pause there is would be too many. At most a day.
fn rounded(ms: u64) -> u64 {
    const DAY: u64 = 86_400_000;
    let ms = ms.clamp(1, DAY);
    let mut unit = 1;
    while unit * 8 < ms {
        unit *= 10;
    }
    [1, 2, 3, 4, 5, 6, 8].into_iter().map(|digit| digit * unit).find(|step| *step >= ms).unwrap_or(DAY).min(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_rounded_up_to_few() {
        let pairs = [(0, 1), (1, 1), (7, 8), (9, 10), (250, 300), (1_000, 1_000), (16_000, 20_000), (60_000, 60_000)];
        for (given, rounded_to) in pairs {
            assert_eq!(rounded(given), rounded_to);
        }
        assert_eq!(rounded(u64::MAX), 86_400_000);
        let all: std::collections::BTreeSet<_> = (0..100_000).map(rounded).collect();
        assert!(all.len() <= 7 * 5 + 1, "{all:?}");
    }
}
