//! What every agent should have: the newest revision and the overrides in force. One value in a watch channel; whoever
//! is slow sees only the newest.

use std::sync::Arc;
use std::time::Instant;

use fuseboard_api::UnixNanos;
use fuseboard_policy::wire::v1;
use rusqlite::Connection;

use super::overrides::{self, Stored};
use super::{policy, revisions};

/// The desired state, and since when each part of it is published.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    /// The revision in force; 0 before anything was set.
    pub(crate) revision: u64,
    /// Its rules; `None` for revision 0, which is never sent: an agent keeps what it has until there is something to say.
    pub(crate) policy: Option<Arc<v1::Policy>>,
    /// Since when it is published.
    pub(crate) revision_since: Instant,
    /// Counts up whenever the overrides change.
    pub(crate) generation: u64,
    /// Overrides in force, oldest first, and since when each is published.
    pub(crate) overrides: Arc<[(Stored, Instant)]>,
}

impl Desired {
    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Self { revision: 0, policy: None, revision_since: Instant::now(), generation: 0, overrides: Arc::new([]) }
    }

    /// The state in the store at `now`, to be published after `before`.
    ///
    /// # Errors
    /// Only the database's own.
    pub(crate) fn load(conn: &Connection, now: UnixNanos, before: &Self) -> rusqlite::Result<Self> {
        let stored = revisions::in_force(conn, now)?;
        let number = stored.revision.number;
        let policy = if number == before.revision {
            before.policy.clone()
        } else {
            // It was validated before it was stored; a document that a newer program cannot read any more is not sent.
            let wire = policy::wire(number, &stored.document)
                .inspect_err(|e| tracing::error!("revision {number} cannot be published: {e}"))
                .ok();
            wire.map(Arc::new)
        };
        let instant = Instant::now();
        Ok(Self {
            revision: number,
            policy,
            revision_since: instant,
            generation: overrides::generation(conn, now)?,
            overrides: overrides::in_force(conn, now)?.into_iter().map(|o| (o, instant)).collect(),
        })
    }

    /// The same as published now: what `before` had already keeps its time.
    pub(crate) fn published(mut self, before: &Self) -> Self {
        let instant = Instant::now();
        self.revision_since = if self.revision == before.revision { before.revision_since } else { instant };
        let since = |id: u64| before.overrides.iter().find(|(o, _)| o.id == id).map_or(instant, |(_, t)| *t);
        self.overrides = self.overrides.iter().map(|(o, _)| (o.clone(), since(o.id))).collect();
        self
    }

    /// The overrides that concern an instance of a service.
    pub(crate) fn overrides_for<'a>(
        &'a self,
        service: &'a str,
        instance: &'a str,
    ) -> impl Iterator<Item = &'a (Stored, Instant)> {
        self.overrides.iter().filter(move |(o, _)| concerns(o, service, instance))
    }
}

/// Whether an override is meant for an instance of a caller.
pub(crate) fn concerns(stored: &Stored, service: &str, instance: &str) -> bool {
    let selector = &stored.spec.selector;
    selector.caller.as_deref().is_none_or(|c| c == service)
        && selector.instance.as_deref().is_none_or(|i| i == instance)
}
