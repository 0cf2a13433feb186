//! The breaker against a model of its rules in plain lists, driven by the same random operations.

use fuseboard_policy::breaker::{Admission, Breaker, Outcome, Permit, SHOWN_CALLS, State};
use fuseboard_policy::settings::{self, BreakerMode, OpenBackoff, Window};
use proptest::prelude::*;

const MS: u64 = 1_000_000;

/// A call as the window shows it, found again by the number of its permit where it was counted in flight.
#[derive(Debug, Clone, Copy)]
struct Shown {
    call: Told,
    number: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    slice: u64,
    failed: bool,
    slow: bool,
    number: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Held {
    Plain,
    Young,
    Counted,
    Probe,
    Late,
}

#[derive(Debug, Default)]
struct Model {
    set: settings::Breaker,
    now: u64,
    phase: State,
    since: u64,
    opened_at: u64,
    reopenings: u32,
    run: u64,
    good_probes: u64,
    entries: Vec<Entry>,
    shown: Vec<Shown>,
    /// Permits that are out: number, start, what they are.
    out: Vec<(u64, u64, Held)>,
    numbered: u64,
    trip: Option<(Counts, Vec<Told>)>,
    refused: u64,
    trips: u64,
    transitions: Vec<(u64, State, State)>,
}

/// Calls, failures, slow ones.
type Counts = (u64, u64, u64);

/// When, whether it failed and was slow, microseconds.
type Told = (u64, bool, bool, u32);

impl Model {
    fn mode(&self) -> BreakerMode {
        self.set.mode.unwrap_or_default()
    }

    fn slice(&self, at: u64) -> u64 {
        match self.set.window {
            Some(Window::Time { ms, buckets }) => at / (ms * MS / buckets),
            _ => 0,
        }
    }

    fn alive(&self) -> Vec<Entry> {
        match self.set.window {
            None => Vec::new(),
            Some(Window::Count { size }) => self.entries[self.entries.len().saturating_sub(size as usize)..].to_vec(),
            Some(Window::Time { buckets, .. }) => {
                let current = self.slice(self.now);
                self.entries.iter().filter(|entry| entry.slice + buckets > current).copied().collect()
            }
        }
    }

    fn counts(&self) -> Counts {
        let alive = self.alive();
        let of = |which: fn(&Entry) -> bool| alive.iter().filter(|entry| which(entry)).count() as u64;
        (alive.len() as u64, of(|entry| entry.failed), of(|entry| entry.slow))
    }

    fn newest(&self) -> Vec<Told> {
        let most = if self.set.window.is_some() { self.counts().0 as usize } else { usize::MAX };
        let first = self.shown.len().saturating_sub(most.min(SHOWN_CALLS));
        self.shown[first..].iter().map(|shown| shown.call).collect()
    }

    fn state(&self) -> State {
        match self.mode() {
            BreakerMode::ForcedOpen => State::Open,
            BreakerMode::ForcedClosed | BreakerMode::Disabled => State::Closed,
            BreakerMode::Auto | BreakerMode::Shadow => self.phase,
        }
    }

    fn go(&mut self, at: u64, phase: State) {
        self.transitions.push((at, self.phase, phase));
        (self.phase, self.since) = (phase, at);
        self.out.iter_mut().for_each(|(_, _, held)| *held = Held::Late);
    }

    fn empty(&mut self) {
        self.entries.clear();
        self.shown.clear();
        self.run = 0;
    }

    fn open(&mut self, at: u64) {
        if self.phase == State::Closed {
            self.reopenings = 0;
            self.trip = Some((self.counts(), self.newest()));
        } else {
            self.reopenings += 1;
        }
        self.empty();
        self.opened_at = at;
        self.trips += 1;
        self.go(at, State::Open);
    }

    fn open_until(&self) -> u64 {
        let open = self.set.open_ms.unwrap_or(5_000);
        let open = match &self.set.open_backoff {
            Some(backoff) => {
                (open as f64 * backoff.multiplier.powi(self.reopenings as i32)).min(backoff.max_ms as f64) as u64
            }
            None => open,
        };
        self.opened_at + open * MS
    }

