//! Breakers as their agents told of them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use fuseboard_api::breaker::{Breaker, BreakerMode, BreakerState, BreakerTransition, Breakers, WindowCall};
use fuseboard_api::graph::{EdgeBreaker, EdgeKey};
use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use fuseboard_policy::breaker::rule_in_words;
use fuseboard_policy::settings;
use fuseboard_policy::wire::v1;
use prost::Message;
use rusqlite::{Connection, params};

use super::fleet::newest;
use crate::control::fleet::{last_calls, stored_window};
use crate::control::{policy, revisions, unsigned};
use crate::query::rollups;

/// Calls of a window that are answered at most.
const MAX_WINDOW: usize = 64;
/// Transitions that are answered at most.
const ANSWERED: u32 = 500;
/// The breakers of an instance that has been gone for so long are no longer told of.
const GONE: Duration = Duration::from_secs(30);
/// The line under a window shows so much of the past.
const HISTORY: Duration = Duration::from_secs(300);
/// One point of that line stands for so many seconds.
const HISTORY_STEP: u32 = 5;

/// A breaker's newest report as of an instant.
struct Report {
    breaker: i64,
    id: i64,
    key: EdgeKey,
    instance: String,
    at: UnixNanos,
    status: v1::BreakerStatus,
    window_calls: usize,
}

/// Newest reports of the breakers whose instance is there, by edge and instance.
fn reports(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Vec<Report>> {
    let streams = newest(conn, as_of)?;
    let there = |service: &str, instance: &str, told: UnixNanos| {
        let stream = streams.get(&(service.to_owned(), instance.to_owned()))?;
        // What an earlier process of the instance told says nothing of this one.
        (stream.ended.as_ref().is_none_or(|(end, _)| as_of.since(*end) <= GONE) && told >= stream.since).then_some(())
    };
    let mut select = conn.prepare_cached(
        "SELECT b.breaker, r.id, b.caller, b.instance, b.callee, b.operation, r.arrival, r.status, r.window_calls
         FROM breakers b JOIN breaker_reports r ON r.id = (
            SELECT id FROM breaker_reports WHERE breaker = b.breaker AND arrival <= ?1 ORDER BY arrival DESC, id DESC LIMIT 1)
         ORDER BY b.caller, b.callee, b.operation, b.instance",
    )?;
    let mut rows = select.query([as_of.0])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let (caller, instance): (String, String) = (row.get(2)?, row.get(3)?);
        let at = UnixNanos(row.get(6)?);
        let status: Vec<u8> = row.get(7)?;
        if there(&caller, &instance, at).is_none() {
            continue;
        }
        // Written by ourselves: what cannot be read is damage, and is passed over.
        let Ok(status) = v1::BreakerStatus::decode(status.as_slice()) else { continue };
        all.push(Report {
            breaker: row.get(0)?,
            id: row.get(1)?,
            key: EdgeKey::new(caller, row.get::<_, String>(4)?, row.get::<_, String>(5)?),
            instance,
            at,
            status,
            window_calls: usize::try_from(unsigned(row, 8)?).unwrap_or(usize::MAX).min(MAX_WINDOW),
        });
    }
    Ok(all)
}

/// All breakers as of an instant, and the transitions of a range.
///
/// # Errors
/// Only the store's own.
pub(crate) fn breakers(conn: &Connection, range: TimeRange, as_of: UnixNanos) -> rusqlite::Result<Breakers> {
    let mut sets = HashMap::new();
    let past = TimeRange::ending(as_of, HISTORY);
    let histories: HashMap<EdgeKey, Vec<f32>> = rollups::edge_steps(conn, past, HISTORY_STEP, as_of)?
        .into_iter()
        .map(|(key, steps)| (key, steps.iter().map(|s| s.error_ratio() as f32).collect()))
        .collect();
    let mut breakers = Vec::new();
    for report in reports(conn, as_of)? {
        let number = report.status.revision;
        let set = match sets.entry(number) {
            Entry::Occupied(set) => set.into_mut(),
            Entry::Vacant(place) => {
                let document = revisions::numbered(conn, number, as_of)?.map(|s| s.document).unwrap_or_default();
                place.insert(policy::set(number, &document))
            }
        };
        let key = &report.key;
        let settings = set.effective(&key.caller, &key.callee, &key.operation).settings.breaker.unwrap_or_default();
        let history = histories.get(key).cloned().unwrap_or_default();
        let window = last_calls(conn, report.breaker, report.id, report.window_calls)?;
        breakers.push(breaker(report, &window, &settings, history));
    }
    Ok(Breakers { breakers, transitions: transitions(conn, range, as_of)? })
}

