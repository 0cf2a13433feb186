//! One round over all edges.

use std::collections::BTreeMap;
use std::time::Instant;

use fuseboard_api::UnixNanos;
use fuseboard_api::forecast::{Breach, Quantity};
use fuseboard_api::graph::{EdgeKey, Severity};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::ahead::{self, Ahead, HORIZONS, Point};
use super::limits::{Limit, Limits};
use super::normal::{self, Band};
use super::series::{self, HISTORY, QUANTITIES, STEP, Steps};
use super::{MODEL_TIME, MOST_EDGES, words};

/// Steps outside in a row that make an anomaly, and steps inside that end one.
const RUN: usize = 2;

/// What is issued for one quantity of one edge.
#[derive(Debug)]
pub(super) struct Issue {
    key: EdgeKey,
    quantity: Quantity,
    band: Option<Band>,
    width: f64,
    outside: bool,
    ahead: Option<Ahead>,
    breach: Option<Breach>,
    scored: u32,
    held: u32,
    mean_error: f64,
    sentence: String,
    severity: Severity,
    /// Since which step it has been outside, when that makes an anomaly.
    began: Option<i64>,
    /// Whether the last steps were all inside.
    calm: bool,
}

/// An earlier row of the same series.
#[derive(Debug, Clone)]
struct Earlier {
    step: i64,
    band: Option<Band>,
    width: f64,
    outside: bool,
    ahead: Vec<Point>,
}

/// Looks at every busy edge.
pub(super) fn compute(conn: &Connection, end: i64, as_of: UnixNanos) -> rusqlite::Result<Vec<Issue>> {
    let began = Instant::now();
    let from = end - HISTORY * STEP;
    let mut edges: Vec<(EdgeKey, Steps)> = series::read(conn, from, end, as_of)?.into_iter().collect();
    edges.sort_by_cached_key(|(_, steps)| std::cmp::Reverse(steps.values().map(|d| d.calls).sum::<u64>()));
    edges.truncate(MOST_EDGES);
    let limits = Limits::load(conn, as_of)?;
    let mut issues = Vec::with_capacity(edges.len() * QUANTITIES.len());
    for (key, steps) in &edges {
        let calls = steps.values().map(|d| d.calls).sum::<u64>() as f64 / steps.len().max(1) as f64;
        for quantity in QUANTITIES {
            let values = series::values(steps, quantity, end);
            let earlier = earlier(conn, key, quantity, from, as_of)?;
            let cheap = began.elapsed() > MODEL_TIME;
            let limit = limits.of(key, quantity);
            issues.push(look(key, quantity, &values, &earlier, calls, limit.as_ref(), end, cheap));
        }
    }
    Ok(issues)
}

#[expect(
    clippy::too_many_arguments,
    reason = "one quantity with everything known of it; a struct would only rename it"
)]
fn look(
    key: &EdgeKey,
    quantity: Quantity,
    values: &[(i64, Option<f64>)],
    earlier: &[Earlier],
    calls: f64,
    limit: Option<&Limit>,
    end: i64,
    cheap: bool,
) -> Issue {
    let known: Vec<(i64, f64)> = values.iter().filter_map(|(t, v)| v.map(|v| (*t, v))).collect();
    let newest = known.last().copied().filter(|(t, _)| *t == end - STEP);
    // The band that was issued for the newest step is the one whose round ended where that step began.
    let promised = earlier.iter().rev().find(|e| e.step == end - STEP);
    let width = earlier.last().map_or(normal::FIRST_WIDTH, |e| e.width);
    let (outside, width) = match (newest, promised.and_then(|e| e.band)) {
        (Some((_, value)), Some(band)) => {
            let outside = band.left_by(value, quantity);
            (outside, normal::adapted(width, outside))
        }
        _ => (false, width),
    };
    let was_outside: BTreeMap<i64, bool> = earlier.iter().map(|e| (e.step - STEP, e.outside)).collect();
    let judged: Vec<(f64, bool)> = known
        .iter()
        .map(|(t, v)| (*v, if *t == end - STEP { outside } else { was_outside.get(t).copied().unwrap_or(false) }))
        .collect();
    let band = normal::band(&judged, width, quantity, calls);
    let score = score(&known, earlier, quantity);
    let filled = filled(values);
    let ahead = (filled.len() >= normal::ENOUGH).then(|| ahead::forecast(&filled, quantity, &score.errors, cheap));
    let breach = match (&ahead, newest, limit) {
        (Some(ahead), Some((_, value)), Some(limit)) => limit.breach(&ahead.points, value, end),
        _ => None,
    };
    let run = judged.iter().rev().take_while(|(_, o)| *o).count();
    let began = (run >= RUN).then(|| known.get(known.len() - run).map(|(t, _)| *t)).flatten();
    let normal_before = promised.and_then(|e| e.band).or(band);
    let (sentence, severity) =
        words::of(quantity, newest.map(|(_, v)| v), normal_before, began, breach.as_ref(), known.len(), end);
    Issue {
        key: key.clone(),
        quantity,
        band,
        width,
        outside,
        ahead,
        breach,
        scored: score.scored,
        held: score.held,
        mean_error: score.mean_error,
        sentence,
        severity,
        began,
        calm: judged.len() >= RUN && judged.iter().rev().take(RUN).all(|(_, o)| !o),
    }
}

