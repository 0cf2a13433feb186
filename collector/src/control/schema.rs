//! The tables of control: everything is appended, every row carries its arrival (the stamp of its commit), and what is
//! true at an instant follows from the rows that had arrived by then.

/// What tables have got since they were first made, for files that have them already.
pub(crate) const ADDED_COLUMNS: [(&str, &str, &str); 2] =
    [("statuses", "reverted_from", "INTEGER NOT NULL DEFAULT 0"), ("statuses", "since", "INTEGER NOT NULL DEFAULT 0")];

/// Revisions, overrides, the fleet and its breakers.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS revisions (
    number INTEGER PRIMARY KEY,
    arrival INTEGER NOT NULL,
    base INTEGER NOT NULL,
    restores INTEGER,
    document TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    summary TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS overrides (
    id INTEGER PRIMARY KEY,
    arrival INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    spec TEXT NOT NULL, -- JSON: selector and action
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    summary TEXT NOT NULL,
    generation INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS override_ends (
    id INTEGER PRIMARY KEY REFERENCES overrides (id),
    arrival INTEGER NOT NULL,
    how TEXT NOT NULL, -- expired, ended, replaced
    generation INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS override_renewals (
    id INTEGER NOT NULL REFERENCES overrides (id),
    arrival INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (id, expires) -- each ends later than the one before
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS read_only (
    id INTEGER PRIMARY KEY,
    arrival INTEGER NOT NULL,
    turned_on INTEGER NOT NULL, -- 1: no changes are taken from here on; 0: they are again
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS sessions ( -- one row a control stream
    session INTEGER PRIMARY KEY,
    arrival INTEGER NOT NULL,
    service TEXT NOT NULL,
    instance TEXT NOT NULL,
    version TEXT NOT NULL,
    agent_version TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS session_ends (
    session INTEGER PRIMARY KEY REFERENCES sessions (session),
    arrival INTEGER NOT NULL,
    how TEXT NOT NULL, -- closed (by the agent), lost, replaced (by a newer stream), stopped (the collector)
    detail TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS statuses (
    session INTEGER NOT NULL REFERENCES sessions (session),
    arrival INTEGER NOT NULL,
    running INTEGER NOT NULL,
    attempted INTEGER NOT NULL,
    failed_revision INTEGER,
    failed_reason TEXT,
    effective_hash BLOB NOT NULL,
    overrides INTEGER NOT NULL,
    dropped INTEGER NOT NULL,
    reverted_from INTEGER NOT NULL DEFAULT 0,
    since INTEGER NOT NULL DEFAULT 0 -- since when `running` is in force there; 0 unknown
) STRICT;
CREATE INDEX IF NOT EXISTS statuses_by_session ON statuses (session, arrival);
CREATE INDEX IF NOT EXISTS statuses_by_arrival ON statuses (arrival);
CREATE TABLE IF NOT EXISTS acknowledgements (
    kind TEXT NOT NULL, -- revision, override, reverted (from a revision, by the agent itself)
    change INTEGER NOT NULL,
    service TEXT NOT NULL,
    instance TEXT NOT NULL,
    arrival INTEGER NOT NULL,
    latency_ms REAL NOT NULL,
    refused TEXT,
    PRIMARY KEY (kind, change, service, instance, arrival) -- an instance may refuse first and apply later
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS breakers (
    breaker INTEGER PRIMARY KEY,
    caller TEXT NOT NULL,
    instance TEXT NOT NULL,
    callee TEXT NOT NULL,
    operation TEXT NOT NULL,
    UNIQUE (caller, instance, callee, operation)
) STRICT;
CREATE TABLE IF NOT EXISTS breaker_reports ( -- a breaker's status without its window, and the calls that are new in the window
    id INTEGER PRIMARY KEY,
    breaker INTEGER NOT NULL REFERENCES breakers (breaker),
    arrival INTEGER NOT NULL,
    status BLOB NOT NULL, -- protobuf BreakerStatus
    window_calls INTEGER NOT NULL, -- how many calls the window holds
    new_calls INTEGER NOT NULL, -- how many of them stand in `calls`; the others in the reports before
    calls BLOB NOT NULL -- protobuf BreakerStatus with the new calls only
) STRICT;
CREATE INDEX IF NOT EXISTS breaker_reports_by_breaker ON breaker_reports (breaker, arrival);
CREATE INDEX IF NOT EXISTS breaker_reports_by_arrival ON breaker_reports (arrival);
CREATE TABLE IF NOT EXISTS breaker_transitions (
    id INTEGER PRIMARY KEY,
    breaker INTEGER NOT NULL REFERENCES breakers (breaker),
    arrival INTEGER NOT NULL,
    at INTEGER NOT NULL,
    from_state INTEGER NOT NULL, -- as on the wire: 1 closed, 2 half open, 3 open
    to_state INTEGER NOT NULL,
    cause TEXT NOT NULL,
    revision INTEGER NOT NULL,
    by_mode INTEGER NOT NULL, -- 1: told to by a change of mode
    calls BLOB NOT NULL -- protobuf BreakerStatus with the window only
) STRICT;
CREATE INDEX IF NOT EXISTS breaker_transitions_by_time ON breaker_transitions (at);
CREATE INDEX IF NOT EXISTS breaker_transitions_by_breaker ON breaker_transitions (breaker, arrival);
";
