//! Decoded segments and filters, shared by all who read.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::FixedState;

use super::segment::{Columns, Parts, SegmentError};

/// Bytes of filters over traces that are kept beside the segments.
const FILTERS: usize = 48 * 1024 * 1024;

/// Damaged segments that are told by name.
const NAMED: usize = 16;

/// Keeps what was decoded, the least recently used of it only as long as there is room. What lies under a segment's number
/// never changes, so nothing in here can be wrong.
#[derive(Debug)]
pub struct Cache {
    limit: usize,
    inner: Mutex<Inner>,
    followed: Mutex<Followed>,
}

/// How far the audit's chain was followed since the file was opened: up to this entry it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Followed {
    /// The last entry's position; 0 before the first.
    pub(crate) sequence: i64,
    /// When it was written.
    pub(crate) arrival: i64,
    /// Its hash.
    pub(crate) hash: [u8; 32],
    /// Where the chain breaks after it, and when the entry was written at which that shows.
    pub(crate) broken: Option<(u64, i64)>,
}

impl Default for Followed {
    fn default() -> Self {
        Self { sequence: 0, arrival: i64::MIN, hash: [0; 32], broken: None }
    }
}

#[derive(Debug, Default)]
struct Inner {
    segments: HashMap<i64, Kept, FixedState>,
    bytes: usize,
    clock: u64,
    filters: HashMap<i64, Arc<[u8]>, FixedState>,
    filter_bytes: usize,
    /// Segments that could not be read, and why.
    damaged: BTreeMap<i64, String>,
}

#[derive(Debug)]
struct Kept {
    columns: Arc<Columns>,
    used: u64,
}

impl Cache {
    /// A cache of so many bytes of decoded segments.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default(), followed: Mutex::default() }
    }

    /// A segment with the parts asked for; `decode` makes it, with the parts that it is given.
    pub(super) fn columns<E: From<SegmentError>>(
        &self,
        id: i64,
        parts: &Parts,
        decode: impl FnOnce(Parts) -> Result<Columns, E>,
    ) -> Result<Arc<Columns>, E> {
        let wanted = match self.find(id) {
            Some(columns) if columns.parts().covers(parts) => return Ok(columns),
            // What was asked for once will be asked for again, together.
            Some(columns) => columns.parts().union(parts),
            None => parts.clone(),
        };
        let columns = Arc::new(decode(wanted)?);
        self.keep(id, columns.clone());
        Ok(columns)
    }

    /// A segment as far as it is there.
    pub(super) fn find(&self, id: i64) -> Option<Arc<Columns>> {
        let mut inner = self.lock();
        inner.clock += 1;
        let now = inner.clock;
        let kept = inner.segments.get_mut(&id)?;
        kept.used = now;
        Some(kept.columns.clone())
    }

    fn keep(&self, id: i64, columns: Arc<Columns>) {
        let mut inner = self.lock();
        inner.clock += 1;
        let used = inner.clock;
        inner.bytes += columns.size();
        if let Some(before) = inner.segments.insert(id, Kept { columns, used }) {
            inner.bytes = inner.bytes.saturating_sub(before.columns.size());
        }
        while inner.bytes > self.limit && inner.segments.len() > 1 {
            let Some(oldest) = inner.segments.iter().min_by_key(|(_, k)| k.used).map(|(id, _)| *id) else { break };
            inner.remove(oldest);
        }
    }

    /// A segment's filter over its traces; `read` reads it.
    pub(super) fn filter<E>(&self, id: i64, read: impl FnOnce() -> Result<Arc<[u8]>, E>) -> Result<Arc<[u8]>, E> {
        if let Some(filter) = self.lock().filters.get(&id) {
            return Ok(filter.clone());
        }
        let filter = read()?;
        let mut inner = self.lock();
        // When all is full, those that are in stay: every look-up asks all of them.
        if inner.filter_bytes + filter.len() <= FILTERS && inner.filters.insert(id, filter.clone()).is_none() {
            inner.filter_bytes += filter.len();
        }
        Ok(filter)
    }

    /// Forgets a segment that is no more.
    pub(super) fn forget(&self, id: i64) {
        self.lock().remove(id);
    }

    /// Notes that a segment cannot be read; said once in the log, and from then on by [`Cache::damage`].
    pub(super) fn note_damage(&self, id: i64, why: &SegmentError) {
        let mut inner = self.lock();
        if inner.damaged.len() < NAMED && !inner.damaged.contains_key(&id) {
            tracing::error!("segment {id} cannot be read: {why}");
            inner.damaged.insert(id, why.to_string());
        }
    }

    /// The segments that could not be read since the file was opened, in words; empty when there were none.
    #[must_use]
    pub fn damage(&self) -> String {
        let inner = self.lock();
        let said: Vec<String> = inner.damaged.iter().map(|(id, why)| format!("segment {id}: {why}")).collect();
        said.join("; ")
    }

    /// How far the audit's chain was followed.
    pub(crate) fn followed(&self) -> &Mutex<Followed> {
        &self.followed
    }

    /// Bytes of decoded segments in here.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, id: i64) {
        if let Some(kept) = self.segments.remove(&id) {
            self.bytes = self.bytes.saturating_sub(kept.columns.size());
        }
        if let Some(filter) = self.filters.remove(&id) {
            self.filter_bytes = self.filter_bytes.saturating_sub(filter.len());
        }
    }
}
