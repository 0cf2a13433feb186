//! Log records, newest first.
//!
//! Blocks are read from the one with the newest record on; a record is given out once no block that is still unread can have
//! a newer one. Records with equal times stand by their arrival, and by the order they were sent in: that is the same however
//! blocks are merged, so that a page goes on where the one before ended.

use std::cell::OnceCell;
use std::collections::{BinaryHeap, HashSet};
use std::rc::Rc;

use fuseboard_api::attr::{self, AttrValue};
use fuseboard_api::log::{LogAttribute, LogList, LogPlace, LogQuery, LogRecord};
use fuseboard_api::{TraceId, UnixNanos};
use rusqlite::{Connection, params};

use super::proto;
use super::spans::Origins;
use crate::store::StoreError;
use crate::store::logs::block::{Block, Texts};
use crate::store::logs::tables::{self, BlockRow, Wanted};

const DEFAULT_LIMIT: u32 = 500;
const MAX_LIMIT: u32 = 10_000;

/// Records looked at for one page, at most (and the block in which that many are reached): those of blocks read count
/// once, those that are taken apart ten times.
const LOOKED_AT: u64 = 5_000_000;

pub(super) fn logs(conn: &Connection, query: &LogQuery, as_of: UnixNanos) -> Result<LogList, StoreError> {
    let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MAX_LIMIT) } as usize;
    let mut search = Search::new(conn, query, as_of)?;
    let mut out = LogList::default();
    while let Some(found) = search.next()? {
        if out.rows.len() == limit || search.cost > LOOKED_AT {
            (out.more, out.next) = (true, search.last);
            break;
        }
        search.last = Some(found.place);
        out.rows.extend(search.check(&found)?);
    }
    out.examined = search.examined;
    Ok(out)
}

/// The records of a trace, by time, so many at most.
pub(super) fn of_trace(
    conn: &Connection,
    trace: TraceId,
    as_of: UnixNanos,
    most: usize,
    origins: &mut Origins,
) -> Result<Vec<LogRecord>, StoreError> {
    let blocks = tables::list(conn, &Wanted::all(as_of.0))?;
    let mut out = Vec::new();
    for row in tables::of_trace(conn, trace, blocks)? {
        let block = tables::read(conn, row.id)?;
        let wanted = |at: &usize| block.context(*at).0 == trace.0 && block.arrival(*at) <= as_of.0;
        let of_it: Vec<usize> = (0..block.len()).filter(wanted).collect();
        if of_it.is_empty() {
            continue;
        }
        let texts = block.texts().map_err(tables::damaged)?;
        for at in of_it {
            let origin = origins.get(conn, block.origin(at))?;
            out.push((place(&block, at), proto::log(&block.entry(&texts, at), origin)?));
        }
    }
    out.sort_by_key(|(place, _)| *place);
    out.truncate(most);
    Ok(out.into_iter().map(|(_, record)| record).collect())
}

fn place(block: &Block, at: usize) -> LogPlace {
    LogPlace { time: UnixNanos(block.time(at)), arrival: UnixNanos(block.arrival(at)), nth: block.nth(at) }
}

/// A record that fits as far as its columns say.
struct Found {
    place: LogPlace,
    block: Rc<Read>,
    at: usize,
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Found {}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

/// A block that is being read; what is not in columns is unpacked when first needed.
struct Read {
    block: Block,
    texts: OnceCell<Texts>,
}

impl Read {
    fn texts(&self) -> Result<&Texts, StoreError> {
        match self.texts.get() {
            Some(texts) => Ok(texts),
            None => {
                let texts = self.block.texts().map_err(tables::damaged)?;
                Ok(self.texts.get_or_init(|| texts))
            }
        }
    }
}

struct Search<'a> {
    conn: &'a Connection,
    query: &'a LogQuery,
    as_of: UnixNanos,
    text: Option<String>,
    /// The senders that the asked service and instance have.
    senders: Option<HashSet<i64>>,
    /// Blocks not read yet, the one with the newest record last.
    blocks: Vec<BlockRow>,
    found: BinaryHeap<Found>,
    origins: Origins,
    /// Where the search is.
    last: Option<LogPlace>,
    examined: u64,
    cost: u64,
}

