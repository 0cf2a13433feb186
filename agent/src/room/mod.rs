//! Room at an instance of a callee: how many requests it is given at a time, who waits for room, which connections are open.

mod counted;
mod limits;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::counted::{Counted, Open};
pub use self::limits::PoolLimits;
use crate::call::NoPlace;

/// The room at one instance. Taking a place and leaving it are a few atomic steps while nobody waits.
#[derive(Debug)]
pub(crate) struct Room {
    /// `host:port`.
    address: String,
    /// Requests under way on each shared connection; all of them in one entry where connections are not shared.
    lanes: Box<[AtomicUsize]>,
    shared: bool,
    limit: usize,
    most_waiting: usize,
    wait: Duration,
    in_use: AtomicUsize,
    waiting: AtomicUsize,
    open: AtomicUsize,
    freed: Notify,
}

/// What is in use now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) open: usize,
    /// Connections with a request on them.
    pub(crate) active: usize,
    pub(crate) in_use: usize,
    pub(crate) waiting: usize,
    pub(crate) limit: usize,
}

impl Usage {
    /// That of two rooms together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            open: self.open + other.open,
            active: self.active + other.active,
            in_use: self.in_use + other.in_use,
            waiting: self.waiting + other.waiting,
            limit: self.limit.saturating_add(other.limit),
        }
    }
}

/// A place in a room, left when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    room: Arc<Room>,
    lane: usize,
}

impl Room {
    /// Room for `connections` that carry one request each.
    pub(crate) fn unshared(address: &str, limits: &PoolLimits, connections: usize) -> Arc<Self> {
        Self::new(address, limits, 1, connections, false)
    }

    /// Room for requests that share connections.
    pub(crate) fn shared(address: &str, limits: &PoolLimits) -> Arc<Self> {
        let (connections, requests) = limits.shared();
        Self::new(address, limits, connections, connections.saturating_mul(requests), true)
    }

    fn new(address: &str, limits: &PoolLimits, lanes: usize, limit: usize, shared: bool) -> Arc<Self> {
        Arc::new(Self {
            address: address.to_owned(),
            lanes: (0..lanes).map(|_| AtomicUsize::new(0)).collect(),
            shared,
            limit,
            most_waiting: limits.waiting,
            wait: limits.wait,
            in_use: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            freed: Notify::new(),
        })
    }

    /// How many connections are shared.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// What is in use.
    pub(crate) fn usage(&self) -> Usage {
        let open = self.open.load(Ordering::Relaxed);
        let in_use = self.in_use.load(Ordering::Relaxed);
        let busy = || self.lanes.iter().filter(|lane| lane.load(Ordering::Relaxed) > 0).count();
        let active = if self.shared { busy() } else { in_use };
        let waiting = self.waiting.load(Ordering::Relaxed);
        Usage { open, active: active.min(open), in_use, waiting, limit: self.limit }
    }

    /// A place, as soon as there is one. Waits no longer than the limits say, nor than `until`; those who wait are served before those
    /// who come later.
    ///
    /// # Errors
    /// There was none in time, or enough wait already.
    pub(crate) async fn enter(self: &Arc<Self>, until: Option<Instant>) -> Result<Slot, NoPlace> {
        if self.waiting.load(Ordering::SeqCst) == 0
            && let Some(slot) = self.try_enter()
        {
            return Ok(slot);
        }
        let Some(_waiting) = Waiting::begin(self) else {
            let (limit, waiting) = (self.limit, self.most_waiting);
            return Err(self.full(&format!("all {limit} places are taken, and {waiting} calls wait for one already")));
        };
        let begun = Instant::now();
        let most = begun + self.wait;
        let place = async {
            let mut freed = std::pin::pin!(self.freed.notified());
            loop {
                freed.as_mut().enable();
                if let Some(slot) = self.try_enter() {
                    return slot;
                }
                freed.as_mut().await;
                freed.set(self.freed.notified());
            }
        };
        tokio::time::timeout_at(until.map_or(most, |until| until.min(most)), place).await.map_err(|_| {
            let waited = begun.elapsed().as_millis();
            self.full(&format!("all {} places stayed taken for {waited} ms", self.limit))
        })
    }

