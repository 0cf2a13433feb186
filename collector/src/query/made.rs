//! The calls that instances with an agent made, one by one, as they arrive.

use std::sync::Arc;

use fuseboard_api::UnixNanos;
use fuseboard_api::span::Origin;
use fuseboard_policy::names::OPERATION;

use super::spans::Origins;
use crate::otlp::Marks;
use crate::store::segment::{Part, Parts};
use crate::store::{Snapshot, StoreError};

/// OTLP's number of a client's span.
const CLIENT: u8 = 3;
/// OTLP's number of a producer's span.
const PRODUCER: u8 = 4;

/// A call as its caller's agent told it; attempts of it are not told again.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    /// Who sent it: number and words. One instance may have several numbers.
    pub(crate) sender: (i64, &'a Arc<Origin>),
    /// The service called.
    pub(crate) callee: &'a str,
    /// Its operation, as policies name it.
    pub(crate) operation: &'a str,
    /// Whether it ended in an error.
    pub(crate) failed: bool,
    /// Whether a local rule refused it.
    pub(crate) refused: bool,
    /// How long it took, nanoseconds.
    pub(crate) nanos: u64,
}

/// Visits calls that began at `since` or later and arrived after the one instant, up to the other.
///
/// # Errors
/// What the store says.
pub(crate) fn made(
    read: &Snapshot<'_>,
    since: UnixNanos,
    (after, as_of): (UnixNanos, UnixNanos),
    mut visit: impl FnMut(&Made<'_>),
) -> Result<(), StoreError> {
    let parts = Parts::of(&[Part::Times, Part::Kinds, Part::Origin, Part::Arrival, Part::Peer]).with_key(OPERATION);
    let mut origins = Origins::default();
    for segment in read.segments_after(after)? {
        if segment.min_arrival > as_of.0 || segment.max_start < since.0 {
            continue;
        }
        let columns = read.columns_unkept(&segment, &parts)?;
        for row in 0..columns.rows() {
            let (kind, marks, arrival) = (columns.kind(row), columns.marks(row), columns.arrival(row));
            if !matches!(kind, CLIENT | PRODUCER)
                || marks.has(Marks::ATTEMPT)
                || columns.start(row) < since
                || arrival <= after
                || arrival > as_of
            {
                continue;
            }
            let Some(operation) = columns.attr(row, OPERATION).map(|v| v.to_string()) else { continue };
            let id = columns.origin(row);
            let origin = origins.get(read, id)?;
            visit(&Made {
                sender: (id, &origin),
                callee: columns.peer(row).unwrap_or_default(),
                operation: &operation,
                failed: columns.status(row) == 2,
                refused: marks.has(Marks::REFUSED),
                nanos: u64::try_from(columns.duration(row)).unwrap_or(0),
            });
        }
    }
    Ok(())
}