impl<'a> Search<'a> {
    fn new(conn: &'a Connection, query: &'a LogQuery, as_of: UnixNanos) -> Result<Self, StoreError> {
        let senders = senders(conn, query)?;
        let to = query.before.map_or(query.range.to.0, |b| query.range.to.0.min(b.time.0.saturating_add(1)));
        let most = if query.max_severity == 0 { u8::MAX } else { query.max_severity };
        let wanted = Wanted { times: (query.range.from.0, to), severities: (query.min_severity, most), as_of: as_of.0 };
        let mut blocks = tables::list(conn, &wanted)?;
        if let Some(senders) = &senders {
            blocks.retain(|b| b.has_any_of(senders));
        }
        if let Some(trace) = query.trace_id {
            blocks = tables::of_trace(conn, trace, blocks)?;
        }
        blocks.reverse();
        Ok(Self {
            conn,
            query,
            as_of,
            text: query.text.as_ref().map(|t| t.to_lowercase()),
            senders,
            blocks,
            found: BinaryHeap::new(),
            origins: Origins::default(),
            last: query.before,
            examined: 0,
            cost: 0,
        })
    }

    /// The next record that fits as far as columns say, newest first.
    fn next(&mut self) -> Result<Option<Found>, StoreError> {
        loop {
            let newest = self.blocks.last().map_or(i64::MIN, |b| b.max_time);
            match self.found.peek() {
                Some(found) if self.blocks.is_empty() || found.place.time.0 > newest => return Ok(self.found.pop()),
                _ => {}
            }
            match self.blocks.pop() {
                None => return Ok(None),
                Some(row) => self.read(&row)?,
            }
        }
    }

    /// Takes from a block what fits by its columns.
    fn read(&mut self, row: &BlockRow) -> Result<(), StoreError> {
        let block = tables::read(self.conn, row.id)?;
        self.examined += block.len() as u64;
        self.cost += block.len() as u64;
        let fitting: Vec<usize> = (0..block.len()).filter(|at| self.fits(&block, *at)).collect();
        let block = Rc::new(Read { block, texts: OnceCell::new() });
        for at in fitting {
            let place = place(&block.block, at);
            if self.query.before.is_none_or(|before| place < before) {
                self.found.push(Found { place, block: block.clone(), at });
            }
        }
        Ok(())
    }

    fn fits(&self, block: &Block, at: usize) -> bool {
        let q = self.query;
        let severity = block.severity(at);
        let context = block.context(at);
        q.range.contains(UnixNanos(block.time(at)))
            && block.arrival(at) <= self.as_of.0
            && severity >= q.min_severity
            && (q.max_severity == 0 || severity <= q.max_severity)
            && q.trace_id.is_none_or(|t| t.0 == context.0)
            && q.span_id.is_none_or(|s| s.0 == context.1)
            && self.senders.as_ref().is_none_or(|s| s.contains(&block.origin(at)))
    }

    /// The record, when it fits in everything else as well.
    fn check(&mut self, found: &Found) -> Result<Option<LogRecord>, StoreError> {
        self.cost += 10;
        let entry = found.block.block.entry(found.block.texts()?, found.at);
        let origin = self.origins.get(self.conn, entry.origin)?;
        let record = proto::log(&entry, origin)?;
        let fits = self.text.as_ref().is_none_or(|t| says(&record, t))
            && self.query.attributes.iter().all(|wanted| has(&record, wanted));
        Ok(fits.then_some(record))
    }
}

/// The numbers of the senders that a question names; `None` when it names none.
fn senders(conn: &Connection, query: &LogQuery) -> Result<Option<HashSet<i64>>, StoreError> {
    if query.service.is_none() && query.instance.is_none() {
        return Ok(None);
    }
    let mut read = conn.prepare_cached(
        "SELECT id FROM origins WHERE (?1 IS NULL OR service = ?1) AND (?2 IS NULL OR instance = ?2)",
    )?;
    let ids = read.query_map(params![query.service, query.instance], |r| r.get(0))?;
    Ok(Some(ids.collect::<Result<_, _>>()?))
}

fn says(record: &LogRecord, text: &str) -> bool {
    let body = match &record.body {
        AttrValue::Str(body) => body.to_lowercase().contains(text),
        AttrValue::Empty => false,
        other => other.to_string().to_lowercase().contains(text),
    };
    body || record.event_name.to_lowercase().contains(text)
}

fn has(record: &LogRecord, wanted: &LogAttribute) -> bool {
    let own = attr::get(&record.attributes, &wanted.key);
    let value = own.or_else(|| attr::get(&record.origin.resource, &wanted.key));
    value.is_some_and(|value| match (&wanted.value, value) {
        (None, _) => true,
        (Some(text), AttrValue::Str(s)) => s == text,
        (Some(text), other) => other.to_string() == *text,
    })
}
