//! Taking entries, and what becomes of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use ::redis::aio::ConnectionLike;
use ::redis::streams::{StreamAutoClaimReply, StreamClaimReply, StreamId, StreamInfoGroupsReply, StreamReadReply};
use ::redis::{RedisResult, Value, cmd, pipe};
use fuseboard_policy::names::DELIVERY;
use opentelemetry::KeyValue;
use tokio::time::{Instant, sleep};

use super::StreamGroup;
use crate::messaging::{BrokerError, Incoming, Settle, Source, Taken};

/// Longest wait for entries; below the client's usual limit for an answer (500 ms).
const BLOCK: Duration = Duration::from_millis(250);
/// First and longest pause between two questions where nothing may block.
const POLL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// Longest time between two looks for entries of consumers that died.
const LOOK: Duration = Duration::from_secs(1);
/// Most failed entries whose next time is kept; the others come again once they have been silent for long enough.
const MOST_DUE: usize = 10_000;
/// Dead letters that are kept at least.
const MOST_DEAD: usize = 100_000;

/// An entry that is to come again.
#[derive(Debug)]
struct Due {
    at: Instant,
    id: String,
    /// How often it was handed out already.
    deliveries: u32,
    /// It must have been silent for so long, or somebody else has it.
    silent: Duration,
}

/// A group's entries.
pub(super) struct Entries<C> {
    shared: Arc<Shared<C>>,
    blocking: Option<C>,
    /// Whether the group is known to be there.
    there: bool,
    next_look: Instant,
    poll: Duration,
}

struct Shared<C> {
    connection: C,
    place: StreamGroup,
    due: Mutex<Vec<Due>>,
}

/// The end of an entry.
pub(super) struct Pending<C> {
    shared: Arc<Shared<C>>,
    entry: Arc<StreamId>,
    deliveries: u32,
}

