//! Puts a batch into the tables, and what it means for edges and services into the rollups.

use std::collections::{HashMap, HashSet};

use fuseboard_api::TraceId;
use fuseboard_api::graph::{NodeKind, OUTSIDE};
use fuseboard_api::histogram::LatencyHistogram;
use fuseboard_api::metric::MetricKind;
use fuseboard_api::span::SpanKind;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::intern::{Interned, SeriesFacts, SeriesKey, digest};
use super::pairing::{Half, Meeting, PATIENCE, Pairing, Role};
use super::rollup::{self, Delta, Deltas};
use super::rows::{Appended, Batch, NewLog, NewMetric, NewOrigin, NewSpan, Peer};

/// Bits of the column `marks`.
pub(crate) const MARK_CALL: i64 = 1;
/// See [`MARK_CALL`].
pub(crate) const MARK_ATTEMPT: i64 = 2;
/// See [`MARK_CALL`].
pub(crate) const MARK_REFUSED: i64 = 4;

const SECOND: i64 = 1_000_000_000;

/// How many traces are remembered as known, to spare a look-up a span.
const TRACES: usize = 50_000;

/// What the writer keeps in memory between commits. Rebuilt from the tables after a rollback.
#[derive(Debug, Default)]
pub(super) struct State {
    interned: Interned,
    pub(super) pairing: Pairing,
    traces: HashSet<TraceId>,
    seen: HashMap<(String, String), i64>,
}

/// What one commit adds up to.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) stamp: i64,
    pub(super) deltas: Deltas,
    pub(super) spans: u64,
    pub(super) traces: u64,
    pub(super) logs: u64,
    pub(super) points: u64,
    pub(super) oldest: i64,
    pub(super) newest: i64,
    pub(super) lag: LatencyHistogram,
}

impl Tally {
    pub(super) fn at(stamp: i64) -> Self {
        Self {
            stamp,
            deltas: Deltas::new(),
            spans: 0,
            traces: 0,
            logs: 0,
            points: 0,
            oldest: i64::MAX,
            newest: i64::MIN,
            lag: LatencyHistogram::default(),
        }
    }

    /// Adds another of the same commit.
    pub(super) fn merge(&mut self, other: Self) {
        for (key, delta) in other.deltas {
            self.deltas.entry(key).or_default().merge(&delta);
        }
        self.spans += other.spans;
        self.traces += other.traces;
        self.logs += other.logs;
        self.points += other.points;
        self.oldest = self.oldest.min(other.oldest);
        self.newest = self.newest.max(other.newest);
        self.lag.merge(&other.lag);
    }

    fn covers(&mut self, from: i64, to: i64) {
        self.oldest = self.oldest.min(from);
        self.newest = self.newest.max(to);
    }
}

/// The sender of the rows at hand.
struct Sender<'a> {
    id: i64,
    origin: &'a NewOrigin,
}

