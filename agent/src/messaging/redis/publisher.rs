//! Adding entries.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::redis::aio::ConnectionLike;
use ::redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind, cmd};

use super::SYSTEM;
use crate::Agent;
use crate::call::Ended;
use crate::messaging::producer::Outgoing;
use crate::messaging::{Place, Producer, PublishError};

/// Entries that a stream keeps at least, without [`RedisPublisher::max_len`].
const MOST: usize = 1_000_000;

/// Adds entries to a stream; see [`crate::Agent::redis_publisher`].
#[derive(Clone)]
pub struct RedisPublisher<C> {
    producer: Producer,
    connection: C,
    stream: Arc<str>,
    most: usize,
}

impl<C> std::fmt::Debug for RedisPublisher<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisPublisher").field("stream", &self.stream).field("most", &self.most).finish_non_exhaustive()
    }
}

impl<C> RedisPublisher<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    pub(super) fn new(agent: &Agent, connection: C, stream: Arc<str>) -> Self {
        let producer = Producer::new(&agent.inner, Place::new(SYSTEM, stream.clone()));
        Self { producer, connection, stream, most: MOST }
    }

    /// How many entries the stream keeps, a few more at times (`MAXLEN ~`): 1,000,000 without this. Older ones are gone,
    /// processed or not.
    #[must_use]
    pub fn max_len(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// As [`Producer::idempotent`]: an entry whose fate is unknown may be added again.
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

    /// Where Redis is, for the spans.
    #[must_use]
    pub fn server(mut self, host: &str, port: u16) -> Self {
        self.producer = self.producer.server(host, port);
        self
    }

    /// Adds an entry; answers with its id.
    ///
    /// # Errors
    /// A rule refused, Redis did, or it did not answer.
    pub async fn publish(&self, fields: &[(&str, &[u8])]) -> Result<String, PublishError<RedisError>> {
        let message = Outgoing { headers: BTreeMap::new(), details: Vec::new(), deduplicated: false };
        let add = |headers: BTreeMap<String, String>| async move {
            let mut add = cmd("XADD");
            add.arg(&*self.stream).arg("MAXLEN").arg("~").arg(self.most).arg("*");
            fields.iter().for_each(|(name, value)| {
                add.arg(*name).arg(*value);
            });
            headers.iter().for_each(|(name, value)| {
                add.arg(name).arg(value);
            });
            add.query_async::<String>(&mut self.connection.clone()).await
        };
        self.producer.publish(message, add, read).await
    }
}

/// How adding an entry ended.
fn read(got: &RedisResult<String>) -> Ended {
    let Err(error) = got else { return Ended::with("ok") };
    match error.kind() {
        _ if error.is_connection_refusal() => Ended::no_connection(),
        _ if error.is_timeout() => Ended::timed_out(),
        ErrorKind::Io => Ended::with("reset"),
        // It said that it did nothing: another try can do no harm.
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ReadOnly,
        ) => Ended { never_sent: true, ..Ended::with("unavailable") },
        ErrorKind::Server(ServerErrorKind::NoPerm) | ErrorKind::AuthenticationFailed => {
            Ended::with("permission_denied")
        }
        _ if error.code() == Some("OOM") => Ended::with("resource_exhausted"),
        _ => Ended::with("failed_precondition"),
    }
}