    fn full(&self, why: &str) -> NoPlace {
        NoPlace { rule: "pool", cause: format!("{why} at {}", self.address) }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Slot> {
        let more = |taken| (taken < self.limit).then_some(taken + 1);
        self.in_use.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        let by_load = |(_, lane): &(usize, &AtomicUsize)| lane.load(Ordering::Relaxed);
        let (lane, load) = self.lanes.iter().enumerate().min_by_key(by_load)?;
        load.fetch_add(1, Ordering::Relaxed);
        Some(Slot { room: self.clone(), lane })
    }
}

impl Slot {
    /// Which of the connections it is on.
    pub(crate) fn lane(&self) -> usize {
        self.lane
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.room.lanes[self.lane].fetch_sub(1, Ordering::Relaxed);
        self.room.in_use.fetch_sub(1, Ordering::SeqCst);
        // Who begins to wait after this looks for a place once more before it sleeps.
        if self.room.waiting.load(Ordering::SeqCst) > 0 {
            self.room.freed.notify_one();
        }
    }
}

/// One who waits.
struct Waiting<'a>(&'a Room);

impl<'a> Waiting<'a> {
    fn begin(room: &'a Room) -> Option<Self> {
        let more = |waiting| (waiting < room.most_waiting).then_some(waiting + 1);
        room.waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok().map(|_| Self(room))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(limit: usize, waiting: usize) -> Arc<Room> {
        let limits = PoolLimits::default().waiting(waiting).wait(Duration::from_millis(300));
        Room::unshared("a:1", &limits, limit)
    }

    #[tokio::test(start_paused = true)]
    async fn refuses_after_its_wait_and_when_enough_wait() {
        let room = room(1, 1);
        let taken = room.enter(None).await.unwrap();
        let begun = Instant::now();
        let (late, full) = tokio::join!(room.enter(None), async {
            tokio::task::yield_now().await;
            (room.usage().waiting, room.enter(None).await)
        });
        assert_eq!((begun.elapsed(), full.0), (Duration::from_millis(300), 1));
        assert!(full.1.unwrap_err().cause.contains("1 calls wait"));
        assert!(late.unwrap_err().cause.contains("300 ms"));
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(room.enter(Some(soon)).await.is_err());
        assert_eq!(Instant::now(), soon, "an attempt's own limit counts, too");
        drop(taken);
        assert_eq!(room.usage(), Usage { open: 0, active: 0, in_use: 0, waiting: 0, limit: 1 });
        assert!(room.enter(None).await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn places_are_never_overdrawn_and_never_lost() {
        let limits = PoolLimits::default().connections(2).requests(2).waiting(1000).wait(Duration::from_secs(20));
        let room = Room::shared("a:1", &limits);
        let most = Arc::new(AtomicUsize::new(0));
        let tasks = (0..32).map(|n| {
            let (room, most) = (room.clone(), most.clone());
            tokio::spawn(async move {
                for turn in 0..50 {
                    // Some give up while they wait.
                    if (n + turn) % 7 == 0 {
                        let soon = Some(Instant::now() + Duration::from_micros(50));
                        drop(room.enter(soon).await);
                        continue;
                    }
                    let slot = room.enter(None).await.expect("a place");
                    most.fetch_max(room.usage().in_use, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    drop(slot);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let usage = room.usage();
        assert_eq!((usage.in_use, usage.waiting, usage.limit), (0, 0, 4));
        assert_eq!(most.load(Ordering::SeqCst), 4, "all places were used, and no more");
    }

    #[tokio::test]
    async fn shared_connections_are_loaded_evenly() {
        let room = Room::shared("a:1", &PoolLimits::default().connections(3).requests(2));
        let mut slots = Vec::new();
        for _ in 0..6 {
            slots.push(room.enter(None).await.unwrap());
        }
        let mut lanes: Vec<_> = slots.iter().map(Slot::lane).collect();
        lanes.sort_unstable();
        assert_eq!(lanes, [0, 0, 1, 1, 2, 2]);
    }
}
