//! Names for completion.

use std::collections::{BTreeMap, BTreeSet};

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::Names;
use rusqlite::{Connection, params};

use super::{rollups, totals};

/// Attribute keys given at most.
const KEYS: i64 = 500;
/// Values of all keys given at most.
const VALUES: i64 = 5_000;

pub(super) fn names(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Names> {
    let mut services: BTreeMap<String, BTreeSet<String>> =
        totals::services(conn, as_of)?.into_iter().map(|s| (s, BTreeSet::new())).collect();
    for series in rollups::series(conn, as_of)?.into_values().filter(|s| s.inbound) {
        services.entry(series.key.callee).or_default().insert(series.key.operation);
    }
    let mut read = conn.prepare_cached("SELECT key FROM attribute_keys WHERE arrival <= ?1 ORDER BY key LIMIT ?2")?;
    let mut values: Vec<(String, Vec<String>)> = Vec::new();
    let mut samples = conn
        .prepare_cached("SELECT key, value FROM attribute_values WHERE arrival <= ?1 ORDER BY key, value LIMIT ?2")?;
    let mut rows = samples.query(params![as_of.0, VALUES])?;
    while let Some(row) = rows.next()? {
        let (key, value): (String, String) = (row.get(0)?, row.get(1)?);
        match values.last_mut() {
            Some((last, of)) if *last == key => of.push(value),
            _ => values.push((key, vec![value])),
        }
    }
    Ok(Names {
        services: services.into_iter().map(|(s, operations)| (s, operations.into_iter().collect())).collect(),
        attribute_values: values,
        attribute_keys: read.query_map(params![as_of.0, KEYS], |r| r.get(0))?.collect::<Result<_, _>>()?,
    })
}
