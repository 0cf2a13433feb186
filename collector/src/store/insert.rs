//! Puts a batch into the tables, and what it means for edges and services into the rollups.

use std::collections::{HashMap, HashSet};

use fuseboard_api::TraceId;
use fuseboard_api::histogram::LatencyHistogram;
use fuseboard_api::span::SpanKind;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::intern::Interned;
use super::pairing::{Half, Meeting, Pairing};
use super::rollup::Deltas;
use super::rows::{Appended, Batch, NewLog, NewOrigin, NewSpan};

/// Bits of the column `marks`.
pub(crate) const MARK_CALL: i64 = 1;
/// See [`MARK_CALL`].
pub(crate) const MARK_ATTEMPT: i64 = 2;
/// See [`MARK_CALL`].
pub(crate) const MARK_REFUSED: i64 = 4;

/// Nanoseconds of a second.
pub(super) const SECOND: i64 = 1_000_000_000;

/// How many traces are remembered as known, to spare a look-up a span.
const TRACES: usize = 50_000;

/// What the writer keeps in memory between commits. Rebuilt from the tables after a rollback.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) interned: Interned,
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

    pub(super) fn covers(&mut self, from: i64, to: i64) {
        self.oldest = self.oldest.min(from);
        self.newest = self.newest.max(to);
    }
}

/// The sender of the rows at hand.
pub(super) struct Sender<'a> {
    pub(super) id: i64,
    pub(super) origin: &'a NewOrigin,
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
            let at: Meeting = (TraceId(row.get::<_, [u8; 16]>(2)?), fuseboard_api::SpanId(row.get::<_, [u8; 8]>(3)?));
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
    pub(super) fn append(&mut self, conn: &Connection, batch: &Batch, tally: &mut Tally) -> rusqlite::Result<Appended> {
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
