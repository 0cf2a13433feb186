//! How the machine goes from phase to phase, and to other settings.

use std::sync::Arc;

use super::collect::Place;
use super::machine::{Machine, Outlook, Trip};
use super::rules::Rules;
use super::types::StateName;
use super::window::Window;
use super::{Snapshot, State, Transition, words};
use crate::settings::{self, BreakerMode};

impl Machine {
    pub(super) fn open(&mut self, place: &Place<'_>, at: u64, cause: Arc<str>) {
        let from = self.phase;
        let mut shown = Arc::default();
        if from == State::Closed {
            let counts = self.window.counts(self.now);
            shown = self.shown(place, counts);
            self.trip = Some(Trip { counts, calls: Arc::clone(&shown) });
        } else {
            self.reopenings = self.reopenings.saturating_add(1);
        }
        self.empty();
        (self.phase, self.opened_at) = (State::Open, at);
        self.open_nanos = self.rules.open_nanos(self.reopenings);
        self.trips = self.trips.saturating_add(1);
        self.cause = Arc::clone(&cause);
        self.note(at, from, cause, shown);
    }

    pub(super) fn close(&mut self) {
        let cause = match self.good_probes {
            1 => "1 good probe".to_owned(),
            n => format!("{n} good probes in a row"),
        };
        self.empty();
        (self.phase, self.reopenings) = (State::Closed, 0);
        self.note(self.now, State::HalfOpen, cause.into(), Arc::default());
    }

    /// What every transition does: what was before no longer counts.
    pub(super) fn empty(&mut self) {
        self.generation += 1;
        self.window.clear();
        self.window.turn(self.now);
        // An empty window trips by no good call that is not the last of `min_calls`, and none of those by ratio.
        self.outlook = Outlook {
            settled: !self.rules.looks_at_ratios(),
            slice: self.window.slice_at(self.now),
            ..Outlook::default()
        };
        self.forget_calls();
        self.failed_since.clear();
        self.probes.clear();
        self.run = 0;
    }

    /// Calls in flight are not watched any more.
    fn forget_calls(&mut self) {
        self.epoch += 1;
        self.counted.clear();
        self.due = 0;
    }

    pub(super) fn reconfigure(&mut self, place: &Place<'_>, settings: &settings::Breaker, now: u64) {
        self.settle(place, now);
        if *settings == self.settings {
            return;
        }
        // Whoever counts meanwhile is seen by the second look, or counts under the old settings.
        self.hold(place);
        let (before, old_mode) = (self.state(), self.rules.mode);
        let rules = Rules::new(settings);
        self.settings = settings.clone();
        self.rule = words::rule(settings).into();
        self.changed = true;
        if rules.mode != old_mode {
            let cause = format!("mode changed from {} to {}", words::mode(old_mode), words::mode(rules.mode));
            self.start_clean(rules, before, cause.into());
            return;
        }
        if rules.window != self.rules.window {
            self.exchange(rules.window.as_ref());
        }
        if !rules.inflight_slow {
            self.forget_calls();
        }
        self.rules = rules;
        self.open_nanos = self.rules.open_nanos(self.reopenings);
        self.outlook.unjudged = true;
        self.due = 0;
    }

    /// Another window with what this one holds, also for good calls that are still on their way.
    fn exchange(&mut self, spec: Option<&settings::Window>) {
        let ends: Vec<u64> = self.tallies.iter().map(|tally| self.window.end_of(tally.slice)).collect();
        self.window.become_like(spec, self.now);
        self.window.turn(self.now);
        for (tally, end) in self.tallies.iter_mut().zip(ends) {
            tally.slice = self.window.slice_at(end.saturating_sub(1).min(self.now));
        }
        for (_, mark) in &mut self.counted {
            *mark = None;
        }
    }

    fn start_clean(&mut self, rules: Rules, before: State, cause: Arc<str>) {
        self.rules = rules;
        self.window = Window::new(self.rules.window.as_ref());
        self.empty();
        (self.phase, self.reopenings, self.opened_at, self.trip) = (State::Closed, 0, 0, None);
        self.open_nanos = self.rules.open_nanos(0);
        self.since = self.now;
        if self.state() != State::Closed {
            self.cause = Arc::clone(&cause);
        }
        if self.state() != before {
            let (at, to) = (self.now, self.state());
            self.push(Transition { at, from: before, to, cause, window: Arc::default(), by_mode: true });
        }
    }

    /// The state in force.
    pub(super) fn state(&self) -> State {
        match self.rules.mode {
            BreakerMode::ForcedOpen => State::Open,
            BreakerMode::ForcedClosed | BreakerMode::Disabled => State::Closed,
            BreakerMode::Auto | BreakerMode::Shadow => self.phase,
        }
    }

    pub(super) fn state_name(&self) -> StateName {
        StateName::new(self.rules.mode, self.phase)
    }

    pub(super) fn probe_at(&self) -> Option<u64> {
        (self.phase == State::Open).then(|| self.opened_at.saturating_add(self.open_nanos))
    }

    /// Looks only: nothing becomes overdue by being looked at.
    pub(super) fn snapshot(&mut self, place: &Place<'_>, now: u64) -> Snapshot {
        self.now = self.now.max(now);
        let (counts, window) = match &self.trip {
            Some(trip) if self.phase != State::Closed => (trip.counts, Arc::clone(&trip.calls)),
            _ => {
                let counts = self.window.counts(self.now);
                (counts, self.shown(place, counts))
            }
        };
        Snapshot {
            state: self.state(),
            mode: self.rules.mode,
            since: self.since,
            calls: counts.calls,
            failures: counts.failures,
            slow: counts.slow,
            window,
            rule: Arc::clone(&self.rule),
            cause: Arc::clone(&self.cause),
            probe_at: self.probe_at(),
            good_probes: if self.phase == State::HalfOpen { self.good_probes } else { 0 },
            needed_probes: self.rules.successes.max(1),
            refused: self.refused.saturating_add(place.refused()),
            trips: self.trips,
            version: 0,
        }
    }
}
