//! From the collector's edges, one for each operation, to what is drawn: one link for each pair of services, or for each
//! operation on demand.

use std::collections::{BTreeMap, HashMap};

use fuseboard_api::breaker::{BreakerMode, BreakerState};
use fuseboard_api::graph::{Board, Edge, EdgeBreaker, EdgeKey, NodeKind};
use fuseboard_api::stats::Stats;

use super::layout::{Graph, LayoutNode};
use crate::widgets::Tone;

/// What one box and one line stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Grouping {
    /// A line for each pair of services.
    #[default]
    Services,
    /// A line for each operation.
    Operations,
    /// As services, and the instances stand in their boxes.
    Instances,
}

/// Share of failed calls from which an edge or node has failed.
const FAILED: f64 = 0.1;
/// Share of failed calls from which it is at risk.
const AT_RISK: f64 = 0.01;
/// Share of its timeout from which a p95 is at risk.
const NEAR_TIMEOUT: f64 = 0.9;
/// Instances written into a box at most.
pub(crate) const MAX_INSTANCES: usize = 6;

/// The breakers on a link.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Switch {
    /// The worst of them.
    pub(crate) worst: EdgeBreaker,
    /// The edge of the worst.
    pub(crate) key: EdgeKey,
    /// How many edges of the link have one.
    pub(crate) edges: u32,
}

impl Switch {
    /// How many of how many instances' breakers are not closed, where they differ.
    pub(crate) fn share(&self) -> Option<(u32, u32)> {
        let b = &self.worst;
        let all = b.closed + b.half_open + b.open;
        let off = b.half_open + b.open;
        (off > 0 && b.closed > 0).then_some((off, all))
    }
}

/// A line to draw.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Link {
    /// Index of the caller among the boxes.
    pub(crate) from: u32,
    /// Index of the callee among the boxes.
    pub(crate) to: u32,
    /// Indices into the board's edges, the busiest first.
    pub(crate) edges: Vec<u32>,
    /// All of them together.
    pub(crate) stats: Stats,
    /// Whether it goes through a queue.
    pub(crate) asynchronous: bool,
    /// The attempt timeout, or else the overall one, in milliseconds; the shortest where edges differ.
    pub(crate) timeout_ms: Option<u64>,
    /// Its breakers.
    pub(crate) switch: Option<Switch>,
    /// How bad it is, and whether its p95 comes near its timeout: judged once, frames ask for it many times.
    judged: (Tone, bool),
}

impl Link {
    /// How bad it is.
    pub(crate) fn tone(&self) -> Tone {
        self.judged.0
    }

    /// Whether the p95 comes near the timeout that limits it.
    pub(crate) fn near_timeout(&self) -> bool {
        self.judged.1
    }

    fn judge(&mut self) {
        let p95 = self.stats.quantile(0.95).map(|d| d.as_secs_f64() * 1000.0);
        let near = matches!((p95, self.timeout_ms), (Some(p95), Some(ms)) if p95 >= NEAR_TIMEOUT * ms as f64);
        self.judged = (self.judged_tone(near), near);
    }

    fn judged_tone(&self, near: bool) -> Tone {
        if self.stats.calls == 0 {
            return Tone::Neutral;
        }
        let open = self
            .switch
            .as_ref()
            .is_some_and(|s| s.worst.state == BreakerState::Open && s.worst.mode != BreakerMode::Shadow);
        match self.stats.error_ratio() {
            r if r >= FAILED || open => Tone::Failed,
            r if r >= AT_RISK || near => Tone::AtRisk,
            _ => Tone::Well,
        }
    }

    /// What is chosen when the link is: the edge of its worst breaker, or its busiest edge.
    pub(crate) fn key<'a>(&'a self, board: &'a Board) -> Option<&'a EdgeKey> {
        let breaker = self.switch.as_ref().filter(|s| s.worst.state != BreakerState::Closed).map(|s| &s.key);
        breaker.or_else(|| self.edges.first().and_then(|e| board.edges.get(*e as usize)).map(|e| &e.key))
    }
}

/// A box to draw.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Box {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: NodeKind,
    /// Index among the board's nodes; `None` when only edges speak of it.
    pub(crate) node: Option<u32>,
    /// How bad it is.
    pub(crate) tone: Tone,
    /// Height of its card, in points.
    pub(crate) height: f32,
}

