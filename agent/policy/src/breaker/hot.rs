//! The way of nearly all calls: no lock, no allocation, no locked instruction but for calls watched in flight. Each `try_`
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
    /// Closed, and nothing to watch.
    #[inline(always)]
    pub(super) fn pass(&self, now: u64) -> Option<Permit> {
        let (_, stripe) = self.stripes.mine()?;
        let generation = self.board.pass()?;
        Some(Permit::new(generation, stripe.see(now), StateName::Closed))
    }

    #[inline(never)]
    pub(super) fn admit_otherwise(&self, now: u64) -> Admission {
        self.try_admit(now).unwrap_or_else(|| self.admit_locked(now))
    }

    fn try_admit(&self, now: u64) -> Option<Admission> {
        let (seat, stripe) = self.stripes.mine()?;
        let (word, view) = self.board.view()?;
        let now = stripe.see(now);
        match view.kind {
            Kind::Closed if view.watched && now >= view.due => None,
            Kind::Closed => {
                let permit = Permit::new(view.generation, now, view.state);
                let spot = if view.watched { stripe.watch.start(now, view.epoch) } else { None };
                Some(Admission::Admitted(permit.watched(seat, spot)))
            }
            Kind::Free => Some(Admission::Admitted(Permit::new(0, now, view.state))),
            Kind::Refuse => self.try_refuse(stripe, word, &view, now),
            Kind::Locked => None,
        }
    }

    fn try_refuse(&self, stripe: &Stripe, word: u64, view: &View, now: u64) -> Option<Admission> {
        if now >= view.due {
            return None;
        }
        if view.shadow {
            stripe.add_refused();
            return Some(Admission::Admitted(Permit::new(0, now, view.state).refused()));
        }
        let cause = cause::recall(self.number, word)?;
        stripe.add_refused();
        let probe_at = (view.state == StateName::Open).then_some(view.due);
        Some(Admission::Refused(Refusal { state: view.state.text(), probe_at, cause }))
    }

    /// Counts a good call that cannot trip the breaker.
    #[inline(always)]
    pub(super) fn count_good(&self, permit: &Permit, now: u64, trace_id: Option<[u8; 16]>) -> bool {
        let (Some((_, stripe)), Some((word, view))) = (self.stripes.mine(), self.board.view()) else { return false };
        let now = stripe.see(now);
        let took = now.saturating_sub(permit.started);
        let counts = view.kind == Kind::Closed
            && stripe.word() == word
            && permit.generation == view.generation
            && now < view.turn_at
            && took <= view.slow_over
            && !(view.watched && now >= view.due);
        if !counts || !self.try_end(permit) {
            return false;
        }
        stripe.ring.push(&WindowCall { at: now, failed: false, slow: false, micros: micros(took), trace_id });
        let before = stripe.add_good();
        if view.unsettled {
            self.look_again(word, before);
        }
        true
    }

    #[inline(never)]
    pub(super) fn finish_otherwise(&self, permit: &Permit, now: u64, outcome: Outcome, trace_id: Option<[u8; 16]>) {
        if !self.try_drop(permit, now, outcome) {
            self.finish_locked(permit, now, outcome, trace_id);
        }
    }

    /// A call whose result reaches nothing.
    fn try_drop(&self, permit: &Permit, now: u64, outcome: Outcome) -> bool {
        let (Some((_, stripe)), Some((_, view))) = (self.stripes.mine(), self.board.view()) else { return false };
        let now = stripe.see(now);
        let overdue = (view.watched || view.kind == Kind::Refuse) && now >= view.due;
        let late = permit.generation != view.generation;
        let cancelled = outcome == Outcome::Cancelled && !permit.is_probe();
        !overdue && (late || cancelled) && self.try_end(permit)
    }

    /// Frees the place of a call that was watched in flight, if it has not been counted there.
    #[inline]
    fn try_end(&self, permit: &Permit) -> bool {
        let end = |(seat, spot)| self.stripes.get(seat).is_some_and(|stripe| stripe.watch.end_young(spot));
        permit.spot().is_none_or(end)
    }

    /// After a good call was counted under `word`, with `before` others.
    #[inline(never)]
    fn look_again(&self, word: u64, before: u64) {
        // Ordered with `Board::hold`: one of the two sides sees the other.
        fence(Ordering::SeqCst);
        if self.board.word() != word || before.is_multiple_of(LOOK_EACH) {
            self.judge_locked();
        }
    }
}
