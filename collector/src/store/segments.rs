//! Segments in their tables.

use rusqlite::{Connection, Row, params};

use super::StoreError;
use super::segment::{self, Built, Incoming, SegmentError, Summary};

/// Spans from which on a commit is put into columns at once; a smaller one takes the small form and waits for a merge.
const COLUMNS_FROM: usize = 2_000;

/// Spans of a whole segment.
pub(crate) const ROWS: usize = 16_384;

/// How the spans of a segment are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Spans as they were sent, one after the other: what a small commit leaves.
    Rows,
    /// Columns.
    Columns,
}

impl Format {
    fn number(self) -> i64 {
        match self {
            Self::Rows => 0,
            Self::Columns => 1,
        }
    }

    fn of(number: i64) -> rusqlite::Result<Self> {
        match number {
            0 => Ok(Self::Rows),
            1 => Ok(Self::Columns),
            other => Err(rusqlite::Error::IntegralValueOutOfRange(1, other)),
        }
    }
}

/// What the table says of a segment. Times are Unix nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRow {
    /// Its number; never given again.
    pub id: i64,
    /// How it is written.
    pub format: Format,
    /// Spans in it.
    pub rows: u32,
    /// Traces that have a span in it.
    pub traces: u32,
    /// Traces of which nothing had been stored before.
    pub new_traces: u32,
    /// Spans that failed.
    pub errors: u32,
    /// Earliest start of a span.
    pub min_start: i64,
    /// Latest start of a span.
    pub max_start: i64,
    /// Latest end of a span.
    pub max_end: i64,
    /// Shortest duration, nanoseconds.
    pub min_duration: i64,
    /// Longest duration, nanoseconds.
    pub max_duration: i64,
    /// Stamp of the first commit in it.
    pub min_arrival: i64,
    /// Stamp of the last commit in it.
    pub max_arrival: i64,
    /// Bytes of its data.
    pub bytes: u64,
    /// Numbers of its senders, ascending.
    pub origins: Vec<i64>,
}

/// The columns of [`SegmentRow`].
pub(super) const COLUMNS: &str = "id, format, rows, traces, new_traces, errors, min_start, max_start, max_end, \
     min_duration, max_duration, min_arrival, max_arrival, bytes, origins";

impl SegmentRow {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        let count = |i| row.get::<_, i64>(i).map(|n| u32::try_from(n).unwrap_or(0));
        let origins = row.get_ref(14)?.as_blob().unwrap_or_default();
        Ok(Self {
            id: row.get(0)?,
            format: Format::of(row.get(1)?)?,
            rows: count(2)?,
            traces: count(3)?,
            new_traces: count(4)?,
            errors: count(5)?,
            min_start: row.get(6)?,
            max_start: row.get(7)?,
            max_end: row.get(8)?,
            min_duration: row.get(9)?,
            max_duration: row.get(10)?,
            min_arrival: row.get(11)?,
            max_arrival: row.get(12)?,
            bytes: row.get::<_, i64>(13)?.max(0) as u64,
            origins: unpack_numbers(origins),
        })
    }
}

/// A segment ready to be written.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) format: Format,
    pub(crate) summary: Summary,
    pub(crate) data: Vec<u8>,
    pub(crate) traces: Vec<u8>,
    pub(crate) values: Vec<u8>,
}

