//! Boards and traces of any size, the same every time: for pictures, limits and benches.

use std::sync::Arc;

use fuseboard_api::breaker::{BreakerMode, BreakerState};
use fuseboard_api::fleet::{Drift, Fleet, Member};
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

/// So many instances of forty services: most well, some behind, refusing, lost, or taken back.
pub(super) fn fleet(n: u32) -> Fleet {
    let member = |i: u32| {
        let service = format!("service-{:02}", i % 40);
        let chance = dice(u64::from(i) * 23);
        let behind = chance < 0.03;
        Member {
            instance: format!("{service}-{:03}", i / 40),
            service,
            version: if chance < 0.2 { "1.8.3" } else { "1.8.2" }.to_owned(),
            connected: Some(chance < 0.98),
            since: ago(86_400.0 * chance),
            last_seen: ago(0.4),
            running: if behind { 40 } else { 41 },
            since_running: Some(ago(94.0)),
            desired: 41,
            attempted: 41,
            last_failed: (chance < 0.01)
                .then(|| (41, "timeout.attempt_ms: 5 is under the service's bound, 20".to_owned())),
            reverted_from: (0.03..0.04).contains(&chance).then_some(40),
            effective_hash: format!("{:08x}", 0x9c1e_04d2_u32.wrapping_add(i % 40)),
            stats: stats(u64::from(i) + 70, 60.0, chance < 0.05),
            ..Member::default()
        }
    };
    let mut members: Vec<Member> = (0..n).map(member).collect();
    members.sort_by(|a, b| (&a.service, &a.instance).cmp(&(&b.service, &b.instance)));
    let drift = Drift {
        service: "service-07".to_owned(),
        revision: 41,
        instances: vec!["service-07-003".to_owned()],
        of: n / 40,
        text: "service-07-003 runs r41 with other settings than the others: another version of the agent?".to_owned(),
    };
    Fleet { members, revision: 41, overrides: 0, drift: vec![drift] }
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
