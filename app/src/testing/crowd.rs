//! Boards and traces of any size, the same every time: for pictures, limits and benches.

use std::sync::Arc;

use fuseboard_api::breaker::{BreakerMode, BreakerState};
use fuseboard_api::graph::{Board, Edge, EdgeBreaker, EdgeKey, InstanceStats, Node, NodeKind};
use fuseboard_api::span::{Origin, Span, SpanKind, StatusCode};
use fuseboard_api::stats::{SparkPoint, Stats};
use fuseboard_api::trace::Trace;
use fuseboard_api::{SpanId, TimeRange, TraceId};

use super::{ago, dice};

fn stats(seed: u64, seconds: f64, failing: bool) -> Stats {
    let calls = (seconds * (0.5 + 120.0 * dice(seed).powi(3))) as u64;
    let errors = if failing { calls / 4 } else { 0 };
    let mut stats = Stats { seconds, calls, errors, attempts: calls, ..Stats::default() };
    let typical = 2e6 * (1.0 + 60.0 * dice(seed + 1).powi(4));
    (0..20).for_each(|i| stats.latency.record((typical * (0.5 + dice(seed * 31 + i))) as u64));
    stats
}

/// A board of `n` nodes in tiers, with about five times as many edges once there are many nodes.
pub(super) fn board(range: TimeRange, n: u32) -> Board {
    let seconds = range.length().as_secs_f64().max(1.0);
    let name = |i: u32| {
        format!("{}-{i:03}", ["web", "cart", "price", "stock", "mail", "auth", "ship", "rate"][i as usize % 8])
    };
    let spark = |seed: u64| {
        (0..30).map(|i| SparkPoint { rate: dice(seed * 40 + i) as f32 + 1.0, ..SparkPoint::default() }).collect()
    };
    let leaf = |i: u32| i >= n - n / 6;
    let mut nodes: Vec<Node> = (0..n)
        .map(|i| {
            let kind = match i % 3 {
                _ if !leaf(i) => NodeKind::Service,
                0 => NodeKind::Database,
                1 => NodeKind::Queue,
                _ => NodeKind::External,
            };
            let stats = stats(i.into(), seconds, dice(u64::from(i) + 500) < 0.06);
            let instances = if kind == NodeKind::Service { 1 + u64::from(i) % 4 } else { 0 };
            let instances = (1..=instances).map(|k| InstanceStats {
                instance: format!("{}-{k}", name(i)),
                version: "1.8.2".to_owned(),
                stats: stats.clone(),
            });
            let system = if kind == NodeKind::Database { "postgresql" } else { "" };
            Node {
                name: name(i),
                kind,
                system: system.to_owned(),
                instances: instances.collect(),
                spark: spark(i.into()),
                stats,
                ..Node::default()
            }
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let wanted = if n > 500 { n * 5 } else { n * 8 / 5 };
    let mut pairs: Vec<(u32, u32)> = (1..n)
        .map(|i| ((dice(u64::from(i) * 3) * f64::from(i.min(n - n / 6)) * 0.98) as u32, i))
        .chain((n..wanted).map(|k| {
            let from = (dice(u64::from(k) * 5) * f64::from(n - n / 6)) as u32;
            (from, (from + 1 + (dice(u64::from(k) * 7) * f64::from((n / 4).max(2))) as u32).min(n - 1))
        }))
        .filter(|(a, b)| a != b)
        .collect();
    pairs.sort_unstable();
    pairs.dedup();
    let edges = pairs.into_iter().zip(1_u64..).map(|((a, b), seed)| {
        let failing = dice(seed * 11) < 0.05;
        let state = if failing { BreakerState::Open } else { BreakerState::Closed };
        let steered = dice(seed * 13) < 0.6 && !leaf(b);
        Edge {
            key: EdgeKey::new(name(a), name(b), "shop.v1.Shop/Do"),
            stats: stats(seed + 9000, seconds, failing),
            asynchronous: leaf(b) && b % 3 == 1,
            attempt_timeout_ms: steered.then_some(500),
            breaker: steered.then(|| EdgeBreaker {
                state,
                mode: BreakerMode::Auto,
                closed: 2,
                open: u32::from(failing),
                ..EdgeBreaker::default()
            }),
            ..Edge::default()
        }
    });
    let edges = edges.collect();
    Board { range, nodes, edges, headline: None, spark_step_ms: 5000 }
}

/// A trace of `n` spans over forty services, a few levels deep.
pub(super) fn trace(trace_id: TraceId, n: u32) -> Trace {
    let origins: Vec<Arc<Origin>> = (0..40)
        .map(|i| {
            let service = format!("service-{i:02}");
            Arc::new(Origin {
                instance: format!("{service}-1"),
                service,
                version: "1.8.2".to_owned(),
                ..Origin::default()
            })
        })
        .collect();
    let id = |i: u32| SpanId((u64::from(i) + 1).to_be_bytes());
    let zero = ago(60.0).0;
    let mut times: Vec<(i64, i64)> = vec![(0, 4_000_000_000)];
    let mut spans = Vec::with_capacity(n as usize);
    for i in 0..n {
        // Under any earlier span, which makes a tree about thirty deep.
        let parent = (i > 0).then(|| (dice(u64::from(i)) * f64::from(i)) as u32);
        if let Some(p) = parent {
            let (from, to) = times[p as usize];
            let begin = from + ((to - from) as f64 * dice(u64::from(i) * 3) * 0.7) as i64;
            let end = begin + ((to - begin) as f64 * (0.2 + 0.75 * dice(u64::from(i) * 5))) as i64;
            times.push((begin, end.max(begin + 1)));
        }
        let (from, to) = times[i as usize];
        let failed = dice(u64::from(i) * 17) < 0.01;
        spans.push(Span {
            trace_id,
            span_id: id(i),
            parent: parent.map(id),
            name: ["Get", "Put", "List", "Reserve", "Charge"][i as usize % 5].to_owned(),
            kind: if i % 2 == 0 { SpanKind::Server } else { SpanKind::Client },
            start: fuseboard_api::UnixNanos(zero + from),
            end: fuseboard_api::UnixNanos(zero + to),
            status: if failed { StatusCode::Error } else { StatusCode::Unset },
            origin: origins[i as usize / 3 % origins.len()].clone(),
            ..Span::default()
        });
    }
    Trace { trace_id, spans, ..Trace::default() }
}
