//! The fleet's words into the store: what several agents say within a moment is written in one transaction.

use std::sync::Arc;
use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::live::Touched;
use fuseboard_policy::wire::v1;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::note::{Note, SessionEnd};
use super::windows::{self, Windows};
use crate::control::{audit, signed};
use crate::store::{Store, StoreError};

/// Notes written in one transaction.
const BATCH: usize = 512;
/// Time for others to speak before a batch is written.
const GATHER: Duration = Duration::from_millis(20);
/// Wait before a failed write is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// No text of an agent is stored longer.
const MAX_TEXT: usize = 1_000;

/// The number of the newest stream in the store.
///
/// # Errors
/// Only the database's own.
pub(crate) fn last_session(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("SELECT coalesce(max(session), 0) FROM sessions", [], |row| row.get(0))
}

/// Ends the streams that an earlier run of the collector left open in the books.
///
/// # Errors
/// Only the database's own.
pub(crate) fn close_leftovers(tx: &Transaction<'_>, at: UnixNanos) -> rusqlite::Result<usize> {
    tx.execute(
        "INSERT INTO session_ends SELECT session, ?1, 'stopped', 'the collector was started again' FROM sessions s
         WHERE NOT EXISTS (SELECT 1 FROM session_ends e WHERE e.session = s.session)",
        [at.0],
    )
}

/// Writes notes until all senders have gone, or, after `drain`, until none is waiting.
pub(crate) async fn record(mut notes: mpsc::Receiver<Note>, store: Store, drain: CancellationToken) {
    let mut windows = Windows::default();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let got = tokio::select! {
            biased;
            n = notes.recv_many(&mut batch, BATCH) => n,
            () = drain.cancelled(), if !notes.is_closed() => {
                notes.close();
                continue;
            }
        };
        if got == 0 {
            return;
        }
        if !drain.is_cancelled() && batch.len() < BATCH {
            tokio::time::sleep(GATHER).await;
            while batch.len() < BATCH
                && let Ok(note) = notes.try_recv()
            {
                batch.push(note);
            }
        }
        let rows: Arc<Vec<Row>> = Arc::new(batch.drain(..).flat_map(|note| rows_of(note, &mut windows)).collect());
        if !write_down(&store, &rows, &drain).await {
            // What was not stored must not be taken for known.
            windows = Windows::default();
        }
    }
}

/// Tries until it is written, or will never be, or the collector stops. Agents wait meanwhile, as the queue is bounded.
async fn write_down(store: &Store, rows: &Arc<Vec<Row>>, drain: &CancellationToken) -> bool {
    let touched = touched(rows);
    loop {
        let rows = rows.clone();
        let written: Result<(), StoreError> =
            store.transact(&touched, move |tx, stamp| Ok(rows.iter().try_for_each(|row| write(tx, stamp, row))?)).await;
        match written {
            Ok(()) => return true,
            Err(e) if e.may_pass() && !drain.is_cancelled() => {
                tracing::warn!("what agents said is not stored yet, trying again: {e}");
                tokio::time::sleep(PAUSE).await;
            }
            Err(e) => {
                tracing::error!("what agents said could not be stored: {e}");
                return false;
            }
        }
    }
}

/// A note, ready to be written.
#[derive(Debug)]
enum Row {
    Plain(Note),
    Breaker {
        caller: String,
        instance: String,
        status: v1::BreakerStatus,
        window_calls: usize,
        calls: Vec<u8>,
        new_calls: usize,
    },
    Transition {
        caller: String,
        instance: String,
        transition: v1::BreakerTransition,
    },
}

fn rows_of(note: Note, windows: &mut Windows) -> Vec<Row> {
    match note {
        Note::Breakers { service, instance, report } => {
            let mut rows = Vec::with_capacity(report.breakers.len() + report.transitions.len());
            for transition in report.transitions {
                rows.push(Row::Transition { caller: service.clone(), instance: instance.clone(), transition });
            }
            for mut status in report.breakers {
                let window = std::mem::take(&mut status.window);
                let name = (service.clone(), instance.clone(), status.service.clone(), status.operation.clone());
                let new = windows.new_calls(&name, &window);
                rows.push(Row::Breaker {
                    caller: service.clone(),
                    instance: instance.clone(),
                    status,
                    window_calls: window.len(),
                    new_calls: new.len(),
                    calls: if new.is_empty() { Vec::new() } else { windows::encode(new) },
                });
            }
            rows
        }
        Note::Ended { ref service, ref instance, .. } => {
            windows.forget(service, instance);
            vec![Row::Plain(note)]
        }
        other => vec![Row::Plain(other)],
    }
}

fn touched(rows: &[Row]) -> Vec<Touched> {
    let mut touched: Vec<Touched> = rows
        .iter()
        .flat_map(|row| match row {
            Row::Plain(Note::Acknowledged { .. } | Note::Reverted { .. }) => [Touched::Changes, Touched::Audit],
            // Who is connected decides for whom a change is.
            Row::Plain(Note::Connected { .. } | Note::Ended { .. }) => [Touched::Fleet, Touched::Changes],
            Row::Plain(_) => [Touched::Fleet; 2],
            Row::Breaker { .. } | Row::Transition { .. } => [Touched::Breakers; 2],
        })
        .collect();
    touched.sort_unstable();
    touched.dedup();
    touched
}