    fn inflight(&self) -> bool {
        self.set.inflight_slow == Some(true) && self.set.slow_ms.is_some()
    }

    fn is_slow(&self, took: u64) -> bool {
        self.set.slow_ms.is_some_and(|ms| took > ms * MS)
    }

    fn settle(&mut self, now: u64) {
        self.now = self.now.max(now);
        if self.phase == State::HalfOpen {
            let lease = self.set.probe_lease_ms.map(|ms| ms * MS);
            let hung =
                self.set.slow_ms.filter(|_| self.inflight() && self.set.slow_ratio.is_some()).map(|ms| ms * MS + 1);
            let limit = lease.into_iter().chain(hung).min();
            let oldest = self.out.iter().filter(|(_, _, held)| *held == Held::Probe).map(|(_, at, _)| *at).min();
            if let (Some(limit), Some(oldest)) = (limit, oldest)
                && oldest + limit <= self.now
            {
                self.open(oldest + limit);
            }
        }
        for at in 0..self.out.len() {
            let (number, started, held) = self.out[at];
            if held == Held::Young && self.phase == State::Closed && self.is_slow(self.now - started) {
                self.out[at].2 = Held::Counted;
                self.record(false, true, self.now - started, Some(number));
                self.judge();
            }
        }
    }

    fn record(&mut self, failed: bool, slow: bool, took: u64, number: Option<u64>) {
        self.entries.push(Entry { slice: self.slice(self.now), failed, slow, number });
        self.shown.push(Shown { call: (self.now, failed, slow, (took / 1_000) as u32), number });
    }

    fn judge(&mut self) {
        let (calls, failures, slow) = self.counts();
        let min = match self.set.window {
            Some(Window::Count { size }) => self.set.min_calls.unwrap_or(1).min(size),
            _ => self.set.min_calls.unwrap_or(1),
        };
        let reached = |hits: u64, ratio: Option<f64>| {
            hits > 0 && calls >= min && ratio.is_some_and(|r| hits * 100 >= (r * 100.0).round() as u64 * calls)
        };
        let trips = self.set.consecutive_failures.is_some_and(|limit| self.run > 0 && self.run >= limit)
            || self.set.failure_count.is_some_and(|limit| failures > 0 && failures >= limit)
            || reached(failures, self.set.failure_ratio)
            || reached(slow, self.set.slow_ratio);
        if trips {
            self.open(self.now);
        }
    }

    /// The number of the permit, and probe, would be refused; or none and when to try again.
    fn admit(&mut self, now: u64) -> Result<(u64, bool, bool), Option<u64>> {
        self.settle(now);
        let late = |model: &mut Self, would_refuse| Ok((model.give(Held::Late), false, would_refuse));
        match self.mode() {
            BreakerMode::ForcedOpen => {
                self.refused += 1;
                return Err(None);
            }
            BreakerMode::ForcedClosed | BreakerMode::Disabled => return late(self, false),
            BreakerMode::Auto | BreakerMode::Shadow => {}
        }
        if self.phase == State::Open && self.now >= self.open_until() {
            self.good_probes = 0;
            self.go(self.now, State::HalfOpen);
        }
        let probes = self.out.iter().filter(|(_, _, held)| *held == Held::Probe).count() as u64;
        match self.phase {
            State::Closed if self.inflight() => Ok((self.give(Held::Young), false, false)),
            State::Closed => Ok((self.give(Held::Plain), false, false)),
            State::HalfOpen if probes < self.set.half_open_permits.unwrap_or(1) => {
                Ok((self.give(Held::Probe), true, false))
            }
            _ => {
                self.refused += 1;
                if self.mode() == BreakerMode::Shadow {
                    return late(self, true);
                }
                Err((self.phase == State::Open).then(|| self.open_until()))
            }
        }
    }

