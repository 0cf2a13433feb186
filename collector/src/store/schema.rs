//! The tables, and how older files become newer ones.

use rusqlite::Connection;

/// `application_id` of Fuseboard's files: the letters `FUSE`.
pub const APPLICATION_ID: i32 = i32::from_be_bytes(*b"FUSE");

/// The schema version that this program writes.
pub const VERSION: i64 = 3;

/// Everything with a time of its own carries `arrival` beside it, the stamp of the commit that brought it. Times are Unix
/// nanoseconds unless a name says otherwise; ids are raw bytes; `body` columns are OTLP protobuf.
const TELEMETRY: &str = "
CREATE TABLE IF NOT EXISTS commits (
    stamp INTEGER PRIMARY KEY,
    spans INTEGER NOT NULL, logs INTEGER NOT NULL, points INTEGER NOT NULL,
    all_spans INTEGER NOT NULL, all_traces INTEGER NOT NULL, all_logs INTEGER NOT NULL, all_points INTEGER NOT NULL,
    oldest INTEGER NOT NULL, newest INTEGER NOT NULL,
    lag BLOB
) STRICT;
CREATE TABLE IF NOT EXISTS origins (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    service TEXT NOT NULL, instance TEXT NOT NULL, version TEXT NOT NULL,
    resource BLOB NOT NULL, resource_schema_url TEXT NOT NULL,
    scope BLOB NOT NULL, scope_schema_url TEXT NOT NULL,
    arrival INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS seen (
    service TEXT NOT NULL, instance TEXT NOT NULL, arrival INTEGER NOT NULL,
    PRIMARY KEY (service, instance, arrival)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attribute_keys (key TEXT PRIMARY KEY, arrival INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attribute_values (
    key TEXT NOT NULL, value TEXT NOT NULL, arrival INTEGER NOT NULL,
    PRIMARY KEY (key, value)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS metrics (
    id INTEGER PRIMARY KEY,
    origin INTEGER NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    unit TEXT NOT NULL, description TEXT NOT NULL,
    temporality INTEGER NOT NULL, monotonic INTEGER NOT NULL,
    attributes BLOB NOT NULL, metadata BLOB NOT NULL DEFAULT x'',
    arrival INTEGER NOT NULL,
    UNIQUE (origin, name, kind, unit, temporality, monotonic, attributes)
) STRICT;
CREATE INDEX IF NOT EXISTS metrics_by_name ON metrics (name);
CREATE TABLE IF NOT EXISTS points (
    metric INTEGER NOT NULL, time INTEGER NOT NULL,
    value REAL NOT NULL, count INTEGER NOT NULL, sum REAL NOT NULL,
    arrival INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (metric, time)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS points_by_time ON points (time);
CREATE TABLE IF NOT EXISTS pins (id INTEGER PRIMARY KEY, oldest INTEGER NOT NULL, newest INTEGER NOT NULL) STRICT;
";

/// Rollups: a `series` is an edge or an instance's answers to one operation; `rollup` has what each commit added to each
/// second of it, `folds` has sums of whole stretches of 5, 60 or 600 s, made once when they are over. A second that is added
/// to after its stretch was folded is marked `late` (1, 2, 4: for 5, 60, 600 s) and added on top when read, until
/// `late_folds` has it: sums of what came late, of rows that arrived up to `late_folded.upto`. See [`super::folds`].
/// `calls_under_way` has the calls that began in one second (`first`) and ended in a later one (`last`), ten minutes at
/// most. Quantiles of the histograms are within 1/64 of the true value, see [`fuseboard_api::histogram`].
const ROLLUPS: &str = "
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY,
    inbound INTEGER NOT NULL,
    caller TEXT NOT NULL, callee TEXT NOT NULL, operation TEXT NOT NULL,
    instance TEXT NOT NULL, version TEXT NOT NULL,
    caller_kind INTEGER NOT NULL, callee_kind INTEGER NOT NULL, system TEXT NOT NULL, asynchronous INTEGER NOT NULL,
    arrival INTEGER NOT NULL,
    UNIQUE (inbound, caller, callee, operation, instance, version)
) STRICT;
CREATE TABLE IF NOT EXISTS rollup (
    second INTEGER NOT NULL, series INTEGER NOT NULL, arrival INTEGER NOT NULL, late INTEGER NOT NULL,
    calls INTEGER NOT NULL, errors INTEGER NOT NULL, refused INTEGER NOT NULL,
    attempts INTEGER NOT NULL, cut INTEGER NOT NULL,
    latency BLOB, attempt_latency BLOB, deadline BLOB,
    PRIMARY KEY (second, series, arrival)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rollup_late ON rollup (second) WHERE late > 0;
CREATE TABLE IF NOT EXISTS calls_under_way (
    last INTEGER NOT NULL, first INTEGER NOT NULL, series INTEGER NOT NULL, arrival INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    PRIMARY KEY (last, first, series, arrival)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS folds (
    width INTEGER NOT NULL, second INTEGER NOT NULL, series INTEGER NOT NULL,
    calls INTEGER NOT NULL, errors INTEGER NOT NULL, refused INTEGER NOT NULL,
    attempts INTEGER NOT NULL, cut INTEGER NOT NULL,
    latency BLOB, attempt_latency BLOB, deadline BLOB,
    PRIMARY KEY (width, second, series)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rollup_late_by_arrival ON rollup (arrival) WHERE late > 0;
CREATE TABLE IF NOT EXISTS late_folds (
    width INTEGER NOT NULL, second INTEGER NOT NULL, series INTEGER NOT NULL, arrival INTEGER NOT NULL,
    calls INTEGER NOT NULL, errors INTEGER NOT NULL, refused INTEGER NOT NULL,
    attempts INTEGER NOT NULL, cut INTEGER NOT NULL,
    latency BLOB, attempt_latency BLOB, deadline BLOB,
    PRIMARY KEY (width, second, series, arrival)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS late_folded (
    width INTEGER NOT NULL, upto INTEGER NOT NULL, arrival INTEGER NOT NULL,
    PRIMARY KEY (width, arrival)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS folded (
    width INTEGER NOT NULL, until INTEGER NOT NULL, arrival INTEGER NOT NULL,
    PRIMARY KEY (width, arrival)
) STRICT, WITHOUT ROWID;
";

/// Spans lie in segments of some thousand: what is said of each stands in `segments`, its bytes in `segment_data`, what it
/// may hold in `segment_filters`. A segment is never changed: a merge puts a larger one in the place of several, and what
/// was under an id is never under it again. `format` is 1 for columns and 0 for the small form of a fresh commit.
/// `new_traces` are those of which nothing was stored before. `pending` has the halves of calls that wait for the other one,
/// `trace_filters` the writer's filters over all traces up to an instant.
const SEGMENTS: &str = "
CREATE TABLE IF NOT EXISTS segments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    format INTEGER NOT NULL,
    rows INTEGER NOT NULL, traces INTEGER NOT NULL, new_traces INTEGER NOT NULL, errors INTEGER NOT NULL,
    min_start INTEGER NOT NULL, max_start INTEGER NOT NULL, max_end INTEGER NOT NULL,
    min_duration INTEGER NOT NULL, max_duration INTEGER NOT NULL,
    min_arrival INTEGER NOT NULL, max_arrival INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    origins BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS segments_by_start ON segments (max_start);
CREATE TABLE IF NOT EXISTS segment_data (segment INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS segment_filters (
    segment INTEGER PRIMARY KEY, traces BLOB NOT NULL, \"values\" BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS pending (arrival INTEGER PRIMARY KEY, last INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS trace_filters (until INTEGER PRIMARY KEY, hash_key BLOB NOT NULL, data BLOB NOT NULL) STRICT;
";

/// All tables of the newest version, room by room.
fn pieces() -> impl Iterator<Item = &'static str> {
    [TELEMETRY, ROLLUPS, SEGMENTS, super::logs::tables::TABLES].into_iter().chain(crate::tables::of_rooms())
}

/// Makes the tables that are missing. Every piece says IF NOT EXISTS: a room may add tables within a version.
pub(super) fn create(conn: &Connection) -> rusqlite::Result<()> {
    pieces().try_for_each(|piece| conn.execute_batch(piece))
}

/// Adds a column that an older file lacks.
fn add(conn: &Connection, table: &str, column: &str, declared: &str) -> rusqlite::Result<()> {
    let there = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
    if conn.query_row(there, [table, column], |r| r.get::<_, i64>(0))? == 0 {
        conn.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {declared}"))?;
    }
    Ok(())
}

/// Gives a connection to a file that an older program wrote, and that must not be changed, the tables that it lacks: empty,
/// and for this connection alone.
pub(super) fn stand_in(conn: &Connection) -> rusqlite::Result<()> {
    let newest = Connection::open_in_memory()?;
    create(&newest)?;
    let mut select =
        newest.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let mut tables = select.query([])?;
    while let Some(table) = tables.next()? {
        let (name, sql): (String, String) = (table.get(0)?, table.get(1)?);
        let there = conn.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")?.exists([name])?;
        if !there {
            conn.execute_batch(&sql.replacen("CREATE TABLE", "CREATE TEMP TABLE", 1))?;
        }
    }
    Ok(())
}

/// Brings a database from version `from` (0: empty) to [`VERSION`]. Runs inside the caller's transaction.
pub(crate) fn migrate(conn: &Connection, from: i64) -> rusqlite::Result<()> {
    if from < 1 {
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    create(conn)?;
    crate::tables::added_columns().try_for_each(|(table, column, declared)| add(conn, table, column, declared))?;
    conn.pragma_update(None, "user_version", VERSION)
}
