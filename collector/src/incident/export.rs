//! An incident as a file of its own: the same schema, with everything of its range and what was in force at its start.
//! Opened, it answers questions about its range as the collector did: rows keep their arrival.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fuseboard_api::ask::Refusal;
use fuseboard_api::incident::Incident;
use fuseboard_api::{TimeRange, UnixNanos};
use rusqlite::{Connection, OpenFlags, Transaction, params};

use crate::control::refusal::{conflict, internal, not_found};
use crate::control::{Deny, keep_breakers_whole, signed};
use crate::store::{Store, StoreError, cut, schema};

/// Spans, logs and points from so long before the incident are in its file: what led to it.
const LEAD: Duration = Duration::from_secs(60);
/// Sums, breakers and forecasts from so long before: lines that reach into the past have theirs.
const LONG_LEAD: Duration = Duration::from_secs(11 * 60);
/// What arrived so long after the end may still belong to it.
const LATE: Duration = Duration::from_secs(15);

/// What is cut out.
#[derive(Debug, Clone)]
struct Cut {
    incident: Incident,
    to: UnixNanos,
    /// The newest arrival that counts.
    arrival: UnixNanos,
}

/// Writes an incident into a new file; gives its name.
///
/// # Errors
/// `not_found` when there is no such incident, `conflict` when the file exists, else why it could not be written. Nothing
/// is left behind then.
pub(crate) async fn export(store: &Store, id: u64, path: &Path) -> Result<String, Refusal> {
    if path.exists() {
        return Err(conflict(format!("{} exists already; choose another name", path.display())));
    }
    let now = store.as_of_now();
    let found = store.read(move |conn| -> Result<_, Deny> { Ok(super::find(conn, id, now)?) }).await;
    let incident = found.map_err(Refusal::from)?.ok_or_else(|| not_found(format!("there is no incident {id}")))?;
    let to = incident.to.unwrap_or(now);
    let cut = Cut { to, arrival: (to + LATE).min(now), incident };
    let (source, target) = (store.path().to_owned(), path.to_owned());
    let name = file_name(&cut.incident);
    let written = tokio::task::spawn_blocking(move || {
        let written = write(&source, &target, &cut);
        if written.is_err() {
            remove(&target);
        }
        written
    });
    match written.await {
        Ok(Ok(())) => Ok(name),
        Ok(Err(error)) => Err(internal(format!("{} could not be written: {error}", path.display()))),
        Err(error) => Err(internal(format!("{} could not be written: {error}", path.display()))),
    }
}

/// A name for the file, from the incident's: letters, digits and dashes.
fn file_name(incident: &Incident) -> String {
    let plain: String =
        incident.name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let words: Vec<&str> = plain.split('-').filter(|w| !w.is_empty()).collect();
    let name: String = words.join("-").chars().take(60).collect();
    let name = if name.is_empty() { format!("incident-{}", incident.id) } else { name };
    format!("{name}.fuseboard")
}

fn remove(target: &Path) {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let mut name = target.as_os_str().to_owned();
        name.push(suffix);
        // What is not there need not be removed.
        let _ = std::fs::remove_file(PathBuf::from(name));
    }
}

fn write(source: &Path, target: &Path, cut: &Cut) -> Result<(), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    // What is in it is nobody else's to read.
    crate::store::create_files(target)?;
    let mut conn = Connection::open_with_flags(target, flags)?;
    // A new file that is thrown away when anything fails needs no journal; it is flushed once, at the end.
    conn.execute_batch("PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    conn.execute("ATTACH DATABASE ?1 AS source", [read_only_uri(source)])?;
    let tx = conn.transaction()?;
    create(&tx, "table")?;
    let range = TimeRange { from: cut.incident.from - LEAD, to: cut.to };
    cut::spans_and_logs(source, &tx, range, cut.arrival)?;
    copy(&tx, cut)?;
    create(&tx, "index")?;
    create(&tx, "trigger")?;
    tx.execute(
        "INSERT INTO incident_file VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            cut.incident.name,
            cut.incident.from.0,
            cut.to.0,
            UnixNanos::now().0,
            env!("CARGO_PKG_VERSION"),
            schema::VERSION
        ],
    )?;
    tx.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", schema::VERSION)?;
    tx.commit()?;
    // Rows came in the order of some index; now they lie in their own, on full pages.
    conn.execute_batch("DETACH DATABASE source; VACUUM; PRAGMA optimize;")?;
    conn.close().map_err(|(_, error)| error)?;
    let file = std::fs::File::options().write(true).open(target);
    let flushed = file.and_then(|file| file.sync_all());
    flushed.map_err(|source| StoreError::Io { what: "flush", path: target.to_owned(), cause: source })
}

fn read_only_uri(path: &Path) -> String {
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{path}?mode=ro")
}

