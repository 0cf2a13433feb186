//! Redis streams, over a connection of the application's own.
//!
//! ```no_run
//! # async fn run(agent: fuseboard_agent::Agent, redis: redis::aio::ConnectionManager) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use fuseboard_agent::messaging::Handling;
//!
//! let orders = agent.redis_publisher(redis.clone(), "orders");
//! orders.publish(&[("order", "17".as_bytes())]).await?;
//!
//! let mailer = agent.redis_consumer(redis, "orders", "mailer");
//! mailer.run(Handling::default(), |entry| async move { send_mail(entry.get("order")).await }).await?;
//! # Ok(())
//! # }
//! # async fn send_mail(_: Option<String>) -> Result<(), fuseboard_agent::messaging::Failure> { Ok(()) }
//! ```
//!
//! | step | what happens | a message is |
//! |---|---|---|
//! | publish | `XADD`; the id is the proof | taken at most once; at least once with [`RedisPublisher::idempotent`] |
//! | take | `XREADGROUP`: it is pending for this consumer | handed out at least once |
//! | handler answers `Ok` | `XACK` | done |
//! | it answers `Err` | stays pending; `XCLAIM` after the pause | handed out again |
//! | too often, or rejected | `XADD` to the dead stream and `XACK` in one transaction | a dead letter, once |
//! | the consumer dies | `XAUTOCLAIM` by another after [`RedisConsumer::claim_after`] | handed out again |
//!
//! What travels along is in fields of the entry (`traceparent`…), beside the application's.

mod publisher;
mod source;

use std::collections::HashMap;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use ::redis::Value;
use ::redis::aio::ConnectionLike;
use ::redis::streams::StreamId;

pub use self::publisher::RedisPublisher;
use self::source::Entries;
use super::{BrokerError, Consumer, Failure, Handling, Place};
use crate::Agent;
use crate::propagation::Headers;

/// `messaging.system`.
const SYSTEM: &str = "redis";

impl Agent {
    /// Adds entries to a stream of Redis; see [`crate::messaging::redis`].
    #[must_use]
    pub fn redis_publisher<C>(&self, connection: C, stream: impl Into<Arc<str>>) -> RedisPublisher<C>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        RedisPublisher::new(self, connection, stream.into())
    }

    /// Processes a stream of Redis as one of a group of consumers; see [`crate::messaging::redis`].
    pub fn redis_consumer<C>(
        &self,
        connection: C,
        stream: impl Into<Arc<str>>,
        group: impl Into<Arc<str>>,
    ) -> RedisConsumer<C>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        let (stream, group) = (stream.into(), group.into());
        let consumer = Consumer::new(&self.inner, Place::new(SYSTEM, stream.clone())).group(group.clone());
        let place = StreamGroup {
            dead: format!("{stream}:dead").into(),
            stream,
            group,
            name: self.instance().into(),
            first: "0",
            claim_after: Duration::from_secs(60),
        };
        RedisConsumer { consumer, connection, blocking: None, place }
    }
}

/// A group's view of a stream.
#[derive(Debug, Clone)]
struct StreamGroup {
    stream: Arc<str>,
    group: Arc<str>,
    /// This consumer's.
    name: Arc<str>,
    dead: Arc<str>,
    /// Where a new group begins.
    first: &'static str,
    claim_after: Duration,
}

/// A consumer of a stream, one of a group. Its name is the instance of the agent.
#[derive(Clone)]
#[must_use = "a consumer does nothing until it runs"]
pub struct RedisConsumer<C> {
    consumer: Consumer,
    connection: C,
    blocking: Option<C>,
    place: StreamGroup,
}

impl<C> std::fmt::Debug for RedisConsumer<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisConsumer").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<C> RedisConsumer<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    /// Its name in the group, where two consumers of one instance take from one group.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.place.name = name.into();
        self
    }

    /// A group that is not there yet begins with what is added from now on; without this, with the first entry there is.
    pub fn from_now(mut self) -> Self {
        self.place.first = "$";
        self
    }

    /// How long an entry must have been silent to be taken from a consumer that died, 60 s without this, at least 100 ms.
    /// Consumers that live are not silent, however long they take. A pause before a retry is not longer than this.
    pub fn claim_after(mut self, silence: Duration) -> Self {
        self.place.claim_after = silence.max(Duration::from_millis(100));
        self
    }

    /// The stream of dead letters, `STREAM:dead` without this. In a cluster it must be in the same slot: `{orders}:dead`.
    pub fn dead_letters(mut self, stream: impl Into<Arc<str>>) -> Self {
        self.place.dead = stream.into();
        self
    }

    /// A second connection, used by nobody else, that waits for entries (`BLOCK`). Without it, and so that nothing else on the
    /// connection has to wait, the stream is asked up to every 100 ms.
    pub fn blocking_on(mut self, connection: C) -> Self {
        self.blocking = Some(connection);
        self
    }

    /// Where Redis is, for the spans.
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.consumer = self.consumer.server(host, port);
        self
    }

    /// Processes entries for ever.
    ///
    /// # Errors
    /// None: Redis is asked again for as long as it does not answer.
    pub async fn run<H, F>(self, handling: Handling, handler: H) -> Result<(), BrokerError>
    where
        H: Fn(Arc<StreamId>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.run_until(pending(), handling, handler).await
    }

    /// Processes entries until `stop` is ready, then waits for those under way.
    ///
    /// # Errors
    /// None: Redis is asked again for as long as it does not answer.
    pub async fn run_until<H, F>(
        self,
        stop: impl Future<Output = ()> + Send,
        handling: Handling,
        handler: H,
    ) -> Result<(), BrokerError>
    where
        H: Fn(Arc<StreamId>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let entries = Entries::new(self.connection, self.blocking, self.place);
        self.consumer.run(entries, handling, stop, handler).await
    }
}

/// An entry's fields.
impl Headers for HashMap<String, Value> {
    fn get_header(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
            Value::SimpleString(text) => Some(text),
            _ => None,
        }
    }

    fn set_header(&mut self, name: &'static str, value: String) {
        self.insert(name.to_owned(), Value::BulkString(value.into_bytes()));
    }
}
