//! The format of segments: some thousand spans as columns in one blob.
//!
//! Nothing here knows the database that keeps the blobs. [`build`] makes columns of spans, [`encode`] a blob of the columns,
//! [`Columns::decode`] reads of a blob what a question needs. Fresh commits are too small for columns and take the form of
//! [`rows`] until they are merged. [`TraceFilter`] and [`ValueFilter`] say of a segment what it surely does not hold.
//!
//! # The blob
//!
//! An [Arrow IPC file](https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format) with one record batch, its buffers
//! compressed with Zstandard each by itself; `pyarrow.ipc.open_file(blob).read_all()` reads it. Between the end of the
//! stream and the footer stand eight more bytes, little-endian, which Arrow's readers pass over:
//! `xxh3_64(footer and trailer, seed = xxh3_64(everything before these eight bytes))`. They are checked before anything is
//! believed.
//!
//! The schema's metadata holds `fuseboard.segment` (version of this format, now `1`), `fuseboard.start` (start of the first
//! row, Unix nanoseconds) and, unless too many, `fuseboard.more`: the keys that stand in the column `more`, as a JSON list.
//!
//! # Rows
//!
//! One row a span. The spans of a trace are neighbours, by start; the traces follow each other by their first start.
//!
//! # Columns
//!
//! A column whose values would all be the default is left out. Whole numbers take the narrowest type that holds the
//! column's values; *dictionary* means an Arrow dictionary whose index is `uint8`, `uint16` or `uint32`.
//!
//! | column | type | meaning, and the default |
//! |---|---|---|
//! | `trace_id` | dictionary of 16 bytes | one entry a trace, in the order of the rows |
//! | `span_id` | 8 bytes | |
//! | `parent_at` | int | the parent's row minus this row, when the parent is in the segment; 0: see `parent_id` |
//! | `parent_id` | 8 bytes, nullable | a parent that is not in the segment; null where `parent_at` is 0: there is no parent |
//! | `start_low`, `start_high` | `uint32`, int | `start_high * 2^32 + start_low` nanoseconds from the row before; from the first row of the trace before, in the first row of a trace; 0 in the first row of all |
//! | `duration_low`, `duration_high` | `uint32`, int | `duration_high * 2^32 + duration_low` is end minus start in nanoseconds; negative when the sender's clock jumped |
//! | `kind`, `status` | `uint8` | OTLP's numbers |
//! | `marks` | `uint8` | 1 logical call, 2 attempt, 4 refused locally, 8 cut by a timeout |
//! | `name` | text | |
//! | `origin` | dictionary of `int64` | number of the sender in the table `origins` |
//! | `arrival` | dictionary of `int64` | stamp of the commit, Unix nanoseconds |
//! | `peer` | text, nullable | the other side of the call, where the span names it |
//! | `status_message`, `trace_state` | text, nullable | null for empty |
//! | `flags`, `dropped_attributes`, `dropped_events`, `dropped_links` | int | 0 |
//! | `events`, `links` | binary | the fields 11 and 13 of OTLP's `Span`, encoded, one after the other; empty |
//! | `str:KEY` `int:KEY` `double:KEY` `bool:KEY` `bytes:KEY` | text, int, `float64`, `bool`, binary; nullable | the attribute of that key where its value is of that type |
//! | `shape` | dictionary of binary | the order in which the sender wrote the attributes: one LEB128 number each, `n` for the n-th attribute column of the schema (from 1), 0 for the next one in `more` |
//! | `more` | binary | attributes without a column, as fields 9 of OTLP's `Span`, encoded; empty |
//!
//! *Text* is a dictionary of `utf8` where values repeat; else `utf8`, or fixed-size binary (holding UTF-8) where all have
//! the same length.
//!
//! Into `more` go lists, maps and empty values, the second and later attribute of the same key in a span, keys that few
//! spans have (a segment has 200 attribute columns at most), the attributes of a span beyond the 256th, and whatever could
//! not be written again byte by byte. What is in `more` beyond what the shape counts comes last. Fields of a span that OTLP
//! 1.9 does not know are not kept.

mod access;
mod arrays;
mod attrs;
mod bounds;
mod brief;
mod build;
mod checksum;
mod columns;
mod error;
mod filter;
mod gather;
mod ipc;
mod name;
mod order;
mod parts;
pub mod rows;
mod span;
mod summary;
#[cfg(test)]
mod tests;
mod values;

pub use self::brief::brief;
pub use self::build::{Built, Incoming, build};
pub use self::columns::{AttrColumn, Columns, Value};
pub use self::error::SegmentError;
pub use self::filter::{NAME_KEY, PEER_KEY, TraceFilter, ValueFilter};
pub use self::ipc::encode;
pub use self::parts::{Part, Parts};
pub use self::summary::Summary;
pub use self::values::{Cells, Codes, Ints, Texts};