impl State {
    /// The state that the tables imply.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut state = Self::default();
        let mut read = conn.prepare_cached(
            "SELECT span, server, trace_id, span_id, service, operation, fallback, end, nanos, failed, deadline FROM pending",
        )?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            let at: Meeting = (
                TraceId(row.get::<_, [u8; 16]>(2)?),
                fuseboard_api::SpanId(row.get::<_, [u8; 8]>(3)?),
            );
            let half = Half {
                span: row.get(0)?,
                server: row.get(1)?,
                service: row.get(4)?,
                operation: row.get(5)?,
                fallback: row.get(6)?,
                end: row.get(7)?,
                nanos: row.get::<_, i64>(8)?.max(0) as u64,
                failed: row.get(9)?,
                deadline: row.get(10)?,
            };
            state.pairing.wait(at, half);
        }
        Ok(state)
    }

    /// Stores a batch.
    pub(super) fn append(
        &mut self,
        conn: &Connection,
        batch: &Batch,
        tally: &mut Tally,
    ) -> rusqlite::Result<Appended> {
        let mut ids = Vec::with_capacity(batch.origins.len());
        for origin in &batch.origins {
            ids.push(self.interned.origin(conn, origin, tally.stamp)?);
            self.see(conn, origin, tally.stamp)?;
        }
        let mut out = Appended::default();
        let sender = |position: usize| {
            ids.get(position).zip(batch.origins.get(position)).map(|(id, origin)| Sender { id: *id, origin })
        };
        let mut count = |stored: bool| if stored { out.stored += 1 } else { out.duplicates += 1 };
        for span in &batch.spans {
            let Some(sender) = sender(span.origin) else { continue };
            count(self.span(conn, &sender, span, tally)?);
        }
        for log in &batch.logs {
            let Some(sender) = sender(log.origin) else { continue };
            insert_log(conn, &sender, log, tally)?;
            count(true);
        }
        for metric in &batch.metrics {
            let Some(sender) = sender(metric.origin) else { continue };
            let (stored, duplicates) = self.metric(conn, &sender, metric, tally)?;
            out.stored += stored;
            out.duplicates += duplicates;
        }
        Ok(out)
    }

    /// Notes that an instance said something; at most once a second each.
    fn see(&mut self, conn: &Connection, origin: &NewOrigin, stamp: i64) -> rusqlite::Result<()> {
        let key = (origin.service.clone(), origin.instance.clone());
        if self.seen.get(&key).is_some_and(|last| stamp - last < SECOND) {
            return Ok(());
        }
        conn.prepare_cached("INSERT OR IGNORE INTO seen (service, instance, arrival) VALUES (?1, ?2, ?3)")?
            .execute(params![key.0, key.1, stamp])?;
        if self.seen.len() >= TRACES {
            self.seen.clear();
        }
        self.seen.insert(key, stamp);
        Ok(())
    }

    /// Stores a span; false when it was there already.
    fn span(
        &mut self,
        conn: &Connection,
        sender: &Sender<'_>,
        span: &NewSpan,
        tally: &mut Tally,
    ) -> rusqlite::Result<bool> {
        let name = self.interned.name(conn, &span.name)?;
        let peer = match &span.facts.peer {
            Some(peer) => Some(self.interned.name(conn, &peer.name)?),
            None => None,
        };
        let new_trace = self.is_new_trace(conn, span.trace_id)?;
        let side = i64::from(matches!(span.kind, SpanKind::Server | SpanKind::Consumer));
        let f = &span.facts;
        let marks = if f.is_call { MARK_CALL } else { 0 }
            | if f.is_attempt { MARK_ATTEMPT } else { 0 }
            | if f.refused { MARK_REFUSED } else { 0 };
        let stored = conn
            .prepare_cached(
                "INSERT INTO spans (trace_id, span_id, side, parent, origin, name, kind, start, end, status, marks, peer, arrival, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                &span.trace_id.0[..],
                &span.span_id.0[..],
                side,
                span.parent.as_ref().map(|p| &p.0[..]),
                sender.id,
                name,
                kind_code(span.kind),
                span.start,
                span.end,
                span.status,
                marks,
                peer,
                tally.stamp,
                span.body
            ])?;
        if stored == 0 {
            return Ok(false);
        }
        let row = conn.last_insert_rowid();
        for key in &span.keys {
            self.interned.key(conn, key, tally.stamp)?;
        }
        tally.spans += 1;
        tally.traces += u64::from(new_trace);
        tally.covers(span.start, span.end);
        tally.lag.record(tally.stamp.saturating_sub(span.end).max(0) as u64);
        self.count(conn, sender, span, row, tally)?;
        Ok(true)
    }

    fn is_new_trace(&mut self, conn: &Connection, trace: TraceId) -> rusqlite::Result<bool> {
        if self.traces.contains(&trace) {
            return Ok(false);
        }
        if self.traces.len() >= TRACES {
            self.traces.clear();
        }
        self.traces.insert(trace);
        let known = conn
            .prepare_cached("SELECT 1 FROM spans WHERE trace_id = ?1 LIMIT 1")?
            .query_row([&trace.0[..]], |_| Ok(()))
            .optional()?;
        Ok(known.is_none())
    }

    /// What a span means for edges and services.
    fn count(
        &mut self,
        conn: &Connection,
        sender: &Sender<'_>,
        span: &NewSpan,
        row: i64,
        tally: &mut Tally,
    ) -> rusqlite::Result<()> {
        let service = &sender.origin.service;
        let facts = &span.facts;
        let own = half_of(span, service, row, tally.stamp);
        let role = match (span.kind, &facts.peer) {
            (SpanKind::Client, None) if !facts.is_call && !facts.is_attempt => Role::Client,
            (SpanKind::Client | SpanKind::Producer, _) => Role::Counted,
            _ => Role::Inside,
        };
        // Servers that came before their client.
        let here = (span.trace_id, span.span_id);
        let mut met = false;
        for server in self.pairing.take_servers(here) {
            forget(conn, &server)?;
            match role {
                Role::Client if !met => {
                    met = true;
                    self.edge(conn, service, &server, &own, tally)?;
                }
                Role::Inside if server.service != *service => self.edge(conn, service, &server, &server, tally)?,
                _ => {}
            }
        }
        match span.kind {
            SpanKind::Client if facts.is_attempt => self.attempt(conn, service, span, tally),
            SpanKind::Client | SpanKind::Producer => {
                if role == Role::Counted {
                    self.outbound(conn, service, span, &own, tally)
                } else if !met {
                    self.wait(conn, here, own)
                } else {
                    Ok(())
                }
            }
            SpanKind::Server => {
                self.inbound(conn, sender, span, &own, tally)?;
                self.server(conn, span, own, tally)
            }
            SpanKind::Consumer => {
                self.inbound(conn, sender, span, &own, tally)?;
                match &facts.peer {
                    Some(queue) => self.consumed(conn, queue, &own, tally),
                    None => self.server(conn, span, own, tally),
                }
            }
            SpanKind::Internal | SpanKind::Unspecified => Ok(()),
        }
    }

    fn attempt(&mut self, conn: &Connection, service: &str, span: &NewSpan, tally: &mut Tally) -> rusqlite::Result<()> {
        if span.facts.refused {
            return Ok(());
        }
        let series = self.edge_series(conn, service, span, tally.stamp)?;
        let delta = tally.deltas.entry((series, span.end.div_euclid(SECOND))).or_default();
        delta.attempts += 1;
        delta.cut += u64::from(span.facts.cut);
        rollup::record(&mut delta.attempt_latency, duration(span));
        Ok(())
    }

    /// A call whose span names its callee.
    fn outbound(
        &mut self,
        conn: &Connection,
        service: &str,
        span: &NewSpan,
        own: &Half,
        tally: &mut Tally,
    ) -> rusqlite::Result<()> {
        let series = self.edge_series(conn, service, span, tally.stamp)?;
        let delta = add_call(&mut tally.deltas, series, own);
        delta.refused += u64::from(span.facts.refused);
        if let Some(left) = span.facts.deadline_left {
            rollup::record(&mut delta.deadline, left);
        }
        Ok(())
    }

    fn edge_series(&mut self, conn: &Connection, service: &str, span: &NewSpan, stamp: i64) -> rusqlite::Result<i64> {
        let facts = &span.facts;
        let unnamed = || Peer { name: facts.fallback.clone(), kind: NodeKind::External, system: String::new() };
        let peer = facts.peer.clone().unwrap_or_else(unnamed);
        let key = SeriesKey {
            inbound: false,
            caller: service.to_owned(),
            callee: peer.name,
            operation: facts.operation.clone(),
            instance: String::new(),
            version: String::new(),
        };
        let kinds = SeriesFacts {
            caller_kind: NodeKind::Service,
            callee_kind: peer.kind,
            system: &peer.system,
            asynchronous: span.kind == SpanKind::Producer,
        };
        self.interned.series(conn, key, kinds, stamp)
    }

    /// An edge found by pairing: `server` says who answered, `seen` is the half whose outcome counts.
    fn edge(
        &mut self,
        conn: &Connection,
        caller: &str,
        server: &Half,
        seen: &Half,
        tally: &mut Tally,
    ) -> rusqlite::Result<()> {
        let caller_kind = if caller == OUTSIDE { NodeKind::External } else { NodeKind::Service };
        self.plain(conn, (caller, caller_kind), (&server.service, NodeKind::Service), &server.operation, seen, tally)
    }

    fn plain(
        &mut self,
        conn: &Connection,
        (caller, caller_kind): (&str, NodeKind),
        (callee, callee_kind): (&str, NodeKind),
        operation: &str,
        seen: &Half,
        tally: &mut Tally,
    ) -> rusqlite::Result<()> {
        let key = SeriesKey {
            inbound: false,
            caller: caller.to_owned(),
            callee: callee.to_owned(),
            operation: operation.to_owned(),
            instance: String::new(),
            version: String::new(),
        };
        let facts = SeriesFacts { caller_kind, callee_kind, system: "", asynchronous: false };
        let series = self.interned.series(conn, key, facts, tally.stamp)?;
        add_call(&mut tally.deltas, series, seen);
        Ok(())
    }

    fn consumed(&mut self, conn: &Connection, queue: &Peer, own: &Half, tally: &mut Tally) -> rusqlite::Result<()> {
        let key = SeriesKey {
            inbound: false,
            caller: queue.name.clone(),
            callee: own.service.clone(),
            operation: own.operation.clone(),
            instance: String::new(),
            version: String::new(),
        };
        let facts = SeriesFacts {
            caller_kind: NodeKind::Queue,
            callee_kind: NodeKind::Service,
            system: &queue.system,
            asynchronous: true,
        };
        let series = self.interned.series(conn, key, facts, tally.stamp)?;
        add_call(&mut tally.deltas, series, own);
        Ok(())
    }

    fn inbound(
        &mut self,
        conn: &Connection,
        sender: &Sender<'_>,
        span: &NewSpan,
        own: &Half,
        tally: &mut Tally,
    ) -> rusqlite::Result<()> {
        let key = SeriesKey {
            inbound: true,
            caller: String::new(),
            callee: sender.origin.service.clone(),
            operation: own.operation.clone(),
            instance: sender.origin.instance.clone(),
            version: sender.origin.version.clone(),
        };
        let facts = SeriesFacts {
            caller_kind: NodeKind::External,
            callee_kind: NodeKind::Service,
            system: "",
            asynchronous: span.kind == SpanKind::Consumer,
        };
        let series = self.interned.series(conn, key, facts, tally.stamp)?;
        add_call(&mut tally.deltas, series, own).refused += u64::from(span.facts.refused);
        Ok(())
    }

    /// Who asked? A server's half meets its client, finds it counted already, or waits.
    fn server(&mut self, conn: &Connection, span: &NewSpan, own: Half, tally: &mut Tally) -> rusqlite::Result<()> {
        let Some(parent) = span.parent else {
            return self.edge(conn, OUTSIDE, &own, &own, tally);
        };
        let at = (span.trace_id, parent);
        if let Some(client) = self.pairing.take_client(at) {
            forget(conn, &client)?;
            let caller = client.service.clone();
            return self.edge(conn, &caller, &own, &client, tally);
        }
        let known = conn
            .prepare_cached(
                "SELECT s.kind, o.service FROM spans s JOIN origins o ON o.id = s.origin
                 WHERE s.trace_id = ?1 AND s.span_id = ?2 AND s.id <> ?3 ORDER BY s.side LIMIT 1",
            )?
            .query_row(params![&span.trace_id.0[..], &parent.0[..], own.span], |r| {
                Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?))
            })
            .optional()?;
        match known {
            None => self.wait(conn, at, own),
            Some((kind, caller)) => {
                let outbound = kind == kind_code(SpanKind::Client) || kind == kind_code(SpanKind::Producer);
                if !outbound && caller != own.service {
                    self.edge(conn, &caller, &own, &own, tally)?;
                }
                Ok(())
            }
        }
    }

    fn wait(&mut self, conn: &Connection, at: Meeting, half: Half) -> rusqlite::Result<()> {
        conn.prepare_cached(
            "INSERT OR REPLACE INTO pending (span, server, trace_id, span_id, service, operation, fallback, end, nanos, failed, deadline)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            half.span,
            half.server,
            &at.0.0[..],
            &at.1.0[..],
            half.service,
            half.operation,
            half.fallback,
            half.end,
            i64::try_from(half.nanos).unwrap_or(i64::MAX),
            half.failed,
            half.deadline
        ])?;
        self.pairing.wait(at, half);
        Ok(())
    }

    /// Counts those who waited long enough: a client called something outside, a server was called from outside.
    pub(super) fn expire(&mut self, conn: &Connection, tally: &mut Tally) -> rusqlite::Result<()> {
        for half in self.pairing.expire(tally.stamp) {
            forget(conn, &half)?;
            if half.server {
                self.edge(conn, OUTSIDE, &half, &half, tally)?;
            } else {
                let (service, operation) = (half.service.clone(), half.operation.clone());
                let caller = (service.as_str(), NodeKind::Service);
                self.plain(conn, caller, (&half.fallback, NodeKind::External), &operation, &half, tally)?;
            }
        }
        Ok(())
    }

    /// Stores a metric's points; gives how many were new and how many were there already.
    fn metric(
        &mut self,
        conn: &Connection,
        sender: &Sender<'_>,
        m: &NewMetric,
        tally: &mut Tally,
    ) -> rusqlite::Result<(u64, u64)> {
        let kind = metric_code(m.kind);
        let (mut stored, mut duplicates) = (0, 0);
        for point in &m.points {
            let hash = digest(&[
                &sender.id.to_le_bytes(),
                m.name.as_bytes(),
                m.unit.as_bytes(),
                &[kind as u8, m.temporality, u8::from(m.monotonic)],
                &point.attributes,
            ]);
            let id = self.interned.metric(hash, || {
                let key = params![sender.id, m.name, kind, m.unit, m.temporality, m.monotonic, point.attributes];
                let found = conn
                    .prepare_cached(
                        "SELECT id FROM metrics WHERE origin = ?1 AND name = ?2 AND kind = ?3 AND unit = ?4
                         AND temporality = ?5 AND monotonic = ?6 AND attributes = ?7",
                    )?
                    .query_row(key, |r| r.get(0))
                    .optional()?;
                match found {
                    Some(id) => Ok(id),
                    None => conn
                        .prepare_cached(
                            "INSERT INTO metrics (origin, name, kind, unit, temporality, monotonic, attributes, description, arrival)
                             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                        )?
                        .insert(params![
                            sender.id,
                            m.name,
                            kind,
                            m.unit,
                            m.temporality,
                            m.monotonic,
                            point.attributes,
                            m.description,
                            tally.stamp
                        ]),
                }
            })?;
            let new = conn
                .prepare_cached(
                    "INSERT INTO points (metric, time, value, count, sum, arrival, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    id,
                    point.time,
                    finite(point.value),
                    i64::try_from(point.count).unwrap_or(i64::MAX),
                    finite(point.sum),
                    tally.stamp,
                    point.body
                ])?;
            if new == 0 {
                duplicates += 1;
            } else {
                stored += 1;
                tally.points += 1;
                tally.covers(point.time, point.time);
            }
        }
        Ok((stored, duplicates))
    }
}

