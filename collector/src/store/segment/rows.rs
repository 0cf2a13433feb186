//! The small form of a segment: spans as they came, one after the other.
//!
//! Columns pay from some hundred spans on. A commit of fewer is kept in this form until it is merged with others. It is:
//! `FBR1`; the number of rows; then for each row the sender's number and the stamp of the commit, each as the zig-zag
//! difference to the row before (to 0 in the first), the length of OTLP's encoded `Span` and the span; and `xxh3_64` of all
//! that, 8 bytes, little-endian. Numbers are LEB128.

use bytes::Bytes;
use prost::encoding::decode_varint;

use super::checksum::hash;
use super::{Columns, Incoming, SegmentError};
use crate::otlp::{Slice, SpanTape, read, write};

/// What the form begins with.
const MAGIC: &[u8; 4] = b"FBR1";

/// A span and what a commit adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Number of its sender in the table `origins`.
    pub origin: i64,
    /// Stamp of its commit, Unix nanoseconds.
    pub arrival: i64,
    /// OTLP's `Span`, encoded.
    pub span: &'a [u8],
}

/// The small form of some spans.
#[must_use]
pub fn encode(incoming: &[Incoming<'_>]) -> Vec<u8> {
    let spans = incoming.iter().filter_map(|i| {
        let span = i.tape.spans.get(i.span as usize)?;
        Some(Stored { origin: i.origin, arrival: i.arrival, span: i.tape.get(span.whole) })
    });
    encode_stored(&spans.collect::<Vec<_>>())
}

/// The small form of spans that are encoded already, as [`Columns::message`] gives them.
#[must_use]
pub fn encode_stored(spans: &[Stored<'_>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 + spans.iter().map(|s| s.span.len() + 8).sum::<usize>());
    bytes.extend_from_slice(MAGIC);
    write::varint(&mut bytes, spans.len() as u64);
    let (mut origin, mut arrival) = (0, 0);
    for span in spans {
        write::varint(&mut bytes, zigzag(span.origin.wrapping_sub(origin)));
        write::varint(&mut bytes, zigzag(span.arrival.wrapping_sub(arrival)));
        (origin, arrival) = (span.origin, span.arrival);
        write::varint(&mut bytes, span.span.len() as u64);
        bytes.extend_from_slice(span.span);
    }
    let sum = hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// Whether bytes are in this form, rather than columns.
#[must_use]
pub fn is(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The spans in the order stored.
///
/// # Errors
/// When the bytes are damaged.
pub fn list(bytes: &[u8]) -> Result<Vec<Stored<'_>>, SegmentError> {
    let placed = places(bytes)?.into_iter();
    let stored = placed.map(|p| Stored { origin: p.origin, arrival: p.arrival, span: &bytes[p.at..p.at + p.len] });
    Ok(stored.collect())
}

/// All columns of the spans.
///
/// # Errors
/// When the bytes are damaged.
pub fn decode(bytes: impl Into<Bytes>) -> Result<Columns, SegmentError> {
    let bytes = bytes.into();
    let placed = places(&bytes)?;
    let mut tape = SpanTape { bytes, ..SpanTape::default() };
    for place in &placed {
        read::span(&mut tape, Slice::of_bytes(place.at, place.len), 0)
            .map_err(|e| SegmentError::damaged(e.to_string()))?;
    }
    let placed = placed.iter().zip(0..);
    let incoming: Vec<Incoming<'_>> =
        placed.map(|(p, span)| Incoming { tape: &tape, span, origin: p.origin, arrival: p.arrival }).collect();
    Columns::of_built(&super::build(&incoming)?)
}

/// Where a span stands.
struct Place {
    origin: i64,
    arrival: i64,
    at: usize,
    len: usize,
}

fn places(bytes: &[u8]) -> Result<Vec<Place>, SegmentError> {
    let (data, sum) = bytes.split_last_chunk::<8>().ok_or_else(|| SegmentError::damaged("it is cut short"))?;
    if u64::from_le_bytes(*sum) != hash(data) {
        return Err(SegmentError::damaged("its checksum does not hold"));
    }
    let mut rest = data.strip_prefix(MAGIC).ok_or_else(|| SegmentError::damaged("it does not begin as it should"))?;
    let number = |rest: &mut &[u8]| decode_varint(rest).map_err(|e| SegmentError::damaged(e.to_string()));
    let count = number(&mut rest)?;
    // A row takes three bytes at least, whatever the count says.
    let mut places = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(rest.len() / 3));
    let (mut origin, mut arrival) = (0_i64, 0_i64);
    for _ in 0..count {
        origin = origin.wrapping_add(unzigzag(number(&mut rest)?));
        arrival = arrival.wrapping_add(unzigzag(number(&mut rest)?));
        let len = usize::try_from(number(&mut rest)?).unwrap_or(usize::MAX);
        let at = data.len() - rest.len();
        rest = rest.get(len..).ok_or_else(|| SegmentError::damaged("a span is cut short"))?;
        places.push(Place { origin, arrival, at, len });
    }
    Ok(places)
}

fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}
