//! Names of columns and keys of metadata.

use crate::otlp::Tag;

pub(super) const TRACE_ID: &str = "trace_id";
pub(super) const SPAN_ID: &str = "span_id";
pub(super) const PARENT_AT: &str = "parent_at";
pub(super) const PARENT_ID: &str = "parent_id";
pub(super) const START_LOW: &str = "start_low";
pub(super) const START_HIGH: &str = "start_high";
pub(super) const DURATION_LOW: &str = "duration_low";
pub(super) const DURATION_HIGH: &str = "duration_high";
pub(super) const KIND: &str = "kind";
pub(super) const STATUS: &str = "status";
pub(super) const MARKS: &str = "marks";
pub(super) const NAME: &str = "name";
pub(super) const ORIGIN: &str = "origin";
pub(super) const ARRIVAL: &str = "arrival";
pub(super) const PEER: &str = "peer";
pub(super) const STATUS_MESSAGE: &str = "status_message";
pub(super) const TRACE_STATE: &str = "trace_state";
pub(super) const FLAGS: &str = "flags";
pub(super) const DROPPED: [&str; 3] = ["dropped_attributes", "dropped_events", "dropped_links"];
pub(super) const EVENTS: &str = "events";
pub(super) const LINKS: &str = "links";
pub(super) const SHAPE: &str = "shape";
pub(super) const MORE: &str = "more";

/// Metadata: version of the format.
pub(super) const META_FORMAT: &str = "fuseboard.segment";
/// Metadata: start of the first row.
pub(super) const META_START: &str = "fuseboard.start";
/// Metadata: keys in the column `more`.
pub(super) const META_MORE: &str = "fuseboard.more";

/// The version that is written, and the only one that is read.
pub(super) const FORMAT: &str = "1";

/// What an attribute column's name begins with; `None` for values that get no column.
pub(super) fn prefix(tag: Tag) -> Option<&'static str> {
    Some(match tag {
        Tag::Str => "str",
        Tag::Int => "int",
        Tag::Double => "double",
        Tag::Bool => "bool",
        Tag::Bytes => "bytes",
        Tag::Empty | Tag::Nested => return None,
    })
}

/// The type and key that an attribute column's name says; `None` for other columns.
pub(super) fn attribute(column: &str) -> Option<(Tag, &str)> {
    let (prefix, key) = column.split_once(':')?;
    let tag = match prefix {
        "str" => Tag::Str,
        "int" => Tag::Int,
        "double" => Tag::Double,
        "bool" => Tag::Bool,
        "bytes" => Tag::Bytes,
        _ => return None,
    };
    Some((tag, key))
}
