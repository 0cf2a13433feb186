//! The agent's two clocks: monotonic nanoseconds for engines, and the wall clock's reading of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Both clocks, read together once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch: Instant,
    wall: SystemTime,
}

impl Clock {
    /// Starts at zero now.
    pub(crate) fn start() -> Self {
        Self { epoch: Instant::now(), wall: SystemTime::now() }
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.nanos(Instant::now())
    }

    /// Nanoseconds from the start to an instant; 0 before it.
    pub(crate) fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant of an engine's time; far off where the clock cannot hold it.
    pub(crate) fn instant(&self, nanos: u64) -> Instant {
        self.epoch.checked_add(Duration::from_nanos(nanos)).unwrap_or_else(|| self.epoch + Duration::from_secs(1 << 31))
    }

    /// An engine's time on the wall clock, in nanoseconds since 1970. The wall clock is read once: later steps of it do not
    /// tear apart what the agent tells.
    pub(crate) fn unix(&self, nanos: u64) -> i64 {
        let wall = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default() + Duration::from_nanos(nanos);
        i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX)
    }
}
