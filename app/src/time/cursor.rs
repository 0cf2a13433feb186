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
    /// What it does, in a word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Paused { .. } => "paused",
            Self::Playing { .. } => "playing",
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: i64) -> UnixNanos {
        UnixNanos(seconds * 1_000_000_000)
    }

    const X16: Speed = Speed(64);

    #[test]
    fn following_shows_the_newest_and_pausing_stays_there() {
        let cursor = Cursor::Following;
        assert_eq!(cursor.position(s(100), s(100)), s(100));
        let paused = cursor.toggle_follow(s(100), s(100));
        assert_eq!(paused, Cursor::Paused { at: s(100) });
        assert_eq!(paused.position(s(500), s(500)), s(100));
        assert_eq!(paused.toggle_follow(s(500), s(500)), Cursor::Following);
    }

    #[test]
    fn playing_goes_on_from_where_it_stood_at_its_speed() {
        let playing = Cursor::Paused { at: s(100) }.play(X16, s(1000), s(2000));
        assert_eq!(playing.position(s(1010), s(2000)), s(260));
        let slower = playing.play(Speed(1), s(1010), s(2000));
        assert_eq!(slower.position(s(1014), s(2000)), s(261), "a change of speed does not jump");
        assert_eq!(slower.pause(s(1014), s(2000)), Cursor::Paused { at: s(261) });
        assert_eq!(playing.position(s(900), s(2000)), s(100), "a clock that goes back does not rewind");
    }

    #[test]
    fn seeking_keeps_playing_and_stops_following() {
        let playing = Cursor::Playing { at: s(0), speed: X16, since: s(10) };
        assert_eq!(playing.seek(s(50), s(20)), Cursor::Playing { at: s(50), speed: X16, since: s(20) });
        assert_eq!(Cursor::Following.seek(s(50), s(20)), Cursor::Paused { at: s(50) });
    }

    #[test]
    fn the_end_of_the_source_ends_playing() {
        let playing = Cursor::Playing { at: s(90), speed: Speed::NORMAL, since: s(0) };
        assert_eq!(playing.tick(s(5), s(100), None, true), playing);
        assert_eq!(playing.tick(s(10), s(100), None, true), Cursor::Following);
        assert_eq!(playing.tick(s(10), s(100), None, false), Cursor::Paused { at: s(100) });
        assert_eq!(Cursor::Paused { at: s(90) }.tick(s(10), s(100), None, true), Cursor::Paused { at: s(90) });
    }

    #[test]
    fn a_lap_goes_round() {
        let lap = Some(TimeRange { from: s(80), to: s(95) });
        let playing = Cursor::Playing { at: s(90), speed: Speed::NORMAL, since: s(0) };
        assert_eq!(playing.tick(s(4), s(100), lap, true), playing);
        let wrapped = Cursor::Playing { at: s(80), speed: Speed::NORMAL, since: s(5) };
        assert_eq!(playing.tick(s(5), s(100), lap, true), wrapped);
        let nothing = Some(TimeRange { from: s(80), to: s(80) });
        assert_eq!(playing.tick(s(4), s(100), nothing, true), playing, "an empty lap is none");
    }

    #[test]
    fn steps_go_to_the_next_mark_and_stay_at_the_last() {
        let marks = [s(10), s(20), s(30)];
        let at = |n| Cursor::Paused { at: s(n) };
        assert_eq!(at(20).step(&marks, true, s(0), s(100)), at(30));
        assert_eq!(at(20).step(&marks, false, s(0), s(100)), at(10));
        assert_eq!(at(30).step(&marks, true, s(0), s(100)), at(30));
        assert_eq!(Cursor::Following.step(&marks, true, s(0), s(100)), Cursor::Following);
        assert_eq!(Cursor::Following.step(&marks, false, s(0), s(100)), at(30));
    }
}