    fn give(&mut self, held: Held) -> u64 {
        self.numbered += 1;
        self.out.push((self.numbered, self.now, held));
        self.numbered
    }

    fn finish(&mut self, number: u64, now: u64, outcome: Outcome) {
        self.settle(now);
        let at = self.out.iter().position(|(n, ..)| *n == number).unwrap();
        let (_, started, held) = self.out.remove(at);
        let (took, failed) = (self.now - started, outcome == Outcome::Failure);
        match held {
            _ if outcome == Outcome::Cancelled => {}
            Held::Late => {}
            Held::Probe if failed || self.set.slow_ratio.is_some() && self.is_slow(took) => self.open(self.now),
            Held::Probe => {
                self.good_probes += 1;
                if self.good_probes >= self.set.half_open_successes.unwrap_or(1) {
                    self.empty();
                    self.reopenings = 0;
                    self.go(self.now, State::Closed);
                }
            }
            Held::Plain | Held::Young | Held::Counted => {
                self.run = if failed { self.run + 1 } else { 0 };
                if held != Held::Counted {
                    self.record(failed, self.is_slow(took), took, None);
                } else if failed {
                    self.fail(number, took);
                }
                self.judge();
            }
        }
    }

    /// A call counted in flight has failed.
    fn fail(&mut self, number: u64, took: u64) {
        if !self.alive().iter().any(|entry| entry.number == Some(number)) {
            return self.record(true, false, took, None);
        }
        self.entries.iter_mut().filter(|entry| entry.number == Some(number)).for_each(|entry| entry.failed = true);
        for shown in self.shown.iter_mut().filter(|shown| shown.number == Some(number)) {
            (shown.call.1, shown.call.3) = (true, (took / 1_000) as u32);
        }
    }

    fn reconfigure(&mut self, set: settings::Breaker, now: u64) {
        self.settle(now);
        if set == self.set {
            return;
        }
        let (before, mode) = (self.state(), self.mode());
        if set.mode.unwrap_or_default() != mode {
            self.set = set;
            self.empty();
            (self.phase, self.since, self.reopenings, self.trip) = (State::Closed, self.now, 0, None);
            self.out.iter_mut().for_each(|(_, _, held)| *held = Held::Late);
            if self.state() != before {
                self.transitions.push((self.now, before, self.state()));
            }
            return;
        }
        if set.window != self.set.window {
            self.exchange(&set);
        }
        self.set = set;
        if !self.inflight() {
            // What was watched is an ordinary call from now on.
            let watched = |held: &Held| matches!(held, Held::Young | Held::Counted);
            self.out.iter_mut().filter(|(_, _, held)| watched(held)).for_each(|(_, _, held)| *held = Held::Plain);
        }
    }