/// Everything to draw, without places.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Merged {
    /// By name.
    pub(crate) boxes: Vec<Box>,
    /// By caller, callee and operation.
    pub(crate) links: Vec<Link>,
}

/// Height of a plain card, in points.
pub(crate) const CARD: f32 = 54.0;
/// Height of an instance's line in a card, in points.
pub(crate) const INSTANCE: f32 = 17.0;
/// Height that a switch takes on the side of a card, in points.
pub(crate) const SWITCH: f32 = 26.0;

/// Merges what `shown` lets through (by index of the edge); nodes without any edge stay unless `shown` hides some.
pub(crate) fn merge(board: &Board, grouping: Grouping, shown: &dyn Fn(usize) -> bool) -> Merged {
    let all = (0..board.edges.len()).all(shown);
    let mut names: BTreeMap<&str, Option<u32>> = BTreeMap::new();
    let shown_edges: Vec<(usize, &Edge)> = board.edges.iter().enumerate().filter(|(i, _)| shown(*i)).collect();
    for (_, edge) in &shown_edges {
        names.insert(&edge.key.caller, None);
        names.insert(&edge.key.callee, None);
    }
    for (i, node) in board.nodes.iter().enumerate() {
        if all {
            names.insert(&node.name, Some(i as u32));
        } else if let Some(known) = names.get_mut(node.name.as_str()) {
            *known = Some(i as u32);
        }
    }
    let index: HashMap<&str, u32> = names.keys().zip(0..).map(|(n, i)| (*n, i)).collect();
    let mut links: BTreeMap<(u32, u32, &str), Link> = BTreeMap::new();
    for (i, edge) in shown_edges {
        let (from, to) = (index[edge.key.caller.as_str()], index[edge.key.callee.as_str()]);
        let operation = if grouping == Grouping::Operations { edge.key.operation.as_str() } else { "" };
        let link = links.entry((from, to, operation)).or_insert_with(|| Link {
            from,
            to,
            asynchronous: true,
            ..Link::default()
        });
        add(link, i as u32, edge);
    }
    let mut links: Vec<Link> = links.into_values().collect();
    for link in &mut links {
        link.edges.sort_by_key(|e| (std::cmp::Reverse(board.edges[*e as usize].stats.calls), *e));
        link.judge();
    }
    let boxes = names.into_iter().map(|(name, node)| a_box(board, name, node, grouping, &links, index[name])).collect();
    Merged { boxes, links }
}

fn add(link: &mut Link, i: u32, edge: &Edge) {
    link.edges.push(i);
    link.stats.merge(&edge.stats);
    link.asynchronous &= edge.asynchronous;
    let timeout = edge.attempt_timeout_ms.or(edge.overall_timeout_ms);
    link.timeout_ms = match (link.timeout_ms, timeout) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let Some(breaker) = &edge.breaker else { return };
    let switch = link.switch.get_or_insert_with(|| Switch { worst: breaker.clone(), key: edge.key.clone(), edges: 0 });
    switch.edges += 1;
    if (breaker.state, breaker.mode != BreakerMode::Auto) > (switch.worst.state, switch.worst.mode != BreakerMode::Auto)
    {
        switch.worst = breaker.clone();
        switch.key = edge.key.clone();
    }
}

fn a_box(board: &Board, name: &str, node: Option<u32>, grouping: Grouping, links: &[Link], me: u32) -> Box {
    let known = node.and_then(|n| board.nodes.get(n as usize));
    let kind = known.map_or(NodeKind::External, |n| n.kind);
    let instances = known.map_or(0, |n| n.instances.len().min(MAX_INSTANCES));
    let height = match grouping {
        Grouping::Instances if instances > 0 => CARD - 18.0 + instances as f32 * INSTANCE + 8.0,
        _ => CARD,
    };
    // A node that answers is as well as its answers; one that only calls is as well as what it sees.
    let answered = known.map(|n| &n.stats).filter(|s| s.calls > 0);
    let tone = match answered.map(Stats::error_ratio) {
        Some(r) if r >= FAILED => Tone::Failed,
        Some(r) if r >= AT_RISK => Tone::AtRisk,
        Some(_) if kind == NodeKind::Service => Tone::Well,
        Some(_) => links
            .iter()
            .filter(|l| l.to == me)
            .map(Link::tone)
            .max_by_key(|t| rank(*t))
            .filter(|t| rank(*t) > 1)
            .unwrap_or(Tone::Neutral),
        None => Tone::Neutral,
    };
    Box { name: name.to_owned(), kind, node, tone, height }
}

