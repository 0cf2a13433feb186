//! Whether a plan of delivery can be kept, and a plan in words.

use std::time::Duration;

use fuseboard_api::ask::Refusal;
use fuseboard_api::rollout::{Delivery, Measure, Stage};

use crate::control::overrides::lasting;
use crate::control::refusal::bad_request;

/// A plan has so many stages at most.
const MAX_STAGES: usize = 20;
/// A stage bakes so long at most, and a confirmation is waited for as long.
const DAY_MS: u64 = 24 * 3_600_000;
/// The shortest time to confirm: less could not be kept over a network.
const MIN_CONFIRM_MS: u64 = 1_000;
/// So many calls can be asked for at most.
const MAX_SAMPLES: u64 = 1_000_000;

/// The one stage of a plan without stages.
const AT_ONCE: [Stage; 1] = [Stage { share: 1.0, bake_ms: 0 }];

/// Whether there is anything to watch: stages, or a time to confirm.
pub(crate) fn is_planned(delivery: &Delivery) -> bool {
    !delivery.stages.is_empty() || delivery.confirm_within_ms.is_some()
}

/// The stages of a plan; one for everyone when it names none.
pub(super) fn stages(delivery: &Delivery) -> &[Stage] {
    if delivery.stages.is_empty() { &AT_ONCE } else { &delivery.stages }
}

/// Refuses a plan that cannot be kept.
pub(super) fn check(delivery: &Delivery) -> Result<(), Refusal> {
    let Delivery { stages, guards, min_samples, confirm_within_ms } = delivery;
    if stages.len() > MAX_STAGES {
        return Err(bad_request(format!("a change has at most {MAX_STAGES} stages, not {}", stages.len())));
    }
    if stages.iter().any(|s| !(s.share > 0.0 && s.share <= 1.0) || s.bake_ms > DAY_MS) {
        return Err(bad_request("a stage has a share above 0 and up to 1, and bakes at most 24 h"));
    }
    if stages.windows(2).any(|two| two[0].share >= two[1].share) || stages.last().is_some_and(|s| s.share < 1.0) {
        return Err(bad_request("stages grow: each share is larger than the one before, and the last is 1 (100 %)"));
    }
    let wrong = |v: f64| !(v.is_finite() && v >= 0.0);
    if guards.iter().any(|g| wrong(g.absolute) || wrong(g.relative)) {
        return Err(bad_request("a guard tolerates 0 or more, absolutely and relatively"));
    }
    let mut measures: Vec<Measure> = guards.iter().map(|g| g.measure).collect();
    measures.sort_unstable();
    if measures.windows(2).any(|two| two[0] == two[1]) {
        return Err(bad_request("one measure has one guard; name errors, p99 and refused once each"));
    }
    if *min_samples == 0 || *min_samples > MAX_SAMPLES {
        return Err(bad_request(format!("min_samples is 1 to {MAX_SAMPLES}, not {min_samples}")));
    }
    match confirm_within_ms {
        Some(ms) if !(MIN_CONFIRM_MS..=DAY_MS).contains(ms) => {
            Err(bad_request("a change is confirmed within 1 s to 24 h"))
        }
        _ => Ok(()),
    }
}

/// `10 %`, `0.5 %`.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 10.0 && percent.fract().abs() > 1e-9 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

/// A plan in words: `to 10 %, 50 %, 100 % of the instances; to be confirmed within 5 min`.
pub(super) fn words(delivery: &Delivery) -> String {
    let shares: Vec<String> = delivery.stages.iter().map(|s| percent(s.share)).collect();
    let stages = if shares.is_empty() {
        "to everyone at once".to_owned()
    } else {
        format!("to {} of the instances", shares.join(", "))
    };
    let confirm = delivery.confirm_within_ms.map(Duration::from_millis);
    let confirm = confirm.map(|within| format!("; to be confirmed within {}", lasting(within))).unwrap_or_default();
    stages + &confirm
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(shares: &[f64]) -> Delivery {
        Delivery {
            stages: shares.iter().map(|share| Stage { share: *share, bake_ms: 1000 }).collect(),
            ..Delivery::default()
        }
    }

    #[test]
    fn plans_that_cannot_be_kept_are_refused() {
        assert_eq!(check(&Delivery::default()), Ok(()));
        assert_eq!(check(&plan(&[0.01, 0.5, 1.0])), Ok(()));
        for bad in [
            plan(&[0.5]),
            plan(&[0.5, 0.5, 1.0]),
            plan(&[0.0, 1.0]),
            plan(&[f64::NAN, 1.0]),
            plan(&[1.5]),
            Delivery { min_samples: 0, ..Delivery::default() },
            Delivery { confirm_within_ms: Some(10), ..Delivery::default() },
            Delivery { guards: [Delivery::default().guards, Delivery::default().guards].concat(), ..plan(&[1.0]) },
        ] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_plan_reads_as_a_sentence() {
        let delivery = Delivery { confirm_within_ms: Some(300_000), ..plan(&[0.005, 0.1, 1.0]) };
        assert_eq!(words(&delivery), "to 0.5 %, 10 %, 100 % of the instances; to be confirmed within 5 min");
    }
}
