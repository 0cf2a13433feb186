//! What spans mean for edges and services: each call is counted once, on the edge where its caller saw it.
//!
//! - A client's span that names its callee (an agent's call, a database, a queue, `service.peer.name`) counts by itself.
//! - A client's span that does not is paired with the server's span below it; unpaired it counts towards the address it names.
//! - A server's span without a parent, or whose parent never comes, was called from outside.
//! - A span that takes a message and names no queue was sent it by the span it links to, or by its parent.
//! - Attempts of an agent's call count on the call's edge, not as calls.

use fuseboard_api::graph::{NodeKind, OUTSIDE};
use opentelemetry_proto::tonic::trace::v1::span::Link;
use prost::Message as _;

use super::gather::{Gathered, Which};
use super::insert::{SECOND, Taken};
use super::known::{Known, Note};
use super::names::{Book, SeriesFacts, SeriesKey};
use super::pairing::{Half, Meeting, PATIENCE, Pairing};
use crate::otlp::{FlatSpan, Marks, SpanTape};

/// OTLP's numbers of span kinds.
pub(super) const SERVER: u8 = 2;
const CLIENT: u8 = 3;
pub(super) const PRODUCER: u8 = 4;
pub(super) const CONSUMER: u8 = 5;

/// OTLP's number of the status that says a span failed.
const FAILED: u8 = 2;

/// One end of an edge.
#[derive(Clone, Copy)]
struct End {
    name: u32,
    kind: NodeKind,
    system: u32,
}

/// A span to be counted.
#[derive(Clone, Copy)]
struct One<'a> {
    tape: &'a SpanTape,
    span: &'a FlatSpan,
    service: u32,
    party: u32,
}

/// What a newly arrived span is to those who wait at its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A client's span without a named callee.
    Client,
    /// A span that is counted by itself.
    Counted,
    /// Work inside a service, or its answer to somebody else.
    Inside,
}

/// Counts the spans of one commit.
pub(super) struct Counter<'a> {
    book: &'a mut Book,
    pairing: &'a mut Pairing,
    known: &'a Known,
    sums: &'a mut Gathered,
    stamp: i64,
    outside: u32,
}

impl<'a> Counter<'a> {
    pub(super) fn new(
        book: &'a mut Book,
        pairing: &'a mut Pairing,
        known: &'a Known,
        sums: &'a mut Gathered,
        stamp: i64,
    ) -> Self {
        let outside = book.names.number(OUTSIDE.as_bytes());
        Self { book, pairing, known, sums, stamp, outside }
    }

    /// Counts what was taken; all of it is known already.
    pub(super) fn count(&mut self, taken: &[Taken]) {
        // Clients first: a server finds its own in the same commit, in whatever order both came.
        for one in each(taken) {
            let role = role(one.span);
            let met = self.pairing.servers_wait() && self.meet_servers(one, role);
            if role == Role::Client && !met {
                let half = self.half(one);
                self.pairing.wait(half);
            }
        }
        for one in each(taken) {
            match one.span.kind {
                CLIENT if one.span.marks.has(Marks::ATTEMPT) => self.attempt(one),
                CLIENT | PRODUCER if role(one.span) == Role::Counted => self.outbound(one),
                CLIENT | PRODUCER => {}
                SERVER => {
                    let half = self.inbound(one);
                    self.server(one, half);
                }
                CONSUMER => {
                    let half = self.inbound(one);
                    if one.span.peer.is_empty() {
                        self.server(one, half);
                    } else {
                        let queue = self.peer(one);
                        self.answered(queue, &half, &half);
                    }
                }
                _ => self.linked_work(one),
            }
        }
    }

    /// Counts those who waited long enough: a client called something outside, a server was called from outside.
    pub(super) fn expire(&mut self) {
        for half in self.pairing.expire(self.stamp) {
            if half.server {
                self.answered(self.service(self.outside), &half, &half);
                continue;
            }
            let callee = End { name: half.fallback, kind: NodeKind::External, system: 0 };
            let series = self.edge(self.service(half.service), callee, half.operation, false);
            self.add(series, &half);
        }
    }

    fn service(&self, name: u32) -> End {
        let kind = if name == self.outside { NodeKind::External } else { NodeKind::Service };
        End { name, kind, system: 0 }
    }

