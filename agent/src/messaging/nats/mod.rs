//! NATS, over a client of the application's own: core subjects, JetStream, and requests with replies.
//!
//! ```no_run
//! # async fn run(agent: fuseboard_agent::Agent) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use async_nats::jetstream;
//! use fuseboard_agent::messaging::Handling;
//!
//! let stream = jetstream::new(async_nats::connect("127.0.0.1:4222").await?);
//! let orders = agent.jetstream_publisher(&stream, "orders");
//! orders.publish("order 17".into()).await?;
//!
//! let mailer: jetstream::consumer::PullConsumer = stream.get_consumer_from_stream("mailer", "shop").await?;
//! let mailer = agent.jetstream_consumer(mailer, "orders");
//! mailer.run(Handling::default(), |message| async move { send_mail(&message.payload).await }).await?;
//! # Ok(())
//! # }
//! # async fn send_mail(_: &[u8]) -> Result<(), fuseboard_agent::messaging::Failure> { Ok(()) }
//! ```
//!
//! **JetStream**
//!
//! | step | what happens | a message is |
//! |---|---|---|
//! | publish | with a `Nats-Msg-Id`; ends with the stream's word that it has it | taken once, within the stream's window for duplicates: tried again when its fate is unknown |
//! | take | pulled, as many as there is room for | handed out at least once |
//! | while it is processed | `+WPI` (in progress), three times in each `ack_wait` | still this consumer's |
//! | handler answers `Ok` | `+ACK` | done |
//! | it answers `Err` | `-NAK` with the pause | handed out again |
//! | too often, or rejected | published to [`JetStreamConsumer::dead_letters`] with an id, then `+TERM` | a dead letter, once; without such a subject it only stays in the stream |
//! | handling is dropped | `-NAK` | handed out again |
//! | the consumer dies | the server, after `ack_wait` | handed out again |
//!
//! Let the consumer's own `max_deliver` be unlimited or greater than [`Handling::max_deliveries`](super::Handling::max_deliveries):
//! what the server stops handing out never gets to the dead letters.
//!
//! **Core** ([`Agent::nats_publisher`], [`Agent::nats_subscriber`]): at most once. A message for which nobody listens is gone, one
//! whose handler fails too. While the client is not connected publishes fail at once, so that the breaker sees it; the client
//! alone would keep them and say that all is well.
//!
//! **Requests** ([`Agent::nats_client`]) are calls of an RPC, with all rules of a call.

mod core;
mod jetstream;
mod request;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap};

pub use self::core::{NatsError, NatsPublisher, NatsSubscriber};
pub use self::jetstream::{JetStreamConsumer, JetStreamPublisher};
pub use self::request::{NatsClient, NatsRequestError};
use super::{Consumer, Place, Producer};
use crate::Agent;
use crate::propagation::Headers;

/// `messaging.system`.
const SYSTEM: &str = "nats";

impl Agent {
    /// Publishes to a subject of core NATS; see [`crate::messaging::nats`].
    #[must_use]
    pub fn nats_publisher(&self, client: &Client, subject: &str) -> NatsPublisher {
        NatsPublisher::new(Producer::new(&self.inner, Place::new(SYSTEM, subject)), client, subject)
    }

    /// Processes what is published to a subject of core NATS; see [`crate::messaging::nats`].
    pub fn nats_subscriber(&self, client: &Client, subject: &str) -> NatsSubscriber {
        NatsSubscriber::new(Consumer::new(&self.inner, Place::new(SYSTEM, subject)), client, subject)
    }

    /// Publishes to a subject that a stream of JetStream keeps; see [`crate::messaging::nats`].
    #[must_use]
    pub fn jetstream_publisher(&self, context: &async_nats::jetstream::Context, subject: &str) -> JetStreamPublisher {
        JetStreamPublisher::new(Producer::new(&self.inner, Place::new(SYSTEM, subject)), context, subject)
    }

    /// Processes the messages of a pull consumer of JetStream; `destination` is the subject, as its publishers name it. See
    /// [`crate::messaging::nats`].
    pub fn jetstream_consumer(
        &self,
        consumer: async_nats::jetstream::consumer::PullConsumer,
        destination: &str,
    ) -> JetStreamConsumer {
        JetStreamConsumer::new(Consumer::new(&self.inner, Place::new(SYSTEM, destination)), consumer)
    }

    /// Asks a service over NATS and waits for its reply; see [`crate::messaging::nats`].
    #[must_use]
    pub fn nats_client(&self, client: &Client, service: &str) -> NatsClient {
        NatsClient::new(&self.inner, client, service)
    }
}

/// Whether what is sent now goes out now.
fn is_connected(client: &Client) -> bool {
    client.connection_state() == State::Connected
}

/// A message's headers.
impl Headers for HeaderMap {
    fn get_header(&self, name: &str) -> Option<&str> {
        self.get(name).map(|value| value.as_str())
    }

    fn set_header(&mut self, name: &'static str, value: String) {
        // A value with a line break would be another header.
        if !value.contains(['\r', '\n']) {
            self.insert(name, value);
        }
    }
}