/// Values without gaps: a missing one is the one before.
fn filled(values: &[(i64, Option<f64>)]) -> Vec<f64> {
    let mut last = None;
    values
        .iter()
        .filter_map(|(_, v)| {
            last = v.or(last);
            last
        })
        .collect()
}

/// How good earlier forecasts were.
struct Score {
    errors: Vec<Vec<f64>>,
    scored: u32,
    held: u32,
    mean_error: f64,
}

fn score(known: &[(i64, f64)], earlier: &[Earlier], quantity: Quantity) -> Score {
    let came: BTreeMap<i64, f64> = known.iter().copied().collect();
    let mut score = Score { errors: vec![Vec::new(); HORIZONS.len()], scored: 0, held: 0, mean_error: 0.0 };
    for row in earlier {
        for (horizon, point) in row.ahead.iter().enumerate() {
            let Some(value) = came.get(&(row.step + ahead::seconds(horizon))) else { continue };
            if let Some(errors) = score.errors.get_mut(horizon) {
                errors.push(ahead::error(point.mid, *value, quantity));
            }
            score.scored += 1;
            // The ends went through f32.
            let slack = 1e-6 * value.abs() + 1e-9;
            score.held += u32::from(point.lo - slack <= *value && *value <= point.hi + slack);
            score.mean_error += (point.mid - value).abs();
        }
    }
    score.mean_error /= f64::from(score.scored.max(1));
    score
}

fn earlier(
    conn: &Connection,
    key: &EdgeKey,
    quantity: Quantity,
    from: i64,
    as_of: UnixNanos,
) -> rusqlite::Result<Vec<Earlier>> {
    let mut query = conn.prepare_cached(
        "SELECT f.step, f.lo, f.mid, f.hi, f.width, f.outside, f.ahead
         FROM forecasts f JOIN forecast_series s ON s.id = f.series
         WHERE s.caller = ?1 AND s.callee = ?2 AND s.operation = ?3 AND s.quantity = ?4
           AND f.step > ?5 AND f.arrival <= ?6 ORDER BY f.step",
    )?;
    query
        .query_map(params![key.caller, key.callee, key.operation, code(quantity), from, as_of.0], |row| {
            Ok(Earlier {
                step: row.get(0)?,
                band: band_of(row, 1)?,
                width: row.get(4)?,
                outside: row.get(5)?,
                ahead: points_of(row.get_ref(6)?.as_blob()?),
            })
        })?
        .collect()
}

