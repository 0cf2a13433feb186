//! The breaker against a model of its rules in plain lists, driven by the same random operations.

mod lists;

use fuseboard_policy::breaker::{Admission, Breaker, Outcome, Permit, State};
use fuseboard_policy::settings::{self, BreakerMode, OpenBackoff, Window};
use lists::{MS, Model};
use proptest::prelude::*;

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
    /// When the newest call began.
    begun: u64,
}

impl Pair {
    fn admit(&mut self, now: u64) -> Option<(u64, Permit)> {
        // Calls of one instant have no order: when they are counted in flight together, which of them is the newest is open.
        let now = if self.model.inflight() { now.max(self.begun + 1) } else { now };
        self.begun = self.begun.max(now);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_breaker_equals_its_model(settings in breakers(), steps in steps()) {
        let model = Model::new(settings.clone());
        let mut pair = Pair { breaker: Breaker::new(&settings, 0), model, permits: Vec::new(), begun: 0 };
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