    /// The other side as a span names it.
    fn peer(&mut self, one: One<'_>) -> End {
        let name = self.book.names.number(one.tape.get(one.span.peer));
        let system = self.book.names.number(one.tape.get(one.span.peer_system));
        End { name, kind: one.span.peer_kind, system }
    }

    /// Servers that came in an earlier commit than the span they name as their caller. True when a client without a named
    /// callee has found out who answered it.
    fn meet_servers(&mut self, one: One<'_>, role: Role) -> bool {
        let mut met = false;
        let at = Meeting { trace_id: one.span.trace_id, span_id: one.span.span_id };
        for server in self.pairing.take_servers(&at) {
            match role {
                Role::Client if !met => {
                    met = true;
                    let own = self.half(one);
                    self.answered(self.service(one.service), &server, &own);
                }
                Role::Inside if server.service != one.service => {
                    self.answered(self.service(one.service), &server, &server);
                }
                Role::Counted if server.asynchronous && one.span.kind == PRODUCER => {
                    let queue = self.peer(one);
                    self.answered(queue, &server, &server);
                }
                _ => {}
            }
        }
        met
    }

    fn attempt(&mut self, one: One<'_>) {
        if one.span.marks.has(Marks::REFUSED) {
            return;
        }
        let series = self.named_edge(one);
        let place = self.sums.place(&mut self.book.series, series, one.span.end.div_euclid(SECOND));
        let counts = self.sums.at(place);
        counts.attempts += 1;
        counts.cut += u64::from(one.span.marks.has(Marks::CUT));
        self.sums.observe(place, Which::Attempts, duration(one.span));
    }

    /// A call whose span names its callee.
    fn outbound(&mut self, one: One<'_>) {
        let series = self.named_edge(one);
        let place = self.add_span(series, one.span);
        if one.span.deadline_left != u64::MAX {
            self.sums.observe(place, Which::Deadline, one.span.deadline_left);
        }
    }

    fn named_edge(&mut self, one: One<'_>) -> u32 {
        let callee = if one.span.peer.is_empty() {
            let name = self.book.names.number(one.tape.get(one.span.fallback));
            End { name, kind: NodeKind::External, system: 0 }
        } else {
            self.peer(one)
        };
        let operation = self.book.names.number(one.tape.get(one.span.operation));
        // A producer's attempts are a client's spans, and may come before its own.
        self.edge(self.service(one.service), callee, operation, callee.kind == NodeKind::Queue)
    }

    /// Counts a call on an edge found by pairing: `server` says who answered what, `seen` is the half whose outcome counts.
    fn answered(&mut self, caller: End, server: &Half, seen: &Half) {
        let callee = self.service(server.service);
        let series = self.edge(caller, callee, server.operation, server.asynchronous);
        self.add(series, seen);
    }

    /// The series of an edge.
    fn edge(&mut self, caller: End, callee: End, operation: u32, asynchronous: bool) -> u32 {
        let key = SeriesKey::Edge { caller: caller.name, callee: callee.name, operation };
        self.book.series(key, || SeriesFacts {
            caller_kind: caller.kind,
            callee_kind: callee.kind,
            system: if callee.system == 0 { caller.system } else { callee.system },
            asynchronous,
        })
    }

    /// Counts what an instance answered.
    fn inbound(&mut self, one: One<'_>) -> Half {
        let half = self.half(one);
        let key = SeriesKey::Inbound { party: one.party, operation: half.operation };
        let series = self.book.series(key, || SeriesFacts {
            caller_kind: NodeKind::External,
            callee_kind: NodeKind::Service,
            system: 0,
            asynchronous: one.span.kind == CONSUMER,
        });
        self.add_span(series, one.span);
        half
    }

