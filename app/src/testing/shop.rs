//! The shop's calls: graph, breakers, policies, strip.

use std::collections::BTreeMap;

use fuseboard_api::breaker::{Breaker, BreakerMode, BreakerState, BreakerTransition, Breakers, WindowCall};
use fuseboard_api::graph::{
    Board, Edge, EdgeBreaker, EdgeKey, Headline, InstanceStats, Node, NodeKind, OUTSIDE, OperationStats, Severity,
};
use fuseboard_api::histogram::LatencyHistogram;
use fuseboard_api::policy::{EffectiveEdge, Policies, Revision};
use fuseboard_api::stats::{SparkPoint, Stats};
use fuseboard_api::strip::{Density, Mark, MarkKind, Strip};
use fuseboard_api::{TimeRange, TraceId};
use fuseboard_policy::settings::{self, Criticality, EdgeSettings, Timeout};

use super::{NOW, ago, dice};

/// One edge of the shop in short.
struct Line {
    caller: &'static str,
    callee: &'static str,
    operation: &'static str,
    rate: f64,
    errors: f64,
    p95: f64,
    attempt_ms: Option<u64>,
    breaker: Option<(BreakerState, BreakerMode)>,
    asynchronous: bool,
}

const AUTO: BreakerMode = BreakerMode::Auto;

