//! What is in force on the edges of each instance: from the revision that it says it runs, and the overrides that it says
//! it obeys.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use fuseboard_api::change::Selector;
use fuseboard_api::fleet::Member;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::policy::InstanceEdge;
use fuseboard_api::{TimeRange, UnixNanos};
use fuseboard_policy::overrides::Override;
use fuseboard_policy::set::{Effective, PolicySet, hash_all};
use rusqlite::{Connection, params};

use crate::control::{desired, overrides, policy, revisions, unsigned};
use crate::query::rollups;

/// The settings on the selected edges that were called in a range, on every selected instance with an agent.
///
/// # Errors
/// Only the store's own.
pub(crate) fn effective(
    conn: &Connection,
    range: TimeRange,
    selector: &Selector,
    as_of: UnixNanos,
) -> rusqlite::Result<Vec<InstanceEdge>> {
    let mut edges: BTreeMap<String, Vec<EdgeKey>> = BTreeMap::new();
    for seen in rollups::edges(conn, range, as_of)? {
        edges.entry(seen.key.caller.clone()).or_default().push(seen.key);
    }
    let in_force = overrides::in_force(conn, as_of)?;
    let mut sets = BTreeMap::new();
    let mut all = Vec::new();
    for member in super::fleet::fleet(conn, range, as_of)?.members {
        let Some(connected) = member.connected else { continue };
        let Some(mine) = edges.get(&member.service) else { continue };
        let selected = |k: &EdgeKey| selector.matches(&k.caller, &member.instance, &k.callee, &k.operation);
        if !mine.iter().any(selected) {
            continue;
        }
        let set = match sets.entry(member.running) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(set_of(conn, member.running)?),
        };
        let obeyed = obeyed(conn, &in_force, &member, as_of)?;
        let known: Vec<(&EdgeKey, Effective)> =
            mine.iter().map(|k| (k, of(set, &obeyed, k, &member.instance))).collect();
        let verified = is_told(set, &known, &member);
        for (key, effective) in known.into_iter().filter(|(key, _)| selected(key)) {
            all.push(InstanceEdge {
                key: key.clone(),
                instance: member.instance.clone(),
                connected,
                running: member.running,
                overrides: effective.overrides,
                settings: effective.settings,
                fault: effective.fault,
                provenance: effective.provenance,
                verified,
            });
        }
    }
    all.sort_by(|a, b| (&a.key, &a.instance).cmp(&(&b.key, &b.instance)));
    Ok(all)
}

fn set_of(conn: &Connection, revision: u64) -> rusqlite::Result<PolicySet> {
    let stored = revisions::numbered(conn, revision, UnixNanos(i64::MAX))?.unwrap_or_default();
    Ok(policy::set(revision, &stored.document))
}

fn of(set: &PolicySet, overrides: &[Override], key: &EdgeKey, instance: &str) -> Effective {
    let mine = overrides.iter().filter(|o| o.selector.matches(&key.caller, instance, &key.callee, &key.operation));
    set.effective(&key.caller, &key.callee, &key.operation).with_overrides(mine)
}

/// The overrides in force that an instance said it has, by its newest word on each.
fn obeyed(
    conn: &Connection,
    in_force: &[overrides::Stored],
    member: &Member,
    as_of: UnixNanos,
) -> rusqlite::Result<Vec<Override>> {
    let mut select = conn.prepare_cached(
        "SELECT change, refused IS NULL FROM acknowledgements
         WHERE kind = 'override' AND service = ?1 AND instance = ?2 AND arrival <= ?3 ORDER BY arrival",
    )?;
    let said = select
        .query_map(params![member.service, member.instance, as_of.0], |row| Ok((unsigned(row, 0)?, row.get(1)?)))?;
    let said: BTreeMap<u64, bool> = said.collect::<rusqlite::Result<_>>()?;
    let obeyed: BTreeSet<u64> = said.into_iter().filter(|(_, applied)| *applied).map(|(id, _)| id).collect();
    let mine =
        in_force.iter().filter(|o| obeyed.contains(&o.id) && desired::concerns(o, &member.service, &member.instance));
    Ok(mine.map(|o| policy::as_override(o, as_of)).collect())
}

/// Whether the instance tells the hash of these settings. It has one over all its edges, and over the settings of its own
/// side where it guards that.
fn is_told(set: &PolicySet, known: &[(&EdgeKey, Effective)], member: &Member) -> bool {
    let edges = known.iter().map(|(k, effective)| (format!("{}/{}", k.callee, k.operation), effective.hash()));
    let mut edges: Vec<(String, [u8; 16])> = edges.collect();
    edges.sort_unstable();
    let told = |edges: &[(String, [u8; 16])]| {
        let hash = hash_all(edges.iter().flat_map(|(name, hash)| [name.as_bytes(), hash.as_slice()]));
        hash.iter().map(|b| format!("{b:02x}")).collect::<String>() == member.effective_hash
    };
    told(&edges) || {
        edges.push(("service".to_owned(), set.service(&member.service).hash()));
        told(&edges)
    }
}
