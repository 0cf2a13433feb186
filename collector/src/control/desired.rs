//! What every agent should have: the revision in force or the one that is rolled out, and the overrides in force. One value
//! in a watch channel; whoever is slow sees only the newest.

use std::sync::Arc;
use std::time::Instant;

use fuseboard_api::UnixNanos;
use fuseboard_policy::wire::v1;
use rusqlite::Connection;

use super::overrides::{self, Stored};
use super::rollout::{self, Division};
use super::{policy, revisions};

/// A revision that some instances should have.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// Its number; 0 before anything was set.
    pub(crate) revision: u64,
    /// Its rules; `None` for revision 0, which is never sent: an agent keeps what it has until there is something to say.
    pub(crate) policy: Option<Arc<v1::Policy>>,
    /// Until when it must be confirmed; `None` when it is kept for good.
    pub(crate) confirm_by: Option<UnixNanos>,
    /// Since when it is published.
    pub(crate) since: Instant,
}

impl Given {
    fn nothing() -> Self {
        Self { revision: 0, policy: None, confirm_by: None, since: Instant::now() }
    }

    /// A stored revision; what is published already is shared.
    fn of(stored: &revisions::Stored, confirm_by: Option<UnixNanos>, before: &Desired) -> Self {
        let number = stored.revision.number;
        let known = before.all().find(|given| given.revision == number).map(|given| given.policy.clone());
        // It was validated before it was stored; a document that a newer program cannot read any more is not sent.
        let policy = known.unwrap_or_else(|| {
            policy::wire(number, &stored.document)
                .inspect_err(|e| tracing::error!("revision {number} cannot be published: {e}"))
                .ok()
                .map(Arc::new)
        });
        Self { revision: number, policy: policy.filter(|_| number > 0), confirm_by, since: Instant::now() }
    }

    /// The same as published now: what `before` had already keeps its time.
    fn published(self, before: Option<&Self>) -> Self {
        let since = before.filter(|b| b.revision == self.revision).map_or_else(Instant::now, |b| b.since);
        Self { since, ..self }
    }
}

/// The desired state, and since when each part of it is published.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    /// The revision in force.
    pub(crate) in_force: Given,
    /// The one that some instances are given before the others, and which.
    pub(crate) ahead: Option<(Given, Division)>,
    /// Counts up whenever the overrides change.
    pub(crate) generation: u64,
    /// Overrides in force, oldest first, and since when each is published.
    pub(crate) overrides: Arc<[(Stored, Instant)]>,
}

impl Desired {
    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Self { in_force: Given::nothing(), ahead: None, generation: 0, overrides: Arc::new([]) }
    }

    fn all(&self) -> impl Iterator<Item = &Given> {
        [&self.in_force].into_iter().chain(self.ahead.as_ref().map(|(given, _)| given))
    }

    /// The state in the store at `now`, to be published after `before`.
    ///
    /// # Errors
    /// Only the database's own.
    pub(crate) fn load(conn: &Connection, now: UnixNanos, before: &Self) -> rusqlite::Result<Self> {
        let stored = revisions::in_force(conn, now)?;
        let (mut confirm_by, mut ahead) = (None, None);
        if let Some(running) = rollout::running(conn, now)? {
            if running.revision == stored.revision.number {
                confirm_by = running.unconfirmed();
            } else if let Some(next) = revisions::numbered(conn, running.revision, now)? {
                ahead = Some((Given::of(&next, running.unconfirmed(), before), running.division));
            }
        }
        let instant = Instant::now();
        Ok(Self {
            in_force: Given::of(&stored, confirm_by, before),
            ahead,
            generation: overrides::generation(conn, now)?,
            overrides: overrides::in_force(conn, now)?.into_iter().map(|o| (o, instant)).collect(),
        })
    }

    /// The same as published now: what `before` had already keeps its time.
    pub(crate) fn published(mut self, before: &Self) -> Self {
        let instant = Instant::now();
        // Who gets in with a later stage is given it from then on.
        let staged = |division: &Division| before.ahead.as_ref().filter(|(_, d)| d == division).map(|(given, _)| given);
        self.ahead = self.ahead.map(|(given, division)| (given.published(staged(&division)), division));
        self.in_force = self.in_force.published(Some(&before.in_force));
        // A renewed override has another generation than the one that was published.
        let same = |o: &Stored, p: &Stored| o.id == p.id && o.generation == p.generation;
        let since = |o: &Stored| before.overrides.iter().find(|(p, _)| same(o, p)).map_or(instant, |(_, t)| *t);
        self.overrides = self.overrides.iter().map(|(o, _)| (o.clone(), since(o))).collect();
        self
    }

    /// The revision that an instance of a service should have.
    pub(crate) fn given(&self, service: &str, instance: &str) -> &Given {
        let ahead = self.ahead.as_ref().filter(|(_, division)| division.has(service, instance));
        ahead.map_or(&self.in_force, |(given, _)| given)
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
