//! Forecasts and anomalies as of an instant, from stored rows alone.

use std::collections::{BTreeMap, BTreeSet};

use fuseboard_api::forecast::{Anomaly, BandPoint, Forecast, Forecasts, Quantity, TrackRecord};
use fuseboard_api::graph::{EdgeKey, Severity};
use fuseboard_api::strip::{Mark, MarkKind};
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::{Connection, params};

use super::ahead;
use super::normal::TARGET;
use super::round::{band_of, points_of};
use super::series::{self, HISTORY, STEP};

/// A forecast older than this is of the past and no longer shown, in seconds.
const STALE: i64 = 60;
/// Anomalies that an answer lists at most.
const MOST_ANOMALIES: i64 = 200;

/// The answer to the question for forecasts.
pub(crate) fn forecasts(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Forecasts> {
    let now = as_of.0.div_euclid(1_000_000_000);
    let end = now.div_euclid(STEP) * STEP;
    let from = end - HISTORY * STEP;
    let edges = series::read(conn, from, end, as_of)?;
    let mut found = newest(conn, now - STALE, as_of)?;
    let bands = bands(conn, from, as_of)?;
    for (id, step, forecast) in &mut found {
        if let Some(steps) = edges.get(&forecast.key) {
            let values = series::values(steps, forecast.quantity, *step);
            forecast.seen = values.into_iter().filter_map(|(t, v)| v.map(|v| (middle(t), v))).collect();
        }
        forecast.band = bands.get(id).cloned().unwrap_or_default();
    }
    let long_ago = TimeRange { from: UnixNanos((now - 3600) * 1_000_000_000), to: as_of };
    Ok(Forecasts {
        forecasts: found.into_iter().map(|(_, _, forecast)| forecast).collect(),
        anomalies: anomalies(conn, long_ago, as_of)?,
    })
}

/// The instant that a step's value is drawn at.
fn middle(step: i64) -> UnixNanos {
    UnixNanos(step.saturating_mul(1_000_000_000).saturating_add(STEP * 500_000_000))
}

/// The newest forecast of every series: (series, its step, what was issued).
fn newest(conn: &Connection, since: i64, as_of: UnixNanos) -> rusqlite::Result<Vec<(i64, i64, Forecast)>> {
    let mut query = conn.prepare_cached(
        "SELECT s.id, s.caller, s.callee, s.operation, s.quantity, max(f.step), f.arrival, f.ahead, f.breach,
                f.scored, f.held, f.mean_error, f.model, f.sentence, f.severity
         FROM forecasts f JOIN forecast_series s ON s.id = f.series
         WHERE f.arrival <= ?1 AND f.arrival > ?2 GROUP BY s.id
         ORDER BY s.caller, s.callee, s.operation, s.quantity",
    )?;
    let recent = since.saturating_mul(1_000_000_000);
    query
        .query_map(params![as_of.0, recent], |row| {
            let step: i64 = row.get(5)?;
            let ahead = points_of(row.get_ref(7)?.as_blob()?)
                .iter()
                .enumerate()
                .map(|(i, p)| BandPoint { t: middle(step + ahead::seconds(i)), lo: p.lo, mid: p.mid, hi: p.hi })
                .collect();
            let forecast = Forecast {
                key: EdgeKey { caller: row.get(1)?, callee: row.get(2)?, operation: row.get(3)? },
                quantity: quantity(row.get(4)?),
                issued: UnixNanos(row.get(6)?),
                ahead,
                breach: row.get::<_, Option<String>>(8)?.and_then(|text| serde_json::from_str(&text).ok()),
                record: TrackRecord {
                    scored: row.get(9)?,
                    held: row.get(10)?,
                    target: TARGET,
                    mean_error: row.get(11)?,
                },
                model: row.get(12)?,
                sentence: row.get(13)?,
                severity: severity(row.get(14)?),
                ..Forecast::default()
            };
            Ok((row.get(0)?, step, forecast))
        })?
        .collect()
}

/// The bands that were issued, by series; each for the step after its round.
fn bands(conn: &Connection, from: i64, as_of: UnixNanos) -> rusqlite::Result<BTreeMap<i64, Vec<BandPoint>>> {
    let mut query = conn.prepare_cached(
        "SELECT series, step, lo, mid, hi FROM forecasts
         WHERE arrival <= ?1 AND arrival > ?2 AND mid IS NOT NULL ORDER BY series, step",
    )?;
    let mut rows = query.query(params![as_of.0, from.saturating_mul(1_000_000_000)])?;
    let mut bands: BTreeMap<i64, Vec<BandPoint>> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        if let Some(band) = band_of(row, 2)? {
            let t = middle(row.get(1)?);
            bands.entry(row.get(0)?).or_default().push(BandPoint { t, lo: band.lo, mid: band.mid, hi: band.hi });
        }
    }
    Ok(bands)
}

