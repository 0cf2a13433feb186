//! Takes batches into a commit: points into their table at once, spans and log records into memory, where each is told from
//! those stored before; at the end of the commit what was taken is counted, and becomes a segment and a block.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use fuseboard_api::UnixNanos;
use rusqlite::{Connection, params};

use super::calls::{CONSUMER, Counter, PRODUCER, SERVER};
use super::catalog::Catalog;
use super::folds::Folded;
use super::gather::{Dense, Gathered};
use super::intern::{Interned, Resolved};
use super::known::{Known, Note, Stored};
use super::logs::{Entry, LogParts, Recent, tables};
use super::names::Book;
use super::pairing::Pairing;
use super::rollup::{self, Counts, Line};
use super::rows::{Appended, Batch, NewLog};
use super::segment::{Incoming, Part, Parts};
use super::snapshot::Snapshot;
use super::{StoreError, pending, segments};
use crate::otlp::SpanTape;

/// Nanoseconds of a second.
pub(super) const SECOND: i64 = 1_000_000_000;

/// What the writer keeps in memory between commits; all of it can be had from the tables.
#[derive(Debug)]
pub(super) struct State {
    pub(super) interned: Interned,
    pub(super) book: Book,
    pub(super) pairing: Pairing,
    known: Known,
    catalog: Catalog,
    logs: Recent,
    /// How many of [`Self::logs`] were stored before the present commit.
    logs_before: usize,
    /// By party: when its word was last noted.
    seen: HashMap<u32, i64, FixedState>,
    /// The stamp of the commit before.
    last: i64,
}

/// Spans of a tape that a commit takes.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) tape: SpanTape,
    /// By position in the tape's senders.
    pub(super) senders: Vec<Resolved>,
    /// Positions of the spans that were not known.
    pub(super) spans: Vec<u32>,
}

/// What one commit adds up to.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) stamp: i64,
    pub(super) taken: Vec<Taken>,
    /// Log records with the numbers of their senders.
    pub(super) records: Vec<(i64, LogParts)>,
    pub(super) sums: Gathered,
    /// What was written of them: series, counters, packed latencies.
    pub(super) added: Vec<(i64, Counts, Option<Vec<u8>>)>,
    pub(super) spans: u64,
    pub(super) traces: u64,
    pub(super) logs: u64,
    pub(super) points: u64,
    pub(super) oldest: i64,
    pub(super) newest: i64,
    pub(super) lag: Dense,
}

impl Tally {
    pub(super) fn at(stamp: i64) -> Self {
        Self {
            stamp,
            taken: Vec::new(),
            records: Vec::new(),
            sums: Gathered::default(),
            added: Vec::new(),
            spans: 0,
            traces: 0,
            logs: 0,
            points: 0,
            oldest: i64::MAX,
            newest: i64::MIN,
            lag: Dense::default(),
        }
    }

    /// Records of logs and metrics so far, and the times they cover.
    pub(super) fn records(&self) -> [i64; 4] {
        [self.logs as i64, self.points as i64, self.oldest, self.newest]
    }

    /// Takes back what a job that failed has counted.
    pub(super) fn undo(&mut self, [logs, points, oldest, newest]: [i64; 4]) {
        (self.logs, self.points, self.oldest, self.newest) = (logs as u64, points as u64, oldest, newest);
    }

    pub(super) fn covers(&mut self, from: i64, to: i64) {
        self.oldest = self.oldest.min(from);
        self.newest = self.newest.max(to);
    }
}

impl State {
    /// The state that the tables imply.
    pub(super) fn load(read: &Snapshot<'_>) -> Result<Self, StoreError> {
        let last = read.query_row("SELECT coalesce(max(stamp), 0) FROM commits", [], |r| r.get(0))?;
        let mut book = Book::default();
        let pairing = pending::load(read, &mut book.names)?;
        let known = Known::load(read, |since, visit| every_trace(read, since, visit))?;
        let catalog = Catalog::load(read)?;
        let logs = tables::recent(read, last)?;
        let (interned, seen, logs_before) = (Interned::default(), HashMap::default(), logs.len());
        Ok(Self { interned, book, pairing, known, catalog, logs, logs_before, seen, last })
    }

    /// After a rollback: what memory says about the tables may be wrong.
    pub(super) fn recover(&mut self, read: &Snapshot<'_>) -> Result<(), StoreError> {
        self.forget_rows();
        self.book.forget_rows();
        self.known.undo(self.last);
        self.logs.undo(self.logs_before);
        self.pairing = pending::load(read, &mut self.book.names)?;
        if self.catalog.is_ahead() {
            self.catalog = Catalog::load(read)?;
        }
        Ok(())
    }

    /// After one job was undone: rows of senders that were given to it are void.
    pub(super) fn forget_rows(&mut self) {
        self.interned = Interned::default();
        self.seen.clear();
    }

