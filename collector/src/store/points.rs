//! Metric points into their tables.

use fuseboard_api::metric::MetricKind;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::insert::{State, Tally};
use super::intern::digest;
use super::rows::NewMetric;

impl State {
    /// Stores a metric's points; gives how many were new and how many were there already.
    pub(super) fn metric(
        &mut self,
        conn: &Connection,
        origin: i64,
        m: &NewMetric,
        tally: &mut Tally,
    ) -> rusqlite::Result<(u64, u64)> {
        let kind = metric_code(m.kind);
        let (mut stored, mut duplicates) = (0, 0);
        for point in &m.points {
            let hash = digest(&[
                &origin.to_le_bytes(),
                m.name.as_bytes(),
                m.unit.as_bytes(),
                &[kind as u8, m.temporality, u8::from(m.monotonic)],
                &point.attributes,
            ]);
            let id = self.interned.metric(hash, || {
                let key = params![origin, m.name, kind, m.unit, m.temporality, m.monotonic, point.attributes];
                let found = conn
                    .prepare_cached(
                        "SELECT id FROM metrics WHERE origin = ?1 AND name = ?2 AND kind = ?3 AND unit = ?4
                         AND temporality = ?5 AND monotonic = ?6 AND attributes = ?7",
                    )?
                    .query_row(key, |r| r.get(0))
                    .optional()?;
                match found {
                    Some(id) => Ok(id),
                    None => conn
                        .prepare_cached(
                            "INSERT INTO metrics (origin, name, kind, unit, temporality, monotonic, attributes, description, arrival,
                             metadata) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                        )?
                        .insert(params![
                            origin,
                            m.name,
                            kind,
                            m.unit,
                            m.temporality,
                            m.monotonic,
                            point.attributes,
                            m.description,
                            tally.stamp,
                            m.metadata
                        ]),
                }
            })?;
            let new = conn
                .prepare_cached(
                    "INSERT INTO points (metric, time, value, count, sum, arrival, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    id,
                    point.time,
                    finite(point.value),
                    i64::try_from(point.count).unwrap_or(i64::MAX),
                    finite(point.sum),
                    tally.stamp,
                    point.body
                ])?;
            if new == 0 {
                duplicates += 1;
            } else {
                stored += 1;
                tally.points += 1;
                tally.covers(point.time, point.time);
            }
        }
        Ok((stored, duplicates))
    }
}

/// SQLite has no NaN (it would become NULL); the body keeps the true value.
fn finite(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value }
}

/// The number stored for a metric's kind.
fn metric_code(kind: MetricKind) -> i64 {
    match kind {
        MetricKind::Gauge => 0,
        MetricKind::Sum => 1,
        MetricKind::Histogram => 2,
        MetricKind::ExponentialHistogram => 3,
        MetricKind::Summary => 4,
    }
}
