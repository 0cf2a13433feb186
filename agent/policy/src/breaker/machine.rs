//! The state machine behind the lock: whatever may change the state, and all results but good ones that cannot.

use std::collections::VecDeque;
use std::sync::Arc;

use super::board::View;
use super::collect::{Place, Tally};
use super::ring::Shown;
use super::rules::Rules;
use super::stripe::Stripe;
use super::watch::{Seen, Spot};
use super::window::{Counts, Mark, Window};
use super::{Admission, KEPT_TRANSITIONS, Outcome, Permit, Refusal, SHOWN_CALLS, State, Transition, WindowCall, words};
use crate::fraction::Decimal;
use crate::settings::{self, BreakerMode};

/// Places for probes that are set aside at once.
const RESERVED_PROBES: u64 = 64;
/// Most calls in flight that are counted as slow; more than these are looked at only when they end.
const MOST_COUNTED: usize = 1 << 14;

#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    pub(super) serial: u64,
    pub(super) started: u64,
}

/// What tripped the breaker, for reports while it is not closed.
#[derive(Debug)]
pub(super) struct Trip {
    pub(super) counts: Counts,
    pub(super) calls: Arc<[WindowCall]>,
}

/// What is known of the verdicts to come while closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Outlook {
    /// The settings have changed: the next result is to be judged, whatever it is.
    pub(super) unjudged: bool,
    /// The window holds `min_calls`, and will until a slice leaves it: good calls only lower the ratios.
    pub(super) settled: bool,
    /// Not settled, and there are so many bad calls that a good one may complete `min_calls` and trip.
    pub(super) hazard: bool,
    /// The slice in which the last verdict was.
    pub(super) slice: u64,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) settings: settings::Breaker,
    pub(super) rules: Rules,
    pub(super) rule: Arc<str>,
    /// The state of the rules; modes that beat them leave it closed.
    pub(super) phase: State,
    /// Grows with every transition; permits of another one are late.
    pub(super) generation: u64,
    serial: u64,
    /// Latest time seen.
    pub(super) now: u64,
    pub(super) since: u64,
    pub(super) opened_at: u64,
    pub(super) open_nanos: u64,
    /// Re-openings since last closed.
    pub(super) reopenings: u64,
    /// Failures in a row.
    pub(super) run: u64,
    pub(super) good_probes: u64,
    /// In flight, in order of serial and so of start.
    pub(super) probes: VecDeque<Probe>,
    pub(super) window: Window,
    pub(super) outlook: Outlook,
    /// What is known of the stripes that exist.
    pub(super) tallies: Vec<Tally>,
    /// Grows when calls in flight are forgotten.
    pub(super) epoch: u64,
    /// No call in flight is overdue before this.
    pub(super) due: u64,
    /// Calls counted as slow in flight, by number; the place is lost when the window was exchanged since.
    pub(super) counted: VecDeque<(u64, Option<Mark>)>,
    numbered: u64,
    /// Counted calls that are shown and have failed since, by number.
    pub(super) failed_since: VecDeque<(u64, u32, Option<[u8; 16]>)>,
    pub(super) trip: Option<Trip>,
    pub(super) cause: Arc<str>,
    pub(super) refused: u64,
    pub(super) trips: u64,
    pub(super) transitions: VecDeque<Transition>,
    pub(super) dropped_transitions: u64,
    /// The last publication, and whether the board was held since.
    pub(super) published: Option<View>,
    pub(super) held: bool,
    /// Set with every change that a report shows; the caller takes it.
    pub(super) changed: bool,
}

impl Machine {
    pub(super) fn new(settings: &settings::Breaker, now: u64) -> Self {
        let rules = Rules::new(settings);
        let room = usize::try_from(rules.permits.min(RESERVED_PROBES)).unwrap_or(0);
        let mut machine = Self {
            rule: words::rule(settings).into(),
            window: Window::new(rules.window.as_ref()),
            open_nanos: rules.open_nanos(0),
            settings: settings.clone(),
            rules,
            phase: State::Closed,
            generation: 0,
            serial: 0,
            now,
            since: now,
            opened_at: 0,
            reopenings: 0,
            run: 0,
            good_probes: 0,
            probes: VecDeque::with_capacity(room),
            outlook: Outlook::default(),
            tallies: Vec::new(),
            epoch: 0,
            due: 0,
            counted: VecDeque::new(),
            numbered: 0,
            failed_since: VecDeque::new(),
            trip: None,
            cause: "".into(),
            refused: 0,
            trips: 0,
            transitions: VecDeque::new(),
            dropped_transitions: 0,
            published: None,
            held: false,
            changed: true,
        };
        machine.empty();
        machine
    }

