//! Overrides: temporary operator actions with an author, a reason and an end.

use std::time::Duration;

use fuseboard_api::UnixNanos;
use fuseboard_api::change::{OverrideAction, OverrideSpec, Selector};
use fuseboard_policy::settings::BreakerMode;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::audit;
use super::refusal::{bad_request, internal, not_found};
use super::revisions::Author;
use super::sql::{signed, unsigned};
use super::write::Deny;

/// An override lasts at most so long.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(24 * 3600);
/// So many may be in force at once.
const MAX_IN_FORCE: usize = 500;

/// An override as it was set.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: u64,
    pub(crate) at: UnixNanos,
    pub(crate) expires: UnixNanos,
    pub(crate) spec: OverrideSpec,
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) summary: String,
    /// The generation in which it got the end that it has.
    pub(crate) generation: u64,
    /// When it was renewed last.
    pub(crate) renewed: Option<UnixNanos>,
}

/// The columns that [`stored`] reads.
pub(crate) const COLUMNS: &str = "id, arrival, expires, spec, actor, reason, summary, generation, renewed";

/// Overrides with the end that they had by the instant `?1`, to select [`COLUMNS`] from. Renewals only ever put an end off.
pub(crate) const SOURCE: &str = "(SELECT id, arrival, spec, actor, reason, summary,
     coalesce((SELECT max(r.expires) FROM override_renewals r WHERE r.id = s.id AND r.arrival <= ?1), expires) AS expires,
     coalesce((SELECT max(r.generation) FROM override_renewals r WHERE r.id = s.id AND r.arrival <= ?1), generation)
        AS generation,
     (SELECT max(r.arrival) FROM override_renewals r WHERE r.id = s.id AND r.arrival <= ?1) AS renewed
     FROM overrides s)";

/// Reads [`COLUMNS`].
pub(crate) fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let spec: String = row.get(3)?;
    let spec = serde_json::from_str(&spec)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(e)))?;
    Ok(Stored {
        id: unsigned(row, 0)?,
        at: UnixNanos(row.get(1)?),
        expires: UnixNanos(row.get(2)?),
        spec,
        actor: row.get(4)?,
        reason: row.get(5)?,
        summary: row.get(6)?,
        generation: unsigned(row, 7)?,
        renewed: row.get::<_, Option<i64>>(8)?.map(UnixNanos),
    })
}

/// Overrides in force at an instant, oldest first.
///
/// # Errors
/// Only the database's own.
pub(crate) fn in_force(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<Vec<Stored>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {SOURCE} o WHERE arrival <= ?1 AND expires > ?1
         AND NOT EXISTS (SELECT 1 FROM override_ends e WHERE e.id = o.id AND e.arrival <= ?1) ORDER BY id"
    );
    conn.prepare_cached(&sql)?.query_map([as_of.0], stored)?.collect()
}

/// Overrides that nobody has ended in the books yet, expired ones among them.
fn open(conn: &Connection) -> rusqlite::Result<Vec<Stored>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {SOURCE} o WHERE NOT EXISTS (SELECT 1 FROM override_ends e WHERE e.id = o.id) ORDER BY id"
    );
    conn.prepare_cached(&sql)?.query_map([i64::MAX], stored)?.collect()
}

/// The newest generation: it counts up whenever the set of overrides changes.
///
/// # Errors
/// Only the database's own.
pub(crate) fn generation(conn: &Connection, as_of: UnixNanos) -> rusqlite::Result<u64> {
    conn.prepare_cached(
        "SELECT max(coalesce((SELECT max(generation) FROM overrides WHERE arrival <= ?1), 0),
                    coalesce((SELECT max(generation) FROM override_ends WHERE arrival <= ?1), 0),
                    coalesce((SELECT max(generation) FROM override_renewals WHERE arrival <= ?1), 0))",
    )?
    .query_row([as_of.0], |row| unsigned(row, 0))
}