    /// Who asked? A server's half meets its client, finds it counted already, or waits.
    fn server(&mut self, one: One<'_>, mut own: Half) {
        let Some(at) = caller(one) else {
            return self.answered(self.service(self.outside), &own, &own);
        };
        if let Some(client) = self.pairing.take_client(&at) {
            return self.answered(self.service(client.service), &own, &client);
        }
        match self.find(&at, one.span) {
            // Counted by the caller itself.
            Some((Note::Client | Note::Producer, _)) => {}
            Some((Note::Queue, queue)) if own.asynchronous => {
                self.answered(End { name: queue, kind: NodeKind::Queue, system: 0 }, &own, &own);
            }
            Some((Note::Queue, _)) => {}
            // Called from inside a span that is no client's: some libraries send no client spans.
            Some((Note::Inside, service)) if service != own.service => {
                self.answered(self.service(service), &own, &own);
            }
            Some((Note::Inside, _)) => {}
            None => {
                own.at = at;
                self.pairing.wait(own);
            }
        }
    }

    /// Work that begins a trace and links to a span of another service was set going by it.
    fn linked_work(&mut self, one: One<'_>) {
        if one.span.parent != [0; 8] {
            return;
        }
        let Some(at) = linked(one) else { return };
        if let Some((_, service)) = self.find(&at, one.span).filter(|(_, service)| *service != one.service) {
            let mut half = self.half(one);
            half.asynchronous = true;
            self.answered(self.service(service), &half, &half);
        }
    }

    /// What is known of a span that another one, `own`, names as its caller.
    fn find(&self, at: &Meeting, own: &FlatSpan) -> Option<(Note, u32)> {
        let key = self.known.key();
        let trace = key.trace(&at.trace_id);
        let itself = own.trace_id == at.trace_id && own.span_id == at.span_id;
        let side = |server| self.known.find(key.span(trace, &at.span_id, server));
        side(false).or_else(|| if itself { None } else { side(true) })
    }

    /// A span as one half of a call.
    fn half(&mut self, one: One<'_>) -> Half {
        let span = one.span;
        let names = &mut self.book.names;
        Half {
            id: 0,
            at: Meeting { trace_id: span.trace_id, span_id: span.span_id },
            server: matches!(span.kind, SERVER | CONSUMER),
            asynchronous: span.kind == CONSUMER,
            service: one.service,
            operation: names.number(one.tape.get(span.operation)),
            fallback: if span.kind == CLIENT { names.number(one.tape.get(span.fallback)) } else { 0 },
            start: span.start,
            end: span.end,
            failed: span.status == FAILED,
            deadline: self.stamp.saturating_add(PATIENCE),
        }
    }

    fn add(&mut self, series: u32, half: &Half) {
        let second = half.end.div_euclid(SECOND);
        let place = self.sums.place(&mut self.book.series, series, second);
        let counts = self.sums.at(place);
        counts.calls += 1;
        counts.errors += u64::from(half.failed);
        self.sums.observe(place, Which::Latency, half.nanos());
        self.sums.last(series, half.start.div_euclid(SECOND), second);
    }

    fn add_span(&mut self, series: u32, span: &FlatSpan) -> u32 {
        let second = span.end.div_euclid(SECOND);
        let place = self.sums.place(&mut self.book.series, series, second);
        let counts = self.sums.at(place);
        counts.calls += 1;
        counts.errors += u64::from(span.status == FAILED);
        counts.refused += u64::from(span.marks.has(Marks::REFUSED));
        self.sums.observe(place, Which::Latency, duration(span));
        self.sums.last(series, span.start.div_euclid(SECOND), second);
        place
    }
}

/// The span that a server's or consumer's span was called by. Who takes messages knows their senders by links; its parent
/// is often its own waiting.
fn caller(one: One<'_>) -> Option<Meeting> {
    let parent = Meeting { trace_id: one.span.trace_id, span_id: one.span.parent };
    let parent = Some(parent).filter(|_| one.span.parent != [0; 8]);
    match one.span.kind {
        CONSUMER => linked(one).or(parent),
        _ => parent.or_else(|| linked(one)),
    }
}

/// The first span that a span links to.
fn linked(one: One<'_>) -> Option<Meeting> {
    let link = Link::decode(one.tape.get(*one.tape.links_of(one.span).first()?)).ok()?;
    Some(Meeting { trace_id: link.trace_id.try_into().ok()?, span_id: link.span_id.try_into().ok()? })
}

fn each(taken: &[Taken]) -> impl Iterator<Item = One<'_>> {
    taken.iter().flat_map(|t| {
        t.spans.iter().filter_map(|at| {
            let span = t.tape.spans.get(*at as usize)?;
            let sender = t.senders.get(span.sender as usize)?;
            Some(One { tape: &t.tape, span, service: sender.service, party: sender.party })
        })
    })
}

