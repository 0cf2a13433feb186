//! New versions, as their first telemetry tells.

use std::collections::{BTreeMap, BTreeSet};

use fuseboard_api::graph::Severity;
use fuseboard_api::strip::{Mark, MarkKind};
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::Connection;

/// A mark for every `service.version` first heard in the range, of services that had run another version before.
///
/// # Errors
/// What the database says.
pub(crate) fn deployments(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<Mark>> {
    let mut read = conn.prepare_cached(
        "SELECT service, version, min(arrival) AS first FROM origins WHERE arrival <= ?1 AND version <> ''
         GROUP BY service, version ORDER BY first, service, version",
    )?;
    let mut rows = read.query([as_of.0])?;
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let (service, version, at): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let versions = known.entry(service.clone()).or_default();
        if !versions.is_empty() && range.contains(UnixNanos(at)) {
            out.push(Mark {
                at: UnixNanos(at),
                kind: MarkKind::Deployment,
                label: version.chars().take(8).collect(),
                text: format!("{service} {version} first seen"),
                severity: Severity::Well,
                edge: None,
            });
        }
        versions.insert(version);
    }
    Ok(out)
}
