//! The state machine behind the lock.

use std::collections::VecDeque;
use std::sync::Arc;

use super::inflight::{InFlight, Seen};
use super::rules::Rules;
use super::window::{Counts, Samples, Window};
use super::{Admission, KEPT_TRANSITIONS, Outcome, Permit, Refusal, Snapshot, State, Transition, WindowCall, words};
use crate::settings::{self, BreakerMode};

/// Places for probes that are set aside at once.
const RESERVED_PROBES: u64 = 64;

#[derive(Debug, Clone, Copy)]
struct Probe {
    serial: u64,
    started: u64,
}

/// What tripped the breaker, for reports while it is not closed.
#[derive(Debug)]
struct Trip {
    counts: Counts,
    calls: Arc<[WindowCall]>,
}

#[derive(Debug)]
pub(super) struct Machine {
    settings: settings::Breaker,
    rules: Rules,
    rule: Arc<str>,
    /// The state of the rules; modes that beat them leave it closed.
    phase: State,
    /// Grows with every transition; permits of another one are late.
    generation: u64,
    serial: u64,
    /// Latest time seen.
    now: u64,
    since: u64,
    opened_at: u64,
    open_nanos: u64,
    /// Re-openings since last closed.
    reopenings: u64,
    /// Failures in a row.
    run: u64,
    good_probes: u64,
    /// In flight, in order of serial and so of start.
    probes: VecDeque<Probe>,
    window: Window,
    inflight: InFlight,
    samples: Samples,
    trip: Option<Trip>,
    cause: Arc<str>,
    refused: u64,
    trips: u64,
    transitions: VecDeque<Transition>,
    dropped_transitions: u64,
    /// Set with every change that a report shows; the caller takes it.
    pub(super) changed: bool,
}

impl Machine {
    pub(super) fn new(settings: &settings::Breaker, now: u64) -> Self {
        let rules = Rules::new(settings);
        let room = usize::try_from(rules.permits.min(RESERVED_PROBES)).unwrap_or(0);
        let mut inflight = InFlight::default();
        if rules.inflight_slow {
            inflight.reserve();
        }
        Self {
            rule: words::rule(settings).into(),
            window: Window::new(rules.window.as_ref()),
            open_nanos: rules.open_nanos(0),
            settings: settings.clone(),
            rules,
            phase: State::Closed,
            generation: 1,
            serial: 0,
            now,
            since: now,
            opened_at: 0,
            reopenings: 0,
            run: 0,
            good_probes: 0,
            probes: VecDeque::with_capacity(room),
            inflight,
            samples: Samples::new(),
            trip: None,
            cause: "".into(),
            refused: 0,
            trips: 0,
            transitions: VecDeque::with_capacity(KEPT_TRANSITIONS),
            dropped_transitions: 0,
            changed: true,
        }
    }

    pub(super) fn admit(&mut self, now: u64) -> Admission {
        self.settle(now);
        match self.rules.mode {
            BreakerMode::ForcedOpen => self.refuse(),
            BreakerMode::ForcedClosed | BreakerMode::Disabled => Admission::Admitted(self.late_permit(false)),
            BreakerMode::Auto | BreakerMode::Shadow => self.admit_by_rules(),
        }
    }

    fn admit_by_rules(&mut self) -> Admission {
        if self.phase == State::Open && self.now - self.opened_at >= self.open_nanos {
            self.generation += 1;
            (self.good_probes, self.phase) = (0, State::HalfOpen);
            let waited = format!("waited {} since it opened", words::duration((self.now - self.opened_at) / 1_000_000));
            self.note(self.now, State::Open, waited.into(), Arc::default());
        }
        let probe = match self.phase {
            State::Closed => false,
            State::HalfOpen if (self.probes.len() as u64) < self.rules.permits => true,
            State::HalfOpen | State::Open => {
                self.changed = true;
                if self.rules.mode == BreakerMode::Shadow {
                    self.refused = self.refused.saturating_add(1);
                    return Admission::Admitted(self.late_permit(true));
                }
                return self.refuse();
            }
        };
        self.serial += 1;
        if probe {
            self.probes.push_back(Probe { serial: self.serial, started: self.now });
            self.changed = true;
        } else if self.rules.inflight_slow {
            self.inflight.start(self.serial, self.now);
        }
        Admission::Admitted(Permit {
            generation: self.generation,
            serial: self.serial,
            started: self.now,
            probe,
            would_refuse: false,
            state: self.state_name(),
        })
    }

