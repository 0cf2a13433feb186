//! The segments of a snapshot, to be searched.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use fuseboard_api::span::Origin;
use fuseboard_api::{TimeRange, TraceId, UnixNanos};

use super::find::Source;
use super::spans::Origins;
use crate::store::segment::{Columns, Parts, TraceFilter, ValueFilter};
use crate::store::{SegmentRow, Snapshot, StoreError};

/// All of time.
pub(super) const EVER: TimeRange = TimeRange { from: UnixNanos(i64::MIN), to: UnixNanos(i64::MAX) };

/// Segments as one answer sees them; what it has asked for once it keeps.
pub(super) struct Stored<'a> {
    snapshot: &'a Snapshot<'a>,
    segments: Vec<SegmentRow>,
    traces: RefCell<HashMap<usize, Arc<[u8]>>>,
    values: RefCell<HashMap<usize, Arc<[u8]>>>,
    origins: RefCell<Origins>,
}

impl<'a> Stored<'a> {
    /// The segments in which something had arrived by `as_of`.
    pub(super) fn new(snapshot: &'a Snapshot<'a>, as_of: UnixNanos) -> Result<Self, StoreError> {
        Ok(Self {
            snapshot,
            segments: snapshot.segments(EVER, as_of)?,
            traces: RefCell::default(),
            values: RefCell::default(),
            origins: RefCell::default(),
        })
    }

    fn segment(&self, at: usize) -> Result<&SegmentRow, StoreError> {
        self.segments.get(at).ok_or_else(|| StoreError::Corrupt(format!("there is no segment {at}")))
    }
}

/// What a filter says, read once.
fn kept(
    known: &RefCell<HashMap<usize, Arc<[u8]>>>,
    at: usize,
    read: impl FnOnce() -> Result<Arc<[u8]>, StoreError>,
) -> Result<Arc<[u8]>, StoreError> {
    if let Some(filter) = known.borrow().get(&at) {
        return Ok(filter.clone());
    }
    let filter = read()?;
    known.borrow_mut().insert(at, filter.clone());
    Ok(filter)
}

impl Source for Stored<'_> {
    fn segments(&self) -> &[SegmentRow] {
        &self.segments
    }

    fn columns(&self, at: usize, parts: &Parts) -> Result<Arc<Columns>, StoreError> {
        self.snapshot.columns(self.segment(at)?, parts)
    }

    fn may_have_trace(&self, at: usize, trace: TraceId) -> Result<bool, StoreError> {
        let filter = kept(&self.traces, at, || self.snapshot.trace_filter(self.segment(at)?.id))?;
        Ok(TraceFilter::contains(&filter, &trace.0))
    }

    fn may_have_value(&self, at: usize, key: &str, value: &str) -> Result<bool, StoreError> {
        let filter = kept(&self.values, at, || Ok(self.snapshot.value_filter(self.segment(at)?.id)?.into()))?;
        Ok(ValueFilter::may_have(&filter, key, value))
    }

    fn origin(&self, id: i64) -> Result<Arc<Origin>, StoreError> {
        self.origins.borrow_mut().get(self.snapshot, id)
    }
}
