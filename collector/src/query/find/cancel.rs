//! Giving up on a search that nobody waits for any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Told to a search, which looks at it before each segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

/// Cancels when it goes away, as it does with the future that waits for the answer.
#[derive(Debug)]
pub(crate) struct Cancelled(Cancel);

impl Cancel {
    /// Cancels when the guard goes away.
    pub(crate) fn on_drop(&self) -> Cancelled {
        Cancelled(self.clone())
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