    /// Before a commit: makes room.
    pub(super) fn begin(&mut self) {
        self.known.turn(self.last);
        self.logs.turn(self.last);
        self.logs_before = self.logs.len();
        if self.book.is_full() {
            let before = std::mem::take(&mut self.book);
            let names = &mut self.book.names;
            self.pairing.renumber(|number| names.number(before.names.text(number).as_bytes()));
            self.interned = Interned::default();
            self.seen.clear();
            // Its callers are named by numbers that are no more.
            self.known.undo(self.last);
        }
    }

    /// Takes a batch. On an error its rows must be rolled back; its spans have left no trace.
    pub(super) fn append(
        &mut self,
        read: &Snapshot<'_>,
        batch: Batch,
        tally: &mut Tally,
    ) -> Result<Appended, rusqlite::Error> {
        let mut out = Appended::default();
        let mut senders = Vec::with_capacity(batch.origins.len());
        for origin in &batch.origins {
            let sender = self.interned.origin(read, &mut self.book, origin, tally.stamp)?;
            self.see(read, sender.party, tally.stamp)?;
            senders.push(sender);
        }
        for metric in &batch.metrics {
            let Some(sender) = senders.get(metric.origin) else { continue };
            let (stored, duplicates) = self.metric(read, sender.row, metric, tally)?;
            out.stored += stored;
            out.duplicates += duplicates;
        }
        let mut tapes = Vec::with_capacity(batch.tapes.len());
        for tape in batch.tapes {
            let mut senders = Vec::with_capacity(tape.senders.len());
            for sender in &tape.senders {
                let sender = self.interned.sender(read, &mut self.book, &tape, sender, tally.stamp)?;
                self.see(read, sender.party, tally.stamp)?;
                senders.push(sender);
            }
            tapes.push((tape, senders));
        }
        // From here on nothing fails.
        self.take_logs(batch.logs, &senders, tally, &mut out);
        for (tape, senders) in tapes {
            self.take(read, tape, senders, tally, &mut out);
        }
        Ok(out)
    }

    /// Notes that an instance said something; at most once a second each.
    fn see(&mut self, conn: &Connection, party: u32, stamp: i64) -> rusqlite::Result<()> {
        if self.seen.get(&party).is_some_and(|last| stamp - last < SECOND) {
            return Ok(());
        }
        let of = self.book.party_of(party);
        let (service, instance) = (self.book.names.text(of.service), self.book.names.text(of.instance));
        conn.prepare_cached("INSERT OR IGNORE INTO seen (service, instance, arrival) VALUES (?1, ?2, ?3)")?
            .execute(params![service, instance, stamp])?;
        self.seen.insert(party, stamp);
        Ok(())
    }

    /// Takes the log records that no request before has brought. Equal ones of this request are all taken.
    fn take_logs(&mut self, logs: Vec<NewLog>, senders: &[Resolved], tally: &mut Tally, out: &mut Appended) {
        let mut fresh = Vec::with_capacity(logs.len());
        for log in logs {
            let Some(sender) = senders.get(log.origin) else { continue };
            let identity = Entry::of(&log.parts, sender.row, tally.stamp).identity();
            if self.logs.knows(identity) {
                out.duplicates += 1;
                continue;
            }
            fresh.push(identity);
            tally.covers(log.parts.time, log.parts.time);
            tally.records.push((sender.row, log.parts));
        }
        out.stored += fresh.len() as u64;
        tally.logs += fresh.len() as u64;
        self.logs.note(tally.stamp, fresh.into_iter());
    }

    /// Takes the spans of a tape that are not known yet.
    fn take(
        &mut self,
        read: &Snapshot<'_>,
        tape: SpanTape,
        senders: Vec<Resolved>,
        tally: &mut Tally,
        out: &mut Appended,
    ) {
        let key = self.known.key();
        let mut spans = Vec::with_capacity(tape.spans.len());
        let mut trace = ([0; 16], Default::default());
        for (at, span) in (0..).zip(&tape.spans) {
            let Some(sender) = senders.get(span.sender as usize) else { continue };
            if span.trace_id != trace.0 {
                trace = (span.trace_id, key.trace(&span.trace_id));
                let names = &mut self.book.names;
                let new = self.known.enter(trace.1, || stored(read, &span.trace_id, names));
                tally.traces += u64::from(new);
            }
            let server = matches!(span.kind, SERVER | CONSUMER);
            let (note, who) = match span.kind {
                PRODUCER if !span.peer.is_empty() => (Note::Queue, self.book.names.number(tape.get(span.peer))),
                kind => (note_of(kind), sender.service),
            };
            if !self.known.add(key.span(trace.1, &span.span_id, server), note, who) {
                continue;
            }
            spans.push(at);
            tally.covers(span.start, span.end);
            tally.lag.record(tally.stamp.saturating_sub(span.end).max(0) as u64);
        }
        out.stored += spans.len() as u64;
        out.duplicates += (tape.spans.len() - spans.len()) as u64;
        tally.spans += spans.len() as u64;
        if !spans.is_empty() {
            tally.taken.push(Taken { tape, senders, spans });
        }
    }

