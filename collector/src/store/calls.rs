//! What spans mean for edges and services: each call is counted once, on the edge where its caller saw it.
//!
//! - A client's span that names its callee (an agent's call, a database, a queue, `service.peer.name`) counts by itself.
//! - A client's span that does not is paired with the server's span below it; unpaired it counts towards the address it names.
//! - A server's span without a parent, or whose parent never comes, was called from outside.
//! - Attempts of an agent's call count on the call's edge, not as calls.

use fuseboard_api::graph::{NodeKind, OUTSIDE};
use fuseboard_api::span::SpanKind;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::insert::{SECOND, Sender, State, Tally, kind_code};
use super::intern::{SeriesFacts, SeriesKey};
use super::pairing::{Half, Meeting, PATIENCE, Role};
use super::rollup::{self, Delta, Deltas};
use super::rows::{NewSpan, Peer};

/// One end of an edge.
#[derive(Clone, Copy)]
struct End<'a> {
    name: &'a str,
    kind: NodeKind,
    system: &'a str,
}

impl<'a> End<'a> {
    fn service(name: &'a str) -> Self {
        let kind = if name == OUTSIDE { NodeKind::External } else { NodeKind::Service };
        Self { name, kind, system: "" }
    }

    fn stranger(name: &'a str) -> Self {
        Self { name, kind: NodeKind::External, system: "" }
    }

    fn peer(peer: &'a Peer) -> Self {
        Self { name: &peer.name, kind: peer.kind, system: &peer.system }
    }
}