fn breaker(report: Report, window: &[v1::WindowCall], settings: &settings::Breaker, history: Vec<f32>) -> Breaker {
    let status = report.status;
    let state = state(status.state);
    let needed = u32::try_from(settings.half_open_successes.unwrap_or(1)).unwrap_or(u32::MAX);
    Breaker {
        key: report.key,
        instance: report.instance,
        state,
        mode: mode(status.mode),
        since: UnixNanos(status.since_unix_nanos),
        calls: status.calls,
        failures: status.failures,
        slow: status.slow,
        window: window.iter().map(call).collect(),
        rule: rule_in_words(settings),
        failure_ratio: settings.failure_ratio,
        slow_ratio: settings.slow_ratio,
        min_calls: settings.min_calls.unwrap_or(1),
        cause: status.cause,
        probe_at: status.probe_at_unix_nanos.map(UnixNanos).filter(|_| state == BreakerState::Open),
        probes: (state == BreakerState::HalfOpen).then_some((status.good_probes, needed)),
        refused: status.refused,
        trips: status.trips,
        revision: status.revision,
        override_id: (status.override_id > 0).then_some(status.override_id),
        reported: report.at,
        history,
    }
}

/// Transitions of a range, newest first.
///
/// # Errors
/// Only the database's own.
pub(crate) fn transitions(
    conn: &Connection,
    range: TimeRange,
    as_of: UnixNanos,
) -> rusqlite::Result<Vec<BreakerTransition>> {
    let mut select = conn.prepare_cached(
        "SELECT t.at, b.caller, b.callee, b.operation, b.instance, t.from_state, t.to_state, t.cause, t.revision, t.calls, t.by_mode
         FROM breaker_transitions t JOIN breakers b ON b.breaker = t.breaker
         WHERE t.at >= ?1 AND t.at < ?2 AND t.arrival <= ?3 ORDER BY t.at DESC, t.id DESC LIMIT ?4",
    )?;
    let rows = select.query_map(params![range.from.0, range.to.0, as_of.0, ANSWERED], |row| {
        let calls: Vec<u8> = row.get(9)?;
        Ok(BreakerTransition {
            at: UnixNanos(row.get(0)?),
            key: EdgeKey::new(row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?),
            instance: row.get(4)?,
            from: state(row.get(5)?),
            to: state(row.get(6)?),
            cause: row.get(7)?,
            revision: unsigned(row, 8)?,
            window: stored_window(&calls).iter().map(call).collect(),
            by_mode: row.get(10)?,
        })
    })?;
    rows.collect()
}

/// The breaker of each edge over all instances of its caller.
///
/// # Errors
/// Only the database's own.
pub(crate) fn edge_breakers(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<BTreeMap<EdgeKey, EdgeBreaker>> {
    let mut edges: BTreeMap<EdgeKey, EdgeBreaker> = BTreeMap::new();
    for report in reports(conn, as_of)? {
        let (state, mode) = (state(report.status.state), mode(report.status.mode));
        let since = UnixNanos(report.status.since_unix_nanos);
        let edge =
            edges.entry(report.key).or_insert_with(|| EdgeBreaker { state, mode, since, ..EdgeBreaker::default() });
        match state {
            BreakerState::Closed => edge.closed += 1,
            BreakerState::HalfOpen => edge.half_open += 1,
            BreakerState::Open => edge.open += 1,
        }
        if state > edge.state || (state == edge.state && since < edge.since) {
            edge.since = since;
        }
        edge.state = edge.state.max(state);
        // A mode that somebody asked for says more than the usual one.
        if mode != BreakerMode::Auto {
            edge.mode = mode;
        }
    }
    Ok(edges)
}

fn state(wire: i32) -> BreakerState {
    match v1::BreakerState::try_from(wire) {
        Ok(v1::BreakerState::Open) => BreakerState::Open,
        Ok(v1::BreakerState::HalfOpen) => BreakerState::HalfOpen,
        _ => BreakerState::Closed,
    }
}

fn mode(wire: i32) -> BreakerMode {
    match v1::Mode::try_from(wire) {
        Ok(v1::Mode::ForcedOpen) => BreakerMode::ForcedOpen,
        Ok(v1::Mode::ForcedClosed) => BreakerMode::ForcedClosed,
        Ok(v1::Mode::Shadow) => BreakerMode::Shadow,
        Ok(v1::Mode::Disabled) => BreakerMode::Disabled,
        _ => BreakerMode::Auto,
    }
}

fn call(wire: &v1::WindowCall) -> WindowCall {
    WindowCall {
        at: UnixNanos(wire.at_unix_nanos),
        failed: wire.failed,
        slow: wire.slow,
        micros: wire.micros,
        trace_id: TraceId::from_slice(&wire.trace_id),
    }
}
