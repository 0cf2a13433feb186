//! Which spans are stored already: each counts once, however often and whenever it is sent again.
//!
//! Spans that came lately, about a million, stand in two generations of a table of fingerprints; a full generation becomes
//! the old one, and of the one before only a filter over its traces stays. So a span of a trace that no filter knows costs
//! one look into the table; a trace that a filter may know is read back from its segments, once a generation. Filters are
//! kept in the table `trace_filters`, so that opening a large file reads little.

mod filter;
mod print;
mod table;

use rusqlite::{Connection, params};

use self::filter::Filter;
pub(super) use self::print::{Key, Print, TracePrint};
use self::table::Table;

/// Entries of a generation, spans and traces.
const GENERATION: usize = 690_000;

/// Filters of past generations at most; beyond it the two oldest become one.
const PAST: usize = 128;

/// What a span is to those who name it as their caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Note {
    /// Work inside a service, or its answer to somebody.
    Inside = 1,
    /// A client's span.
    Client = 2,
    /// A producer's span that names no queue.
    Producer = 3,
    /// A producer's span; what is kept is the queue's name, not the service's.
    Queue = 4,
}

impl Note {
    fn of(number: u8) -> Option<Self> {
        [Self::Inside, Self::Client, Self::Producer, Self::Queue].into_iter().find(|n| *n as u8 == number)
    }
}

/// Notes of a trace's own entry: all its spans are in the young generation,
const FRESH: u8 = 12;
/// in either generation,
const WHOLE: u8 = 13;
/// or some may be older than both.
const PART: u8 = 14;

/// A span read back from a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its id.
    pub(super) span_id: [u8; 8],
    /// Whether it stands on the server's side.
    pub(super) server: bool,
    /// What it is.
    pub(super) note: Note,
    /// Number of the name that its callees see.
    pub(super) who: u32,
}

#[derive(Debug)]
struct Generation {
    table: Table,
    filter: Filter,
    /// Traces in the filter.
    traces: usize,
    /// The newest commit in it, once it is the old one.
    until: i64,
}

impl Generation {
    fn new() -> Self {
        Self { table: Table::new(), filter: Filter::new(), traces: 0, until: 0 }
    }

    fn is_full(&self) -> bool {
        self.table.len() >= GENERATION || self.traces >= filter::TRACES
    }

    fn enter(&mut self, trace: TracePrint, note: u8) {
        self.table.put(Key::own(trace), note);
        self.filter.add(trace.hash);
        self.traces += 1;
    }

    fn clear(&mut self) {
        self.table.clear();
        self.filter.clear();
        self.traces = 0;
    }
}

/// Traces of commits up to an instant.
#[derive(Debug)]
struct Past {
    until: i64,
    filter: Filter,
    saved: bool,
}

/// The memory.
#[derive(Debug)]
pub(super) struct Known {
    key: Key,
    young: Generation,
    old: Generation,
    past: Vec<Past>,
    /// Whether the trace at hand is [`FRESH`].
    fresh: bool,
}

