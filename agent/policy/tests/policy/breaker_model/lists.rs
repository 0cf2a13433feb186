//! A breaker's rules in plain lists: slow, and plain to see.

use fuseboard_policy::breaker::{Outcome, SHOWN_CALLS, State};
use fuseboard_policy::settings::{self, BreakerMode, Window};

pub(super) const MS: u64 = 1_000_000;

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
pub(super) struct Model {
    set: settings::Breaker,
    pub(super) now: u64,
    pub(super) phase: State,
    pub(super) since: u64,
    opened_at: u64,
    reopenings: u32,
    run: u64,
    pub(super) good_probes: u64,
    entries: Vec<Entry>,
    shown: Vec<Shown>,
    /// Permits that are out: number, start, what they are.
    out: Vec<(u64, u64, Held)>,
    numbered: u64,
    pub(super) trip: Option<(Counts, Vec<Told>)>,
    pub(super) refused: u64,
    pub(super) trips: u64,
    pub(super) transitions: Vec<(u64, State, State)>,
}

/// Calls, failures, slow ones.
pub(super) type Counts = (u64, u64, u64);

/// When, whether it failed and was slow, microseconds.
pub(super) type Told = (u64, bool, bool, u32);

impl Model {
    pub(super) fn new(set: settings::Breaker) -> Self {
        Self { set, ..Self::default() }
    }

    pub(super) fn mode(&self) -> BreakerMode {
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

    pub(super) fn counts(&self) -> Counts {
        let alive = self.alive();
        let of = |which: fn(&Entry) -> bool| alive.iter().filter(|entry| which(entry)).count() as u64;
        (alive.len() as u64, of(|entry| entry.failed), of(|entry| entry.slow))
    }

    pub(super) fn newest(&self) -> Vec<Told> {
        let most = if self.set.window.is_some() { self.counts().0 as usize } else { usize::MAX };
        let first = self.shown.len().saturating_sub(most.min(SHOWN_CALLS));
        self.shown[first..].iter().map(|shown| shown.call).collect()
    }

    pub(super) fn state(&self) -> State {
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

    pub(super) fn open_until(&self) -> u64 {
        let open = self.set.open_ms.unwrap_or(5_000);
        let open = match &self.set.open_backoff {
            Some(backoff) => {
                (open as f64 * backoff.multiplier.powi(self.reopenings as i32)).min(backoff.max_ms as f64) as u64
            }
            None => open,
        };
        self.opened_at + open * MS
    }

    pub(super) fn inflight(&self) -> bool {
        self.set.inflight_slow == Some(true) && self.set.slow_ms.is_some()
    }

    fn is_slow(&self, took: u64) -> bool {
        self.set.slow_ms.is_some_and(|ms| took > ms * MS)
    }

    pub(super) fn settle(&mut self, now: u64) {
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
    pub(super) fn admit(&mut self, now: u64) -> Result<(u64, bool, bool), Option<u64>> {
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

    pub(super) fn finish(&mut self, number: u64, now: u64, outcome: Outcome) {
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

    pub(super) fn reconfigure(&mut self, set: settings::Breaker, now: u64) {
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

    pub(super) fn mode_by_rules(&self) -> bool {
        matches!(self.mode(), BreakerMode::Auto | BreakerMode::Shadow)
    }
}