    pub(super) fn admit(&mut self, place: &Place<'_>, now: u64) -> Admission {
        self.settle(place, now);
        let stripe = self.own(place);
        match self.rules.mode {
            BreakerMode::ForcedOpen => self.refuse(),
            BreakerMode::ForcedClosed | BreakerMode::Disabled => Admission::Admitted(self.late_permit()),
            BreakerMode::Auto | BreakerMode::Shadow => self.admit_by_rules(place, stripe),
        }
    }

    fn admit_by_rules(&mut self, place: &Place<'_>, stripe: Option<&Stripe>) -> Admission {
        if self.phase == State::Open && self.now - self.opened_at >= self.open_nanos {
            self.generation += 1;
            (self.good_probes, self.phase) = (0, State::HalfOpen);
            let waited = format!("waited {} since it opened", words::duration((self.now - self.opened_at) / 1_000_000));
            self.note(self.now, State::Open, waited.into(), Arc::default());
        }
        let mut permit = Permit::new(self.generation, self.now, self.state_name());
        match self.phase {
            State::Closed if self.rules.inflight_slow => {
                let spot = stripe.and_then(|stripe| stripe.watch.start(self.now, self.epoch));
                permit = permit.watched(place.seat, spot);
            }
            State::Closed => {}
            State::HalfOpen if (self.probes.len() as u64) < self.rules.permits => {
                self.serial += 1;
                self.probes.push_back(Probe { serial: self.serial, started: self.now });
                self.changed = true;
                permit = permit.probe(self.serial);
            }
            State::HalfOpen | State::Open if self.rules.mode == BreakerMode::Shadow => {
                self.changed = true;
                self.refused = self.refused.saturating_add(1);
                permit = self.late_permit().refused();
            }
            State::HalfOpen | State::Open => return self.refuse(),
        }
        Admission::Admitted(permit)
    }

    /// A permit whose result reaches nothing.
    fn late_permit(&self) -> Permit {
        Permit::new(0, self.now, self.state_name())
    }

    fn refuse(&mut self) -> Admission {
        self.refused = self.refused.saturating_add(1);
        self.changed = true;
        Admission::Refused(Refusal {
            state: self.state_name().text(),
            probe_at: self.probe_at(),
            cause: Arc::clone(&self.cause),
        })
    }

    pub(super) fn finish(
        &mut self,
        place: &Place<'_>,
        permit: &Permit,
        now: u64,
        outcome: Outcome,
        trace_id: Option<[u8; 16]>,
    ) {
        self.settle(place, now);
        // Whatever became of its phase, its place is free again.
        let seen = permit.spot().map_or(Seen::New, |(seat, spot)| place.end(seat, spot));
        if permit.generation != self.generation {
            return;
        }
        self.changed = true;
        let took = self.now.saturating_sub(permit.started);
        if permit.is_probe() {
            self.probes.retain(|probe| probe.serial != permit.serial());
            self.finish_probe(place, outcome, self.rules.slow_ratio.is_some() && self.rules.is_slow(took));
        } else {
            let counted = self.take_counted(seen);
            self.finish_call(place, counted, took, outcome, trace_id);
        }
    }

    fn finish_probe(&mut self, place: &Place<'_>, outcome: Outcome, slow: bool) {
        match outcome {
            Outcome::Cancelled => {}
            Outcome::Failure => self.open(place, self.now, "the probe failed".into()),
            Outcome::Success if slow => self.open(place, self.now, self.slow_probe()),
            Outcome::Success => {
                self.good_probes += 1;
                if self.good_probes >= self.rules.successes {
                    self.close();
                }
            }
        }
    }