impl<C> Entries<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    pub(super) fn new(connection: C, blocking: Option<C>, place: StreamGroup) -> Self {
        let shared = Arc::new(Shared { connection, place, due: Mutex::default() });
        Self { shared, blocking, there: false, next_look: Instant::now(), poll: POLL.0 }
    }

    /// Makes the group, and the stream with it, if it is not there.
    async fn join(&mut self) -> RedisResult<()> {
        if !self.there {
            let StreamGroup { stream, group, first, .. } = &self.shared.place;
            let mut make = cmd("XGROUP");
            make.arg("CREATE").arg(&**stream).arg(&**group).arg(*first).arg("MKSTREAM");
            match make.query_async::<()>(&mut self.shared.connection.clone()).await {
                Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
                _ => self.there = true,
            }
        }
        Ok(())
    }

    /// Failed entries whose pause is over.
    async fn again(&self, room: usize) -> RedisResult<Vec<(StreamId, u32)>> {
        let mut all = Vec::new();
        for due in self.shared.take_due(room) {
            let mut claim = self.shared.command("XCLAIM");
            claim.arg(&*self.shared.place.name).arg(whole(due.silent)).arg(&due.id);
            match claim.query_async::<StreamClaimReply>(&mut self.shared.connection.clone()).await {
                Ok(claimed) => all.extend(claimed.ids.into_iter().map(|id| (id, due.deliveries + 1))),
                Err(error) => {
                    // What Redis itself refuses (an entry that an old version trimmed) it would refuse again.
                    if error.is_io_error() {
                        self.shared.keep(due);
                    }
                    return if all.is_empty() { Err(error) } else { Ok(all) };
                }
            }
        }
        Ok(all)
    }

    /// Entries of consumers that died.
    async fn inherited(&mut self, room: usize) -> RedisResult<Vec<(StreamId, u32)>> {
        if room == 0 || Instant::now() < self.next_look {
            return Ok(Vec::new());
        }
        let mut connection = self.shared.connection.clone();
        let mut claim = self.shared.command("XAUTOCLAIM");
        let place = &self.shared.place;
        claim.arg(&*place.name).arg(whole(place.claim_after)).arg("0").arg("COUNT").arg(room);
        let claimed: StreamAutoClaimReply = claim.query_async(&mut connection).await?;
        if claimed.claimed.len() < room {
            self.next_look = Instant::now() + (place.claim_after / 3).min(LOOK);
        }
        let mut all = Vec::with_capacity(claimed.claimed.len());
        for id in claimed.claimed {
            let mut asked = self.shared.command("XPENDING");
            asked.arg(&id.id).arg(&id.id).arg(1);
            let pending: Vec<(String, String, u64, u32)> = asked.query_async(&mut connection).await?;
            let deliveries = pending.first().map_or(1, |(.., count)| *count);
            all.push((id, deliveries));
        }
        Ok(all)
    }

    /// Entries that nobody had yet. Where `wait`, waits for some.
    async fn fresh(&mut self, room: usize, wait: bool) -> RedisResult<Vec<StreamId>> {
        if room == 0 {
            return Ok(Vec::new());
        }
        let wait = if wait { self.shared.until_due().min(BLOCK) } else { Duration::ZERO };
        let place = &self.shared.place;
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(&*place.group).arg(&*place.name).arg("COUNT").arg(room);
        let blocking = self.blocking.as_mut().filter(|_| wait >= Duration::from_millis(1));
        let blocks = blocking.is_some();
        if blocks {
            read.arg("BLOCK").arg(whole(wait));
        }
        read.arg("STREAMS").arg(&*place.stream).arg(">");
        let got: Option<StreamReadReply> = match blocking {
            Some(connection) => read.query_async(connection).await?,
            None => read.query_async(&mut self.shared.connection.clone()).await?,
        };
        let ids: Vec<_> = got.into_iter().flat_map(|got| got.keys).flat_map(|key| key.ids).collect();
        if !ids.is_empty() {
            self.poll = POLL.0;
        } else if !blocks {
            sleep(self.poll.min(wait)).await;
            self.poll = (self.poll * 2).min(POLL.1);
        }
        Ok(ids)
    }

    async fn ask(&mut self, room: usize) -> RedisResult<Vec<(StreamId, u32)>> {
        self.join().await?;
        let mut all = self.again(room).await?;
        match self.inherited(room - all.len()).await {
            Ok(more) => all.extend(more),
            Err(error) if all.is_empty() => return Err(error),
            Err(_) => return Ok(all),
        }
        match self.fresh(room - all.len(), all.is_empty()).await {
            Ok(more) => all.extend(more.into_iter().map(|id| (id, 1))),
            Err(error) if all.is_empty() => return Err(error),
            Err(_) => {}
        }
        Ok(all)
    }
}

impl<C> Source for Entries<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    type Message = Arc<StreamId>;
    type Settle = Pending<C>;

    async fn take(&mut self, room: usize) -> Result<Vec<Taken<Arc<StreamId>, Pending<C>>>, BrokerError> {
        let all = match self.ask(room).await {
            Ok(all) => all,
            Err(error) => {
                // A Redis that lost its memory has no group either.
                self.there &= error.code() != Some("NOGROUP");
                return Err(error.into());
            }
        };
        let taken = all.into_iter().map(|(entry, deliveries)| {
            let mut incoming = Incoming::from_headers(&entry.map).delivery(deliveries);
            incoming = incoming.detail(KeyValue::new("messaging.message.id", entry.id.clone()));
            if incoming.sent.is_none()
                && let Some(ms) = entry.id.split('-').next().and_then(|ms| ms.parse().ok())
                && let Some(at) = UNIX_EPOCH.checked_add(Duration::from_millis(ms))
            {
                incoming = incoming.sent(at);
            }
            let entry = Arc::new(entry);
            let settle = Pending { shared: self.shared.clone(), entry: entry.clone(), deliveries };
            Taken { incoming, message: entry, settle }
        });
        Ok(taken.collect())
    }

    async fn depth(&mut self) -> Option<u64> {
        let place = &self.shared.place;
        let mut ask = cmd("XINFO");
        ask.arg("GROUPS").arg(&*place.stream);
        let groups: StreamInfoGroupsReply = ask.query_async(&mut self.shared.connection.clone()).await.ok()?;
        let group = groups.groups.into_iter().find(|group| group.name == *place.group)?;
        u64::try_from(group.lag?).ok()
    }
}