fn write(tx: &Transaction<'_>, at: UnixNanos, row: &Row) -> rusqlite::Result<()> {
    match row {
        Row::Plain(note) => write_note(tx, at, note),
        Row::Breaker { caller, instance, status, window_calls, calls, new_calls } => {
            let breaker = breaker_id(tx, caller, instance, &status.service, &status.operation)?;
            tx.prepare_cached(
                "INSERT INTO breaker_reports (breaker, arrival, status, window_calls, new_calls, calls)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                breaker,
                at.0,
                status.encode_to_vec(),
                signed(*window_calls as u64),
                signed(*new_calls as u64),
                calls
            ])?;
            Ok(())
        }
        Row::Transition { caller, instance, transition: t } => {
            let breaker = breaker_id(tx, caller, instance, &t.service, &t.operation)?;
            tx.prepare_cached(
                "INSERT INTO breaker_transitions (breaker, arrival, at, from_state, to_state, cause, revision, by_mode, calls)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                breaker,
                at.0,
                t.at_unix_nanos,
                t.from,
                t.to,
                cut(&t.cause),
                signed(t.revision),
                t.by_mode,
                windows::encode(t.window.clone())
            ])?;
            Ok(())
        }
    }
}

fn write_note(tx: &Transaction<'_>, at: UnixNanos, note: &Note) -> rusqlite::Result<()> {
    match note {
        Note::Connected { session, hello } => {
            tx.prepare_cached("INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
                session,
                at.0,
                hello.service,
                hello.instance,
                hello.version,
                hello.agent_version
            ])?;
        }
        Note::Ended { session, service, instance, how, detail } => {
            tx.prepare_cached("INSERT INTO session_ends VALUES (?1, ?2, ?3, ?4)")?.execute(params![
                session,
                at.0,
                how.word(),
                cut(detail)
            ])?;
            if *how == SessionEnd::Lost {
                tracing::info!("{service}/{instance} is gone: {detail}");
            }
        }
        Note::Status { session, status } => {
            let failed = status.last_failed.as_ref();
            tx.prepare_cached("INSERT INTO statuses VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?.execute(
                params![
                    session,
                    at.0,
                    signed(status.running),
                    signed(status.attempted),
                    failed.map(|f| signed(f.revision)),
                    failed.map(|f| cut(&f.reason)),
                    &status.effective_hash[..status.effective_hash.len().min(64)],
                    signed(status.overrides_generation),
                    signed(status.dropped),
                    signed(status.reverted_from),
                    status.since_unix_nanos
                ],
            )?;
        }
        Note::Reverted { service, instance, revision } => {
            // An agent repeats it with every status; it is written down once.
            let new = tx
                .prepare_cached(
                    "INSERT INTO acknowledgements SELECT 'reverted', ?1, ?2, ?3, ?4, 0, NULL WHERE NOT EXISTS (
                        SELECT 1 FROM acknowledgements
                        WHERE kind = 'reverted' AND change = ?1 AND service = ?2 AND instance = ?3)",
                )?
                .execute(params![signed(*revision), service, instance, at.0])?;
            if new > 0 {
                let entry = audit::Entry {
                    actor: format!("agent {service}/{instance}"),
                    action: "agent.reverted",
                    target: format!("revision {revision}"),
                    reason: "nobody confirmed it in time".to_owned(),
                    detail: String::new(),
                };
                audit::append(tx, at, &entry)?;
            }
        }
        Note::Acknowledged { change, service, instance, latency_ms, refused } => {
            let new = tx
                .prepare_cached(
                    "INSERT INTO acknowledgements SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (
                        SELECT 1 FROM acknowledgements WHERE kind = ?1 AND change = ?2 AND service = ?3 AND instance = ?4
                        AND (refused IS NULL) = (?7 IS NULL) AND arrival >= coalesce(
                            (SELECT max(r.arrival) FROM override_renewals r WHERE r.id = ?2 AND ?1 = 'override'), 0))",
                )?
                .execute(params![change.kind(), signed(change.number()), service, instance, at.0, latency_ms, refused])?;
            if new > 0 {
                let entry = audit::Entry {
                    actor: format!("agent {service}/{instance}"),
                    action: if refused.is_some() { "agent.refused" } else { "agent.applied" },
                    target: format!("{} {}", change.kind(), change.number()),
                    reason: refused.clone().unwrap_or_default(),
                    detail: format!("{latency_ms:.1} ms after it was published"),
                };
                audit::append(tx, at, &entry)?;
            }
        }
        // Taken apart into rows of their own before.
        Note::Breakers { .. } => {}
    }
    Ok(())
}

fn breaker_id(
    tx: &Transaction<'_>,
    caller: &str,
    instance: &str,
    callee: &str,
    operation: &str,
) -> rusqlite::Result<i64> {
    let name = params![caller, instance, cut(callee), cut(operation)];
    let known = tx
        .prepare_cached(
            "SELECT breaker FROM breakers WHERE caller = ?1 AND instance = ?2 AND callee = ?3 AND operation = ?4",
        )?
        .query_row(name, |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    tx.prepare_cached("INSERT INTO breakers (caller, instance, callee, operation) VALUES (?1, ?2, ?3, ?4)")?
        .execute(name)?;
    Ok(tx.last_insert_rowid())
}

/// Text of an agent, cut to what is stored.
fn cut(text: &str) -> &str {
    text.char_indices().nth(MAX_TEXT).map_or(text, |(end, _)| &text[..end])
}
