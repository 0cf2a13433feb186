//! The sentences of a switch: what it does, since when, what comes next. Each carries the numbers it speaks of.

use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::breaker::{Breaker, BreakerMode, BreakerState};
use fuseboard_api::change::Change;
use fuseboard_api::forecast::Breach;

use super::switches::{Look, Switch, Wish, look};
use crate::views::names::edge_name;
use crate::widgets::format;

/// How an instant is written (`14:02:19`), in the time zone of the console's choice.
pub(crate) type Clock<'a> = &'a dyn Fn(UnixNanos) -> String;

/// The word for what a breaker looks like.
#[must_use]
pub(crate) fn state_word(look: Look) -> &'static str {
    match look {
        Look::Closed => "closed",
        Look::Open => "open",
        Look::HalfOpen => "half open",
        Look::ForcedOpen => "forced open",
        Look::ForcedClosed => "forced closed",
        Look::Shadow => "shadow",
        Look::Disabled => "disabled",
    }
}

/// The word for a mode.
#[must_use]
pub(crate) fn mode_word(mode: BreakerMode) -> &'static str {
    match mode {
        BreakerMode::Auto => "auto",
        BreakerMode::ForcedOpen => "forced open",
        BreakerMode::ForcedClosed => "forced closed",
        BreakerMode::Shadow => "shadow",
        BreakerMode::Disabled => "disabled",
    }
}

/// The sentence under the name: state, since when, what is next.
#[must_use]
pub(crate) fn state_sentence(switch: &Switch<'_>, now: UnixNanos, clock: Clock<'_>) -> String {
    let lead = switch.lead;
    let (open, all) = (switch.open, switch.instances.len());
    match look(lead) {
        Look::Open if open < all => {
            format!("{open} of {all} open since {} · {}", clock(lead.since), probe(switch, now))
        }
        Look::Open => format!("opened {} · {}", clock(lead.since), probe(switch, now)),
        Look::ForcedOpen | Look::ForcedClosed | Look::Disabled => by_hand(switch, now),
        _ => instance_sentence(lead, now, clock),
    }
}

/// The same for one instance.
#[must_use]
pub(crate) fn instance_sentence(b: &Breaker, now: UnixNanos, clock: Clock<'_>) -> String {
    match look(b) {
        Look::Closed => format!("closed for {}", format::duration(now.since(b.since))),
        Look::Open => format!("opened {} · {}", clock(b.since), probe_in(b.probe_at, now)),
        Look::HalfOpen => match b.probes {
            Some((good, needed)) => format!("probing · {good} of {needed} good"),
            None => format!("probing since {}", clock(b.since)),
        },
        Look::ForcedOpen => format!("forced open for {}", format::duration(now.since(b.since))),
        Look::ForcedClosed => format!("forced closed for {}", format::duration(now.since(b.since))),
        Look::Disabled => "disabled: nothing is evaluated".to_owned(),
        Look::Shadow if b.state == BreakerState::Closed => "shadow: would let everything pass".to_owned(),
        Look::Shadow => format!("shadow: would have refused {}", format::count(b.refused)),
    }
}

fn by_hand(switch: &Switch<'_>, now: UnixNanos) -> String {
    let word = state_word(look(switch.lead));
    match switch.change {
        Some(c) => match c.expires.map(|e| e.since(now)) {
            Some(left) if left > Duration::ZERO => format!("{word} by {} · {} left", c.actor, format::countdown(left)),
            _ => format!("{word} by {} · ending", c.actor),
        },
        None => format!("{word} by policy r{}", switch.lead.revision),
    }
}

/// When the first of the open instances probes.
fn probe(switch: &Switch<'_>, now: UnixNanos) -> String {
    let soonest = switch.instances.iter().filter(|b| look(b) == Look::Open).filter_map(|b| b.probe_at).min();
    probe_in(soonest, now)
}

fn probe_in(at: Option<UnixNanos>, now: UnixNanos) -> String {
    match at {
        Some(at) if at > now => format!("probe in {}", format::countdown(at.since(now))),
        Some(_) => "the next call probes".to_owned(),
        None => "probe time unknown".to_owned(),
    }
}

/// Beside the window: what share failed or was slow; below the calls that a ratio needs, how many there are.
#[must_use]
pub(crate) fn window_note(b: &Breaker) -> String {
    if b.calls == 0 {
        return "no calls".to_owned();
    }
    if b.calls < b.min_calls {
        return format!("{} of {} calls", format::count(b.calls), format::count(b.min_calls));
    }
    let (failed, slow) = (b.failures as f64 / b.calls as f64, b.slow as f64 / b.calls as f64);
    let over = |ratio: f64, limit: Option<f64>| limit.map_or(0.0, |l| ratio / l.max(1e-9));
    if over(slow, b.slow_ratio) > over(failed, b.failure_ratio) {
        format!("{} slow", format::percent(slow))
    } else {
        format!("{} fail", format::percent(failed))
    }
}

/// The last line of a card: why it opened while it is open, an echo, what is foreseen.
#[must_use]
pub(crate) fn outlook(switch: &Switch<'_>, now: UnixNanos) -> String {
    if let Some(origin) = switch.echo_of {
        return format!("echo of {}", edge_name(origin));
    }
    match (look(switch.lead), switch.breach) {
        (Look::ForcedOpen, _) => format!("{} refused", format::plural(refused(switch), "call")),
        (Look::Closed | Look::Shadow, Some(breach)) => trip_sentence(breach, now),
        (Look::Closed, None) => "no trip foreseen".to_owned(),
        (Look::Shadow, None) => format!("would have tripped {}", times(switch.lead.trips)),
        (Look::Open | Look::HalfOpen | Look::Disabled | Look::ForcedClosed, _) => match refused(switch) {
            0 => String::new(),
            n => format!("{} refused", format::plural(n, "call")),
        },
    }
}

