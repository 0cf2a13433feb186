//! What a flip will do, in numbers, before it is done.

use std::collections::{BTreeMap, BTreeSet};

use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::graph::{Board, EdgeKey, NodeKind, OUTSIDE};

use super::switches::{Look, Switch, look};
use super::words::window_note;
use crate::views::names::edge_name;
use crate::widgets::format;

/// The sentences of the flip panel, most important first.
#[must_use]
pub(crate) fn sentences(
    switch: &Switch<'_>,
    mode: BreakerMode,
    instances: usize,
    board: Option<&Board>,
) -> Vec<String> {
    let share_here = instances as f64 / switch.instances.len().max(1) as f64;
    let mut out = match mode {
        BreakerMode::ForcedOpen => refuse(switch, share_here),
        BreakerMode::ForcedClosed => {
            vec![pass(switch, share_here), "The breaker will not protect the callers while this lasts.".to_owned()]
        }
        BreakerMode::Shadow => vec![
            pass(switch, share_here),
            "The breaker goes on evaluating and reports what it would have refused.".to_owned(),
        ],
        BreakerMode::Disabled => vec![pass(switch, share_here), "The breaker stops evaluating.".to_owned()],
        BreakerMode::Auto => automatic(switch),
    };
    if mode != BreakerMode::Auto
        && let Some((share, door)) = board.and_then(|b| share_of_entry(b, switch.key))
    {
        out.push(format!("About {} of what comes in at {door} passes here.", format::percent(share)));
    }
    out
}

fn refuse(switch: &Switch<'_>, share_here: f64) -> Vec<String> {
    let calls = match switch.rate() {
        Some(rate) if rate > 0.0 => format!("{} will be refused.", calls_a_second(rate * share_here)),
        Some(_) => "No calls pass here now; new ones will be refused.".to_owned(),
        None => "Every call will be refused; their rate is not known.".to_owned(),
    };
    let mut out = vec![calls, "Callers get an error at once; no fallback is set.".to_owned()];
    if look(switch.lead) == Look::Open {
        out.push("It is open already; forced, it will not probe.".to_owned());
    }
    out
}

fn pass(switch: &Switch<'_>, share_here: f64) -> String {
    let rate = switch.rate().unwrap_or(0.0) * share_here;
    let window = window_note(switch.lead);
    if rate > 0.0 {
        format!("{} will go through, {window} in the window.", calls_a_second(rate))
    } else {
        format!("Every call will go through, {window} in the window.")
    }
}

fn automatic(switch: &Switch<'_>) -> Vec<String> {
    let rule = match switch.lead.rule.as_str() {
        "" => "Its rule decides again.".to_owned(),
        rule => format!("Its rule decides again: {rule}."),
    };
    let mut out = Vec::new();
    if let Some(change) = switch.change {
        out.push(format!("The override of {} ends.", change.actor));
    }
    out.push(rule);
    out.push("It starts with a clean window.".to_owned());
    out
}

/// `131 calls a second`, `1 call a second`, `0.4 calls a second`.
#[must_use]
pub(crate) fn calls_a_second(rate: f64) -> String {
    let said = match rate {
        r if r >= 10.0 => format::whole(r),
        r => format!("{r:.1}").trim_end_matches(".0").to_owned(),
    };
    let noun = if said == "1" { "call" } else { "calls" };
    format!("{said} {noun} a second")
}

