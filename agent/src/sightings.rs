//! What the agent's clients know of their callees' instances, for who asks: the application, and the export of metrics.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::discovery::Snapshot;
use crate::members::Members;

/// The lists that change while their clients run.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    members: Mutex<Vec<Weak<Members>>>,
}

impl Sightings {
    /// One more client follows a source.
    pub(crate) fn add(&self, members: &Arc<Members>) {
        let mut all = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|members| members.strong_count() > 0);
        all.push(Arc::downgrade(members));
    }

    /// What is known of a callee. Of several clients the one that was made first speaks.
    pub(crate) fn snapshot(&self, service: &str) -> Option<Snapshot> {
        let all = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().filter_map(Weak::upgrade).find(|members| *members.service == *service);
        found.map(|members| members.snapshot())
    }
}
