//! Everything around the shop's calls: totals, changes, fleet, audit, forecasts, incidents, metrics.

use std::time::Duration;

use fuseboard_api::TimeRange;
use fuseboard_api::ask::{Names, Totals};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::change::{Acknowledgement, Change, ChangeState, Changes, OverrideAction, OverrideSpec, Selector};
use fuseboard_api::fleet::{Audit, AuditEntry, Fleet, Member};
use fuseboard_api::forecast::{Anomaly, BandPoint, Breach, Forecast, Forecasts, Quantity, TrackRecord};
use fuseboard_api::graph::{EdgeKey, Severity};
use fuseboard_api::identity::{Deed, Role, Whoami};
use fuseboard_api::incident::{Incident, Incidents, Suspect};
use fuseboard_api::metric::{MetricInfo, MetricKind, MetricPoint, MetricQuery, MetricSeries, Metrics};
use fuseboard_api::stats::Stats;

use super::{NOW, ago, dice, shop};

const SERVICES: [&str; 7] = ["gateway", "inventory", "notifications", "orders", "payments", "pricing", "users"];

fn charge() -> EdgeKey {
    EdgeKey::new("orders", "payments", "shop.Payments/Charge")
}

fn bank() -> EdgeKey {
    EdgeKey::new("payments", "bank", "POST /authorize")
}

