//! The way of nearly all calls: no lock, no allocation, no locked instruction but for calls watched in flight. Each of these
//! says when it cannot, and has changed nothing then.

use std::sync::atomic::{Ordering, fence};

use super::board::{Kind, View};
use super::machine::micros;
use super::stripe::Stripe;
use super::types::StateName;
use super::{Admission, Breaker, Outcome, Permit, Refusal, WindowCall, cause};

/// While `min_calls` may not be reached, one in so many good calls looks whether it is.
const LOOK_EACH: u64 = 32;

impl Breaker {
    #[inline]
    pub(super) fn try_admit(&self, now: u64) -> Option<Admission> {
        let (seat, stripe) = self.stripes.mine()?;
        let (word, view) = self.board.read()?;
        match view.kind {
            Kind::Closed => {
                let now = stripe.see(now);
                let mut permit = Permit::new(view.generation, now, view.state);
                if view.watched {
                    if now >= view.due {
                        return None;
                    }
                    permit.watch(seat, stripe.watch.start(now, view.epoch));
                }
                Some(Admission::Admitted(permit))
            }
            Kind::Free => Some(Admission::Admitted(Permit::new(0, stripe.see(now), view.state))),
            Kind::Refuse => self.try_refuse(stripe, word, &view, now),
            Kind::Locked => None,
        }
    }

    fn try_refuse(&self, stripe: &Stripe, word: u64, view: &View, now: u64) -> Option<Admission> {
        let now = stripe.see(now);
        if now >= view.due {
            return None;
        }
        if view.shadow {
            stripe.add_refused();
            let permit = Permit { would_refuse: true, ..Permit::new(0, now, view.state) };
            return Some(Admission::Admitted(permit));
        }
        let cause = cause::recall(self.number, word)?;
        stripe.add_refused();
        let probe_at = (view.state == StateName::Open).then_some(view.due);
        Some(Admission::Refused(Refusal { state: view.state.text(), probe_at, cause }))
    }

    #[inline]
    pub(super) fn try_finish(&self, permit: &Permit, now: u64, outcome: Outcome, trace_id: Option<[u8; 16]>) -> bool {
        let (Some((_, stripe)), Some((word, view))) = (self.stripes.mine(), self.board.read()) else { return false };
        let now = stripe.see(now);
        // Calls or probes in flight are overdue.
        let overdue = (view.watched || view.kind == Kind::Refuse) && now >= view.due;
        if overdue {
            return false;
        }
        if permit.generation != view.generation {
            return self.try_end(permit);
        }
        let took = now.saturating_sub(permit.started);
        match outcome {
            Outcome::Cancelled => !permit.probe && self.try_end(permit),
            Outcome::Success
                if view.kind == Kind::Closed
                    && stripe.word() == word
                    && now < view.turn_at
                    && took <= view.slow_over
                    && self.try_end(permit) =>
            {
                let call = WindowCall { at: now, failed: false, slow: false, micros: micros(took), trace_id };
                stripe.ring.push(&call);
                let before = stripe.add_good();
                if view.unsettled {
                    self.look_again(word, before);
                }
                true
            }
            Outcome::Success | Outcome::Failure => false,
        }
    }

    /// Frees the place of a call that was watched in flight, if it has not been counted there.
    #[inline]
    fn try_end(&self, permit: &Permit) -> bool {
        permit
            .spot()
            .is_none_or(|(seat, spot)| self.stripes.get(seat).is_some_and(|stripe| stripe.watch.end_young(spot)))
    }

    /// After a good call was counted under `word`, with `before` others.
    #[cold]
    fn look_again(&self, word: u64, before: u64) {
        fence(Ordering::SeqCst);
        if self.board.word() != word || before.is_multiple_of(LOOK_EACH) {
            self.judge_locked();
        }
    }
}
