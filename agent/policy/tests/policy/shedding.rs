//! Shedding against a naive model, and from several threads.

use fuseboard_policy::settings::Shed as Settings;
use fuseboard_policy::shed::{COOL_OFF, Shedder, Ticket};
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const SLICE: u64 = 100 * MS;

/// All that ever happened, gone through anew for every question.
#[derive(Default)]
struct Naive {
    /// When answers ended and what they took.
    answers: Vec<(u64, u64)>,
    in_flight: u64,
    last_shed: Option<u64>,
}

impl Naive {
    fn limit(&self, now: u64) -> u64 {
        let current = now / SLICE;
        let slices: Vec<Vec<u64>> = (current.saturating_sub(100)..current)
            .map(|slice| self.answers.iter().filter(|(at, _)| at / SLICE == slice).map(|(_, took)| *took).collect())
            .filter(|slice: &Vec<u64>| !slice.is_empty())
            .collect();
        let Some(most) = slices.iter().map(Vec::len).max() else { return u64::MAX };
        let mean = |slice: &Vec<u64>| slice.iter().sum::<u64>() as f64 / slice.len() as f64;
        let least = slices.iter().map(mean).fold(f64::INFINITY, f64::min);
        ((most as f64 * least / SLICE as f64).round() as u64).max(1)
    }

    fn admits(&mut self, now: u64, load: f64, percent: u64) -> bool {
        let busy = load * 100.0 >= percent as f64;
        let hot = busy || self.last_shed.is_some_and(|last| now - last < COOL_OFF);
        let shed = hot && self.in_flight > 1 && self.in_flight > self.limit(now);
        if shed && busy {
            self.last_shed = Some(now);
        }
        self.in_flight += u64::from(!shed);
        !shed
    }
}

proptest! {
    #[test]
    fn it_sheds_what_the_naive_model_sheds(
        steps in prop::collection::vec((0u64..400, 0u8..5, any::<prop::sample::Index>(), 0u32..=100), 1..300),
        percent in 1u64..=100,
    ) {
        let shedder = Shedder::new(&Settings::Bbr { cpu_percent: percent });
        let (mut naive, mut now, mut flying) = (Naive::default(), 0, Vec::<(Ticket, u64)>::new());
        for (wait, step, which, load) in steps {
            // Now and then far ahead.
            now += if wait == 0 { 7_000 * MS } else { wait * MS / 8 };
            match step {
                0..=2 => {
                    let load = f64::from(load) / 100.0;
                    let got = shedder.admit(now, Some(load));
                    prop_assert_eq!(got.is_ok(), naive.admits(now, load, percent), "at {}", now);
                    flying.extend(got.ok().map(|ticket| (ticket, now)));
                }
                step if !flying.is_empty() => {
                    let (ticket, began) = flying.swap_remove(which.index(flying.len()));
                    shedder.finish(ticket, now, step == 3);
                    naive.in_flight -= 1;
                    if step == 3 {
                        naive.answers.push((now, now - began));
                    }
                }
                _ => {}
            }
            prop_assert_eq!(shedder.in_flight(), flying.len() as u64);
            prop_assert_eq!(shedder.limit(now), naive.limit(now));
        }
        flying.into_iter().for_each(|(ticket, _)| shedder.finish(ticket, now, true));
        prop_assert_eq!(shedder.in_flight(), 0);
    }
}

#[test]
fn from_several_threads_none_is_lost_but_in_the_moment_a_slice_begins() {
    let shedder = Shedder::new(&Settings::Bbr { cpu_percent: 80 });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for slice in 0..50 {
                    for _ in 0..200 {
                        let ticket = shedder.admit(slice * SLICE, Some(0.0)).unwrap();
                        shedder.finish(ticket, slice * SLICE + 50 * MS, true);
                    }
                }
            });
        }
    });
    assert_eq!(shedder.in_flight(), 0);
    // 800 of 50 ms in a slice of 100 ms at most; a thread alone brings 200.
    let limit = shedder.limit(60 * SLICE);
    assert!((90..=400).contains(&limit), "{limit}");
}
