//! The calls that a rollout is judged by, counted as they arrive.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use fuseboard_api::graph::EdgeKey;
use fuseboard_api::rollout::{Against, Group};
use fuseboard_api::{TimeRange, UnixNanos};
use fuseboard_policy::set::PolicySet;
use rusqlite::Connection;

use super::guard::{Pair, Tally};
use super::rows::Standing;
use crate::control::{policy, revisions};
use crate::query::{self, Made, rollups};
use crate::store::{Snapshot, StoreError};

/// Where no instance is left without a change, its calls are compared with those of this time before the change.
const BEFORE: Duration = Duration::from_secs(300);
/// After a restart, calls that were counted longer ago are not counted again.
const RECOUNTED: Duration = Duration::from_secs(600);
/// Edges counted at most: calls on others are not watched.
const MAX_EDGES: usize = 10_000;

/// What a change means to an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// Nothing.
    No,
    /// Its caller calls by other settings.
    Calls,
    /// Its callee answers by other settings, whoever calls: instances of the caller do not tell the difference.
    Answers,
}

/// Both groups' calls on one edge.
#[derive(Debug, Default)]
struct Both {
    changed: Tally,
    others: Tally,
}

/// Calls of one stage, counted up to an instant.
#[derive(Debug)]
pub(super) struct Calls {
    since: UnixNanos,
    upto: UnixNanos,
    edges: BTreeMap<EdgeKey, Both>,
    before: HashMap<EdgeKey, Tally>,
    base: PolicySet,
    next: PolicySet,
    touched: HashMap<EdgeKey, Touch>,
}

impl Calls {
    /// Begins to count the calls of a stage.
    ///
    /// # Errors
    /// Only the database's own.
    pub(super) fn begin(conn: &Connection, standing: &Standing, now: UnixNanos) -> rusqlite::Result<Self> {
        let set = |number| -> rusqlite::Result<PolicySet> {
            let stored = revisions::numbered(conn, number, now)?.unwrap_or_default();
            Ok(policy::set(number, &stored.document))
        };
        let until = standing.began - Duration::from_secs(1);
        let range = TimeRange { from: until - BEFORE, to: until };
        let before = rollups::edges(conn, range, now)?.into_iter().map(|sum| {
            let s = sum.stats;
            (sum.key, Tally { calls: s.calls, errors: s.errors, refused: s.refused, latency: s.latency })
        });
        let since = standing.since.max(now - RECOUNTED);
        Ok(Self {
            since,
            upto: since,
            edges: BTreeMap::new(),
            before: before.collect(),
            base: set(standing.base)?,
            next: set(standing.revision)?,
            touched: HashMap::new(),
        })
    }

    /// Counts what has arrived since the last time. Instances without a control stream have no part in the change.
    ///
    /// # Errors
    /// What the store says.
    pub(super) fn count(
        &mut self,
        read: &Snapshot<'_>,
        standing: &Standing,
        groups: &[Group],
        as_of: UnixNanos,
    ) -> Result<(), StoreError> {
        let mut steered: BTreeSet<(&str, &str)> = BTreeSet::new();
        for group in groups {
            let all = group.changed.iter().chain(&group.others);
            steered.extend(all.map(|instance| (group.service.as_str(), instance.as_str())));
        }
        let mut sides: HashMap<i64, Option<bool>> = HashMap::new();
        let (since, from) = (self.since, self.upto);
        query::made(read, since, (from, as_of), |call: &Made<'_>| {
            let (id, origin) = call.sender;
            let side = *sides.entry(id).or_insert_with(|| {
                let known = steered.contains(&(origin.service.as_str(), origin.instance.as_str()));
                known.then(|| standing.division.has(&origin.service, &origin.instance))
            });
            let Some(changed) = side else { return };
            let key = EdgeKey::new(origin.service.as_str(), call.callee, call.operation);
            if self.edges.len() >= MAX_EDGES && !self.edges.contains_key(&key) || self.touch(&key) == Touch::No {
                return;
            }
            let both = self.edges.entry(key).or_default();
            let tally = if changed { &mut both.changed } else { &mut both.others };
            tally.calls += 1;
            tally.errors += u64::from(call.failed);
            tally.refused += u64::from(call.refused);
            tally.latency.record(call.nanos);
        })?;
        self.upto = as_of;
        Ok(())
    }

    fn touch(&mut self, key: &EdgeKey) -> Touch {
        if let Some(touch) = self.touched.get(key) {
            return *touch;
        }
        let settings = |set: &PolicySet| set.effective(&key.caller, &key.callee, &key.operation).settings;
        let touch = if settings(&self.base) != settings(&self.next) {
            Touch::Calls
        } else if self.base.service(&key.callee) != self.next.service(&key.callee) {
            Touch::Answers
        } else {
            Touch::No
        };
        if self.touched.len() < MAX_EDGES {
            self.touched.insert(key.clone(), touch);
        }
        touch
    }

    /// What is compared with what, edge by edge.
    pub(super) fn pairs(&self, groups: &[Group]) -> Vec<Pair> {
        let divided: BTreeSet<&str> =
            groups.iter().filter(|g| !g.others.is_empty()).map(|g| g.service.as_str()).collect();
        let pairs = self.edges.iter().map(|(edge, both)| {
            let answers = self.touched.get(edge) == Some(&Touch::Answers);
            if !answers && divided.contains(edge.caller.as_str()) {
                let (changed, control) = (both.changed.clone(), both.others.clone());
                return Pair { edge: edge.clone(), against: Against::Others, changed, control };
            }
            let mut changed = both.changed.clone();
            if answers {
                changed.merge(&both.others);
            }
            let control = self.before.get(edge).cloned().unwrap_or_default();
            Pair { edge: edge.clone(), against: Against::Before, changed, control }
        });
        pairs.collect()
    }
}