impl Known {
    /// What the tables hold. `tail` is called with an instant and must give, through what it is called with, the id of
    /// every trace with a span that arrived after it.
    pub(super) fn load<E: From<rusqlite::Error>>(
        conn: &Connection,
        tail: impl FnOnce(i64, &mut dyn FnMut(&[u8; 16])) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut key: Option<Key> = None;
        let mut past = Vec::new();
        let mut read = conn.prepare("SELECT until, hash_key, data FROM trace_filters ORDER BY until DESC")?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            let blob = |i| row.get_ref(i).map(|v| v.as_blob().unwrap_or_default());
            let (found, filter) = (Key::from_bytes(blob(1)?), Filter::from_bytes(blob(2)?));
            // A filter that cannot be used ends the line: what is older is read again with it.
            let (Some(found), Some(filter)) = (found, filter) else { break };
            if *key.get_or_insert(found) != found {
                break;
            }
            past.push(Past { until: row.get(0)?, filter, saved: true });
        }
        past.reverse();
        let whole: i64 = conn.query_row("SELECT count(*) FROM trace_filters", [], |r| r.get(0))?;
        if past.len() as i64 != whole {
            past.clear();
            conn.execute("DELETE FROM trace_filters", [])?;
        }
        let since = past.last().map_or(i64::MIN, |p| p.until);
        let key = key.unwrap_or_else(Key::random);
        let mut filter = Filter::new();
        let mut some = false;
        tail(since, &mut |trace| {
            some = true;
            filter.add(key.trace(trace).hash);
        })?;
        if some {
            let until = conn.query_row("SELECT coalesce(max(stamp), 0) FROM commits", [], |r| r.get(0))?;
            past.push(Past { until, filter, saved: false });
        }
        Ok(Self { key, young: Generation::new(), old: Generation::new(), past, fresh: false })
    }

    /// The key of the fingerprints.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Makes room before a commit's spans; `last` is the stamp of the commit before.
    pub(super) fn turn(&mut self, last: i64) {
        if !self.young.is_full() {
            return;
        }
        std::mem::swap(&mut self.young, &mut self.old);
        self.old.until = last;
        let before = &mut self.young;
        if before.traces > 0 {
            let filter = std::mem::replace(&mut before.filter, Filter::new());
            self.past.push(Past { until: before.until, filter, saved: false });
        }
        before.clear();
    }

    /// After a commit that failed: what came with it is forgotten, the rest is read back when it is needed.
    pub(super) fn undo(&mut self, last: i64) {
        let mut past = match self.past.pop() {
            Some(unsaved) if !unsaved.saved => unsaved,
            other => {
                self.past.extend(other);
                Past { until: last, filter: Filter::new(), saved: false }
            }
        };
        past.until = last;
        for generation in [&mut self.young, &mut self.old] {
            past.filter.add_all(&generation.filter);
            generation.clear();
        }
        self.past.push(past);
    }

    /// Makes sure that all stored spans of a trace are in the table; true when the trace is new. `load` reads them from the
    /// segments. The spans that are added next must be of this trace.
    pub(super) fn enter(&mut self, trace: TracePrint, load: impl FnOnce() -> Vec<Stored>) -> bool {
        let own = Key::own(trace);
        let young = self.young.table.find(own).map(|(note, _)| note);
        self.fresh = young == Some(FRESH);
        if matches!(young, Some(FRESH | WHOLE)) {
            return false;
        }
        let old = self.old.table.find(own).map(|(note, _)| note);
        if matches!(old, Some(FRESH | WHOLE)) {
            if young.is_none() {
                self.young.enter(trace, PART);
            }
            return false;
        }
        let mut new = young.is_none() && old.is_none();
        if self.past.iter().any(|p| p.filter.may_have(trace.hash)) {
            let stored = load();
            new &= stored.is_empty();
            for span in stored {
                let print = self.key.span(trace, &span.span_id, span.server);
                self.young.table.add(print, span.note as u8, span.who);
            }
            self.young.enter(trace, WHOLE);
        } else {
            self.fresh = new;
            self.young.enter(trace, if new { FRESH } else { WHOLE });
        }
        new
    }

    /// Adds a span of the trace that was entered last; false when it is known.
    pub(super) fn add(&mut self, print: Print, note: Note, who: u32) -> bool {
        (self.fresh || self.old.table.find(print).is_none()) && self.young.table.add(print, note as u8, who)
    }

    /// What is known of a span.
    pub(super) fn find(&self, print: Print) -> Option<(Note, u32)> {
        let (note, who) = self.young.table.find(print).or_else(|| self.old.table.find(print))?;
        Some((Note::of(note)?, who))
    }

    /// Writes the filters that are not written yet, and then drops those of commits before `oldest`, of which nothing is
    /// left.
    pub(super) fn save(
        &mut self,
        conn: &Connection,
        oldest: impl FnOnce() -> rusqlite::Result<i64>,
    ) -> rusqlite::Result<()> {
        if self.past.iter().all(|p| p.saved) {
            return Ok(());
        }
        let oldest = oldest()?;
        if self.past.first().is_some_and(|p| p.until < oldest) {
            conn.execute("DELETE FROM trace_filters WHERE until < ?1", [oldest])?;
            self.past.retain(|p| p.until >= oldest);
        }
        while self.past.len() > PAST {
            let first = self.past.remove(0);
            if let Some(second) = self.past.first_mut() {
                second.filter.add_all(&first.filter);
                second.saved = false;
            }
            forget(conn, first.until)?;
        }
        for past in self.past.iter_mut().filter(|p| !p.saved) {
            conn.prepare_cached("INSERT OR REPLACE INTO trace_filters (until, hash_key, data) VALUES (?1, ?2, ?3)")?
                .execute(params![past.until, self.key.to_bytes(), past.filter.to_bytes()])?;
            past.saved = true;
        }
        Ok(())
    }
}

