//! Between the lock and those who go without it: what the stripes have counted is collected on entering, what they may count
//! from now on is published on leaving.

use super::State;
use super::board::{Board, Kind, View};
use super::machine::Machine;
use super::ring::Shown;
use super::stripe::{COMMON, Stripe, Stripes};
use super::watch::{Seen, Spot};
use crate::settings::BreakerMode;

/// What the lock's holder knows of a stripe.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) seat: usize,
    /// The phase and the slice in which its calls count.
    pub(super) generation: u64,
    pub(super) slice: u64,
    /// Good calls collected so far.
    taken: u64,
    /// The first call in its ring that is of this phase.
    first: u64,
}

/// Where the lock's holder stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) board: &'a Board,
    pub(super) stripes: &'a Stripes,
    /// Its seat; [`COMMON`] without one.
    pub(super) seat: usize,
}

impl Place<'_> {
    pub(super) fn end(&self, seat: usize, spot: Spot) -> Seen {
        self.stripes.get(seat).map_or(Seen::New, |stripe| stripe.watch.end(spot))
    }

    pub(super) fn count(&self, seat: usize, spot: Spot, number: u64) -> bool {
        self.stripes.get(seat).is_some_and(|stripe| stripe.watch.count(spot, number))
    }

    pub(super) fn each_young(&self, epoch: u64, mut tell: impl FnMut(usize, Spot, u64)) {
        for seat in 0..=COMMON {
            if let Some(stripe) = self.stripes.get(seat) {
                stripe.watch.each_young(epoch, |spot, started| tell(seat, spot, started));
            }
        }
    }

    pub(super) fn newest(&self, tally: &Tally) -> Vec<Shown> {
        self.stripes.get(tally.seat).map_or_else(Vec::new, |stripe| stripe.ring.newest(tally.first))
    }

    pub(super) fn refused(&self) -> u64 {
        self.stripes.each().map(Stripe::refused).sum()
    }
}

impl Machine {
    /// Takes over what was counted without the lock since the last time.
    pub(super) fn collect(&mut self, place: &Place<'_>) {
        for tally in &mut self.tallies {
            let Some(stripe) = place.stripes.get(tally.seat) else { continue };
            self.now = self.now.max(stripe.latest());
            let good = stripe.good();
            let calls = good - std::mem::replace(&mut tally.taken, good);
            // Of an earlier phase: too late to count.
            if calls > 0 && tally.generation == self.generation {
                self.window.add_calls(tally.slice, calls, self.now);
                self.run = 0;
            }
        }
    }

    /// Sends everybody to the lock, and takes over what they have counted up to that.
    pub(super) fn hold(&mut self, place: &Place<'_>) {
        if !self.held {
            self.held = true;
            place.board.hold();
        }
        self.collect(place);
    }

    /// A bad call is about to be counted. While `min_calls` is not reached, a good one counted at the same moment could
    /// reach it: either it is seen here, or it sees the board held and comes to be judged.
    pub(super) fn expect_bad(&mut self, place: &Place<'_>) {
        if self.phase == State::Closed && !self.outlook.settled {
            self.hold(place);
        }
    }

    /// The stripe of this thread, made if need be; what is put into its ring from now on is of this phase.
    pub(super) fn own<'a>(&mut self, place: &Place<'a>) -> Option<&'a Stripe> {
        let stripe = place.stripes.get_or_make(place.seat)?;
        let (generation, slice) = (self.generation, self.outlook.slice);
        match self.tallies.iter_mut().find(|tally| tally.seat == place.seat) {
            Some(tally) if tally.generation == generation => {}
            Some(tally) => {
                (tally.generation, tally.slice, tally.first) = (generation, slice, stripe.ring.pushed());
            }
            None => self.tallies.push(Tally { seat: place.seat, generation, slice, taken: 0, first: 0 }),
        }
        Some(stripe)
    }

    /// Publishes what has become of the state, and lets this thread count under it.
    pub(super) fn leave(&mut self, place: &Place<'_>) {
        let view = self.view();
        let held = std::mem::take(&mut self.held);
        match self.published.replace(view) {
            Some(before) if !held && before == view => {}
            Some(before) if !held && view.kind == Kind::Closed && before == (View { due: before.due, ..view }) => {
                place.board.put_off(view.due);
            }
            _ => place.board.publish(&view),
        }
        let Some(stripe) = place.stripes.get(place.seat) else { return };
        stripe.see(self.now);
        let word = place.board.word();
        if stripe.word() != word {
            self.own(place);
            if let Some(tally) = self.tallies.iter_mut().find(|tally| tally.seat == place.seat) {
                tally.slice = self.outlook.slice;
            }
            stripe.roll(word);
        }
    }

    /// How calls are to be treated without the lock.
    fn view(&self) -> View {
        let (mode, by_rules) = (self.rules.mode, matches!(self.rules.mode, BreakerMode::Auto | BreakerMode::Shadow));
        let (kind, due) = match self.phase {
            _ if mode == BreakerMode::ForcedOpen => (Kind::Refuse, u64::MAX),
            _ if !by_rules => (Kind::Free, u64::MAX),
            State::Closed if self.outlook.unjudged || self.outlook.hazard => (Kind::Locked, self.due),
            State::Closed => (Kind::Closed, self.due),
            State::Open => (Kind::Refuse, self.probe_at().unwrap_or(0)),
            State::HalfOpen if (self.probes.len() as u64) < self.rules.permits => (Kind::Locked, 0),
            State::HalfOpen => (Kind::Refuse, self.probes_due().unwrap_or(u64::MAX)),
        };
        View {
            kind,
            state: self.state_name(),
            shadow: mode == BreakerMode::Shadow,
            watched: self.rules.inflight_slow && self.phase == State::Closed && by_rules,
            unsettled: !self.outlook.settled,
            generation: self.generation,
            turn_at: self.window.end_of(self.outlook.slice),
            slow_over: self.rules.slow_nanos.unwrap_or(u64::MAX),
            due,
            epoch: self.epoch,
        }
    }
}