impl<C> Shared<C> {
    /// A command about the group.
    fn command(&self, name: &str) -> ::redis::Cmd {
        let mut command = cmd(name);
        command.arg(&*self.place.stream).arg(&*self.place.group);
        command
    }

    fn keep(&self, due: Due) {
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST_DUE {
            all.push(due);
        }
    }

    fn take_due(&self, most: usize) -> Vec<Due> {
        let now = Instant::now();
        let mut all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = most;
        all.extract_if(.., |due| due.at <= now && left.checked_sub(1).map(|less| left = less).is_some()).collect()
    }

    /// How long it is until the next one is due.
    fn until_due(&self) -> Duration {
        let all = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let next = all.iter().map(|due| due.at).min();
        next.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
    }
}

impl<C> Pending<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    fn connection(&self) -> C {
        self.shared.connection.clone()
    }

    /// Says that this consumer has it, and since when it is silent, without counting as a delivery.
    async fn claim(&self, silent: Duration) -> RedisResult<()> {
        let mut claim = self.shared.command("XCLAIM");
        claim.arg(&*self.shared.place.name).arg(0).arg(&self.entry.id).arg("IDLE").arg(whole(silent)).arg("JUSTID");
        claim.query_async::<Value>(&mut self.connection()).await.map(drop)
    }
}

impl<C> Settle for Pending<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    async fn ack(self) -> Result<(), BrokerError> {
        let mut ack = self.shared.command("XACK");
        ack.arg(&self.entry.id);
        Ok(ack.query_async::<Value>(&mut self.connection()).await.map(drop)?)
    }

    async fn retry(self, after: Duration) -> Result<(), BrokerError> {
        // From here on it is silent.
        let told = self.claim(Duration::ZERO).await;
        let after = after.min(self.shared.place.claim_after);
        // Whoever took it meanwhile touched it later than this; the clocks of both may differ by a tick.
        let silent = after.saturating_sub(after / 10);
        let (id, deliveries) = (self.entry.id.clone(), self.deliveries);
        self.shared.keep(Due { at: Instant::now() + after, id, deliveries, silent });
        Ok(told?)
    }

    async fn dead(self, why: &str) -> Result<(), BrokerError> {
        let mut both = pipe();
        let place = &self.shared.place;
        both.atomic().cmd("XADD").arg(&*place.dead).arg("MAXLEN").arg("~").arg(MOST_DEAD).arg("*");
        for (name, value) in &self.entry.map {
            if let Value::BulkString(value) = value {
                both.arg(name).arg(value.as_slice());
            }
        }
        both.arg("dead.reason").arg(why).arg("dead.id").arg(&self.entry.id);
        both.arg("dead.stream").arg(&*place.stream).arg("dead.group").arg(&*place.group);
        both.arg(DELIVERY).arg(self.deliveries);
        both.cmd("XACK").arg(&*place.stream).arg(&*place.group).arg(&self.entry.id);
        Ok(both.query_async::<Value>(&mut self.connection()).await.map(drop)?)
    }

    async fn requeue(self) -> Result<(), BrokerError> {
        // As silent as that of a consumer that died: the next one that looks takes it.
        Ok(self.claim(self.shared.place.claim_after).await?)
    }

    fn beat(&self) -> Option<Duration> {
        Some(self.shared.place.claim_after / 3)
    }

    async fn alive(&self) {
        // If this fails, somebody else may process it too: at least once.
        let _ = self.claim(Duration::ZERO).await;
    }
}

/// Whole milliseconds, as commands have them.
fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
