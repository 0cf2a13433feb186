//! Counts of everything stored.

use std::collections::BTreeMap;

use fuseboard_api::ask::Totals;
use fuseboard_api::fleet::Member;
use fuseboard_api::histogram::LatencyHistogram;
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rollups;
use crate::store::Store;
use crate::store::rollup::{Delta, unpack_into};

/// Rates are taken over this stretch before the instant asked for.
const RECENT: i64 = 10_000_000_000;

pub(super) fn totals(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Totals> {
    let mut out = conn
        .prepare_cached(
            "SELECT all_spans, all_traces, all_logs, all_points FROM commits WHERE stamp <= ?1 ORDER BY stamp DESC LIMIT 1",
        )?
        .query_row([as_of.0], |r| {
            let count = |i| r.get::<_, i64>(i).map(|n| n.max(0) as u64);
            Ok(Totals {
                spans: count(0)?,
                traces: count(1)?,
                logs: count(2)?,
                metric_points: count(3)?,
                ..Totals::default()
            })
        })
        .optional()?
        .unwrap_or_default();
    out.services = services(conn, as_of)?;
    out.instances = conn
        .prepare_cached("SELECT count(*) FROM (SELECT DISTINCT service, instance FROM origins WHERE arrival <= ?1)")?
        .query_row([as_of.0], |r| r.get::<_, i64>(0))?
        .max(0) as u64;
    let mut lag = LatencyHistogram::default();
    let mut recent = 0;
    let mut read = conn.prepare_cached("SELECT spans, lag FROM commits WHERE stamp > ?1 AND stamp <= ?2")?;
    let mut rows = read.query(params![as_of.0.saturating_sub(RECENT), as_of.0])?;
    while let Some(row) = rows.next()? {
        recent += row.get::<_, i64>(0)?;
        if let Some(bytes) = row.get_ref(1)?.as_blob_or_null().unwrap_or(None) {
            unpack_into(bytes, &mut lag.counts);
        }
    }
    out.spans_per_second = recent as f64 * 1e9 / RECENT as f64;
    out.lag_ms = lag.quantile(0.5).map_or(0.0, |d| d.as_secs_f64() * 1e3);
    out.stored = stored(conn, as_of)?;
    Ok(out)
}

/// Adds what belongs to the running process, not to the instant.
pub(super) fn add_vitals(totals: &mut Totals, store: &Store) {
    let vitals = store.vitals();
    totals.bytes_on_disk = store.bytes_on_disk();
    totals.rejected = vitals.rejected();
    totals.trouble = store.trouble();
    totals.addresses = vitals.addresses();
    totals.read_only = store.is_read_only();
}

/// Every `service.name`, sorted.
pub(super) fn services(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Vec<String>> {
    let mut read = conn.prepare_cached("SELECT DISTINCT service FROM origins WHERE arrival <= ?1 ORDER BY service")?;
    read.query_map([as_of.0], |r| r.get(0))?.collect()
}

/// Services that sent anything while the range went on, be it only work of their own.
pub(super) fn heard(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<String>> {
    let mut read = conn.prepare_cached(
        "SELECT DISTINCT o.service FROM (SELECT DISTINCT service, instance FROM origins WHERE arrival <= ?1) o
         WHERE EXISTS (SELECT 1 FROM seen s WHERE s.service = o.service AND s.instance = o.instance
                       AND s.arrival >= ?2 AND s.arrival <= ?3)",
    )?;
    let until = range.to.min(as_of);
    read.query_map(params![as_of.0, range.from.0, until.0], |r| r.get(0))?.collect()
}

/// The stretch for which anything is stored.
pub(super) fn stored(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<TimeRange> {
    conn.prepare_cached("SELECT min(oldest), max(newest) FROM commits WHERE stamp <= ?1 AND newest > 0")?.query_row(
        [as_of.0],
        |r| {
            let (from, to): (Option<i64>, Option<i64>) = (r.get(0)?, r.get(1)?);
            Ok(match (from, to) {
                (Some(from), Some(to)) => TimeRange { from: UnixNanos(from), to: UnixNanos(to.saturating_add(1)) },
                _ => TimeRange::default(),
            })
        },
    )
}

/// Every instance that sent telemetry, by service and instance: the version it last sent, when it was first and last heard
/// (within a second), and what it answered in the range. What only its control stream tells is left empty.
///
/// # Errors
/// What the database says.
pub fn instances(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<Member>> {
    let mut answered: BTreeMap<(String, String), Delta> = BTreeMap::new();
    let known = rollups::series(conn, as_of)?;
    for (id, sum) in rollups::sums(conn, range, as_of)? {
        if let Some(series) = known.get(&id).filter(|s| s.inbound) {
            answered.entry((series.key.callee.clone(), series.instance.clone())).or_default().merge(&sum);
        }
    }
    let mut out: BTreeMap<(String, String), Member> = BTreeMap::new();
    let mut heard =
        conn.prepare_cached("SELECT max(arrival) FROM seen WHERE service = ?1 AND instance = ?2 AND arrival <= ?3")?;
    let mut read = conn.prepare_cached(
        "SELECT service, instance, version, arrival FROM origins WHERE arrival <= ?1 ORDER BY arrival, id",
    )?;
    let mut rows = read.query([as_of.0])?;
    while let Some(row) = rows.next()? {
        let key: (String, String) = (row.get(0)?, row.get(1)?);
        let version: String = row.get(2)?;
        if let Some(instance) = out.get_mut(&key) {
            // The newest origin says which version runs now.
            instance.version = version;
            continue;
        }
        let first: i64 = row.get(3)?;
        let last: Option<i64> = heard.query_row(params![key.0, key.1, as_of.0], |r| r.get(0))?;
        let stats = rollups::stats(answered.remove(&key).unwrap_or_default(), range);
        let (service, instance) = key.clone();
        let (since, last_seen) = (UnixNanos(first), UnixNanos(last.unwrap_or(first)));
        out.insert(key, Member { service, instance, version, since, last_seen, stats, ..Member::default() });
    }
    Ok(out.into_values().collect())
}