    fn slow_probe(&self) -> Arc<str> {
        format!("the probe took longer than {}", words::duration(self.settings.slow_ms.unwrap_or(0))).into()
    }

    fn finish_call(
        &mut self,
        place: &Place<'_>,
        counted: Option<(u64, Option<Mark>)>,
        took: u64,
        outcome: Outcome,
        trace_id: Option<[u8; 16]>,
    ) {
        let failed = match outcome {
            Outcome::Cancelled => return,
            Outcome::Success => false,
            Outcome::Failure => true,
        };
        let slow = counted.is_none() && self.rules.is_slow(took);
        if failed || slow {
            self.expect_bad(place);
        }
        self.run = if failed { self.run.saturating_add(1) } else { 0 };
        let call = WindowCall { at: self.now, failed, slow, micros: micros(took), trace_id };
        match counted {
            // Already counted as slow; a success adds nothing to that, a failure turns it into a failed one.
            Some(_) if !failed => {}
            Some((number, mark)) if mark.is_some_and(|mark| self.window.fail(mark, self.now)) => {
                // Older ones are not shown any more.
                self.failed_since.retain(|(failed, ..)| failed + SHOWN_CALLS as u64 > self.numbered);
                self.failed_since.push_back((number, call.micros, trace_id));
            }
            _ => {
                self.window.record(self.now, failed, slow);
                if let Some(stripe) = self.own(place) {
                    stripe.ring.push(&call);
                }
            }
        }
        self.judge(place);
    }

    /// Trips if the rules say so. Looked at after each recorded result.
    pub(super) fn judge(&mut self, place: &Place<'_>) {
        if self.phase != State::Closed {
            return;
        }
        if let Some(cause) = self.trip_cause() {
            self.reopenings = 0;
            self.open(place, self.now, cause.into());
            return;
        }
        self.window.turn(self.now);
        let held = self.window.counts(self.now);
        let (min, rules) = (self.rules.min_calls.max(1), &self.rules);
        let completed = |hits, ratio: Option<Decimal>| hits > 0 && ratio.is_some_and(|r| r.reached_by(hits, min));
        let settled = held.calls >= min || !rules.looks_at_ratios();
        self.outlook = Outlook {
            unjudged: false,
            settled,
            hazard: !settled
                && (completed(held.failures, rules.failure_ratio) || completed(held.slow, rules.slow_ratio)),
            slice: self.window.slice_at(self.now),
        };
    }

    fn trip_cause(&mut self) -> Option<String> {
        let rules = &self.rules;
        if rules.consecutive.is_some_and(|limit| self.run >= limit && self.run > 0) {
            return Some(format!("{} failures in a row (≥ {})", self.run, rules.consecutive.unwrap_or(0)));
        }
        let held = self.window.counts(self.now);
        if let Some(limit) = rules.failure_count.filter(|&limit| held.failures >= limit && held.failures > 0) {
            return Some(words::count_cause(held.failures, limit, rules.window.as_ref()));
        }
        if held.calls == 0 || held.calls < rules.min_calls {
            return None;
        }
        if held.failures > 0 && rules.failure_ratio.is_some_and(|limit| limit.reached_by(held.failures, held.calls)) {
            let limit = self.settings.failure_ratio.unwrap_or(0.0);
            return Some(words::ratio_cause(held.failures, held.calls, limit, "failed"));
        }
        if held.slow > 0 && rules.slow_ratio.is_some_and(|limit| limit.reached_by(held.slow, held.calls)) {
            let limit = self.settings.slow_ratio.unwrap_or(0.0);
            let what = format!("took longer than {}", words::duration(self.settings.slow_ms.unwrap_or(0)));
            return Some(words::ratio_cause(held.slow, held.calls, limit, &what));
        }
        None
    }

    /// Brings everything to `now`: overdue probes have failed, hung calls are slow.
    pub(super) fn settle(&mut self, place: &Place<'_>, now: u64) {
        self.now = self.now.max(now);
        match self.phase {
            State::HalfOpen => self.settle_probes(place),
            State::Closed => self.settle_calls(place),
            State::Open => {}
        }
    }