/// The band in three columns from `at` on.
pub(super) fn band_of(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<Band>> {
    let (lo, mid, hi): (Option<f64>, Option<f64>, Option<f64>) = (row.get(at)?, row.get(at + 1)?, row.get(at + 2)?);
    Ok(match (lo, mid, hi) {
        (Some(lo), Some(mid), Some(hi)) => Some(Band { lo, mid, hi }),
        _ => None,
    })
}

/// Forecast points as they are stored.
pub(super) fn points_of(bytes: &[u8]) -> Vec<Point> {
    let number = |b: &[u8]| <[u8; 4]>::try_from(b).map_or(0.0, |b| f64::from(f32::from_le_bytes(b)));
    let (points, _) = bytes.as_chunks::<12>();
    points.iter().map(|p| Point { lo: number(&p[..4]), mid: number(&p[4..8]), hi: number(&p[8..]) }).collect()
}

fn bytes_of(points: &[Point]) -> Vec<u8> {
    points.iter().flat_map(|p| [p.lo, p.mid, p.hi]).flat_map(|v| (v as f32).to_le_bytes()).collect()
}

/// The number of a quantity in the file.
pub(super) fn code(quantity: Quantity) -> i64 {
    match quantity {
        Quantity::Rate => 0,
        Quantity::ErrorRatio => 1,
        Quantity::P95 => 2,
    }
}

/// Appends what was issued, and the beginnings and ends of anomalies.
pub(super) fn append(tx: &Transaction<'_>, stamp: UnixNanos, end: i64, issues: &[Issue]) -> rusqlite::Result<()> {
    for issue in issues {
        let id = series_id(tx, stamp, issue)?;
        tx.prepare_cached(
            "INSERT OR IGNORE INTO forecasts (series, step, arrival, lo, mid, hi, width, outside, ahead, breach,
                                              scored, held, mean_error, model, sentence, severity)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?
        .execute(params![
            id,
            end,
            stamp.0,
            issue.band.map(|b| b.lo),
            issue.band.map(|b| b.mid),
            issue.band.map(|b| b.hi),
            issue.width,
            issue.outside,
            issue.ahead.as_ref().map(|a| bytes_of(&a.points)).unwrap_or_default(),
            issue.breach.as_ref().and_then(|b| serde_json::to_string(b).ok()),
            issue.scored,
            issue.held,
            issue.mean_error,
            issue.ahead.as_ref().map_or("", |a| a.model),
            issue.sentence,
            issue.severity as i64,
        ])?;
        anomaly(tx, stamp, end, id, issue)?;
    }
    Ok(())
}

fn series_id(tx: &Transaction<'_>, stamp: UnixNanos, issue: &Issue) -> rusqlite::Result<i64> {
    let key = &issue.key;
    tx.prepare_cached(
        "INSERT OR IGNORE INTO forecast_series (caller, callee, operation, quantity, arrival) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![key.caller, key.callee, key.operation, code(issue.quantity), stamp.0])?;
    tx.prepare_cached(
        "SELECT id FROM forecast_series WHERE caller = ?1 AND callee = ?2 AND operation = ?3 AND quantity = ?4",
    )?
    .query_row(params![key.caller, key.callee, key.operation, code(issue.quantity)], |r| r.get(0))
}

fn anomaly(tx: &Transaction<'_>, stamp: UnixNanos, end: i64, series: i64, issue: &Issue) -> rusqlite::Result<()> {
    let open: Option<i64> = tx
        .prepare_cached(
            "SELECT a.id FROM anomalies a LEFT JOIN anomaly_ends e ON e.id = a.id WHERE a.series = ?1 AND e.id IS NULL",
        )?
        .query_row([series], |r| r.get(0))
        .optional()?;
    match (open, issue.began) {
        (None, Some(began)) => {
            tx.prepare_cached(
                "INSERT INTO anomalies (series, began, sentence, severity, arrival) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![series, began, issue.sentence, issue.severity as i64, stamp.0])?;
        }
        (Some(id), None) if issue.calm => {
            tx.prepare_cached("INSERT INTO anomaly_ends (id, ended, arrival) VALUES (?1, ?2, ?3)")?
                .execute(params![id, end - RUN as i64 * STEP, stamp.0])?;
        }
        _ => {}
    }
    Ok(())
}