/// SQLite has no NaN (it would become NULL); the body keeps the true value.
fn finite(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

fn insert_log(conn: &Connection, sender: &Sender<'_>, log: &NewLog, tally: &mut Tally) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO logs (time, severity, origin, trace_id, span_id, arrival, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        log.time,
        log.severity,
        sender.id,
        log.trace_id.as_ref().map(|t| &t.0[..]),
        log.span_id.as_ref().map(|s| &s.0[..]),
        tally.stamp,
        log.body
    ])?;
    tally.logs += 1;
    tally.covers(log.time, log.time);
    Ok(())
}

fn forget(conn: &Connection, half: &Half) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM pending WHERE span = ?1")?.execute([half.span])?;
    Ok(())
}

fn add_call<'a>(deltas: &'a mut Deltas, series: i64, half: &Half) -> &'a mut Delta {
    let delta = deltas.entry((series, half.end.div_euclid(SECOND))).or_default();
    delta.calls += 1;
    delta.errors += u64::from(half.failed);
    rollup::record(&mut delta.latency, half.nanos);
    delta
}

fn duration(span: &NewSpan) -> u64 {
    span.end.saturating_sub(span.start).max(0) as u64
}

fn half_of(span: &NewSpan, service: &str, row: i64, stamp: i64) -> Half {
    Half {
        span: row,
        server: matches!(span.kind, SpanKind::Server | SpanKind::Consumer),
        service: service.to_owned(),
        operation: span.facts.operation.clone(),
        fallback: span.facts.fallback.clone(),
        end: span.end,
        nanos: duration(span),
        failed: span.status == 2,
        deadline: stamp.saturating_add(PATIENCE),
    }
}

/// OTLP's number of a span kind.
pub(crate) fn kind_code(kind: SpanKind) -> i64 {
    match kind {
        SpanKind::Unspecified => 0,
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

/// The number stored for a metric's kind.
pub(crate) fn metric_code(kind: MetricKind) -> i64 {
    match kind {
        MetricKind::Gauge => 0,
        MetricKind::Sum => 1,
        MetricKind::Histogram => 2,
        MetricKind::ExponentialHistogram => 3,
        MetricKind::Summary => 4,
    }
}