/// About which share of the calls that come in at the door (an edge whose caller is outside, or that nobody calls) pass
/// over `key`, and the door's name. The estimate divides rates: the edge's own by those of the doors that lead to it, so
/// a call that passes twice counts twice, capped at one. `None` when the door cannot be told or nothing came in.
#[must_use]
pub(crate) fn share_of_entry(board: &Board, key: &EdgeKey) -> Option<(f64, String)> {
    let rate = board.edges.iter().find(|e| e.key == *key).map(|e| e.stats.rate())?;
    let mut callers: BTreeMap<&str, Vec<&fuseboard_api::graph::Edge>> = BTreeMap::new();
    for edge in &board.edges {
        callers.entry(edge.key.callee.as_str()).or_default().push(edge);
    }
    let outside = |name: &str| {
        name == OUTSIDE
            || !callers.contains_key(name)
            || board.nodes.iter().any(|n| n.name == name && n.kind == NodeKind::External && !callers.contains_key(name))
    };
    let mut doors: BTreeSet<&str> = BTreeSet::new();
    let mut seen: BTreeSet<&str> = BTreeSet::from([key.caller.as_str()]);
    let mut todo = vec![key.caller.as_str()];
    while let Some(service) = todo.pop() {
        for edge in callers.get(service).into_iter().flatten() {
            if outside(&edge.key.caller) {
                doors.insert(service);
            } else if seen.insert(&edge.key.caller) {
                todo.push(&edge.key.caller);
            }
        }
        if outside(service) && service != OUTSIDE {
            doors.insert(service);
        }
    }
    let incoming: f64 = doors
        .iter()
        .map(|door| {
            let from_outside: f64 = callers
                .get(door)
                .into_iter()
                .flatten()
                .filter(|e| outside(&e.key.caller))
                .map(|e| e.stats.rate())
                .sum();
            // A service that starts work by itself has no incoming edge: what it answered is all we know.
            if from_outside > 0.0 {
                from_outside
            } else {
                board.nodes.iter().find(|n| n.name == *door).map_or(0.0, |n| n.stats.rate())
            }
        })
        .sum();
    let name = doors.iter().copied().collect::<Vec<_>>().join(" and ");
    (incoming > 0.0 && !name.is_empty()).then(|| ((rate / incoming).min(1.0), name))
}

/// The reason that is filled in before the operator has typed one. It says what was seen, so that the audit is worth
/// reading even when nobody edits it.
#[must_use]
pub(crate) fn default_reason(switch: &Switch<'_>, mode: BreakerMode) -> String {
    let edge = edge_name(switch.key);
    let b = switch.lead;
    let seen = if b.calls > 0 && b.calls >= b.min_calls { format!(": {}", window_note(b)) } else { String::new() };
    match mode {
        BreakerMode::ForcedOpen => format!("stop calls {edge}{seen}"),
        BreakerMode::ForcedClosed => format!("keep {edge} flowing{seen}"),
        BreakerMode::Shadow => format!("watch {edge} without refusing{seen}"),
        BreakerMode::Disabled => format!("take the breaker of {edge} out{seen}"),
        BreakerMode::Auto => format!("{edge} back to its rule{seen}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_api::graph::{Edge, Node};
    use fuseboard_api::stats::Stats;

    fn edge(caller: &str, callee: &str, calls: u64) -> Edge {
        let stats = Stats { seconds: 10.0, calls, ..Stats::default() };
        Edge { key: EdgeKey::new(caller, callee, "op"), stats, ..Edge::default() }
    }

    fn board(edges: Vec<Edge>) -> Board {
        let nodes = vec![Node { name: "gateway".into(), ..Node::default() }];
        Board { nodes, edges, ..Board::default() }
    }

    #[test]
    fn the_share_of_the_door_is_found_through_the_graph() {
        let b = board(vec![
            edge(OUTSIDE, "gateway", 3120),
            edge("gateway", "orders", 1480),
            edge("orders", "payments", 1310),
            edge("payments", "orders", 10),
        ]);
        let (share, door) = share_of_entry(&b, &EdgeKey::new("orders", "payments", "op")).expect("a door");
        assert_eq!(door, "gateway");
        assert!((share - 1310.0 / 3120.0).abs() < 1e-9);
    }

    #[test]
    fn no_door_no_claim() {
        let b = board(vec![edge("a", "b", 0)]);
        assert_eq!(share_of_entry(&b, &EdgeKey::new("a", "b", "op")), None, "nothing came in");
        assert_eq!(share_of_entry(&b, &EdgeKey::new("x", "y", "op")), None, "unknown edge");
    }

    #[test]
    fn rates_are_said_in_good_grammar() {
        assert_eq!(calls_a_second(131.2), "131 calls a second");
        assert_eq!(calls_a_second(1.0), "1 call a second");
    }
}