    /// The end of a commit: counts what was taken and writes everything that is not written yet. True when anything was.
    pub(super) fn finish(&mut self, tx: &Connection, tally: &mut Tally, folded: Folded) -> Result<bool, StoreError> {
        let mut counter = Counter::new(&mut self.book, &mut self.pairing, &self.known, &mut tally.sums, tally.stamp);
        counter.count(&tally.taken);
        counter.expire();
        let waits = pending::write(tx, &mut self.pairing, &self.book.names, tally.stamp)?;
        if tally.spans > 0 {
            self.catalog.note(&tally.taken);
            self.catalog.write(tx, tally.stamp)?;
            let incoming: Vec<Incoming<'_>> = tally.taken.iter().flat_map(|t| incoming(t, tally.stamp)).collect();
            segments::append(tx, &incoming, tally.traces)?;
            self.known.save(tx, || segments::first_arrival(tx))?;
        }
        let entries: Vec<Entry<'_>> = tally.records.iter().map(|(o, p)| Entry::of(p, *o, tally.stamp)).collect();
        tables::insert(tx, &entries)?;
        self.write_sums(tx, tally, folded)?;
        Ok(waits || tally.spans > 0 || !tally.sums.is_empty())
    }

    fn write_sums(&mut self, tx: &Connection, tally: &mut Tally, folded: Folded) -> Result<(), StoreError> {
        let (book, interned) = (&mut self.book, &mut self.interned);
        let Tally { stamp, sums, added, .. } = tally;
        let stamp = *stamp;
        sums.release(&mut book.series);
        sums.finish(|series, second, counts, packed| {
            let series = interned.series(tx, book, series, stamp)?;
            added.push((series, *counts, packed[0].map(<[u8]>::to_vec)));
            rollup::insert(tx, &Line { second, series, stamp, counts, packed }, folded)
        })?;
        let mut insert = tx.prepare_cached(
            "INSERT INTO calls_under_way (last, first, series, arrival, calls) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for ((series, first, last), calls) in &sums.under_way {
            let series = interned.series(tx, book, *series, stamp)?;
            insert.execute(params![last, first, series, stamp, calls])?;
        }
        Ok(())
    }

    /// The commit has happened.
    pub(super) fn committed(&mut self, stamp: i64) {
        self.last = stamp;
    }
}

fn note_of(kind: u8) -> Note {
    match kind {
        PRODUCER => Note::Producer,
        3 => Note::Client,
        _ => Note::Inside,
    }
}

fn incoming(taken: &Taken, arrival: i64) -> impl Iterator<Item = Incoming<'_>> {
    taken.spans.iter().filter_map(move |at| {
        let sender = taken.tape.spans.get(*at as usize)?.sender;
        let origin = taken.senders.get(sender as usize)?.row;
        Some(Incoming { tape: &taken.tape, span: *at, origin, arrival })
    })
}

/// Calls `visit` with every trace of a segment that has a span which arrived after `since`.
fn every_trace(read: &Snapshot<'_>, since: i64, visit: &mut dyn FnMut(&[u8; 16])) -> Result<(), StoreError> {
    for row in read.segments_after(UnixNanos(since))? {
        match read.columns_unkept(&row, &Parts::default()) {
            Ok(columns) => columns.traces().for_each(|run| visit(&columns.trace_id(run.start).0)),
            Err(e) => tracing::error!("traces of a segment cannot be told from new ones: {e}"),
        }
    }
    Ok(())
}

/// What is stored of a trace. What cannot be read is as if it were not there: better a span twice than none.
fn stored(read: &Snapshot<'_>, trace: &[u8; 16], names: &mut super::names::Names) -> Vec<Stored> {
    let parts = Parts::of(&[Part::Ids, Part::Kinds, Part::Peer, Part::Origin]);
    let found = read.trace(fuseboard_api::TraceId(*trace), UnixNanos(i64::MAX), &parts);
    let found = found.inspect_err(|e| tracing::error!("a trace cannot be read back: {e}")).unwrap_or_default();
    let service = |origin| read.service_of(origin).unwrap_or_default();
    let mut out = Vec::new();
    for (columns, rows) in found {
        for row in rows {
            let kind = columns.kind(row);
            let (note, who) = match columns.peer(row) {
                Some(queue) if kind == PRODUCER => (Note::Queue, names.number(queue.as_bytes())),
                _ => (note_of(kind), names.number(service(columns.origin(row)).as_bytes())),
            };
            let server = matches!(kind, SERVER | CONSUMER);
            out.push(Stored { span_id: columns.span_id(row).0, server, note, who });
        }
    }
    out
}
