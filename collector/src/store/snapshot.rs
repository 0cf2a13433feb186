//! What a reader sees: the tables as of the begin of its transaction, and the segments decoded.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::cache::{Cache, Followed};
use super::error::StoreError;
use super::segment::{self, Columns, Part, Parts, TraceFilter};
use super::segments::{COLUMNS, Format, SegmentRow};

/// A segment's columns, and the rows in it that were looked for.
pub type Found = (Arc<Columns>, Vec<usize>);

/// A connection inside a transaction, and the segments that all readers share. Dereferences to the connection, for
/// everything that lies in tables.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    conn: &'a Connection,
    cache: &'a Cache,
}

impl Deref for Snapshot<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.conn
    }
}

impl<'a> Snapshot<'a> {
    /// What `conn` sees.
    #[must_use]
    pub fn new(conn: &'a Connection, cache: &'a Cache) -> Self {
        Self { conn, cache }
    }

    /// How far the audit's chain was followed, by whoever asked.
    pub(crate) fn followed(&self) -> &Mutex<Followed> {
        self.cache.followed()
    }

    /// Segments with a span that started in a range and had arrived by `as_of`, as far as the table can tell; by their
    /// latest start, newest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn segments(&self, range: TimeRange, as_of: UnixNanos) -> Result<Vec<SegmentRow>, StoreError> {
        let mut read = self.conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM segments WHERE max_start >= ?1 AND min_start < ?2 AND min_arrival <= ?3
             ORDER BY max_start DESC, id DESC"
        ))?;
        let rows = read.query_map(params![range.from.0, range.to.0, as_of.0], SegmentRow::of)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Segments with a span that arrived after an instant, oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub fn segments_after(&self, since: UnixNanos) -> Result<Vec<SegmentRow>, StoreError> {
        let mut read =
            self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM segments WHERE max_arrival > ?1 ORDER BY id"))?;
        let rows = read.query_map([since.0], SegmentRow::of)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The columns of a segment that a question needs; kept for the next who asks.
    ///
    /// # Errors
    /// When the segment is damaged, or what the database says.
    pub fn columns(&self, row: &SegmentRow, parts: &Parts) -> Result<Arc<Columns>, StoreError> {
        self.cache.columns(row.id, parts, |parts| self.decode(row, parts))
    }

    /// The columns of a segment, for one who reads all of them once.
    ///
    /// # Errors
    /// See [`Snapshot::columns`].
    pub fn columns_unkept(&self, row: &SegmentRow, parts: &Parts) -> Result<Arc<Columns>, StoreError> {
        match self.cache.find(row.id).filter(|columns| columns.parts().covers(parts)) {
            Some(columns) => Ok(columns),
            None => Ok(Arc::new(self.decode(row, parts.clone())?)),
        }
    }

    fn decode(&self, row: &SegmentRow, parts: Parts) -> Result<Columns, StoreError> {
        let data = self.data(row.id)?;
        let columns = match row.format {
            Format::Columns => Columns::decode(data, parts),
            Format::Rows => segment::rows::decode(data),
        };
        Ok(columns.inspect_err(|e| self.cache.note_damage(row.id, e))?)
    }

    /// The bytes of a segment.
    pub(crate) fn data(&self, id: i64) -> Result<Vec<u8>, StoreError> {
        let mut read = self.conn.prepare_cached("SELECT data FROM segment_data WHERE segment = ?1")?;
        let data = read.query_row([id], |r| r.get(0)).optional()?;
        data.ok_or_else(|| StoreError::Corrupt(format!("segment {id} has no data")))
    }

    /// What is stored of a trace: for every segment with a part of it, the columns asked for and the rows that had arrived
    /// by `as_of`.
    ///
    /// # Errors
    /// What the database says, or that a segment which may have the trace is damaged.
    pub fn trace(&self, id: TraceId, as_of: UnixNanos, parts: &Parts) -> Result<Vec<Found>, StoreError> {
        let mut candidates = Vec::new();
        {
            let mut read = self.conn.prepare_cached("SELECT id FROM segments WHERE min_arrival <= ?1")?;
            let mut rows = read.query([as_of.0])?;
            while let Some(row) = rows.next()? {
                let segment: i64 = row.get(0)?;
                if TraceFilter::contains(&self.trace_filter(segment)?, &id.0) {
                    candidates.push(segment);
                }
            }
        }
        let parts = parts.clone().with(&[Part::Arrival]);
        let mut out = Vec::new();
        for segment in candidates {
            let row = self
                .conn
                .prepare_cached(&format!("SELECT {COLUMNS} FROM segments WHERE id = ?1"))?
                .query_row([segment], SegmentRow::of)?;
            let columns = self.columns(&row, &parts)?;
            let rows: Vec<usize> =
                columns.rows_of(id).filter(|at| row.max_arrival <= as_of.0 || columns.arrival(*at) <= as_of).collect();
            if !rows.is_empty() {
                out.push((columns, rows));
            }
        }
        Ok(out)
    }

    /// A segment's filter over the traces in it, see [`TraceFilter`].
    pub(crate) fn trace_filter(&self, segment: i64) -> Result<Arc<[u8]>, StoreError> {
        self.cache.filter(segment, || {
            let mut read = self.conn.prepare_cached("SELECT traces FROM segment_filters WHERE segment = ?1")?;
            let filter = read.query_row([segment], |r| Ok(r.get_ref(0)?.as_blob().unwrap_or_default().into()));
            // A filter that is not there says nothing.
            Ok(filter.optional()?.unwrap_or_else(|| Arc::from(&[][..])))
        })
    }

    /// A segment's filter over the values in it, see [`segment::ValueFilter`]; empty, which says nothing, when it has none.
    ///
    /// # Errors
    /// What the database says.
    pub fn value_filter(&self, segment: i64) -> Result<Vec<u8>, StoreError> {
        let mut read = self.conn.prepare_cached("SELECT \"values\" FROM segment_filters WHERE segment = ?1")?;
        Ok(read.query_row([segment], |r| r.get(0)).optional()?.unwrap_or_default())
    }

    /// The name of a sender's service; empty when there is no such sender.
    pub(crate) fn service_of(&self, origin: i64) -> Result<String, StoreError> {
        let mut read = self.conn.prepare_cached("SELECT service FROM origins WHERE id = ?1")?;
        Ok(read.query_row([origin], |r| r.get(0)).optional()?.unwrap_or_default())
    }
}
