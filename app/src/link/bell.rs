//! When the window is woken: data that comes in many small pieces is painted together, ten times a second at most.

use std::time::Duration;

use tokio::time::Instant;

use super::standing::GRID;

/// How long answers to what was asked together wait for one another.
const TOGETHER: Duration = Duration::from_millis(10);

/// Decides when to wake the window.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Option<Instant>,
    due: Option<Instant>,
}

impl Bell {
    /// Somebody waits for what has come: it rings at once.
    pub(super) fn awaited(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// Data has come; `more` says that other answers are on their way. It rings when these had a moment to come too, and not
    /// before a tenth of a second has passed since it rang last.
    pub(super) fn data(&mut self, now: Instant, more: bool) {
        let ready = if more { now + TOGETHER } else { now };
        let at = self.rung.map_or(ready, |rung| ready.max(rung + GRID));
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// When it rings next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether it rings now.
    pub(super) fn rings(&mut self, now: Instant) -> bool {
        let rings = self.due.is_some_and(|due| due <= now);
        if rings {
            self.due = None;
            self.rung = Some(now);
        }
        rings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_flood_rings_ten_times_a_second() {
        let begun = Instant::now();
        let mut bell = Bell::default();
        let mut rung = 0;
        for i in 0..10_000 {
            let now = begun + MS * i;
            bell.data(now, i % 3 == 0);
            rung += u32::from(bell.rings(now));
        }
        assert_eq!(rung, 100);
    }

    #[test]
    fn a_single_answer_rings_at_once_and_one_of_many_after_a_moment() {
        let now = Instant::now();
        let mut bell = Bell::default();
        bell.data(now, false);
        assert!(bell.rings(now));
        assert_eq!(bell.due(), None);
        let later = now + GRID * 2;
        bell.data(later, true);
        assert!(!bell.rings(later));
        assert!(bell.rings(later + TOGETHER));
    }

    #[test]
    fn nobody_waits_for_the_grid_who_asked_for_something() {
        let now = Instant::now();
        let mut bell = Bell::default();
        bell.data(now, false);
        assert!(bell.rings(now));
        bell.data(now + MS, false);
        assert!(!bell.rings(now + MS));
        bell.awaited(now + MS * 2);
        assert!(bell.rings(now + MS * 2));
        assert_eq!(bell.due(), None, "what else had come is painted with it");
    }
}