/// Sets an override; one that did the same kind of thing to the same edges is replaced. Gives its id.
///
/// # Errors
/// `bad_request` when it makes no sense or lasts too long.
pub(crate) fn set(
    tx: &Transaction<'_>,
    at: UnixNanos,
    author: &Author,
    spec: &OverrideSpec,
    ttl_ms: u64,
) -> Result<u64, Deny> {
    check(spec)?;
    check_ttl(ttl_ms)?;
    let open = open(tx)?;
    if open.len() >= MAX_IN_FORCE {
        return Err(bad_request(format!("{MAX_IN_FORCE} overrides are in force already; end some first")).into());
    }
    let generation = generation(tx, UnixNanos(i64::MAX))? + 1;
    for old in open.iter().filter(|o| o.spec.selector == spec.selector && same_kind(&o.spec.action, &spec.action)) {
        end_row(tx, at, old, "replaced", generation)?;
    }
    let json = serde_json::to_string(spec).map_err(|e| internal(format!("the override cannot be written: {e}")))?;
    let (summary, expires) = (summary(spec), at + Duration::from_millis(ttl_ms));
    let id: u64 = tx.query_row("SELECT coalesce(max(id), 0) + 1 FROM overrides", [], |row| unsigned(row, 0))?;
    tx.prepare_cached("INSERT INTO overrides VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?.execute(params![
        signed(id),
        at.0,
        expires.0,
        json,
        author.actor,
        author.reason,
        summary,
        signed(generation)
    ])?;
    let entry = audit::Entry {
        actor: author.actor.clone(),
        action: "override.set",
        target: format!("override {id}"),
        reason: author.reason.clone(),
        detail: format!("{summary}, for {}", lasting(Duration::from_millis(ttl_ms))),
    };
    audit::append(tx, at, &entry)?;
    Ok(id)
}

fn check_ttl(ttl_ms: u64) -> Result<(), Deny> {
    if ttl_ms > 0 && u128::from(ttl_ms) <= MAX_TTL.as_millis() {
        return Ok(());
    }
    let ttl = lasting(Duration::from_millis(ttl_ms));
    Err(bad_request(format!("an override lasts 1 ms to 24 h, not {ttl}; for longer, change the policy")).into())
}

/// Puts the end of an override off: it lasts `ttl_ms` from now on. What it does, to whom, and its author stay.
///
/// # Errors
/// `not_found` when it does not exist or is over, `bad_request` when it would last too long or end earlier than before.
pub(crate) fn renew(tx: &Transaction<'_>, at: UnixNanos, author: &Author, id: u64, ttl_ms: u64) -> Result<(), Deny> {
    check_ttl(ttl_ms)?;
    let old = alive(tx, at, id)?;
    let (left, lasts) = (old.expires.since(at), Duration::from_millis(ttl_ms));
    if at + lasts <= old.expires {
        return Err(bad_request(format!(
            "override {id} lasts {} more already, which is not shorter than {}; end it to stop it earlier",
            lasting(left),
            lasting(lasts)
        ))
        .into());
    }
    let generation = generation(tx, UnixNanos(i64::MAX))? + 1;
    tx.prepare_cached("INSERT INTO override_renewals VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        signed(id),
        at.0,
        (at + lasts).0,
        author.actor,
        author.reason,
        signed(generation)
    ])?;
    let entry = audit::Entry {
        actor: author.actor.clone(),
        action: "override.renewed",
        target: format!("override {id}"),
        reason: author.reason.clone(),
        detail: format!("{}, for {} more instead of {}", old.summary, lasting(lasts), lasting(left)),
    };
    audit::append(tx, at, &entry)?;
    Ok(())
}

/// An override that is in force.
fn alive(tx: &Transaction<'_>, at: UnixNanos, id: u64) -> Result<Stored, Deny> {
    let sql = format!("SELECT {COLUMNS} FROM {SOURCE} WHERE id = ?2");
    let found = tx.prepare_cached(&sql)?.query_row(params![i64::MAX, signed(id)], stored).optional()?;
    let Some(old) = found else { return Err(not_found(format!("there is no override {id}")).into()) };
    if !in_force(tx, at)?.iter().any(|o| o.id == id) {
        return Err(not_found(format!("override {id} ({}) is over already", old.summary)).into());
    }
    Ok(old)
}

/// Ends one override by hand.
///
/// # Errors
/// `not_found` when it does not exist or is over.
pub(crate) fn end(tx: &Transaction<'_>, at: UnixNanos, author: &Author, id: u64) -> Result<(), Deny> {
    let old = alive(tx, at, id)?;
    let generation = generation(tx, UnixNanos(i64::MAX))? + 1;
    end_row(tx, at, &old, "ended", generation)?;
    audit_end(tx, at, &author.actor, "override.ended", &author.reason, &old)?;
    Ok(())
}

/// Ends all overrides by hand; says how many.
///
/// # Errors
/// Only the database's own.
pub(crate) fn end_all(tx: &Transaction<'_>, at: UnixNanos, author: &Author) -> Result<usize, Deny> {
    let all = in_force(tx, at)?;
    let generation = generation(tx, UnixNanos(i64::MAX))? + 1;
    for old in &all {
        end_row(tx, at, old, "ended", generation)?;
        audit_end(tx, at, &author.actor, "override.ended", &author.reason, old)?;
    }
    Ok(all.len())
}

