//! The cursor: the one instant that every panel shows.

use fuseboard_api::{TimeRange, UnixNanos};

/// How many seconds of recorded time pass in one second, in quarters: 1 is ×¼, 4 is ×1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Speed(pub(crate) u16);

/// The speeds to choose from.
pub(crate) const SPEEDS: [Speed; 5] = [Speed(1), Speed(4), Speed(16), Speed(64), Speed(240)];

impl Speed {
    /// As many seconds as recorded.
    pub(crate) const NORMAL: Self = Self(4);

    /// What the strip writes: `¼`, `1`, `4`, `16`, `60`.
    pub(crate) fn label(self) -> String {
        if self.0 == 1 { "¼".to_owned() } else { (self.0 / 4).to_string() }
    }

    /// Recorded nanoseconds that pass in `nanos` of real time.
    pub(crate) fn apply(self, nanos: i64) -> i64 {
        nanos.saturating_mul(i64::from(self.0)) / 4
    }
}

/// Which instant is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Cursor {
    /// The newest there is.
    #[default]
    Following,
    /// One instant.
    Paused {
        /// That instant.
        at: UnixNanos,
    },
    /// Recorded time passing.
    Playing {
        /// Where the cursor stood at `since`.
        at: UnixNanos,
        /// How fast it goes.
        speed: Speed,
        /// The clock's reading when it stood there.
        since: UnixNanos,
    },
}

impl Cursor {
    /// Whether the newest is shown.
    pub(crate) fn is_following(self) -> bool {
        self == Self::Following
    }

    /// Whether recorded time passes.
    pub(crate) fn is_playing(self) -> bool {
        matches!(self, Self::Playing { .. })
    }

    /// The instant shown at the clock's reading `now`, for a source whose newest instant is `edge`.
    pub(crate) fn position(self, now: UnixNanos, edge: UnixNanos) -> UnixNanos {
        match self {
            Self::Following => edge,
            Self::Paused { at } => at.min(edge),
            Self::Playing { at, speed, since } => {
                UnixNanos(at.0.saturating_add(speed.apply(now.0.saturating_sub(since.0).max(0)))).min(edge)
            }
        }
    }

    /// Stops at the instant shown.
    #[must_use]
    pub(crate) fn pause(self, now: UnixNanos, edge: UnixNanos) -> Self {
        Self::Paused { at: self.position(now, edge) }
    }

    /// Plays on from the instant shown.
    #[must_use]
    pub(crate) fn play(self, speed: Speed, now: UnixNanos, edge: UnixNanos) -> Self {
        Self::Playing { at: self.position(now, edge), speed, since: now }
    }

    /// Goes to `at`: playing goes on from there, everything else stands still there.
    #[must_use]
    pub(crate) fn seek(self, at: UnixNanos, now: UnixNanos) -> Self {
        match self {
            Self::Playing { speed, .. } => Self::Playing { at, speed, since: now },
            Self::Following | Self::Paused { .. } => Self::Paused { at },
        }
    }

    /// Follows the newest, or, when that is shown already, stops at it.
    #[must_use]
    pub(crate) fn toggle_follow(self, now: UnixNanos, edge: UnixNanos) -> Self {
        if self.is_following() { self.pause(now, edge) } else { Self::Following }
    }

    /// What the clock's reading `now` makes of it: playing wraps at the end of `lap`, and becomes following at `edge` when
    /// the source still grows, or stands there when it does not.
    #[must_use]
    pub(crate) fn tick(self, now: UnixNanos, edge: UnixNanos, lap: Option<TimeRange>, grows: bool) -> Self {
        let Self::Playing { speed, .. } = self else { return self };
        let at = self.position(now, edge);
        match lap {
            Some(lap) if lap.to > lap.from && (at >= lap.to || at < lap.from) => {
                Self::Playing { at: lap.from, speed, since: now }
            }
            _ if at < edge => self,
            _ if grows => Self::Following,
            _ => Self::Paused { at: edge },
        }
    }

    /// Goes to the next of `marks` (sorted) after the instant shown, or to the last before it.
    #[must_use]
    pub(crate) fn step(self, marks: &[UnixNanos], forward: bool, now: UnixNanos, edge: UnixNanos) -> Self {
        let here = self.position(now, edge);
        let target = if forward {
            marks.iter().copied().find(|m| *m > here)
        } else {
            marks.iter().copied().rev().find(|m| *m < here)
        };
        target.map_or(self, |at| Self::Paused { at })
    }
}