impl State {
    /// Counts a span that was just stored as `row`.
    pub(super) fn count(
        &mut self,
        conn: &Connection,
        sender: &Sender<'_>,
        span: &NewSpan,
        row: i64,
        tally: &mut Tally,
    ) -> rusqlite::Result<()> {
        let service = &sender.origin.service;
        let own = half_of(span, service, row, tally.stamp);
        let role = role(span);
        let here = (span.trace_id, span.span_id);
        let met = self.meet_servers(conn, here, role, &own, tally)?;
        match span.kind {
            SpanKind::Client if span.facts.is_attempt => self.attempt(conn, service, span, tally),
            SpanKind::Client | SpanKind::Producer if role == Role::Counted => {
                self.outbound(conn, service, span, &own, tally)
            }
            SpanKind::Client if !met => self.wait(conn, here, own),
            SpanKind::Server => {
                self.inbound(conn, sender, span, &own, tally)?;
                self.server(conn, span, own, tally)
            }
            SpanKind::Consumer => {
                self.inbound(conn, sender, span, &own, tally)?;
                let Some(queue) = &span.facts.peer else { return self.server(conn, span, own, tally) };
                let series = self.edge(conn, End::peer(queue), End::service(service), &own.operation, true, tally)?;
                add_call(&mut tally.deltas, series, &own);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Servers that came before the span they name as their parent. True when a client without a named callee has found
    /// out who answered it.
    fn meet_servers(
        &mut self,
        conn: &Connection,
        here: Meeting,
        role: Role,
        own: &Half,
        tally: &mut Tally,
    ) -> rusqlite::Result<bool> {
        let mut met = false;
        for server in self.pairing.take_servers(here) {
            forget(conn, &server)?;
            match role {
                Role::Client if !met => {
                    met = true;
                    self.answered(conn, &own.service, &server, own, tally)?;
                }
                Role::Inside if server.service != own.service => {
                    self.answered(conn, &own.service, &server, &server, tally)?;
                }
                _ => {}
            }
        }
        Ok(met)
    }

    fn attempt(&mut self, conn: &Connection, service: &str, span: &NewSpan, tally: &mut Tally) -> rusqlite::Result<()> {
        if span.facts.refused {
            return Ok(());
        }
        let series = self.named_edge(conn, service, span, tally)?;
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
        let series = self.named_edge(conn, service, span, tally)?;
        let delta = add_call(&mut tally.deltas, series, own);
        delta.refused += u64::from(span.facts.refused);
        if let Some(left) = span.facts.deadline_left {
            rollup::record(&mut delta.deadline, left);
        }
        Ok(())
    }

    fn named_edge(&mut self, conn: &Connection, service: &str, span: &NewSpan, tally: &Tally) -> rusqlite::Result<i64> {
        let facts = &span.facts;
        let callee = facts.peer.as_ref().map_or_else(|| End::stranger(&facts.fallback), End::peer);
        let asynchronous = span.kind == SpanKind::Producer;
        self.edge(conn, End::service(service), callee, &facts.operation, asynchronous, tally)
    }

    /// Counts a call on an edge found by pairing: `server` says who answered what, `seen` is the half whose outcome counts.
    fn answered(
        &mut self,
        conn: &Connection,
        caller: &str,
        server: &Half,
        seen: &Half,
        tally: &mut Tally,
    ) -> rusqlite::Result<()> {
        let (caller, callee) = (End::service(caller), End::service(&server.service));
        let series = self.edge(conn, caller, callee, &server.operation, false, tally)?;
        add_call(&mut tally.deltas, series, seen);
        Ok(())
    }

    /// The series of an edge.
    fn edge(
        &mut self,
        conn: &Connection,
        caller: End<'_>,
        callee: End<'_>,
        operation: &str,
        asynchronous: bool,
        tally: &Tally,
    ) -> rusqlite::Result<i64> {
        let key = SeriesKey {
            inbound: false,
            caller: caller.name.to_owned(),
            callee: callee.name.to_owned(),
            operation: operation.to_owned(),
            instance: String::new(),
            version: String::new(),
        };
        let system = if callee.system.is_empty() { caller.system } else { callee.system };
        let facts = SeriesFacts { caller_kind: caller.kind, callee_kind: callee.kind, system, asynchronous };
        self.interned.series(conn, key, facts, tally.stamp)
    }

    /// What an instance answered.
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
        let asynchronous = span.kind == SpanKind::Consumer;
        let (caller_kind, callee_kind) = (NodeKind::External, NodeKind::Service);
        let facts = SeriesFacts { caller_kind, callee_kind, system: "", asynchronous };
        let series = self.interned.series(conn, key, facts, tally.stamp)?;
        add_call(&mut tally.deltas, series, own).refused += u64::from(span.facts.refused);
        Ok(())
    }

    /// Who asked? A server's half meets its client, finds it counted already, or waits.
    fn server(&mut self, conn: &Connection, span: &NewSpan, own: Half, tally: &mut Tally) -> rusqlite::Result<()> {
        let Some(parent) = span.parent else {
            return self.answered(conn, OUTSIDE, &own, &own, tally);
        };
        let at = (span.trace_id, parent);
        if let Some(client) = self.pairing.take_client(at) {
            forget(conn, &client)?;
            return self.answered(conn, &client.service, &own, &client, tally);
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
        let Some((kind, caller)) = known else { return self.wait(conn, at, own) };
        let outbound = kind == kind_code(SpanKind::Client) || kind == kind_code(SpanKind::Producer);
        if !outbound && caller != own.service {
            // Called from inside a span that is no client's: some libraries send no client spans.
            self.answered(conn, &caller, &own, &own, tally)?;
        }
        Ok(())
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
                self.answered(conn, OUTSIDE, &half, &half, tally)?;
                continue;
            }
            let (caller, callee) = (End::service(&half.service), End::stranger(&half.fallback));
            let series = self.edge(conn, caller, callee, &half.operation, false, tally)?;
            add_call(&mut tally.deltas, series, &half);
        }
        Ok(())
    }
}

fn role(span: &NewSpan) -> Role {
    let facts = &span.facts;
    match span.kind {
        SpanKind::Client if facts.peer.is_none() && !facts.is_call && !facts.is_attempt => Role::Client,
        SpanKind::Client | SpanKind::Producer => Role::Counted,
        _ => Role::Inside,
    }
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

#[cfg(test)]
mod tests {
    use fuseboard_api::{SpanId, TraceId};

    use super::*;
    use crate::store::rows::{Batch, CallFacts, NewOrigin};
    use crate::store::schema;

    fn span(kind: SpanKind, id: u8, parent: u8, fallback: &str) -> NewSpan {
        NewSpan {
            origin: 0,
            trace_id: TraceId([7; 16]),
            span_id: SpanId([id; 8]),
            parent: (parent > 0).then_some(SpanId([parent; 8])),
            name: "work".into(),
            kind,
            start: 1_000_000_000,
            end: 2_500_000_000,
            status: 0,
            facts: CallFacts { operation: "work".into(), fallback: fallback.into(), ..CallFacts::default() },
            body: Vec::new(),
            keys: Vec::new(),
        }
    }

    fn from(service: &str, span: NewSpan) -> Batch {
        let origins = vec![NewOrigin { service: service.into(), ..NewOrigin::default() }];
        Batch { origins, spans: vec![span], ..Batch::default() }
    }

    /// (caller, callee, calls, second), as counted.
    fn edges(conn: &Connection, tally: &Tally) -> Vec<(String, String, u64, i64)> {
        let mut out: Vec<_> = tally
            .deltas
            .iter()
            .filter_map(|((series, second), delta)| {
                let sql = "SELECT caller, callee FROM series WHERE id = ?1 AND NOT inbound";
                let ends = conn.query_row(sql, [series], |r| Ok((r.get(0)?, r.get(1)?))).optional();
                ends.expect("a query").map(|(caller, callee)| (caller, callee, delta.calls, *second))
            })
            .collect();
        out.sort();
        out
    }

    #[test]
    fn those_who_wait_in_vain_are_counted_towards_the_outside() {
        let conn = Connection::open_in_memory().expect("a database");
        schema::migrate(&conn, 0).expect("tables");
        let mut state = State::load(&conn).expect("empty");
        let mut tally = Tally::at(5_000_000_000);
        for batch in
            [from("a", span(SpanKind::Client, 1, 9, "bank.example")), from("b", span(SpanKind::Server, 2, 8, ""))]
        {
            state.append(&conn, &batch, &mut tally).expect("stored");
        }
        state.expire(&conn, &mut tally).expect("nothing yet");
        assert_eq!(edges(&conn, &tally), []);
        // The memory is lost, as by a restart; what waits is not.
        let mut state = State::load(&conn).expect("loaded");
        let mut tally = Tally::at(5_000_000_000 + PATIENCE);
        state.expire(&conn, &mut tally).expect("counted");
        let expected = [("a".into(), "bank.example".into(), 1, 2), (OUTSIDE.into(), "b".into(), 1, 2)];
        assert_eq!(edges(&conn, &tally), expected);
        let left: i64 = conn.query_row("SELECT count(*) FROM pending", [], |r| r.get(0)).expect("a count");
        assert_eq!((left, state.pairing.next_deadline()), (0, None));
    }

    #[test]
    fn a_server_below_a_span_that_is_no_clients_is_called_by_its_service() {
        let conn = Connection::open_in_memory().expect("a database");
        schema::migrate(&conn, 0).expect("tables");
        for inside_first in [true, false] {
            let mut state = State::load(&conn).expect("loaded");
            let mut tally = Tally::at(5_000_000_000);
            let (inside, answer) = if inside_first { (1, 2) } else { (3, 4) };
            let mut batches = vec![
                from("a", span(SpanKind::Internal, inside, 0, "")),
                from("b", span(SpanKind::Server, answer, inside, "")),
            ];
            if !inside_first {
                batches.reverse();
            }
            for batch in batches {
                state.append(&conn, &batch, &mut tally).expect("stored");
            }
            assert_eq!(edges(&conn, &tally), [("a".into(), "b".into(), 1, 2)]);
        }
    }
}
