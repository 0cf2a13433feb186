//! Sparks: small curves of the last minutes of edges and nodes. Most of what a graph of the last minute costs, so they are added
//! up from the rows at once, without sums of all that a row holds.

use std::collections::HashMap;
use std::time::Duration;

use fuseboard_api::histogram::LatencyHistogram;
use fuseboard_api::stats::SparkPoint;
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::Connection;

use super::rollups::Steps;
use crate::store::rollup::buckets;

/// Seconds between two points.
pub(super) const STEP: i64 = 10;
/// So much of the past is shown.
const PAST: Duration = Duration::from_secs(300);
/// Buckets that wait to be added up; beyond, they are.
const WAITING: usize = 1_024;

/// On which curves a series counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drawn<'a> {
    /// On that of its own edge.
    pub(super) edge: bool,
    /// On that of this node.
    pub(super) node: Option<&'a str>,
}

/// The curves of a graph.
#[derive(Debug)]
pub(super) struct Sparks<'a> {
    edges: HashMap<i64, Vec<Step>>,
    nodes: HashMap<&'a str, Vec<Step>>,
}

impl<'a> Sparks<'a> {
    /// Those that end at an instant; `drawn` says where a series counts.
    pub(super) fn load(
        conn: &Connection,
        until: UnixNanos,
        as_of: UnixNanos,
        drawn: impl Fn(i64) -> Option<Drawn<'a>>,
    ) -> rusqlite::Result<Self> {
        let steps = Steps::new(TimeRange::ending(until, PAST), STEP);
        let empty = || vec![Step::default(); steps.count()];
        let mut all = Self { edges: HashMap::new(), nodes: HashMap::new() };
        steps.each(conn, as_of, "calls, errors, latency", |series, position, row| {
            let Some(drawn) = drawn(series) else { return Ok(()) };
            let edge = drawn.edge.then(|| all.edges.entry(series).or_insert_with(empty));
            let node = drawn.node.map(|name| all.nodes.entry(name).or_insert_with(empty));
            for curve in [edge, node].into_iter().flatten() {
                if let Some(step) = curve.get_mut(position) {
                    step.add(row)?;
                }
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// The curve of an edge's series; empty without a call.
    pub(super) fn edge(&mut self, series: i64) -> Vec<SparkPoint> {
        points(self.edges.remove(&series))
    }

    /// The curve of a node; empty without a call.
    pub(super) fn node(&mut self, name: &str) -> Vec<SparkPoint> {
        points(self.nodes.remove(name))
    }
}

fn points(steps: Option<Vec<Step>>) -> Vec<SparkPoint> {
    steps.into_iter().flatten().map(Step::point).collect()
}

#[derive(Debug, Clone, Default)]
struct Step {
    calls: u64,
    errors: u64,
    /// Buckets with counts as they came.
    latency: Vec<(u16, u64)>,
}

impl Step {
    fn add(&mut self, row: &rusqlite::Row<'_>) -> rusqlite::Result<()> {
        let number = |column| -> rusqlite::Result<u64> { Ok(row.get::<_, i64>(column)?.max(0) as u64) };
        self.calls += number(2)?;
        self.errors += number(3)?;
        self.latency.extend(buckets(row, 4)?);
        if self.latency.len() > WAITING {
            self.add_up();
        }
        Ok(())
    }

    fn add_up(&mut self) {
        self.latency.sort_unstable_by_key(|(bucket, _)| *bucket);
        self.latency.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
    }

    fn point(mut self) -> SparkPoint {
        self.add_up();
        let p95 = LatencyHistogram { counts: self.latency.into_iter().collect() }.quantile(0.95);
        SparkPoint {
            rate: self.calls as f32 / STEP as f32,
            error_ratio: if self.calls == 0 { 0.0 } else { self.errors as f32 / self.calls as f32 },
            p95_ms: p95.map_or(0.0, |p| p.as_secs_f32() * 1e3),
        }
    }
}