/// Calls that the switch has refused on all instances.
#[must_use]
pub(crate) fn refused(switch: &Switch<'_>) -> u64 {
    switch.instances.iter().map(|b| b.refused).sum()
}

/// `trips in 4–7 min · 62%`.
#[must_use]
pub(crate) fn trip_sentence(breach: &Breach, now: UnixNanos) -> String {
    let minutes = |t: UnixNanos| (t.since(now).as_secs_f64() / 60.0).ceil().max(1.0);
    let (early, late) = (minutes(breach.earliest), breach.latest.map(minutes));
    let when = match late {
        Some(late) if late > early => format!("{early:.0}–{late:.0} min"),
        Some(_) => format!("{early:.0} min"),
        None => format!("{early:.0} min or later"),
    };
    format!("may trip in {when} · {}", format::percent(breach.probability))
}

fn times(n: u64) -> String {
    match n {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        n => format!("{} times", format::count(n)),
    }
}

/// The pill of a wish: `requested: forced open · 1 of 2`.
pub(crate) fn wish_pill(wish: Wish) -> String {
    let held = match wish.held {
        Some((held, meant)) => format!("{held} of {meant}"),
        None => "sending".to_owned(),
    };
    format!("requested: {} · {held}", mode_word(wish.mode))
}

/// The pill of an override: `op-2 · 4:12 left`.
#[must_use]
pub(crate) fn override_pill(change: &Change, now: UnixNanos) -> String {
    match change.expires {
        Some(at) if at > now => format!("{} · {} left", change.actor, format::countdown(at.since(now))),
        Some(_) => format!("{} · ending", change.actor),
        None => change.actor.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::choice::Order;
    use super::super::switches::{Sources, gather};
    use super::*;
    use fuseboard_api::breaker::Breakers;
    use fuseboard_api::graph::EdgeKey;

    const SECOND: i64 = 1_000_000_000;

    fn at(seconds: i64) -> UnixNanos {
        UnixNanos(seconds * SECOND)
    }

    fn clock(t: UnixNanos) -> String {
        format!("@{}", t.0 / SECOND)
    }

    fn sentence(breakers: Vec<Breaker>, now: i64) -> String {
        let all = Breakers { breakers, transitions: Vec::new() };
        let switches = gather(&Sources { breakers: Some(&all), ..Sources::default() }, Order::Risk);
        state_sentence(&switches[0], at(now), &clock)
    }

    fn breaker(instance: &str, state: BreakerState) -> Breaker {
        let key = EdgeKey::new("orders", "payments", "payments.v1.Payments/Charge");
        Breaker { key, instance: instance.into(), state, since: at(100), ..Breaker::default() }
    }

    #[test]
    fn an_open_breaker_counts_down_to_its_probe() {
        let open = Breaker { probe_at: Some(at(105)), ..breaker("o-1", BreakerState::Open) };
        assert_eq!(sentence(vec![open.clone()], 102), "opened @100 · probe in 3.0 s");
        assert_eq!(sentence(vec![open.clone()], 106), "opened @100 · the next call probes");
        let both = vec![open, breaker("o-2", BreakerState::Closed)];
        assert_eq!(sentence(both, 102), "1 of 2 open since @100 · probe in 3.0 s");
    }

    #[test]
    fn other_states_have_their_sentences() {
        let probing = Breaker { probes: Some((1, 2)), ..breaker("o-1", BreakerState::HalfOpen) };
        assert_eq!(sentence(vec![probing], 102), "probing · 1 of 2 good");
        assert_eq!(sentence(vec![breaker("o-1", BreakerState::Closed)], 340), "closed for 4 min");
        let shadow = Breaker { mode: BreakerMode::Shadow, refused: 31, ..breaker("o-1", BreakerState::Open) };
        assert_eq!(sentence(vec![shadow], 102), "shadow: would have refused 31");
        let forced = Breaker { mode: BreakerMode::ForcedOpen, revision: 41, ..breaker("o-1", BreakerState::Closed) };
        assert_eq!(sentence(vec![forced], 102), "forced open by policy r41");
    }

    #[test]
    fn a_ratio_is_not_claimed_of_too_few_calls() {
        let two = Breaker { calls: 2, failures: 2, min_calls: 20, ..Breaker::default() };
        assert_eq!(window_note(&two), "2 of 20 calls");
        let enough = Breaker { calls: 20, failures: 12, min_calls: 20, ..Breaker::default() };
        assert_eq!(window_note(&enough), "60% fail");
        assert_eq!(window_note(&Breaker::default()), "no calls");
    }

    #[test]
    fn an_override_says_who_and_how_long() {
        let change = Change { actor: "op-2".into(), expires: Some(at(352)), ..Change::default() };
        assert_eq!(override_pill(&change, at(100)), "op-2 · 4:12 left");
        assert_eq!(override_pill(&change, at(400)), "op-2 · ending");
    }

    #[test]
    fn a_trip_is_foreseen_as_an_interval() {
        let breach = Breach { earliest: at(240), latest: Some(at(400)), probability: 0.62, ..Breach::default() };
        assert_eq!(trip_sentence(&breach, at(0)), "may trip in 4–7 min · 62%");
        let open_end = Breach { latest: None, ..breach };
        assert_eq!(trip_sentence(&open_end, at(0)), "may trip in 4 min or later · 62%");
    }
}