fn role(span: &FlatSpan) -> Role {
    match span.kind {
        CLIENT if span.peer.is_empty() && span.marks.0 & (Marks::CALL | Marks::ATTEMPT) == 0 => Role::Client,
        CLIENT | PRODUCER => Role::Counted,
        _ => Role::Inside,
    }
}

fn duration(span: &FlatSpan) -> u64 {
    span.end.saturating_sub(span.start).max(0) as u64
}

#[cfg(test)]
mod tests {
    use fuseboard_api::graph::OUTSIDE;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::Span;
    use opentelemetry_proto::tonic::trace::v1::span::Link;
    use rusqlite::Connection;

    use super::*;
    use crate::store::Cache;
    use crate::store::folds::Folded;
    use crate::store::insert::{State, Tally};
    use crate::store::rows::Batch;
    use crate::store::schema;
    use crate::store::snapshot::Snapshot;
    use crate::store::testing;

    fn span(kind: u8, id: u8, parent: u8) -> Span {
        Span {
            parent_span_id: if parent > 0 { vec![parent; 8] } else { Vec::new() },
            end_time_unix_nano: 2_500_000_000,
            ..testing::span(7, id, i32::from(kind), 1_000_000_000)
        }
    }

    /// A writer's state over a database in memory.
    struct Stage {
        conn: Connection,
        cache: Cache,
        state: State,
        stamp: i64,
    }

    impl Stage {
        fn new() -> Self {
            let conn = Connection::open_in_memory().expect("a database");
            schema::migrate(&conn, 0).expect("tables");
            let cache = Cache::new(0);
            let state = State::load(&Snapshot::new(&conn, &cache)).expect("empty");
            Self { conn, cache, state, stamp: 5_000_000_000 }
        }

        /// The memory is lost, as by a restart.
        fn restart(&mut self) {
            self.state = State::load(&Snapshot::new(&self.conn, &self.cache)).expect("loaded");
        }

        fn commit(&mut self, batches: Vec<Batch>) {
            let mut tally = Tally::at(self.stamp);
            self.state.begin();
            for batch in batches {
                let read = Snapshot::new(&self.conn, &self.cache);
                self.state.append(&read, batch, &mut tally).expect("stored");
            }
            let folded = Folded::NOTHING;
            self.state.finish(&self.conn, &mut tally, folded).expect("counted");
            self.state.committed(self.stamp);
            self.stamp += 1;
        }