/// Writes down what has expired by `at`; says how many.
///
/// # Errors
/// Only the database's own.
pub(crate) fn expire(tx: &Transaction<'_>, at: UnixNanos) -> Result<usize, Deny> {
    let over: Vec<Stored> = open(tx)?.into_iter().filter(|o| o.expires <= at).collect();
    if over.is_empty() {
        return Ok(0);
    }
    let generation = generation(tx, UnixNanos(i64::MAX))? + 1;
    for old in &over {
        end_row(tx, at, old, "expired", generation)?;
        audit_end(tx, at, "collector", "override.expired", "its time ran out", old)?;
    }
    Ok(over.len())
}

fn end_row(tx: &Transaction<'_>, at: UnixNanos, old: &Stored, how: &str, generation: u64) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO override_ends VALUES (?1, ?2, ?3, ?4)")?.execute(params![
        signed(old.id),
        at.0,
        how,
        signed(generation)
    ])?;
    Ok(())
}

fn audit_end(
    tx: &Transaction<'_>,
    at: UnixNanos,
    actor: &str,
    action: &'static str,
    reason: &str,
    old: &Stored,
) -> rusqlite::Result<()> {
    let entry = audit::Entry {
        actor: actor.to_owned(),
        action,
        target: format!("override {}", old.id),
        reason: reason.to_owned(),
        detail: old.summary.clone(),
    };
    audit::append(tx, at, &entry)
}

fn same_kind(a: &OverrideAction, b: &OverrideAction) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

/// What no agent could obey is refused before anybody is asked to.
fn check(spec: &OverrideSpec) -> Result<(), Deny> {
    let Selector { caller, service, operation, instance } = &spec.selector;
    if [caller, service, operation, instance].into_iter().flatten().any(|s| s.is_empty() || s.len() > 512) {
        return Err(bad_request(
            "a name in the selector is empty or longer than 512 bytes; leave out what matches all",
        )
        .into());
    }
    let (action, longest) = (&spec.action, u64::try_from(MAX_TTL.as_millis()).unwrap_or(u64::MAX));
    if let OverrideAction::Timeout { attempt_ms, overall_ms } = action
        && [attempt_ms, overall_ms].into_iter().flatten().any(|ms| *ms > longest)
    {
        return Err(bad_request("a timeout is at most 24 h").into());
    }
    action.check().map_err(|e| bad_request(e).into())
}

/// What an override does, in words: `orders → payments …Charge forced open`.
pub(crate) fn summary(spec: &OverrideSpec) -> String {
    let Selector { caller, service, operation, instance } = &spec.selector;
    let caller = caller.as_deref().unwrap_or("every caller");
    let on = instance.as_deref().map(|i| format!(" ({i})")).unwrap_or_default();
    let service = service.as_deref().unwrap_or("every service");
    let operation = operation.as_deref().map(|o| format!(" {}", short(o))).unwrap_or_default();
    let what = match &spec.action {
        OverrideAction::Mode(mode) => match mode {
            BreakerMode::Auto => "back to automatic".to_owned(),
            BreakerMode::ForcedOpen => "forced open".to_owned(),
            BreakerMode::ForcedClosed => "forced closed".to_owned(),
            BreakerMode::Shadow => "in shadow".to_owned(),
            BreakerMode::Disabled => "disabled".to_owned(),
        },
        OverrideAction::Timeout { attempt_ms, overall_ms } => {
            let attempt = attempt_ms.map(|ms| format!("attempt timeout {ms} ms"));
            let overall = overall_ms.map(|ms| format!("overall timeout {ms} ms"));
            [attempt, overall].into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        OverrideAction::Fault(fault) => {
            let delay = (fault.delay_ratio > 0.0 && fault.delay_ms > 0)
                .then(|| format!("{} ms added to {:.0} % of calls", fault.delay_ms, fault.delay_ratio * 100.0));
            let abort = (fault.abort_ratio > 0.0)
                .then(|| format!("{:.0} % of calls fail with {}", fault.abort_ratio * 100.0, fault.abort_code));
            [delay, abort].into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
    };
    format!("{caller}{on} → {service}{operation}: {what}")
}

/// An operation's name without its package: `…Charge` for `payments.v1.Payments/Charge`; routes stay whole.
pub(crate) fn short(operation: &str) -> String {
    match operation.rsplit_once('/') {
        Some((_, method)) if !operation.contains(' ') && !operation.starts_with('/') => format!("…{method}"),
        _ => operation.to_owned(),
    }
}

/// A length of time in words: `90 s`, `5 min`.
pub(crate) fn lasting(d: Duration) -> String {
    match d.as_millis() {
        ms @ 0..=9_999 => format!("{ms} ms"),
        ms @ 10_000..=119_999 => format!("{} s", ms / 1000),
        ms @ 120_000..=7_199_999 => format!("{} min", ms / 60_000),
        ms => format!("{:.1} h", ms as f64 / 3_600_000.0),
    }
}