    fn exchange(&mut self, set: &settings::Breaker) {
        let mut alive = self.alive();
        if let (Some(Window::Time { .. }), Some(Window::Count { .. })) = (&self.set.window, &set.window) {
            // Inside a slice the bad ones count as the newest.
            for slice in alive.chunk_by_mut(|a, b| a.slice == b.slice) {
                let failed = slice.iter().filter(|entry| entry.failed).count();
                let slow = slice.iter().filter(|entry| entry.slow).count();
                for (i, entry) in slice.iter_mut().rev().enumerate() {
                    (entry.failed, entry.slow) = (i < failed, i < slow);
                }
            }
        }
        let (width, now) = (
            |window: &Window| match window {
                Window::Time { ms, buckets } => ms * MS / buckets,
                Window::Count { .. } => u64::MAX,
            },
            self.now,
        );
        for entry in &mut alive {
            let end = match &self.set.window {
                Some(window @ Window::Time { .. }) => ((entry.slice + 1) * width(window) - 1).min(now),
                _ => now,
            };
            entry.slice = set.window.as_ref().map_or(0, |window| end / width(window));
            entry.number = None;
        }
        self.entries = if set.window.is_some() { alive } else { Vec::new() };
        if let Some(Window::Count { size }) = set.window {
            // Nothing forgotten comes back.
            self.entries.drain(..self.entries.len().saturating_sub(size as usize));
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Admit,
    /// So many calls in a row, of which each `nth` fails.
    Calls(u16, u8),
    Finish(prop::sample::Index, Outcome),
    Tick,
    Look,
    Set(Box<settings::Breaker>),
}

fn windows() -> impl Strategy<Value = Option<Window>> {
    prop_oneof![
        1 => Just(None),
        3 => (1_u64..40).prop_map(|size| Some(Window::Count { size })),
        4 => (1_u64..8, 1_u64..40).prop_map(|(buckets, each)| Some(Window::Time { ms: buckets * each, buckets })),
    ]
}

fn modes() -> impl Strategy<Value = Option<BreakerMode>> {
    prop_oneof![
        12 => Just(None),
        2 => Just(Some(BreakerMode::Shadow)),
        1 => Just(Some(BreakerMode::ForcedOpen)),
        1 => Just(Some(BreakerMode::ForcedClosed)),
        1 => Just(Some(BreakerMode::Disabled)),
    ]
}

fn breakers() -> impl Strategy<Value = settings::Breaker> {
    let rules = (
        prop::option::of(1_u64..45),
        prop::option::of((0_u64..=100).prop_map(|percent| percent as f64 / 100.0)),
        prop::option::weighted(0.2, 1_u64..12),
        prop::option::weighted(0.2, 1_u64..6),
        prop::option::of(0_u64..30),
        prop::option::of((1_u64..=100).prop_map(|percent| percent as f64 / 100.0)),
        prop::option::of(any::<bool>()),
    );
    let recovery = (
        prop::option::of(0_u64..60),
        prop::option::of((20_u64..200).prop_map(|max_ms| OpenBackoff { multiplier: 2.0, max_ms })),
        prop::option::of(1_u64..4),
        prop::option::of(1_u64..4),
        prop::option::of(1_u64..40),
    );
    (windows(), rules, recovery, modes()).prop_map(|(window, rules, recovery, mode)| settings::Breaker {
        window,
        min_calls: rules.0,
        failure_ratio: rules.1,
        failure_count: rules.2,
        consecutive_failures: rules.3,
        slow_ms: rules.4,
        slow_ratio: rules.5.filter(|_| rules.4.is_some()),
        inflight_slow: rules.6,
        open_ms: recovery.0,
        open_backoff: recovery.1,
        half_open_permits: recovery.2,
        half_open_successes: recovery.3,
        probe_lease_ms: recovery.4,
        mode,
        ..settings::Breaker::default()
    })
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let outcome = prop_oneof![
        5 => Just(Outcome::Success),
        2 => Just(Outcome::Failure),
        1 => Just(Outcome::Cancelled),
    ];
    let step = prop_oneof![
        8 => Just(Step::Admit),
        3 => (1_u16..80, 2_u8..50).prop_map(|(calls, nth)| Step::Calls(calls, nth)),
        8 => (any::<prop::sample::Index>(), outcome).prop_map(|(which, outcome)| Step::Finish(which, outcome)),
        1 => Just(Step::Tick),
        2 => Just(Step::Look),
        1 => breakers().prop_map(|settings| Step::Set(Box::new(settings))),
    ];
    // Mostly on, sometimes far, sometimes back.
    let wait = prop_oneof![6 => Just(0_i64), 8 => 0_i64..9, 1 => 10_i64..200, 1 => -30_i64..0];
    prop::collection::vec((wait, step), 1..250)
}

struct Pair {
    breaker: Breaker,
    model: Model,
    /// Permits that are out, by number.
    permits: Vec<(u64, Permit)>,
}

impl Pair {
    fn admit(&mut self, now: u64) -> Option<(u64, Permit)> {
        match (self.breaker.admit(now), self.model.admit(now)) {
            (Admission::Admitted(permit), Ok((number, probe, would_refuse))) => {
                assert_eq!((permit.is_probe(), permit.would_refuse()), (probe, would_refuse));
                Some((number, permit))
            }
            (Admission::Refused(refusal), Err(probe_at)) => {
                assert_eq!((refusal.probe_at, refusal.state), (probe_at, self.breaker.state_name()));
                assert_eq!(refusal.cause, self.breaker.snapshot(0).cause);
                None
            }
            (real, model) => panic!("{real:?} is not {model:?}"),
        }
    }

    fn finish(&mut self, (number, permit): (u64, Permit), now: u64, outcome: Outcome) {
        if outcome == Outcome::Cancelled {
            self.breaker.give_back(permit);
            return self.model.finish(number, 0, outcome);
        }
        self.breaker.finish(permit, now, outcome);
        self.model.finish(number, now, outcome);
    }

    fn step(&mut self, now: u64, step: Step) {
        match step {
            Step::Admit => {
                let permit = self.admit(now);
                self.permits.extend(permit);
            }
            Step::Calls(calls, nth) => {
                for call in 1..=calls {
                    let Some(permit) = self.admit(now) else { continue };
                    let fails = call.is_multiple_of(u16::from(nth));
                    self.finish(permit, now, if fails { Outcome::Failure } else { Outcome::Success });
                }
            }
            Step::Finish(which, outcome) if !self.permits.is_empty() => {
                let permit = self.permits.swap_remove(which.index(self.permits.len()));
                self.finish(permit, now, outcome);
            }
            Step::Finish(..) => {}
            Step::Tick => {
                self.breaker.tick(now);
                self.model.settle(now);
            }
            Step::Look => self.look(now),
            Step::Set(settings) => {
                self.breaker.reconfigure(&settings, now);
                self.model.reconfigure(*settings, now);
            }
        }
        assert_eq!(self.breaker.state_name() == "open", self.model.mode_by_rules() && self.model.phase == State::Open);
    }

    fn look(&mut self, now: u64) {
        let (seen, model) = (self.breaker.snapshot(now), &mut self.model);
        model.now = model.now.max(now);
        let (counts, calls) = match &model.trip {
            Some(trip) if model.phase != State::Closed => trip.clone(),
            _ => (model.counts(), model.newest()),
        };
        assert_eq!((seen.calls, seen.failures, seen.slow), counts);
        let shown: Vec<_> = seen.window.iter().map(|call| (call.at, call.failed, call.slow, call.micros)).collect();
        assert_eq!(shown, calls);
        assert_eq!((seen.state, seen.since), (model.state(), model.since));
        assert_eq!((seen.refused, seen.trips), (model.refused, model.trips));
        assert_eq!(seen.probe_at, (model.phase == State::Open).then(|| model.open_until()));
        assert_eq!(seen.good_probes, if model.phase == State::HalfOpen { model.good_probes } else { 0 });
        let (transitions, dropped) = self.breaker.drain_transitions();
        let told: Vec<_> = transitions.iter().map(|told| (told.at, told.from, told.to)).collect();
        let all = std::mem::take(&mut model.transitions);
        assert_eq!((&told[..], dropped as usize), (&all[all.len() - told.len()..], all.len() - told.len()));
    }
}

impl Model {
    fn mode_by_rules(&self) -> bool {
        matches!(self.mode(), BreakerMode::Auto | BreakerMode::Shadow)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_breaker_equals_its_model(settings in breakers(), steps in steps()) {
        let model = Model { set: settings.clone(), ..Model::default() };
        let mut pair = Pair { breaker: Breaker::new(&settings, 0), model, permits: Vec::new() };
        let (mut now, mut version) = (0_i64, 0);
        for (wait, step) in steps {
            now = (now + wait * MS as i64 / 2).max(0);
            pair.step(now as u64, step);
            prop_assert!(pair.breaker.version() >= version);
            version = pair.breaker.version();
        }
        pair.look(now as u64);
    }
}