        /// (caller, callee, calls, second), as counted.
        fn edges(&self) -> Vec<(String, String, i64, i64)> {
            let sql = "SELECT s.caller, s.callee, sum(r.calls), r.second FROM rollup r JOIN series s ON s.id = r.series
                       WHERE NOT s.inbound GROUP BY 1, 2, 4 ORDER BY 1, 2, 4";
            let mut read = self.conn.prepare(sql).expect("a query");
            let rows = read.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))).expect("rows");
            rows.map(|r| r.expect("a row")).collect()
        }
    }

    fn edge(caller: &str, callee: &str, calls: i64) -> (String, String, i64, i64) {
        (caller.into(), callee.into(), calls, 2)
    }

    #[test]
    fn those_who_wait_in_vain_are_counted_towards_the_outside() {
        let mut stage = Stage::new();
        let client = testing::with(span(CLIENT, 1, 9), "server.address", "bank.example");
        stage.commit(vec![testing::batch("a", vec![client])]);
        stage.commit(vec![testing::batch("b", vec![span(SERVER, 2, 8)])]);
        assert_eq!(stage.edges(), []);
        stage.restart();
        stage.stamp += PATIENCE;
        stage.commit(Vec::new());
        assert_eq!(stage.edges(), [edge("a", "bank.example", 1), edge(OUTSIDE, "b", 1)]);
        let left: i64 = stage.conn.query_row("SELECT count(*) FROM pending", [], |r| r.get(0)).expect("a count");
        assert_eq!((left, stage.state.pairing.next_deadline()), (0, None));
        stage.restart();
        stage.stamp += PATIENCE;
        stage.commit(Vec::new());
        assert_eq!(stage.edges().len(), 2, "counted once");
    }

    #[test]
    fn halves_meet_in_one_commit_or_in_two_in_either_order() {
        for (together, server_first) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut stage = Stage::new();
            let mut batches =
                vec![testing::batch("a", vec![span(CLIENT, 1, 9)]), testing::batch("b", vec![span(SERVER, 2, 1)])];
            if server_first {
                batches.reverse();
            }
            if together {
                stage.commit(batches);
                let pending: i64 = stage.conn.query_row("SELECT count(*) FROM pending", [], |r| r.get(0)).expect("n");
                assert_eq!(pending, 0, "who does not wait is not written");
            } else {
                for batch in batches {
                    stage.commit(vec![batch]);
                    stage.restart();
                }
            }
            assert_eq!(stage.edges(), [edge("a", "b", 1)], "{together} {server_first}");
        }
    }

    #[test]
    fn a_server_below_a_span_that_is_no_clients_is_called_by_its_service() {
        for (inside_first, restart) in [(true, false), (true, true), (false, false)] {
            let mut stage = Stage::new();
            let mut batches =
                vec![testing::batch("a", vec![span(1, 1, 0)]), testing::batch("b", vec![span(SERVER, 2, 1)])];
            if !inside_first {
                batches.reverse();
            }
            for batch in batches {
                stage.commit(vec![batch]);
                if restart {
                    stage.restart();
                }
            }
            assert_eq!(stage.edges(), [edge("a", "b", 1)]);
        }
    }

    #[test]
    fn who_takes_a_message_is_called_by_the_span_it_links_to() {
        let queued = |s: Span| testing::with(s, "messaging.destination.name", "mails");
        for together in [true, false] {
            let mut stage = Stage::new();
            let mut take = span(CONSUMER, 5, 0);
            take.trace_id = vec![8; 16];
            take.links = vec![Link { trace_id: vec![7; 16], span_id: vec![4; 8], ..Link::default() }];
            let mut batches =
                vec![testing::batch("mailer", vec![take]), testing::batch("shop", vec![queued(span(PRODUCER, 4, 0))])];
            if together {
                stage.commit(batches);
            } else {
                stage.commit(vec![batches.remove(0)]);
                stage.commit(batches);
            }
            assert_eq!(stage.edges(), [edge("mails", "mailer", 1), edge("shop", "mails", 1)], "{together}");
        }
    }

    #[test]
    fn attempts_to_publish_are_no_calls_and_leave_their_edge_asynchronous() {
        let queued = |s: Span, mark: &str| {
            let named = testing::with(s, "messaging.destination.name", "mails");
            let mut named = testing::with(named, "resilience.operation", "publish");
            let value = Some(AnyValue { value: Some(Value::BoolValue(true)) });
            named.attributes.push(KeyValue { key: mark.into(), value, key_strindex: 0 });
            named
        };
        let mut stage = Stage::new();
        let attempt = queued(span(CLIENT, 5, 4), "resilience.attempt");
        stage.commit(vec![testing::batch("shop", vec![attempt])]);
        stage.commit(vec![testing::batch("shop", vec![queued(span(PRODUCER, 4, 0), "resilience.call")])]);
        assert_eq!(stage.edges(), [edge("shop", "mails", 1)]);
        let asynchronous: bool = stage
            .conn
            .query_row("SELECT min(asynchronous) FROM series WHERE NOT inbound", [], |r| r.get(0))
            .expect("one");
        assert!(asynchronous);
    }

    #[test]
    fn a_span_sent_again_counts_once() {
        let mut stage = Stage::new();
        let twice = || testing::batch("a", vec![span(SERVER, 1, 0), span(SERVER, 1, 0), span(CLIENT, 1, 0)]);
        for _ in 0..2 {
            stage.commit(vec![twice(), twice()]);
            stage.restart();
            stage.commit(vec![twice()]);
        }
        let spans: i64 = stage.conn.query_row("SELECT sum(rows) FROM segments", [], |r| r.get(0)).expect("a sum");
        assert_eq!(spans, 2, "one on each side of the call");
        assert_eq!(stage.edges(), [edge(OUTSIDE, "a", 1)]);
    }
}
