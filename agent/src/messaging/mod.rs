//! Queues and topics: policy around sending and taking messages, and spans that make a queue an edge.
//!
//! # On the sending side
//!
//! A publish is a call like any other, on the edge *caller → destination*: in policies its `service` is the destination's
//! name ([`Producer`] says which that is), its `operation` is [`PUBLISH`]. Timeouts, retries with their budget, the breaker,
//! rate and concurrency limits apply as to an RPC: while the broker is down the breaker opens, and publishes are refused at
//! once. A publish is tried again only where that can do no harm: the message certainly never left, the broker drops
//! duplicates (JetStream), or [`Producer::idempotent`] says that consumers do.
//!
//! # On the receiving side
//!
//! [`Handling`] says how many messages are processed at once, for how long, how often one is handed out again and after
//! which pauses. Policy rules that name the operation [`PROCESS`] of the destination are obeyed too, live (general rules
//! are not: nobody who gives calls a second means the nightly import's messages): `timeout.attempt_ms` cuts processing,
//! `retry.max_attempts` and `retry.backoff` say how often and when a message comes again, `rate` and `concurrency` hold
//! messages back, an open `breaker` pauses the consumer.
//!
//! A message that fails [`Handling::max_deliveries`] times is put where dead letters go, so that no poison loops for ever. One
//! whose handling is dropped (a stopped consumer) goes back to its queue.
//!
//! # Brokers
//!
//! With the features `rabbitmq`, `redis` and `nats` there are adapters for lapin, redis and async-nats, over connections of the
//! application's own; their modules say in five lines how to use them, and what is acknowledged when. Any other broker is a
//! [`Source`] and a closure that sends ([`crate::Agent::producer`], [`crate::Agent::consumer`]), under the same rules:
//!
//! ```no_run
//! # async fn run(agent: fuseboard_agent::Agent) -> Result<(), Box<dyn std::error::Error>> {
//! # async fn to_kafka(_: std::collections::HashMap<String, String>, _: &[u8]) -> std::io::Result<()> { Ok(()) }
//! # let (headers, body) = (std::collections::HashMap::<String, String>::new(), [0_u8]);
//! let orders = agent.producer("kafka", "orders");
//! orders.send(std::collections::HashMap::new(), |headers| to_kafka(headers, b"order 17")).await?;
//! let mailer = agent.consumer("kafka", "orders").group("mailer");
//! mailer.process(&headers, async { send_mail(&body).await }).await?;
//! # Ok(())
//! # }
//! # async fn send_mail(_: &[u8]) -> std::io::Result<()> { Ok(()) }
//! ```
//!
//! | | handed out | acknowledged | fails | its consumer dies |
//! |---|---|---|---|---|
//! | RabbitMQ | at least once | after the handler | a queue for retries, then `QUEUE.dead` | requeued by the broker |
//! | Redis streams | at least once | after the handler | stays pending, then `STREAM:dead` | claimed by another |
//! | NATS JetStream | at least once | after the handler | `-NAK` with the pause, then the subject of dead letters | after `ack_wait` |
//! | NATS core | at most once | – | gone | gone |
//!
//! # What is traced
//!
//! A PRODUCER span `publish NAME` for each message, its attempts as CLIENT spans below it; a CONSUMER span `process NAME` in
//! the producer's trace, with a link to it; batches have a span with links to all. `traceparent`, `tracestate` and `baggage`
//! travel in the message's headers, and so does the time of sending: the consumer's span has
//! [`QUEUE_LAG_MS`](fuseboard_policy::names::QUEUE_LAG_MS).

mod carry;
mod consumer;
mod failure;
mod gate;
mod handling;
#[cfg(feature = "nats")]
pub mod nats;
mod producer;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
mod worker;

use std::sync::Arc;

use opentelemetry::KeyValue;

pub use self::carry::Incoming;
pub use self::consumer::Consumer;
pub use self::failure::{Failure, PublishError};
pub use self::handling::Handling;
pub use self::producer::Producer;
pub use self::worker::{BrokerError, Settle, Source, Taken, TakenFrom};

/// The operation of sending, in policies.
pub const PUBLISH: &str = "publish";
/// The operation of processing, in policies. Only rules that name it act on it.
pub const PROCESS: &str = "process";

/// Where messages go to or come from.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    system: &'static str,
    destination: Arc<str>,
    /// Who shares the messages.
    group: Option<KeyValue>,
    /// What each span says besides: `server.address`…
    details: Vec<KeyValue>,
}

impl Place {
    pub(crate) fn new(system: &'static str, destination: impl Into<Arc<str>>) -> Self {
        Self { system, destination: destination.into(), group: None, details: Vec::new() }
    }

    fn server(&mut self, host: &str, port: u16) {
        self.details.push(KeyValue::new("server.address", host.to_owned()));
        self.details.push(KeyValue::new("server.port", i64::from(port)));
    }

    /// Attributes for spans and metrics of an operation (`messaging.operation.name`) of a kind (`messaging.operation.type`).
    fn labels(&self, operation: &'static str, kind: &'static str) -> Vec<KeyValue> {
        let mut labels = vec![
            KeyValue::new("messaging.system", self.system),
            KeyValue::new("messaging.destination.name", self.destination.clone()),
            KeyValue::new("messaging.operation.name", operation),
            KeyValue::new("messaging.operation.type", kind),
        ];
        labels.extend(self.group.clone());
        labels
    }
}