    fn settle_probes(&mut self, place: &Place<'_>) {
        let Some(due) = self.probes_due().filter(|due| *due <= self.now) else { return };
        let cause = match self.rules.probe_limit() {
            Some((_, true)) => self.slow_probe(),
            _ => {
                let lease = words::duration(self.settings.probe_lease_ms.unwrap_or(0));
                format!("the probe did not end within its lease of {lease}").into()
            }
        };
        self.open(place, due, cause);
    }

    /// When the oldest probe has failed, ended or not.
    pub(super) fn probes_due(&self) -> Option<u64> {
        let (limit, _) = self.rules.probe_limit()?;
        Some(self.probes.front()?.started.saturating_add(limit))
    }

    fn settle_calls(&mut self, place: &Place<'_>) {
        let Some(limit) = self.rules.slow_nanos.filter(|_| self.rules.inflight_slow) else { return };
        if self.now < self.due {
            return;
        }
        let (mut overdue, mut oldest) = (Vec::new(), self.now);
        place.each_young(self.epoch, |seat, spot, started| {
            if self.now.saturating_sub(started) > limit {
                overdue.push((started, seat, spot));
            } else {
                oldest = oldest.min(started);
            }
        });
        overdue.sort_by_key(|(started, ..)| *started);
        self.due = oldest.saturating_add(limit).saturating_add(1);
        for (started, seat, spot) in overdue {
            if self.counted.len() >= MOST_COUNTED {
                self.due = 0;
                return;
            }
            self.count_hung(place, seat, spot, self.now - started);
            if self.phase != State::Closed {
                return;
            }
        }
    }

    fn count_hung(&mut self, place: &Place<'_>, seat: usize, spot: Spot, took: u64) {
        self.expect_bad(place);
        if !place.count(seat, spot, self.numbered + 1) {
            return;
        }
        self.numbered += 1;
        let mark = self.window.record(self.now, false, true);
        let call = WindowCall { at: self.now, failed: false, slow: true, micros: micros(took), trace_id: None };
        if let Some(stripe) = self.own(place) {
            stripe.ring.push_in_flight(&call, self.numbered);
        }
        self.counted.push_back((self.numbered, Some(mark)));
        self.changed = true;
        self.judge(place);
    }

    /// What is remembered of a call counted in flight, for the last time.
    fn take_counted(&mut self, seen: Seen) -> Option<(u64, Option<Mark>)> {
        let Seen::Counted(number) = seen else { return None };
        let place = self.counted.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.counted.remove(place)
    }

    /// The calls of this phase that are shown, newest last; `counts` is what the window holds.
    pub(super) fn shown(&self, place: &Place<'_>, counts: Counts) -> Arc<[WindowCall]> {
        let of_phase = self.tallies.iter().filter(|tally| tally.generation == self.generation);
        let mut calls: Vec<Shown> = of_phase.flat_map(|tally| place.newest(tally)).collect();
        calls.sort_by_key(|(call, _)| call.at);
        // Without a window, those since it last closed.
        let most = if self.window.exists() { counts.calls } else { u64::MAX };
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(SHOWN_CALLS);
        let newest = calls.split_off(calls.len().saturating_sub(most));
        newest.into_iter().map(|(call, number)| self.corrected(call, number)).collect()
    }

    fn corrected(&self, call: WindowCall, number: Option<u64>) -> WindowCall {
        let since = self.failed_since.iter().find(|(failed, ..)| Some(*failed) == number);
        since.map_or(call, |(_, micros, trace_id)| WindowCall {
            failed: true,
            micros: *micros,
            trace_id: *trace_id,
            ..call
        })
    }

    pub(super) fn note(&mut self, at: u64, from: State, cause: Arc<str>, window: Arc<[WindowCall]>) {
        self.push(Transition { at, from, to: self.state(), cause, window, by_mode: false });
    }

    pub(super) fn push(&mut self, transition: Transition) {
        self.since = transition.at;
        self.changed = true;
        if self.transitions.len() >= KEPT_TRANSITIONS {
            self.transitions.pop_front();
            self.dropped_transitions = self.dropped_transitions.saturating_add(1);
        }
        self.transitions.push_back(transition);
    }
}

#[inline]
pub(super) fn micros(nanos: u64) -> u32 {
    u32::try_from(nanos / 1_000).unwrap_or(u32::MAX)
}