/// Counts of everything.
pub(super) fn totals(full: bool) -> Totals {
    let addresses = [("otlp_grpc", "127.0.0.1:4317"), ("otlp_http", "127.0.0.1:4318"), ("control", "127.0.0.1:4390")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .to_vec();
    if !full {
        return Totals { addresses, ..Default::default() };
    }
    Totals {
        spans: 4_812_204,
        traces: 381_077,
        logs: 92_410,
        metric_points: 310_550,
        services: SERVICES.map(str::to_owned).to_vec(),
        instances: 12,
        bytes_on_disk: 412_000_000,
        spans_per_second: 1204.0,
        lag_ms: 38.0,
        addresses,
        stored: TimeRange { from: ago(7200.0), to: NOW },
        ..Default::default()
    }
}

/// Names for completion.
pub(super) fn names(full: bool) -> Names {
    if !full {
        return Names::default();
    }
    Names {
        services: SERVICES.map(|s| (s.to_owned(), vec![format!("{s} work"), "POST /checkout".to_owned()])).to_vec(),
        attribute_values: vec![("rpc.method".to_owned(), vec!["Charge".to_owned(), "Place".to_owned()])],
        attribute_keys: ["http.request.method", "rpc.method", "resilience.outcome"].map(str::to_owned).to_vec(),
    }
}

fn acknowledgement(service: &str, i: u32, ms: f64) -> Acknowledgement {
    Acknowledgement {
        service: service.to_owned(),
        instance: format!("{service}-{i}"),
        at: ago(120.0),
        latency_ms: ms,
        refused: None,
    }
}

/// Revisions and overrides.
pub(super) fn changes() -> Changes {
    let override_of = |id, caller: &str, callee: &str, mode, summary: &str, left: u64| Change {
        id,
        override_spec: Some(OverrideSpec {
            selector: Selector {
                caller: Some(caller.to_owned()),
                service: Some(callee.to_owned()),
                ..Default::default()
            },
            action: OverrideAction::Mode(mode),
        }),
        state: ChangeState::Applied,
        actor: "op-2".to_owned(),
        reason: "drill 12: fallback".to_owned(),
        summary: summary.to_owned(),
        at: ago(120.0),
        expires: Some(NOW + Duration::from_secs(left)),
        targeted: 2,
        applied: 2,
        acknowledgements: vec![acknowledgement(caller, 1, 12.0), acknowledgement(caller, 2, 31.0)],
        ..Default::default()
    };
    let revision = |id, state, seconds, applied| Change {
        id,
        state,
        actor: "mira".to_owned(),
        reason: "bank needs longer: INC-4411".to_owned(),
        summary: "payments/shop.Payments/Charge timeout.attempt_ms 800 → 1600".to_owned(),
        at: ago(seconds),
        targeted: 5,
        applied,
        acknowledgements: vec![acknowledgement("orders", 1, 18.0), acknowledgement("orders", 2, 31.0)],
        ..Default::default()
    };
    Changes {
        overrides: vec![
            override_of(7, "gateway", "users", BreakerMode::ForcedOpen, "gateway → users forced open", 252),
            override_of(6, "gateway", "pricing", BreakerMode::Shadow, "gateway → pricing shadow", 540),
        ],
        revisions: vec![revision(41, ChangeState::Requested, 94.0, 4), revision(40, ChangeState::Applied, 2640.0, 5)],
        read_only: None,
    }
}

/// Instances.
pub(super) fn fleet() -> Fleet {
    let members = SERVICES
        .iter()
        .flat_map(|s| (1..=if *s == "payments" { 3_u64 } else { 2 }).map(move |i| (*s, i)))
        .map(|(service, i)| Member {
            service: service.to_owned(),
            instance: format!("{service}-{i}"),
            version: if service == "payments" && i == 3 { "2.14.1" } else { "2.14.0" }.to_owned(),
            connected: (service != "users").then_some(service != "pricing" || i == 1),
            since: ago(5400.0),
            last_seen: ago(0.6 + i as f64),
            running: if service == "notifications" { 40 } else { 41 },
            since_running: Some(ago(94.0)),
            desired: 41,
            attempted: 41,
            last_failed: (service == "notifications")
                .then(|| (41, "timeout.attempt_ms must not exceed timeout.overall_ms".to_owned())),
            effective_hash: format!("9c1e04d2{i:02}"),
            overrides: 7,
            dropped: if service == "gateway" { 120 } else { 0 },
            stats: Stats { seconds: 60.0, calls: 4000 + i * 300, errors: i * 40, ..Default::default() },
            ..Default::default()
        })
        .collect();
    Fleet { members, revision: 41, overrides: 7, ..Fleet::default() }
}

/// The audit.
pub(super) fn audit() -> Audit {
    let rows = [
        (94.0, "mira", "policy.set", "r41", "bank needs longer: INC-4411", "payments/…Charge attempt 800 → 1600 ms"),
        (93.9, "agent orders-1", "agent.applied", "r41", "", "in 18 ms"),
        (120.0, "op-2", "override.set", "gateway → users", "drill 12: fallback", "forced open for 5 min"),
        (2640.0, "jo", "policy.rollback", "r40", "roll back the retry experiment", "restores r38"),
        (3100.0, "collector", "override.expired", "orders → payments", "", "shadow after 10 min"),
    ];
    let entries: Vec<AuditEntry> = (1_u64..)
        .zip(rows)
        .map(|(n, (seconds, actor, action, target, reason, detail))| AuditEntry {
            fields: Vec::new(),
            sequence: 412 - n,
            at: ago(seconds),
            actor: actor.to_owned(),
            action: action.to_owned(),
            target: target.to_owned(),
            reason: reason.to_owned(),
            detail: detail.to_owned(),
            hash: format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        })
        .collect();
    Audit { length: entries.len() as u64, entries, more: false, broken_at: None }
}

/// The same with an entry that somebody changed.
pub(super) fn broken_audit() -> Audit {
    Audit { broken_at: Some(409), ..audit() }
}

fn forecast(key: EdgeKey, quantity: Quantity, level: f64, limit: Option<(&str, f64)>, severity: Severity) -> Forecast {
    let t = |i: i64| ago(-(i as f64) * 10.0);
    let seen = (-60..=0)
        .map(|i| {
            let rise = if i > -25 { ((i + 25) as f64 / 14.0).min(1.0) } else { 0.0 };
            (t(i), level * (0.3 + 0.6 * rise + 0.06 * dice((i + 100) as u64)))
        })
        .collect();
    let normal = (-60..=0).map(|i| BandPoint { t: t(i), lo: level * 0.22, mid: level * 0.3, hi: level * 0.42 });
    let ahead = (0..=30).map(|i| {
        let (mid, wide) = (level * (0.86 + 0.008 * i as f64), level * 0.012 * i as f64);
        BandPoint { t: t(i), lo: mid - wide, mid, hi: mid + wide }
    });
    Forecast {
        key,
        quantity,
        issued: ago(4.0),
        seen,
        band: normal.collect(),
        ahead: ahead.collect(),
        breach: limit.map(|(limit, value)| Breach {
            limit: limit.to_owned(),
            value,
            earliest: t(24),
            latest: Some(t(42)),
            probability: 0.62,
        }),
        record: TrackRecord { scored: 20, held: 18, target: 0.9, mean_error: level * 0.04 },
        model: "damped trend over a robust seasonal baseline".to_owned(),
        sentence: "trips again in 4–7 min (62%)".to_owned(),
        severity,
    }
}

/// Forecasts and anomalies.
pub(super) fn forecasts() -> Forecasts {
    let orders = EdgeKey::new("gateway", "orders", "shop.Orders/Place");
    let anomaly = |key, quantity, seconds, sentence: &str, severity, echo_of| Anomaly {
        key,
        quantity,
        from: ago(seconds),
        to: None,
        sentence: sentence.to_owned(),
        severity,
        echo_of,
    };
    let breaker = Some(("breaker threshold 50 %", 0.5));
    Forecasts {
        forecasts: vec![
            forecast(charge(), Quantity::ErrorRatio, 0.42, breaker, Severity::Failed),
            forecast(bank(), Quantity::P95, 1420.0, Some(("attempt timeout 1,500 ms", 1500.0)), Severity::AtRisk),
            forecast(orders.clone(), Quantity::P95, 610.0, None, Severity::AtRisk),
            forecast(EdgeKey::new("gateway", "users", "shop.Users/Get"), Quantity::Rate, 160.0, None, Severity::Well),
        ],
        anomalies: vec![
            anomaly(
                orders,
                Quantity::P95,
                130.0,
                "gateway → orders: p95 610 ms, normally 120–180 ms",
                Severity::AtRisk,
                Some(bank()),
            ),
            anomaly(
                charge(),
                Quantity::ErrorRatio,
                137.0,
                "orders → payments: 38% fail, normally under 1%",
                Severity::Failed,
                Some(bank()),
            ),
            anomaly(
                bank(),
                Quantity::P95,
                145.0,
                "payments → bank: p95 1,420 ms, normally 160–210 ms",
                Severity::AtRisk,
                None,
            ),
        ],
    }
}

/// Incidents.
pub(super) fn incidents() -> Incidents {
    let range = TimeRange { from: ago(410.0), to: ago(150.0) };
    let suspect = |key, score, evidence: &str| Suspect { key, score, evidence: evidence.to_owned() };
    let incident = |id, name: &str, shift: u64| Incident {
        id,
        name: name.to_owned(),
        from: range.from - Duration::from_secs(shift),
        to: Some(range.to - Duration::from_secs(shift)),
        actor: if id == 0 { String::new() } else { "mira".to_owned() },
        spans: 412_000,
        errors: 9_310,
        calls: 81_200,
        story: shop::strip(range, true).marks,
        suspects: vec![
            suspect(bank(), 0.86, "slowed first, 8 s before any caller; self time explains 91% of the added latency"),
            suspect(charge(), 0.31, "fails after bank; 41% of its calls are cut at 800 ms"),
        ],
    };
    Incidents {
        incidents: vec![incident(12, "bank slows at lunch", 86_000), incident(11, "deploy of payments 2.14", 172_000)],
        candidates: vec![incident(0, "bank slows, checkout fails", 0)],
        file: None,
    }
}

/// Metrics.
pub(super) fn metrics(query: &MetricQuery) -> Metrics {
    let info = |service: &str, name: &str, kind, unit: &str, description: &str| MetricInfo {
        service: service.to_owned(),
        name: name.to_owned(),
        kind,
        unit: unit.to_owned(),
        description: description.to_owned(),
        series: 2,
        points: 240,
        ..MetricInfo::default()
    };
    let series = |instance: &str, seed: u64| MetricSeries {
        instance: instance.to_owned(),
        attributes: vec![("state".to_owned(), "used".into())],
        points: (0..120)
            .map(|i| MetricPoint {
                time: ago(1200.0 - i as f64 * 10.0),
                value: 40.0 + 12.0 * (i as f64 / 11.0).sin() + 6.0 * dice(seed * 500 + i),
                ..MetricPoint::default()
            })
            .collect(),
        ..MetricSeries::default()
    };
    Metrics {
        instruments: vec![
            info("orders", "db.client.connection.count", MetricKind::Gauge, "{connection}", "Connections in the pool"),
            info("orders", "process.memory.usage", MetricKind::Gauge, "By", "Memory in use"),
            info("payments", "http.client.request.duration", MetricKind::Histogram, "s", "Duration of requests"),
        ],
        series: query.name.iter().flat_map(|_| [series("orders-1", 1), series("orders-2", 2)]).collect(),
        ..Metrics::default()
    }
}

/// Somebody who may look and not touch.
pub(super) fn viewer() -> Whoami {
    let denied = [Deed::Override, Deed::Policy, Deed::Incident, Deed::Tokens, Deed::Switch];
    let why = |deed: Deed| format!("vera is a viewer and may not {}: that takes an operator", deed.words());
    Whoami {
        name: "vera".to_owned(),
        role: Role::Viewer,
        asked: true,
        token: "fb_3".to_owned(),
        may: vec![Deed::Whoami, Deed::Read],
        may_not: denied.into_iter().map(|deed| (deed, why(deed))).collect(),
        ..Whoami::default()
    }
}
