//! Stored spans put together into new segments: for a merge, for an incident's file, for a file of an older version.

use super::StoreError;
use super::segment::{Columns, Incoming};
use super::segments::Packed;
use crate::otlp::{Slice, SpanTape, read};

/// Spans on their way into a segment.
#[derive(Debug, Default)]
pub(crate) struct Rebuild {
    bytes: Vec<u8>,
    /// Sender, arrival, end in the bytes.
    rows: Vec<(i64, i64, usize)>,
}

impl Rebuild {
    /// How many spans there are.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// How many bytes they take, encoded.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a row of a segment, of which all parts must have been read.
    pub(crate) fn add_row(&mut self, columns: &Columns, row: usize) {
        columns.message(row, &mut self.bytes);
        self.rows.push((columns.origin(row), columns.arrival(row).0, self.bytes.len()));
    }

    /// Adds an encoded span.
    pub(crate) fn add(&mut self, origin: i64, arrival: i64, span: &[u8]) {
        self.bytes.extend_from_slice(span);
        self.rows.push((origin, arrival, self.bytes.len()));
    }

    /// The segment of all that was added.
    ///
    /// # Errors
    /// When a span that was stored cannot be read.
    pub(crate) fn finish(self) -> Result<Packed, StoreError> {
        let mut tape = SpanTape { bytes: self.bytes.into(), ..SpanTape::default() };
        let mut from = 0;
        for (_, _, to) in &self.rows {
            read::span(&mut tape, Slice::of_bytes(from, to - from), 0)
                .map_err(|e| StoreError::Corrupt(e.to_string()))?;
            from = *to;
        }
        let tape = &tape;
        let incoming: Vec<Incoming<'_>> = (0..)
            .zip(&self.rows)
            .map(|(span, (origin, arrival, _))| Incoming { tape, span, origin: *origin, arrival: *arrival })
            .collect();
        Ok(Packed::of(&incoming)?)
    }
}