impl Packed {
    /// Spans in the form that suits their number.
    pub(crate) fn of(incoming: &[Incoming<'_>]) -> Result<Self, SegmentError> {
        if incoming.len() >= COLUMNS_FROM {
            return Self::columns(&segment::build(incoming)?);
        }
        let (summary, traces) = segment::brief(incoming);
        // An empty filter over values says nothing: the segment is soon merged.
        let values = Vec::new();
        Ok(Self { format: Format::Rows, data: segment::rows::encode(incoming), summary, traces, values })
    }

    /// Spans in columns.
    pub(crate) fn columns(built: &Built) -> Result<Self, SegmentError> {
        Ok(Self {
            format: Format::Columns,
            data: segment::encode(built)?,
            summary: built.summary.clone(),
            traces: built.traces.clone(),
            values: built.values.clone(),
        })
    }
}

/// Stores the spans of a commit, of which so many traces are new.
pub(super) fn append(conn: &Connection, incoming: &[Incoming<'_>], new_traces: u64) -> Result<(), StoreError> {
    let mut new_traces = new_traces;
    let size = if incoming.len() > ROWS / 2 * 3 { ROWS } else { incoming.len().max(1) };
    for some in incoming.chunks(size) {
        let packed = Packed::of(some)?;
        let new = new_traces.min(u64::from(packed.summary.traces));
        insert(conn, &packed, new)?;
        new_traces -= new;
    }
    Ok(())
}

/// Stores a segment; gives its number.
pub(crate) fn insert(conn: &Connection, packed: &Packed, new_traces: u64) -> rusqlite::Result<i64> {
    let s = &packed.summary;
    let id = conn
        .prepare_cached(
            "INSERT INTO segments (format, rows, traces, new_traces, errors, min_start, max_start, max_end, min_duration,
                 max_duration, min_arrival, max_arrival, bytes, origins)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .insert(params![
            packed.format.number(),
            s.rows,
            s.traces,
            new_traces as i64,
            s.errors,
            s.min_start,
            s.max_start,
            s.max_end,
            s.min_duration,
            s.max_duration,
            s.min_arrival,
            s.max_arrival,
            packed.data.len() as i64,
            pack_numbers(&s.origins)
        ])?;
    conn.prepare_cached("INSERT INTO segment_data (segment, data) VALUES (?1, ?2)")?
        .execute(params![id, packed.data])?;
    conn.prepare_cached("INSERT INTO segment_filters (segment, traces, \"values\") VALUES (?1, ?2, ?3)")?
        .execute(params![id, packed.traces, packed.values])?;
    Ok(id)
}

/// Removes a segment; false when there is none of that number.
pub(super) fn remove(conn: &Connection, id: i64) -> rusqlite::Result<bool> {
    let there = conn.prepare_cached("DELETE FROM segments WHERE id = ?1")?.execute([id])? > 0;
    conn.prepare_cached("DELETE FROM segment_data WHERE segment = ?1")?.execute([id])?;
    conn.prepare_cached("DELETE FROM segment_filters WHERE segment = ?1")?.execute([id])?;
    Ok(there)
}

/// The first arrival of anything in a segment; `i64::MAX` when there is none.
pub(super) fn first_arrival(conn: &Connection) -> rusqlite::Result<i64> {
    let first: Option<i64> =
        conn.prepare_cached("SELECT min(min_arrival) FROM segments")?.query_row([], |r| r.get(0))?;
    Ok(first.unwrap_or(i64::MAX))
}

/// Ascending numbers as the steps between them.
fn pack_numbers(numbers: &[i64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(numbers.len() * 2);
    let mut last = 0;
    for number in numbers {
        crate::otlp::write::varint(&mut out, number.wrapping_sub(last) as u64);
        last = *number;
    }
    out
}

fn unpack_numbers(mut bytes: &[u8]) -> Vec<i64> {
    let mut out = Vec::new();
    let mut last = 0i64;
    while let Some(step) = super::rollup::take_number(&mut bytes) {
        last = last.wrapping_add(step as i64);
        out.push(last);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_commit_is_summed_up_as_a_large_one() {
        let spans = (1..=9).map(|n| crate::store::testing::span(n / 3 + 1, n, 1, 1_000 - i64::from(n))).collect();
        let batch = crate::store::testing::batch("shop", spans);
        let tape = &batch.tapes[0];
        let of = |span: u32| Incoming { tape, span, origin: i64::from(7 - span % 2), arrival: 100 + i64::from(span) };
        let incoming: Vec<_> = (0..9).map(of).collect();
        let (brief, traces) = segment::brief(&incoming);
        let built = segment::build(&incoming).expect("built");
        assert_eq!(brief, Summary { names: None, ..built.summary });
        assert!((1..=4).all(|n| segment::TraceFilter::contains(&traces, &[n; 16])));
        assert!(!(5..=50).all(|n| segment::TraceFilter::contains(&traces, &[n; 16])));
    }

    #[test]
    fn numbers_come_back() {
        for numbers in [&[][..], &[1], &[1, 2, 500, 70_000, i64::MAX]] {
            assert_eq!(unpack_numbers(&pack_numbers(numbers)), numbers);
        }
        assert_eq!(unpack_numbers(&[0x80]), [0i64; 0]);
    }
}
