//! The call graph over a range.

use std::collections::{BTreeMap, BTreeSet};

use fuseboard_api::graph::{Board, Edge, EdgeKey, InstanceStats, Node, NodeKind, OUTSIDE, OperationStats};
use fuseboard_api::stats::Stats;
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::Connection;

use super::rollups::{self, Series};
use super::sparks::{self, Drawn, Sparks};
use super::{headline, totals};
use crate::control::picture;
use crate::store::rollup::Delta;

pub(super) fn board(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Board> {
    let known = rollups::series(conn, as_of)?;
    let sums = rollups::sums(conn, range, as_of)?;
    let under_way = rollups::under_way(conn, range.to, as_of)?;
    let services: BTreeSet<String> = totals::services(conn, as_of)?.into_iter().collect();
    let mut sparks = Sparks::load(conn, range.to, as_of, |id| {
        let series = known.get(&id)?;
        Some(Drawn { edge: !series.inbound, node: answers_of(series, &services) })
    })?;

    let mut nodes = Nodes { services: &services, range, all: BTreeMap::new() };
    let mut edges = Vec::new();
    for (id, sum) in sums {
        let Some(series) = known.get(&id) else { continue };
        if series.inbound {
            nodes.answered(series, &sum);
        } else {
            nodes.called(series, &sum);
            edges.push(Edge {
                key: series.key.clone(),
                stats: Stats { in_flight: under_way.get(&id).copied().unwrap_or(0), ..rollups::stats(sum, range) },
                asynchronous: series.asynchronous,
                spark: sparks.edge(id),
                ..Edge::default()
            });
        }
    }
    for service in totals::heard(conn, range, as_of)? {
        nodes.node(&service, NodeKind::Service, "");
    }
    edges.sort_by(|a, b| a.key.cmp(&b.key));
    let mut breakers = picture::edge_breakers(conn, as_of)?;
    let steering = picture::steering(conn, as_of)?;
    for edge in &mut edges {
        edge.breaker = breakers.remove(&edge.key);
        (edge.attempt_timeout_ms, edge.overall_timeout_ms) = steering.timeouts(&edge.key);
    }
    let nodes = nodes.finish(&mut sparks);
    let mut board = Board { range, nodes, edges, headline: None, spark_step_ms: sparks::STEP as u64 * 1000 };
    board.headline = Some(headline::headline(&board));
    Ok(board)
}

/// The name of the node whose answers a series counts: for services their own word counts, for others their callers'.
fn answers_of<'a>(series: &'a Series, services: &BTreeSet<String>) -> Option<&'a str> {
    let callee = &series.key.callee;
    (series.inbound || !services.contains(callee)).then_some(callee)
}

/// The nodes while they add up.
struct Nodes<'a> {
    services: &'a BTreeSet<String>,
    range: TimeRange,
    all: BTreeMap<String, Building>,
}

#[derive(Default)]
struct Building {
    kind: NodeKind,
    system: String,
    sum: Delta,
    instances: BTreeMap<(String, String), Delta>,
    operations: BTreeMap<String, Delta>,
}

impl Nodes<'_> {
    fn node(&mut self, name: &str, kind: NodeKind, system: &str) -> &mut Building {
        let kind = match kind {
            _ if self.services.contains(name) => NodeKind::Service,
            // Named as a service, but it never spoke.
            NodeKind::Service => NodeKind::External,
            other => other,
        };
        let node = self.all.entry(name.to_owned()).or_insert_with(|| Building { kind, ..Building::default() });
        if node.kind == NodeKind::External {
            node.kind = kind;
        }
        if node.system.is_empty() && node.kind != NodeKind::Service {
            system.clone_into(&mut node.system);
        }
        node
    }

    fn answered(&mut self, series: &Series, sum: &Delta) {
        let node = self.node(&series.key.callee, NodeKind::Service, "");
        node.sum.merge(sum);
        node.operations.entry(series.key.operation.clone()).or_default().merge(sum);
        let instance = (series.instance.clone(), series.version.clone());
        node.instances.entry(instance).or_default().merge(sum);
    }

    fn called(&mut self, series: &Series, sum: &Delta) {
        let EdgeKey { caller, callee, operation } = &series.key;
        self.node(caller, series.caller_kind, &series.system);
        let silent = answers_of(series, self.services).is_some();
        let node = self.node(callee, series.callee_kind, &series.system);
        if silent {
            node.sum.merge(sum);
            node.operations.entry(operation.clone()).or_default().merge(sum);
        }
    }

    fn finish(self, sparks: &mut Sparks<'_>) -> Vec<Node> {
        let range = self.range;
        let stats = |sum: Delta| -> Stats { rollups::stats(sum, range) };
        self.all
            .into_iter()
            .map(|(name, b)| Node {
                spark: sparks.node(&name),
                kind: if name == OUTSIDE { NodeKind::External } else { b.kind },
                system: b.system,
                stats: stats(b.sum),
                instances: b
                    .instances
                    .into_iter()
                    .map(|((instance, version), sum)| InstanceStats { instance, version, stats: stats(sum) })
                    .collect(),
                operations: b
                    .operations
                    .into_iter()
                    .map(|(operation, sum)| OperationStats { operation, stats: stats(sum) })
                    .collect(),
                name,
            })
            .collect()
    }
}