const fn line(
    (caller, callee, operation): (&'static str, &'static str, &'static str),
    (rate, errors, p95): (f64, f64, f64),
    attempt_ms: Option<u64>,
    breaker: Option<(BreakerState, BreakerMode)>,
) -> Line {
    Line { caller, callee, operation, rate, errors, p95, attempt_ms, breaker, asynchronous: false }
}

const LINES: [Line; 12] = [
    line((OUTSIDE, "gateway", "POST /checkout"), (312.0, 0.02, 640.0), None, None),
    line(
        ("gateway", "orders", "shop.Orders/Place"),
        (148.0, 0.021, 610.0),
        Some(2000),
        Some((BreakerState::HalfOpen, AUTO)),
    ),
    line(
        ("gateway", "users", "shop.Users/Get"),
        (160.0, 0.0, 12.0),
        Some(300),
        Some((BreakerState::Closed, BreakerMode::ForcedOpen)),
    ),
    line(
        ("gateway", "pricing", "shop.Pricing/Quote"),
        (88.0, 0.004, 9.0),
        Some(200),
        Some((BreakerState::Open, BreakerMode::Shadow)),
    ),
    line(
        ("orders", "inventory", "shop.Inventory/Reserve"),
        (146.0, 0.001, 18.0),
        Some(400),
        Some((BreakerState::Closed, AUTO)),
    ),
    line(
        ("orders", "inventory", "shop.Inventory/Release"),
        (12.0, 0.0, 11.0),
        Some(400),
        Some((BreakerState::Closed, AUTO)),
    ),
    line(
        ("orders", "payments", "shop.Payments/Charge"),
        (131.0, 0.38, 800.0),
        Some(800),
        Some((BreakerState::Open, AUTO)),
    ),
    line(
        ("payments", "bank", "POST /authorize"),
        (118.0, 0.35, 1420.0),
        Some(1500),
        Some((BreakerState::HalfOpen, AUTO)),
    ),
    line(("inventory", "orders-db", "SELECT stock"), (158.0, 0.0, 6.0), None, None),
    line(("payments", "orders-db", "INSERT charge"), (72.0, 0.0, 8.0), None, None),
    Line { asynchronous: true, ..line(("orders", "order.events", "publish"), (96.0, 0.0, 3.0), None, None) },
    Line { asynchronous: true, ..line(("order.events", "notifications", "process"), (96.0, 0.002, 42.0), None, None) },
];

impl Line {
    fn key(&self) -> EdgeKey {
        EdgeKey::new(self.caller, self.callee, self.operation)
    }

    fn stats(&self, seconds: f64) -> Stats {
        let calls = (self.rate * seconds) as u64;
        let errors = (calls as f64 * self.errors) as u64;
        let open = self.breaker.is_some_and(|b| b.0 == BreakerState::Open && b.1 == AUTO);
        let refused = if open { errors / 3 } else { 0 };
        let retries = if self.errors > 0.1 { 2.4 } else { 1.0 };
        Stats {
            seconds,
            calls,
            errors,
            refused,
            attempts: ((calls - refused) as f64 * retries) as u64,
            latency: latency(calls.min(4000), self.p95, self.errors > 0.1, self.attempt_ms.unwrap_or(100_000)),
            in_flight: (self.rate * self.p95 / 1000.0) as u64,
        }
    }

    fn spark(&self, seed: u64) -> Vec<SparkPoint> {
        (0..60)
            .map(|i| {
                let trouble = if i > 38 { 1.0 } else { 0.04 };
                let wave = 0.9 + 0.2 * dice(seed * 100 + i);
                SparkPoint {
                    rate: (self.rate * wave) as f32,
                    error_ratio: (self.errors * trouble * wave) as f32,
                    p95_ms: (self.p95 * if self.errors > 0.1 { trouble.max(0.2) } else { 1.0 } * wave) as f32,
                }
            })
            .collect()
    }
}

/// Latencies with a 95th percentile of about `p95` milliseconds; in two humps where the callee is in trouble.
fn latency(calls: u64, p95: f64, humps: bool, cut_ms: u64) -> LatencyHistogram {
    let mut histogram = LatencyHistogram::default();
    for i in 0..calls {
        let (u, v) = (dice(i * 2 + 7), dice(i * 3 + 11));
        let body = p95 * (0.18 + 0.5 * (u + v) / 2.0 + 0.32 * u * u * u);
        let ms = match humps {
            true if i % 5 < 2 => p95 * (0.75 + 0.6 * v),
            true => p95 * (0.08 + 0.16 * (u + v)),
            false => body,
        };
        histogram.record((ms.min(cut_ms as f64) * 1e6) as u64);
    }
    histogram
}

/// The call graph.
pub(super) fn board(range: TimeRange) -> Board {
    let seconds = range.length().as_secs_f64().clamp(1.0, 3600.0);
    let edges = LINES
        .iter()
        .zip(1_u64..)
        .map(|(l, seed)| Edge {
            key: l.key(),
            stats: l.stats(seconds),
            asynchronous: l.asynchronous,
            attempt_timeout_ms: l.attempt_ms,
            overall_timeout_ms: l.attempt_ms.map(|ms| ms * 3),
            breaker: l.breaker.map(|(state, mode)| EdgeBreaker {
                state,
                mode,
                closed: u32::from(state == BreakerState::Closed) * 2,
                half_open: u32::from(state == BreakerState::HalfOpen) * 2,
                open: u32::from(state == BreakerState::Open) * 2,
                since: ago(137.0),
            }),
            spark: l.spark(seed),
        })
        .collect();
    Board {
        range,
        nodes: nodes(seconds),
        edges,
        headline: Some(Headline {
            severity: Severity::AtRisk,
            text: "payments → bank slowed at 14:02:11 (p95 180 → 1,420 ms). 3 breakers open upstream are echoes of it."
                .to_owned(),
            edge: Some(EdgeKey::new("payments", "bank", "POST /authorize")),
            since: ago(145.0),
        }),
        spark_step_ms: 5000,
    }
}

fn nodes(seconds: f64) -> Vec<Node> {
    let list: [(&str, NodeKind, &str, u64); 10] = [
        ("bank", NodeKind::External, "", 0),
        ("clients", NodeKind::External, "", 0),
        ("gateway", NodeKind::Service, "", 2),
        ("inventory", NodeKind::Service, "", 2),
        ("notifications", NodeKind::Service, "", 1),
        ("order.events", NodeKind::Queue, "rabbitmq", 0),
        ("orders", NodeKind::Service, "", 2),
        ("orders-db", NodeKind::Database, "postgresql", 0),
        ("payments", NodeKind::Service, "", 3),
        ("pricing", NodeKind::Service, "", 1),
    ];
    let users = ("users", NodeKind::Service, "", 1);
    list.into_iter()
        .chain([users])
        .zip(1_u64..)
        .map(|((name, kind, system, instances), seed)| {
            let mut stats = Stats { seconds, ..Default::default() };
            let mut operations: BTreeMap<&str, Stats> = BTreeMap::new();
            for l in LINES.iter().filter(|l| l.callee == name) {
                stats.merge(&l.stats(seconds));
                operations.entry(l.operation).or_default().merge(&l.stats(seconds));
            }
            let spark = LINES.iter().find(|l| l.callee == name).map(|l| l.spark(seed + 50)).unwrap_or_default();
            Node {
                name: name.to_owned(),
                kind,
                system: system.to_owned(),
                instances: (1..=instances)
                    .map(|i| InstanceStats {
                        instance: format!("{name}-{i}"),
                        version: if name == "payments" && i == 3 { "2.14.1" } else { "2.14.0" }.to_owned(),
                        stats: Stats {
                            calls: stats.calls / instances,
                            // The new release of payments is the worse one.
                            errors: stats.errors / instances
                                * if name == "payments" { [1, 1, 2][i as usize - 1] } else { 2 }
                                / 2,
                            ..stats.clone()
                        },
                    })
                    .collect(),
                operations: operations
                    .into_iter()
                    .map(|(operation, stats)| OperationStats { operation: operation.to_owned(), stats })
                    .collect(),
                stats,
                spark,
            }
        })
        .collect()
}

fn window(seed: u64, failing: f64, calls: u64) -> Vec<WindowCall> {
    (0..calls)
        .map(|i| {
            let failed = dice(seed * 1000 + i) < failing;
            let mut id = [0; 16];
            id[0] = 1 + (i % 6) as u8;
            WindowCall {
                at: ago(137.0 + (calls - i) as f64 * 0.1),
                failed,
                slow: failed && i % 3 == 0,
                micros: if failed { 800_000 } else { 40_000 + (dice(i) * 90_000.0) as u32 },
                trace_id: Some(TraceId(id)),
            }
        })
        .collect()
}

/// All breakers and what they did lately.
pub(super) fn breakers() -> Breakers {
    let breakers = LINES
        .iter()
        .zip(1_u64..)
        .filter_map(|(l, seed)| l.breaker.map(|(state, mode)| (l, seed, state, mode)))
        .flat_map(|(l, seed, state, mode)| (1..=2_u64).map(move |i| (l, seed * 10 + i, i, state, mode)))
        .map(|(l, seed, i, state, mode)| breaker(l, seed, i, state, mode))
        .collect();
    let charge = EdgeKey::new("orders", "payments", "shop.Payments/Charge");
    let bank = EdgeKey::new("payments", "bank", "POST /authorize");
    let step = |seconds, key: &EdgeKey, from, to, cause: &str| BreakerTransition {
        at: ago(seconds),
        key: key.clone(),
        instance: format!("{}-1", key.caller),
        from,
        to,
        cause: cause.to_owned(),
        window: window(3, 0.6, 20),
        revision: 41,
        ..Default::default()
    };
    use BreakerState::{Closed, HalfOpen, Open};
    Breakers {
        breakers,
        transitions: vec![
            step(4.0, &bank, Open, HalfOpen, "open for 10 s"),
            step(137.0, &charge, Closed, Open, "12 of 20 calls failed (60 % ≥ 50 %)"),
            step(140.0, &bank, Closed, Open, "8 of 10 calls slower than 1,000 ms (80 % ≥ 80 %)"),
        ],
    }
}

fn breaker(l: &Line, seed: u64, i: u64, state: BreakerState, mode: BreakerMode) -> Breaker {
    let failing = match state {
        BreakerState::Open => 0.55,
        BreakerState::HalfOpen => 0.35,
        BreakerState::Closed => 0.04,
    };
    let calls = if mode == BreakerMode::ForcedOpen { Vec::new() } else { window(seed, failing, 20) };
    let failures = calls.iter().filter(|c| c.failed).count() as u64;
    let cause = match state {
        BreakerState::Closed => String::new(),
        _ => format!("{failures} of 20 calls failed ({} % ≥ 50 %)", failures * 5),
    };
    Breaker {
        key: l.key(),
        instance: format!("{}-{i}", l.caller),
        state,
        mode,
        since: if state == BreakerState::Closed { ago(533_000.0) } else { ago(137.0) },
        calls: calls.len() as u64,
        failures,
        slow: calls.iter().filter(|c| c.slow).count() as u64,
        window: calls,
        rule: "50 % of ≥ 20 calls in 10 s fail".to_owned(),
        failure_ratio: Some(0.5),
        slow_ratio: Some(0.8),
        min_calls: 20,
        cause,
        probe_at: (state == BreakerState::Open).then(|| NOW + std::time::Duration::from_millis(3200)),
        probes: (state == BreakerState::HalfOpen).then_some((1, 2)),
        refused: if state == BreakerState::Open { 51 } else { 0 },
        trips: u64::from(state != BreakerState::Closed),
        revision: 41,
        override_id: (mode != BreakerMode::Auto).then_some(7),
        reported: ago(0.4),
        history: (0..60)
            .map(|i| {
                let high = if i > 34 { failing } else { 0.02 };
                (high * (0.85 + 0.3 * dice(seed * 77 + i))) as f32
            })
            .collect(),
    }
}

/// Policies in force.
pub(super) fn policies() -> Policies {
    let revision = |n: u64, seconds: f64, actor: &str, reason: &str| Revision {
        number: n,
        base: n - 1,
        at: ago(seconds),
        actor: actor.to_owned(),
        reason: reason.to_owned(),
        restores: (n == 40).then_some(38),
    };
    Policies {
        revision: revision(41, 94.0, "mira", "bank needs longer: INC-4411"),
        document: document(41),
        edges: LINES.iter().map(effective).collect(),
        history: vec![
            revision(41, 94.0, "mira", "bank needs longer: INC-4411"),
            revision(40, 2640.0, "jo", "roll back the retry experiment"),
            revision(39, 9400.0, "jo", "three attempts for Charge"),
            revision(38, 86_000.0, "ci", "policies.toml of 9c1e04d"),
        ],
    }
}

fn effective(l: &Line) -> EffectiveEdge {
    let stats = l.stats(60.0);
    let steered = l.breaker.is_some();
    let settings = EdgeSettings {
        criticality: (l.callee == "payments").then_some(Criticality::High),
        timeout: l.attempt_ms.map(|ms| Timeout { attempt_ms: Some(ms), overall_ms: Some(ms * 3) }),
        retry: steered.then(|| settings::Retry { max_attempts: Some(3), ..Default::default() }),
        breaker: steered.then(|| settings::Breaker {
            preset: Some("rpc-50".to_owned()),
            min_calls: Some(20),
            failure_ratio: Some(0.5),
            open_ms: Some(10_000),
            ..Default::default()
        }),
        ..Default::default()
    };
    let own = format!("{}/{}", l.callee, l.operation);
    let provenance = [
        ("timeout.attempt_ms", own.as_str()),
        ("timeout.overall_ms", l.callee),
        ("retry.max_attempts", "*"),
        ("breaker.failure_ratio", "preset rpc-50"),
        ("breaker.min_calls", "preset rpc-50"),
        ("breaker.open_ms", "*"),
    ];
    let attempts = latency(3000, l.p95 * 1.15, l.errors > 0.1, l.attempt_ms.unwrap_or(100_000));
    // Cut attempts stand in the distribution at the time of their cut.
    let at_cut = std::time::Duration::from_millis(l.attempt_ms.unwrap_or(100_000).saturating_sub(1));
    let cut = (attempts.share_above(at_cut) * attempts.count() as f64) as u64;
    EffectiveEdge {
        key: l.key(),
        settings,
        provenance: if steered {
            provenance.map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        } else {
            BTreeMap::new()
        },
        steered,
        instances: if steered { 2 } else { 0 },
        attempts,
        cut,
        deadline_left_ms: steered.then_some(1870.0),
        stats,
    }
}

/// The document of a revision.
pub(super) fn document(revision: u64) -> String {
    let charge = if revision >= 41 { 1600 } else { 800 };
    format!(
        "# shop policies, revision {revision}\n\n[[edge]]\nservice = \"*\"\npreset = \"rpc-50\"\nretry.max_attempts = 3\n\n\
         [[edge]]\nservice = \"payments\"\ncriticality = \"high\"\ntimeout.overall_ms = 2400\n\n\
         [[edge]]\nservice = \"payments\"\noperation = \"shop.Payments/Charge\"\ntimeout.attempt_ms = {charge}\n"
    )
}

/// The time strip.
pub(super) fn strip(range: TimeRange, full: bool) -> Strip {
    let step_ms = 5000;
    let columns = (range.length().as_millis() as u64 / step_ms).min(320);
    if !full {
        return Strip { range, step_ms, density: vec![Density::default(); columns as usize], ..Default::default() };
    }
    let density = (0..columns)
        .map(|i| {
            let left = (columns - i) as f64 * 5.0;
            let calls = 1400.0 * (0.8 + 0.25 * (i as f64 / 14.0).sin() + 0.2 * dice(i));
            let ratio = if (20.0..420.0).contains(&left) {
                0.28 * (1.0 - ((left - 200.0) / 220.0).powi(2)).max(0.0)
            } else {
                0.004
            };
            Density { calls: calls as u64, errors: (calls * ratio) as u64 }
        })
        .collect();
    let charge = Some(EdgeKey::new("orders", "payments", "shop.Payments/Charge"));
    let mark = |seconds, kind, label: &str, text: &str, severity| Mark {
        at: ago(seconds),
        kind,
        label: label.to_owned(),
        text: text.to_owned(),
        severity,
        edge: charge.clone(),
    };
    Strip {
        range,
        step_ms,
        density,
        marks: vec![
            mark(402.0, MarkKind::Anomaly, "slow", "payments → bank: p95 180 → 1,420 ms", Severity::AtRisk),
            mark(394.0, MarkKind::BreakerOpened, "open", "orders → payments opened: 12 of 20 failed", Severity::Failed),
            mark(310.0, MarkKind::Revision, "r41", "mira: attempt timeout of Charge 800 → 1,600 ms", Severity::Well),
            mark(244.0, MarkKind::BreakerProbing, "½", "orders → payments probes", Severity::AtRisk),
            mark(196.0, MarkKind::BreakerProbing, "½", "payments → bank probes", Severity::AtRisk),
            mark(190.0, MarkKind::BreakerClosed, "ok", "payments → bank closed", Severity::Well),
            mark(120.0, MarkKind::Override, "o7", "gateway → users forced open by op-2", Severity::AtRisk),
        ],
        stored: TimeRange { from: ago(7200.0), to: NOW },
        incidents: vec![(0, "bank slows, checkout fails".to_owned(), TimeRange { from: ago(410.0), to: ago(150.0) })],
    }
}