    /// A permit whose result reaches nothing.
    fn late_permit(&self, would_refuse: bool) -> Permit {
        let state = self.state_name();
        Permit { generation: 0, serial: 0, started: self.now, probe: false, would_refuse, state }
    }

    fn refuse(&mut self) -> Admission {
        self.refused = self.refused.saturating_add(1);
        self.changed = true;
        Admission::Refused(Refusal {
            state: self.state_name(),
            probe_at: self.probe_at(),
            cause: Arc::clone(&self.cause),
        })
    }

    pub(super) fn finish(&mut self, permit: &Permit, now: u64, outcome: Outcome, trace_id: Option<[u8; 16]>) {
        self.settle(now);
        if permit.generation != self.generation {
            return;
        }
        self.changed = true;
        let took = self.now.saturating_sub(permit.started);
        if permit.probe {
            self.probes.retain(|probe| probe.serial != permit.serial);
            self.finish_probe(outcome, self.rules.slow_ratio.is_some() && self.rules.is_slow(took));
        } else {
            self.finish_call(permit.serial, took, outcome, trace_id);
        }
    }

    fn finish_probe(&mut self, outcome: Outcome, slow: bool) {
        match outcome {
            Outcome::Cancelled => {}
            Outcome::Failure => self.open(self.now, "the probe failed".into()),
            Outcome::Success if slow => self.open(self.now, self.slow_probe()),
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

    fn finish_call(&mut self, serial: u64, took: u64, outcome: Outcome, trace_id: Option<[u8; 16]>) {
        let seen = if self.rules.inflight_slow { self.inflight.end(serial) } else { Seen::New };
        let failed = match outcome {
            Outcome::Cancelled => return,
            Outcome::Success => false,
            Outcome::Failure => true,
        };
        self.run = if failed { self.run.saturating_add(1) } else { 0 };
        let micros = micros(took);
        match seen {
            // Already counted as slow; a success adds nothing to that, a failure turns it into a failed one.
            Seen::Counted(_) if !failed => {}
            Seen::Counted(mark) => {
                if mark.is_some_and(|mark| self.window.fail(mark, self.now)) {
                    self.samples.fail(serial, micros, trace_id);
                } else {
                    self.record(serial, WindowCall { at: self.now, failed, slow: false, micros, trace_id });
                }
            }
            Seen::New => {
                let slow = self.rules.is_slow(took);
                self.record(serial, WindowCall { at: self.now, failed, slow, micros, trace_id });
            }
        }
        self.judge();
    }

    fn record(&mut self, serial: u64, call: WindowCall) {
        self.window.record(call.at, call.failed, call.slow);
        self.samples.push(serial, call);
    }

    /// Trips if the rules say so. Looked at after each recorded result.
    fn judge(&mut self) {
        if self.phase == State::Closed
            && let Some(cause) = self.trip_cause()
        {
            self.reopenings = 0;
            self.open(self.now, cause.into());
        }
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
    pub(super) fn settle(&mut self, now: u64) {
        self.now = self.now.max(now);
        match self.phase {
            State::HalfOpen => self.settle_probes(),
            State::Closed => self.settle_calls(),
            State::Open => {}
        }
    }

    fn settle_probes(&mut self) {
        let (Some(first), Some((limit, hung))) = (self.probes.front(), self.rules.probe_limit()) else { return };
        let due = first.started.saturating_add(limit);
        if due <= self.now {
            let cause = match hung {
                true => self.slow_probe(),
                false => {
                    let lease = words::duration(self.settings.probe_lease_ms.unwrap_or(0));
                    format!("the probe did not end within its lease of {lease}").into()
                }
            };
            self.open(due, cause);
        }
    }

    fn settle_calls(&mut self) {
        let Some(limit) = self.rules.slow_nanos.filter(|_| self.rules.inflight_slow) else { return };
        while let Some((serial, started)) = self.inflight.pop_slow(self.now, limit) {
            let mark = self.window.record(self.now, false, true);
            let micros = micros(self.now - started);
            self.samples.push(serial, WindowCall { at: self.now, failed: false, slow: true, micros, trace_id: None });
            self.inflight.count(serial, mark);
            self.changed = true;
            self.judge();
            if self.phase != State::Closed {
                return;
            }
        }
    }

    fn open(&mut self, at: u64, cause: Arc<str>) {
        let from = self.phase;
        let mut shown = Arc::default();
        if from == State::Closed {
            let counts = self.window.counts(self.now);
            shown = self.shown(counts);
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

    fn close(&mut self) {
        let cause = match self.good_probes {
            1 => "1 good probe".to_owned(),
            n => format!("{n} good probes in a row"),
        };
        self.empty();
        (self.phase, self.reopenings) = (State::Closed, 0);
        self.note(self.now, State::HalfOpen, cause.into(), Arc::default());
    }

    /// What every transition does: what was before no longer counts.
    fn empty(&mut self) {
        self.generation += 1;
        self.window.clear();
        self.inflight.clear();
        self.samples.clear();
        self.probes.clear();
        self.run = 0;
    }

    fn note(&mut self, at: u64, from: State, cause: Arc<str>, window: Arc<[WindowCall]>) {
        self.push(Transition { at, from, to: self.state(), cause, window, by_mode: false });
    }

    fn push(&mut self, transition: Transition) {
        self.since = transition.at;
        self.changed = true;
        if self.transitions.len() >= KEPT_TRANSITIONS {
            self.transitions.pop_front();
            self.dropped_transitions = self.dropped_transitions.saturating_add(1);
        }
        self.transitions.push_back(transition);
    }

    pub(super) fn reconfigure(&mut self, settings: &settings::Breaker, now: u64) {
        self.settle(now);
        if *settings == self.settings {
            return;
        }
        let (before, old_mode) = (self.state(), self.rules.mode);
        let rules = Rules::new(settings);
        let exchanged = rules.window != self.rules.window;
        self.settings = settings.clone();
        self.rule = words::rule(settings).into();
        self.changed = true;
        if rules.mode != old_mode {
            let cause = format!("mode changed from {} to {}", words::mode(old_mode), words::mode(rules.mode));
            self.start_clean(rules, before, cause.into());
            return;
        }
        if exchanged {
            self.window.become_like(rules.window.as_ref(), self.now);
            self.inflight.lose_marks();
        }
        if !rules.inflight_slow {
            self.inflight.clear();
        }
        self.rules = rules;
        self.open_nanos = self.rules.open_nanos(self.reopenings);
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
    fn state(&self) -> State {
        match self.rules.mode {
            BreakerMode::ForcedOpen => State::Open,
            BreakerMode::ForcedClosed | BreakerMode::Disabled => State::Closed,
            BreakerMode::Auto | BreakerMode::Shadow => self.phase,
        }
    }

    pub(super) fn state_name(&self) -> &'static str {
        match (self.rules.mode, self.phase) {
            (BreakerMode::Auto | BreakerMode::Shadow, State::Closed) => "closed",
            (BreakerMode::Auto | BreakerMode::Shadow, State::HalfOpen) => "half_open",
            (BreakerMode::Auto | BreakerMode::Shadow, State::Open) => "open",
            (mode, _) => words::mode(mode),
        }
    }

    fn probe_at(&self) -> Option<u64> {
        (self.phase == State::Open).then(|| self.opened_at.saturating_add(self.open_nanos))
    }

    /// The newest calls of the window; without one, those since it last closed.
    fn shown(&self, counts: Counts) -> Arc<[WindowCall]> {
        self.samples.newest(if self.window.exists() { counts.calls } else { u64::MAX }).into()
    }

    /// Looks only: nothing becomes overdue by being looked at.
    pub(super) fn snapshot(&mut self, now: u64) -> Snapshot {
        self.now = self.now.max(now);
        let (counts, window) = match &self.trip {
            Some(trip) if self.phase != State::Closed => (trip.counts, Arc::clone(&trip.calls)),
            _ => {
                let counts = self.window.counts(self.now);
                (counts, self.shown(counts))
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
            refused: self.refused,
            trips: self.trips,
            version: 0,
        }
    }

    pub(super) fn drain_transitions(&mut self) -> (Vec<Transition>, u64) {
        (self.transitions.drain(..).collect(), std::mem::take(&mut self.dropped_transitions))
    }
}

fn micros(nanos: u64) -> u32 {
    u32::try_from(nanos / 1_000).unwrap_or(u32::MAX)
}