/// Makes the source's tables, indexes or triggers.
fn create(tx: &Transaction<'_>, kind: &str) -> rusqlite::Result<()> {
    let mut select = tx.prepare(
        "SELECT sql FROM source.sqlite_schema WHERE type = ?1 AND sql IS NOT NULL AND name NOT LIKE 'sqlite_%'",
    )?;
    let all: Vec<String> = select.query_map([kind], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    all.iter().try_for_each(|sql| tx.execute_batch(sql))
}

/// Which rows of which table; spans are cut on their own. Named parameters are `:from`, `:lead`, `:long`, `:to` (event times), `:arrival`, `:id`.
const ROWS: &[(&str, &str)] = &[
    // What led to the newest answer, and the line before the range that totals begin with.
    ("commits", "stamp <= :arrival AND stamp >= :long"),
    ("origins", "arrival <= :arrival"),
    ("seen", "arrival <= :arrival"),
    ("attribute_keys", "arrival <= :arrival"),
    ("attribute_values", "arrival <= :arrival"),
    ("metrics", "arrival <= :arrival"),
    ("points", "arrival <= :arrival AND time >= :lead AND time < :to"),
    ("series", "arrival <= :arrival"),
    // Whole minutes, so that folded stretches at the ends are whole; wider ones would reach far beyond.
    ("rollup", "arrival <= :arrival AND second >= :long / 60000000000 * 60 AND second < :to / 1000000000 + 60"),
    ("calls_under_way", "arrival <= :arrival AND last >= :long / 60000000000 * 60 AND last < :to / 1000000000 + 660"),
    ("folds", "width <= 60 AND second >= :long / 60000000000 * 60 AND second < :to / 1000000000 + 60"),
    (
        "late_folds",
        "arrival <= :arrival AND width <= 60 AND second >= :long / 60000000000 * 60 AND second < :to / 1000000000 + 60",
    ),
    ("late_folded", "arrival <= :arrival AND width <= 60"),
    ("folded", "arrival <= :arrival AND width <= 60"),
    ("revisions", "arrival <= :arrival"),
    ("rollouts", "arrival <= :arrival"),
    ("rollout_steps", "arrival <= :arrival"),
    ("rollout_looks", "arrival <= :arrival"),
    ("overrides", "arrival <= :arrival"),
    ("override_ends", "arrival <= :arrival"),
    ("override_renewals", "arrival <= :arrival"),
    ("read_only", "arrival <= :arrival"),
    ("sessions", "arrival <= :arrival"),
    ("session_ends", "arrival <= :arrival"),
    (
        "statuses",
        "arrival <= :arrival AND (arrival > :long OR arrival = (SELECT max(arrival) FROM source.statuses o
            WHERE o.session = statuses.session AND o.arrival <= :long))",
    ),
    ("acknowledgements", "arrival <= :arrival"),
    ("audit", "arrival <= :arrival"),
    ("breakers", "true"),
    (
        "breaker_reports",
        "arrival <= :arrival AND (arrival > :long OR id = (SELECT max(id) FROM source.breaker_reports o
            WHERE o.breaker = breaker_reports.breaker AND o.arrival <= :long))",
    ),
    ("breaker_transitions", "arrival <= :arrival AND at >= :long"),
    ("forecast_series", "arrival <= :arrival"),
    ("forecasts", "arrival <= :arrival AND arrival >= :long"),
    ("anomalies", "arrival <= :arrival"),
    ("anomaly_ends", "arrival <= :arrival"),
    // The incident itself, also when it was written down long after.
    ("incidents", "id = :id"),
    ("incident_changes", "id = :id"),
];

fn copy(tx: &Transaction<'_>, cut: &Cut) -> rusqlite::Result<()> {
    let values = [
        (":from", cut.incident.from.0),
        (":lead", (cut.incident.from - LEAD).0),
        (":long", (cut.incident.from - LONG_LEAD).0),
        (":to", cut.to.0),
        (":arrival", cut.arrival.0),
        (":id", signed(cut.incident.id)),
    ];
    for (table, condition) in ROWS {
        let mut insert =
            tx.prepare(&format!("INSERT INTO main.{table} SELECT * FROM source.{table} WHERE {condition}"))?;
        for (name, value) in &values {
            if let Some(index) = insert.parameter_index(name)? {
                insert.raw_bind_parameter(index, value)?;
            }
        }
        insert.raw_execute()?;
    }
    keep_breakers_whole(tx, cut.incident.from - LONG_LEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_their_incident() {
        let named = |name: &str| file_name(&Incident { id: 7, name: name.into(), ..Incident::default() });
        assert_eq!(named("orders → payments …Charge opened"), "orders-payments-charge-opened.fuseboard");
        assert_eq!(named("../../etc/passwd"), "etc-passwd.fuseboard");
        assert_eq!(named("→"), "incident-7.fuseboard");
    }
}
