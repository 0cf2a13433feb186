//! Names for completion.

use std::collections::{BTreeMap, BTreeSet};

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::Names;
use rusqlite::{Connection, params};

use super::{rollups, totals};

/// Attribute keys given at most.
const KEYS: i64 = 500;

pub(super) fn names(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Names> {
    let mut services: BTreeMap<String, BTreeSet<String>> =
        totals::services(conn, as_of)?.into_iter().map(|s| (s, BTreeSet::new())).collect();
    for series in rollups::series(conn, as_of)?.into_values().filter(|s| s.inbound) {
        services.entry(series.key.callee).or_default().insert(series.key.operation);
    }
    let mut read = conn.prepare_cached("SELECT key FROM attribute_keys WHERE arrival <= ?1 ORDER BY key LIMIT ?2")?;
    Ok(Names {
        services: services.into_iter().map(|(s, operations)| (s, operations.into_iter().collect())).collect(),
        attribute_keys: read.query_map(params![as_of.0, KEYS], |r| r.get(0))?.collect::<Result<_, _>>()?,
    })
}
