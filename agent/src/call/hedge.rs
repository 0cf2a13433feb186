//! Attempts beside one that takes long.

use fuseboard_policy::pipeline::NoHedge;
use tokio::time::Instant;

use super::{LiveAttempt, LiveCall, NoPlace};

impl LiveCall {
    /// When the attempts under way are to be joined by another; `None` if they are not, as things stand.
    pub(crate) fn hedge_at(&self) -> Option<Instant> {
        Some(self.agent.clock.instant(self.rules.as_ref().ok()?.hedge_at()?))
    }

    /// Another attempt beside those under way, where the rules allow it. `key` is what the balancer hashes.
    pub(crate) fn hedge(&mut self, key: &[u8]) -> Option<LiveAttempt> {
        let started = Instant::now();
        let call = self.rules.as_mut().ok()?;
        match call.hedge(self.agent.clock.nanos(started), key, rand::random::<f64>) {
            Ok(permit) => Some(self.open(permit, started, None)),
            Err(NoHedge::Budget) => {
                let cause = "the retry budget of the edge is spent: no hedge is sent".to_owned();
                self.draw(&self.target.refusal("retry_budget", cause, "unavailable".to_owned()), |_| {});
                None
            }
            Err(_) => None,
        }
    }

    /// A hedge has nowhere to go: it counts for nothing, and those under way go on.
    pub(crate) fn stranded(&mut self, mut attempt: LiveAttempt, none: NoPlace) {
        if let (Ok(call), Some(permit)) = (&mut self.rules, attempt.permit.take()) {
            call.cancel(permit);
        }
        attempt.refuse(&self.target.refusal(none.rule, none.cause, "unavailable".to_owned()));
    }
}