/// How bad a tone is.
pub(crate) fn rank(tone: Tone) -> u8 {
    match tone {
        Tone::Neutral | Tone::Accent => 0,
        Tone::Well => 1,
        Tone::Probing => 2,
        Tone::AtRisk => 3,
        Tone::Failed => 4,
    }
}

impl Merged {
    /// What the layout needs to know: links become pairs, and a box is as high as its switches need.
    pub(crate) fn graph(&self) -> Graph {
        let mut switches = vec![0_u32; self.boxes.len()];
        let mut lines = vec![0_u32; self.boxes.len()];
        for link in self.links.iter().filter(|l| l.from != l.to) {
            switches[link.from as usize] += u32::from(link.switch.is_some());
            lines[link.from as usize] += 1;
            lines[link.to as usize] += 1;
        }
        let nodes = self.boxes.iter().zip(switches.iter().zip(&lines)).map(|(b, (switches, lines))| {
            // Beyond a dozen the switches shrink instead of the box growing.
            let side = (*switches).min(12) as f32 * SWITCH - 4.0;
            let crowd = (*lines).min(24) as f32 * 5.0;
            LayoutNode { name: b.name.clone(), height: b.height.max(side).max(crowd) }
        });
        let mut edges: Vec<(u32, u32)> = self.links.iter().map(|l| (l.from, l.to)).filter(|(a, b)| a != b).collect();
        edges.sort_unstable();
        edges.dedup();
        Graph { nodes: nodes.collect(), edges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(caller: &str, callee: &str, operation: &str, calls: u64, errors: u64) -> Edge {
        let mut stats = Stats { seconds: 10.0, calls, errors, attempts: calls, ..Stats::default() };
        stats.latency.record(5_000_000);
        Edge { key: EdgeKey::new(caller, callee, operation), stats, attempt_timeout_ms: Some(400), ..Edge::default() }
    }

    fn board() -> Board {
        let mut open = edge("a", "b", "Slow", 10, 8);
        open.attempt_timeout_ms = Some(200);
        open.breaker = Some(EdgeBreaker { state: BreakerState::Open, open: 2, closed: 3, ..EdgeBreaker::default() });
        let mut closed = edge("a", "b", "Fast", 90, 0);
        closed.breaker = Some(EdgeBreaker { closed: 5, ..EdgeBreaker::default() });
        Board { edges: vec![closed, open, edge("b", "db", "SELECT", 50, 0)], ..Board::default() }
    }

    #[test]
    fn operations_of_a_pair_become_one_link() {
        let board = board();
        let merged = merge(&board, Grouping::Services, &|_| true);
        assert_eq!(merged.boxes.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["a", "b", "db"]);
        let link = &merged.links[0];
        assert_eq!((link.stats.calls, link.stats.errors, link.timeout_ms), (100, 8, Some(200)));
        let switch = link.switch.as_ref().unwrap();
        assert_eq!((switch.edges, switch.share(), switch.key.operation.as_str()), (2, Some((2, 5)), "Slow"));
        assert_eq!(link.tone(), Tone::Failed, "its breaker is open, whatever the ratio");
        assert_eq!(link.key(&board).map(|k| k.operation.as_str()), Some("Slow"));
    }

    #[test]
    fn operations_are_links_of_their_own_on_demand() {
        let merged = merge(&board(), Grouping::Operations, &|_| true);
        assert_eq!(merged.links.len(), 3);
        assert_eq!(merged.graph().edges, [(0, 1), (1, 2)], "the layout still sees pairs");
    }

    #[test]
    fn what_is_hidden_takes_its_nodes_along() {
        let merged = merge(&board(), Grouping::Services, &|i| i == 2);
        assert_eq!(merged.boxes.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["b", "db"]);
    }
}