/// What was outside its band at some time of `range`, newest first, each echo with the edge that explains it.
fn anomalies(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<Anomaly>> {
    let mut query = conn.prepare_cached(
        "SELECT s.caller, s.callee, s.operation, s.quantity, a.began, e.ended, a.sentence, a.severity
         FROM anomalies a JOIN forecast_series s ON s.id = a.series
         LEFT JOIN anomaly_ends e ON e.id = a.id AND e.arrival <= ?1
         WHERE a.arrival <= ?1 AND a.began < ?2 AND (e.ended IS NULL OR e.ended >= ?3)
         ORDER BY a.began DESC, a.id DESC LIMIT ?4",
    )?;
    let second = |t: UnixNanos| t.0.div_euclid(1_000_000_000);
    let nanos = |s: i64| UnixNanos(s.saturating_mul(1_000_000_000));
    let mut all: Vec<Anomaly> = query
        .query_map(params![as_of.0, second(range.to) + 1, second(range.from), MOST_ANOMALIES], |row| {
            Ok(Anomaly {
                key: EdgeKey { caller: row.get(0)?, callee: row.get(1)?, operation: row.get(2)? },
                quantity: quantity(row.get(3)?),
                from: nanos(row.get(4)?),
                to: row.get::<_, Option<i64>>(5)?.map(nanos),
                sentence: row.get(6)?,
                severity: severity(row.get(7)?),
                echo_of: None,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let echoes: Vec<Option<EdgeKey>> = all.iter().map(|a| cause(a, &all)).collect();
    for (anomaly, echo) in all.iter_mut().zip(echoes) {
        anomaly.echo_of = echo;
    }
    Ok(all)
}

/// Anomalies as marks, their echoes left out: one flag for one cause.
///
/// # Errors
/// The database's own.
pub(crate) fn marks(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Vec<Mark>> {
    let all = anomalies(conn, range, as_of)?;
    let causes = all.into_iter().filter(|a| a.echo_of.is_none() && range.contains(a.from));
    Ok(causes
        .map(|a| Mark {
            at: a.from,
            kind: MarkKind::Anomaly,
            label: match a.quantity {
                Quantity::Rate => "load",
                Quantity::ErrorRatio => "errors",
                Quantity::P95 => "slow",
            }
            .to_owned(),
            text: format!("{} → {} {}: {}", a.key.caller, a.key.callee, a.key.operation, a.sentence),
            severity: a.severity,
            edge: Some(a.key),
        })
        .collect())
}

/// The deepest edge, reached over edges that were also outside meanwhile, whose errors or latency explain those of `anomaly`.
/// A rate explains nothing further up.
fn cause(anomaly: &Anomaly, all: &[Anomaly]) -> Option<EdgeKey> {
    if anomaly.quantity == Quantity::Rate {
        return None;
    }
    let meanwhile = |other: &&Anomaly| {
        other.quantity != Quantity::Rate
            && anomaly.to.is_none_or(|end| other.from <= end)
            && other.to.is_none_or(|end| anomaly.from <= end)
    };
    let mut passed = BTreeSet::from([anomaly.key.caller.as_str()]);
    let (mut at, mut found) = (anomaly.key.callee.as_str(), None);
    while passed.insert(at) {
        let mut further: Vec<_> = all.iter().filter(meanwhile).filter(|o| o.key.caller == at).collect();
        further.sort_by_key(|o| (std::cmp::Reverse(o.severity), o.from, o.key.clone()));
        let Some(next) = further.first() else { break };
        found = Some(next.key.clone());
        at = &next.key.callee;
    }
    found
}

fn quantity(code: i64) -> Quantity {
    match code {
        0 => Quantity::Rate,
        1 => Quantity::ErrorRatio,
        _ => Quantity::P95,
    }
}

fn severity(code: i64) -> Severity {
    match code {
        0 => Severity::Well,
        1 => Severity::AtRisk,
        _ => Severity::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(caller: &str, callee: &str, quantity: Quantity, from: i64, to: Option<i64>) -> Anomaly {
        Anomaly {
            key: EdgeKey::new(caller, callee, "op"),
            quantity,
            from: UnixNanos(from),
            to: to.map(UnixNanos),
            ..Anomaly::default()
        }
    }

    #[test]
    fn an_alarm_further_up_is_an_echo_of_the_deepest_one() {
        let all = [
            outside("gateway", "orders", Quantity::P95, 10, None),
            outside("orders", "payments", Quantity::ErrorRatio, 9, None),
            outside("payments", "bank", Quantity::P95, 5, Some(50)),
            outside("orders", "inventory", Quantity::P95, 100, Some(120)),
        ];
        let bank = EdgeKey::new("payments", "bank", "op");
        assert_eq!(cause(&all[0], &all), Some(bank.clone()));
        assert_eq!(cause(&all[1], &all), Some(bank));
        assert_eq!(cause(&all[2], &all), None);
        assert_eq!(cause(&all[3], &all), None);
    }

    #[test]
    fn circles_end() {
        let all = [outside("a", "b", Quantity::P95, 0, None), outside("b", "a", Quantity::P95, 0, None)];
        assert_eq!(cause(&all[0], &all), Some(all[1].key.clone()));
    }
}
