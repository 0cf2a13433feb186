//! Metrics: which there are, and the series of one.

use std::collections::{BTreeMap, BTreeSet};

use fuseboard_api::UnixNanos;
use fuseboard_api::metric::{MetricInfo, MetricKind, MetricPoint, MetricQuery, MetricSeries, Metrics};
use opentelemetry_proto::tonic::common::v1::KeyValueList;
use rusqlite::{Connection, params};

use super::proto;
use crate::store::StoreError;

/// Series given at most.
const SERIES: usize = 50;

/// Points of one series given at most; the newest of them.
const POINTS: i64 = 5_000;

pub(super) fn metrics(conn: &Connection, query: &MetricQuery, as_of: UnixNanos) -> Result<Metrics, StoreError> {
    let mut out = Metrics { instruments: instruments(conn, query, as_of)?, series: Vec::new() };
    if let Some(name) = &query.name {
        out.series = series(conn, query, name, as_of)?;
    }
    Ok(out)
}

fn kind(code: i64) -> MetricKind {
    match code {
        1 => MetricKind::Sum,
        2 => MetricKind::Histogram,
        3 => MetricKind::ExponentialHistogram,
        4 => MetricKind::Summary,
        _ => MetricKind::Gauge,
    }
}

/// Service, name, kind and unit.
type Instrument = (String, String, i64, String);

/// Every instrument with a point in the range.
fn instruments(conn: &Connection, query: &MetricQuery, as_of: UnixNanos) -> Result<Vec<MetricInfo>, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT o.service, m.name, m.kind, m.unit, m.description, m.attributes,
                (SELECT count(*) FROM points p WHERE p.metric = m.id AND p.time >= ?1 AND p.time < ?2 AND p.arrival <= ?3)
         FROM metrics m JOIN origins o ON o.id = m.origin
         WHERE m.arrival <= ?3 AND (?4 IS NULL OR o.service = ?4) AND (?5 IS NULL OR m.name = ?5)
         ORDER BY m.id",
    )?;
    let mut rows = read.query(params![query.range.from.0, query.range.to.0, as_of.0, query.service, query.name])?;
    let mut found: BTreeMap<Instrument, (MetricInfo, BTreeSet<Vec<u8>>)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let points: i64 = row.get(6)?;
        if points == 0 {
            continue;
        }
        let key: Instrument = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let description: String = row.get(4)?;
        let (info, sets) = found.entry(key.clone()).or_insert_with(|| {
            let (service, name, code, unit) = key;
            (MetricInfo { service, name, kind: kind(code), unit, ..MetricInfo::default() }, BTreeSet::new())
        });
        info.description = description;
        info.points += points.max(0) as u64;
        sets.insert(row.get(5)?);
    }
    Ok(found
        .into_values()
        .map(|(info, sets)| MetricInfo { series: u32::try_from(sets.len()).unwrap_or(u32::MAX), ..info })
        .collect())
}

fn series(
    conn: &Connection,
    query: &MetricQuery,
    name: &str,
    as_of: UnixNanos,
) -> Result<Vec<MetricSeries>, StoreError> {
    let mut metrics = conn.prepare_cached(
        "SELECT m.id, o.instance, m.attributes FROM metrics m JOIN origins o ON o.id = m.origin
         WHERE m.name = ?1 AND m.arrival <= ?2 AND (?3 IS NULL OR o.service = ?3) ORDER BY m.id",
    )?;
    let mut points = conn.prepare_cached(
        "SELECT time, value, count, sum FROM points
         WHERE metric = ?1 AND time >= ?2 AND time < ?3 AND arrival <= ?4 ORDER BY time DESC LIMIT ?5",
    )?;
    let mut out = Vec::new();
    let mut rows = metrics.query(params![name, as_of.0, query.service])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let read = points.query_map(params![id, query.range.from.0, query.range.to.0, as_of.0, POINTS], |r| {
            Ok(MetricPoint {
                time: UnixNanos(r.get(0)?),
                value: r.get(1)?,
                count: r.get::<_, i64>(2)?.max(0) as u64,
                sum: r.get(3)?,
            })
        })?;
        let mut points: Vec<MetricPoint> = read.collect::<Result<_, _>>()?;
        if points.is_empty() {
            continue;
        }
        points.reverse();
        let list: KeyValueList =
            proto::decode(row.get_ref(2)?.as_blob().map_err(|e| StoreError::Corrupt(e.to_string()))?)?;
        out.push(MetricSeries { instance: row.get(1)?, attributes: proto::attributes(list.values), points });
        if out.len() == SERIES {
            break;
        }
    }
    Ok(out)
}
