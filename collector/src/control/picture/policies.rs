//! What is in force on every observed edge, and where each setting comes from.

use std::collections::BTreeMap;

use fuseboard_api::command::PolicyEdit;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::policy::{EffectiveEdge, Policies};
use fuseboard_api::{TimeRange, UnixNanos};
use fuseboard_policy::overrides::Override;
use fuseboard_policy::set::{Effective, PolicySet};
use rusqlite::Connection;

use super::fleet::newest;
use crate::control::{edit, overrides, policy, revisions};
use crate::query::rollups;

/// The document of a revision; `None` when there was none of that number.
///
/// # Errors
/// Only the database's own.
pub(crate) fn document(conn: &Connection, number: u64, as_of: UnixNanos) -> rusqlite::Result<Option<String>> {
    Ok(revisions::numbered(conn, number, as_of)?.map(|stored| stored.document))
}

/// A document with edits written into it, if it could be published so.
///
/// # Errors
/// The edit that cannot be made, or every problem of what would come out.
pub(crate) fn with_edits(document: &str, edits: &[PolicyEdit]) -> Result<String, String> {
    let edited = edit::apply(document, edits)?;
    policy::parse(&edited)?;
    Ok(edited)
}

/// What steers calls at an instant: the set in force, the overrides, and who has an agent to obey them.
#[derive(Debug)]
pub(crate) struct Steering {
    set: PolicySet,
    overrides: Vec<Override>,
    /// Callers with an agent → how many of their instances were connected.
    agents: BTreeMap<String, u32>,
}

impl Steering {
    /// What is in force on an edge.
    pub(crate) fn effective(&self, key: &EdgeKey) -> Effective {
        let mine = self.overrides.iter().filter(|o| {
            let s = &o.selector;
            // An override of a single instance holds for that instance, not for the edge.
            s.instance.is_none() && s.matches(&key.caller, "", &key.callee, &key.operation)
        });
        self.set.effective(&key.caller, &key.callee, &key.operation).with_overrides(mine)
    }

    /// Attempt and overall timeout that apply to an edge, in milliseconds; none for callers without an agent.
    pub(crate) fn timeouts(&self, key: &EdgeKey) -> (Option<u64>, Option<u64>) {
        if !self.agents.contains_key(&key.caller) {
            return (None, None);
        }
        self.effective(key).settings.timeout.map_or((None, None), |t| (t.attempt_ms, t.overall_ms))
    }
}

/// What steered calls at an instant.
///
/// # Errors
/// Only the database's own.
pub(crate) fn steering(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Steering> {
    let stored = revisions::in_force(conn, as_of)?;
    let mut agents = BTreeMap::new();
    for ((service, _), presence) in newest(conn, as_of)? {
        *agents.entry(service).or_insert(0) += u32::from(presence.ended.is_none());
    }
    Ok(Steering {
        set: policy::set(stored.revision.number, &stored.document),
        overrides: overrides::in_force(conn, as_of)?.iter().map(|o| policy::as_override(o, as_of)).collect(),
        agents,
    })
}

/// The policies in force and their effect on the calls of a range.
///
/// # Errors
/// Only the store's own.
pub(crate) fn policies(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Policies> {
    let stored = revisions::in_force(conn, as_of)?;
    let steering = steering(conn, as_of)?;
    let mut edges = Vec::new();
    for seen in rollups::edges(conn, range, as_of)? {
        let effective = steering.effective(&seen.key);
        edges.push(EffectiveEdge {
            settings: effective.settings,
            provenance: effective.provenance,
            steered: steering.agents.contains_key(&seen.key.caller),
            instances: steering.agents.get(&seen.key.caller).copied().unwrap_or_default(),
            key: seen.key,
            stats: seen.stats,
            attempts: seen.attempts,
            cut: seen.cut,
            deadline_left_ms: seen.deadline_left_ms,
        });
    }
    Ok(Policies {
        revision: stored.revision,
        document: stored.document,
        edges,
        history: revisions::history(conn, as_of)?.into_iter().map(|s| s.revision).collect(),
    })
}
