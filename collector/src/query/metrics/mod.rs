//! Metrics: which there are, and the series of one with the figures drawn from their points.

mod buckets;
mod point;
mod rate;

use std::collections::{BTreeMap, BTreeSet};

use fuseboard_api::UnixNanos;
use fuseboard_api::metric::{MetricInfo, MetricKind, MetricQuery, MetricSeries, Metrics, Temporality};
use opentelemetry_proto::tonic::common::v1::KeyValueList;
use rusqlite::{Connection, params};

use self::point::Point;
use self::rate::Nature;
use super::proto;
use crate::store::StoreError;

/// Series given at most.
const SERIES: usize = 50;

/// Points of one series given at most; the newest of them.
const POINTS: i64 = 5_000;

/// Exemplars of one series given at most; the newest of them.
const EXEMPLARS: usize = 100;

/// Quantiles that one question may ask for.
const QUANTILES: usize = 20;

pub(super) fn metrics(conn: &Connection, query: &MetricQuery, as_of: UnixNanos) -> Result<Metrics, StoreError> {
    let mut out = Metrics { instruments: instruments(conn, query, as_of)?, ..Metrics::default() };
    if let Some(name) = &query.name {
        series(conn, query, name, as_of, &mut out)?;
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

fn temporality(code: i64) -> Temporality {
    match code {
        1 => Temporality::Delta,
        2 => Temporality::Cumulative,
        _ => Temporality::Unspecified,
    }
}

/// Service, name, kind and unit.
type Instrument = (String, String, i64, String);

/// Every instrument with a point in the range.
fn instruments(conn: &Connection, query: &MetricQuery, as_of: UnixNanos) -> Result<Vec<MetricInfo>, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT o.service, m.name, m.kind, m.unit, m.description, m.attributes,
                (SELECT count(*) FROM points p WHERE p.metric = m.id AND p.time >= ?1 AND p.time < ?2 AND p.arrival <= ?3),
                m.temporality, m.monotonic
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
        (info.temporality, info.monotonic) = (temporality(row.get(7)?), row.get(8)?);
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
    out: &mut Metrics,
) -> Result<(), StoreError> {
    let mut metrics = conn.prepare_cached(
        "SELECT m.id, o.instance, m.attributes, m.kind, m.temporality, m.monotonic
         FROM metrics m JOIN origins o ON o.id = m.origin
         WHERE m.name = ?1 AND m.arrival <= ?2 AND (?3 IS NULL OR o.service = ?3)
           AND EXISTS (SELECT 1 FROM points p WHERE p.metric = m.id AND p.time >= ?4 AND p.time < ?5 AND p.arrival <= ?2)
         ORDER BY m.id",
    )?;
    let mut rows = metrics.query(params![name, as_of.0, query.service, query.range.from.0, query.range.to.0])?;
    while let Some(row) = rows.next()? {
        if out.series.len() == SERIES {
            out.left_out = out.left_out.saturating_add(1);
            continue;
        }
        let points = points(conn, row.get(0)?, kind(row.get(3)?), query, as_of)?;
        let list: KeyValueList =
            proto::decode(row.get_ref(2)?.as_blob().map_err(|e| StoreError::Corrupt(e.to_string()))?)?;
        let series = MetricSeries {
            instance: row.get(1)?,
            attributes: proto::attributes(list.values),
            temporality: temporality(row.get(4)?),
            monotonic: row.get(5)?,
            ..MetricSeries::default()
        };
        out.series.push(figures(series, kind(row.get(3)?), points, query));
    }
    Ok(())
}

/// A series' points of the range, by time, and one before it to compare with.
fn points(
    conn: &Connection,
    metric: i64,
    kind: MetricKind,
    query: &MetricQuery,
    as_of: UnixNanos,
) -> Result<Vec<Point>, StoreError> {
    let mut read = conn.prepare_cached(
        "SELECT time, body FROM points WHERE metric = ?1 AND time >= ?2 AND time < ?3 AND arrival <= ?4
         ORDER BY time DESC LIMIT ?5",
    )?;
    let mut out = Vec::new();
    for (from, to, most) in [(query.range.from.0, query.range.to.0, POINTS), (i64::MIN, query.range.from.0, 1)] {
        let mut rows = read.query(params![metric, from, to, as_of.0, most])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob().map_err(|e| StoreError::Corrupt(e.to_string()))?;
            out.push(Point::read(kind, row.get(0)?, body)?);
        }
        // Older than the newest so many: what comes before the range is no neighbour.
        if out.len() as i64 == POINTS {
            break;
        }
    }
    out.reverse();
    Ok(out)
}

/// What is drawn from points.
fn figures(mut series: MetricSeries, kind: MetricKind, mut points: Vec<Point>, query: &MetricQuery) -> MetricSeries {
    let counter = kind == MetricKind::Sum;
    let nature = Nature { temporality: series.temporality, counter, from: query.range.from };
    let wanted: Vec<f64> = match query.quantiles.as_slice() {
        [] => vec![0.5, 0.95, 0.99],
        some => some.iter().copied().filter(|q| (0.0..=1.0).contains(q)).take(QUANTILES).collect(),
    };
    match kind {
        MetricKind::Gauge => {}
        MetricKind::Sum if !series.monotonic => {}
        MetricKind::Sum => series.rate = rate::rate(&points, nature),
        MetricKind::Histogram | MetricKind::ExponentialHistogram => {
            series.rate = rate::rate(&points, nature);
            series.quantiles = rate::quantiles(&points, nature, &wanted);
        }
        MetricKind::Summary => {
            // A summary has no temporality of its own; its count is since its start.
            series.rate = rate::rate(&points, Nature { temporality: Temporality::Cumulative, ..nature });
            series.quantiles = rate::sent_quantiles(&points, query.range.from);
        }
    }
    points.retain(|p| p.shown.time >= query.range.from);
    let newest = points.iter_mut().rev().flat_map(|p| std::mem::take(&mut p.exemplars)).filter_map(point::exemplar);
    series.exemplars = newest.take(EXEMPLARS).collect();
    series.exemplars.sort_by_key(|e| std::cmp::Reverse(e.time));
    series.points = points.into_iter().map(|p| p.shown).collect();
    series
}
