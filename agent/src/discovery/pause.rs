//! Pauses before a source is asked again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Pauses that double from 100 ms to 10 s; half of each is drawn, so that a source that comes back is not met by
/// everybody at once. They never end.
#[derive(Debug, Clone)]
pub struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Pauses {
    /// The next pause.
    pub fn draw(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        self.next = (self.next * 2).min(LONGEST);
        pause
    }

    /// Waits for it.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.draw()).await;
    }

    /// The source answered: the next pause is the first again.
    pub fn over(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_begin_again() {
        let mut pauses = Pauses::default();
        let drawn: Vec<_> = (0..20).map(|_| pauses.draw()).collect();
        assert!(drawn[0] >= FIRST / 2 && drawn[0] <= FIRST, "{drawn:?}");
        assert!(drawn[19] >= LONGEST / 2 && drawn[19] <= LONGEST, "{drawn:?}");
        pauses.over();
        assert!(pauses.draw() <= FIRST);
    }
}
