//! What a search needs of the store.

use std::sync::Arc;

use fuseboard_api::TraceId;
use fuseboard_api::span::Origin;

use crate::store::segment::{Columns, Parts};
use crate::store::{SegmentRow, StoreError};

/// Segments as of an instant.
pub(in crate::query) trait Source {
    /// All segments in which something had arrived by then; they are named by their place in this list.
    fn segments(&self) -> &[SegmentRow];

    /// Columns of a segment.
    fn columns(&self, at: usize, parts: &Parts) -> Result<Arc<Columns>, StoreError>;

    /// Whether a segment may have spans of a trace.
    fn may_have_trace(&self, at: usize, trace: TraceId) -> Result<bool, StoreError>;

    /// Whether a segment may have spans with an attribute of that value as it is shown.
    fn may_have_value(&self, at: usize, key: &str, value: &str) -> Result<bool, StoreError>;

    /// A sender.
    fn origin(&self, id: i64) -> Result<Arc<Origin>, StoreError>;
}