fn forget(conn: &Connection, until: i64) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM trace_filters WHERE until = ?1", [until])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    fn id(n: u64) -> [u8; 16] {
        (u128::from(n) * 0x1_0001_0001 + 1).to_be_bytes()
    }

    fn load(conn: &Connection, since: &mut i64) -> Known {
        let tail = |after, _: &mut dyn FnMut(&[u8; 16])| {
            *since = after;
            Ok::<(), rusqlite::Error>(())
        };
        Known::load(conn, tail).expect("loaded")
    }

    #[test]
    fn a_span_is_known_however_long_ago_it_came() {
        let conn = Connection::open_in_memory().expect("a database");
        schema::migrate(&conn, 0).expect("tables");
        let mut since = 0;
        let mut known = load(&conn, &mut since);
        assert_eq!(since, i64::MIN, "nothing is saved");
        let key = known.key();
        let trace = key.trace(&id(0));
        let span = key.span(trace, &[1; 8], false);
        let unasked = || -> Vec<Stored> { panic!("it is in the table") };
        assert!(known.enter(trace, Vec::new) && known.add(span, Note::Client, 7));
        assert!(!known.enter(trace, unasked) && !known.add(span, Note::Client, 7));
        assert!(known.add(key.span(trace, &[1; 8], true), Note::Inside, 8), "the other side of the call");
        let fill = |known: &mut Known, from: u64, stamp| {
            (from..from + filter::TRACES as u64).for_each(|n| {
                known.enter(key.trace(&id(n)), Vec::new);
            });
            known.turn(stamp);
            known.save(&conn, || Ok(0)).expect("saved");
        };
        fill(&mut known, 1, 10);
        assert!(!known.enter(trace, unasked) && !known.add(span, Note::Client, 7), "in the old generation");
        assert_eq!(known.find(span), Some((Note::Client, 7)));
        fill(&mut known, 1_000_000, 20);
        let stored = || vec![Stored { span_id: [1; 8], server: false, note: Note::Client, who: 7 }];
        assert_eq!(known.find(span), None);
        assert!(!known.enter(trace, stored) && !known.add(span, Note::Client, 7), "read back");
        assert!(!known.enter(trace, unasked) && !known.add(span, Note::Client, 7), "once");
        fill(&mut known, 2_000_000, 30);

        let mut again = load(&conn, &mut since);
        assert_eq!((since, again.key()), (20, key), "what came later is read from the segments");
        assert!(!again.enter(trace, stored) && !again.add(span, Note::Client, 7));
        let strangers = (5_000_000..5_001_000).filter(|n| again.enter(key.trace(&id(*n)), Vec::new)).count();
        assert_eq!(strangers, 1_000, "who is taken for known by mistake is looked for and not found");
    }

    #[test]
    fn what_a_failed_commit_brought_is_forgotten() {
        let conn = Connection::open_in_memory().expect("a database");
        schema::migrate(&conn, 0).expect("tables");
        let mut known = load(&conn, &mut 0);
        let key = known.key();
        let trace = key.trace(&id(1));
        let span = key.span(trace, &[1; 8], false);
        for _ in 0..3 {
            assert!(known.enter(trace, Vec::new) && known.add(span, Note::Client, 7));
            known.undo(5);
        }
        assert_eq!(known.past.len(), 1);
    }
}
