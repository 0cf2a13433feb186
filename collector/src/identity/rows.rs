//! Tokens in the store: appended, ended, never changed; every making and ending has its entry in the audit.

use std::str::FromStr as _;

use fuseboard_api::UnixNanos;
use fuseboard_api::identity::{Role, TokenInfo};
use rusqlite::{Connection, Transaction, params};

use crate::control::{Entry, audit_entry};

/// The tables of this room.
pub(crate) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS tokens (
    id TEXT PRIMARY KEY, -- the public part
    arrival INTEGER NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL, -- agent, viewer, operator, admin
    services TEXT NOT NULL, -- what an agent may speak for, one a line; * for all
    hash TEXT NOT NULL, -- argon2id of the secret, PHC
    expires INTEGER, -- NULL: never
    actor TEXT NOT NULL -- who made it
) STRICT;
CREATE TABLE IF NOT EXISTS token_ends (
    id TEXT PRIMARY KEY REFERENCES tokens (id),
    arrival INTEGER NOT NULL,
    actor TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS token_uses ( -- the last use, to the hour
    id TEXT PRIMARY KEY REFERENCES tokens (id),
    at INTEGER NOT NULL
) STRICT;
";

/// A token as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) info: TokenInfo,
    pub(super) hash: String,
}

/// All tokens, newest first. None in a file from before there were tokens.
///
/// # Errors
/// Only the database's own.
pub(super) fn load(conn: &Connection) -> rusqlite::Result<Vec<Row>> {
    let known =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('tokens', 'token_ends', 'token_uses')";
    if conn.query_row(known, [], |row| row.get::<_, i64>(0))? < 3 {
        return Ok(Vec::new());
    }
    let mut select = conn.prepare_cached(
        "SELECT t.id, t.arrival, t.name, t.role, t.services, t.hash, t.expires, t.actor, e.arrival, e.actor, u.at
         FROM tokens t LEFT JOIN token_ends e USING (id) LEFT JOIN token_uses u USING (id) ORDER BY t.arrival DESC, t.id",
    )?;
    let rows = select.query_map([], |row| {
        let (role, services): (String, String) = (row.get(3)?, row.get(4)?);
        let info = TokenInfo {
            id: row.get(0)?,
            created: UnixNanos(row.get(1)?),
            name: row.get(2)?,
            // A role that this version does not know may as little as an agent without services.
            role: Role::from_str(&role).unwrap_or(Role::Agent),
            services: services.lines().map(str::to_owned).collect(),
            expires: row.get::<_, Option<i64>>(6)?.map(UnixNanos),
            created_by: row.get(7)?,
            revoked: row.get::<_, Option<i64>>(8)?.map(UnixNanos),
            revoked_by: row.get(9)?,
            last_used: row.get::<_, Option<i64>>(10)?.map(UnixNanos),
        };
        Ok(Row { info, hash: row.get(5)? })
    })?;
    rows.collect()
}

/// Writes a new token down.
///
/// # Errors
/// Only the database's own.
pub(super) fn make(tx: &Transaction<'_>, at: UnixNanos, row: &Row, reason: &str) -> rusqlite::Result<()> {
    let TokenInfo { id, name, role, services, expires, created_by, .. } = &row.info;
    let (services, expires) = (services.join("\n"), expires.map(|at| at.0));
    tx.execute(
        "INSERT INTO tokens VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![id, at.0, name, role.word(), services, row.hash, expires, created_by],
    )?;
    let whose = match role {
        Role::Agent => format!("agent {name}, for {}", row.info.services.join(", ")),
        _ => format!("{role} {name}"),
    };
    let until = expires.map_or("never expires".to_owned(), |at| format!("expires {}", date(UnixNanos(at))));
    let entry = Entry {
        actor: created_by.clone(),
        action: "token.created",
        target: format!("token {id}"),
        reason: reason.to_owned(),
        detail: format!("{whose}; {until}"),
    };
    audit_entry(tx, at, &entry)
}

/// Ends a token for good.
///
/// # Errors
/// Only the database's own.
pub(super) fn revoke(
    tx: &Transaction<'_>,
    at: UnixNanos,
    info: &TokenInfo,
    actor: &str,
    reason: &str,
) -> rusqlite::Result<()> {
    tx.execute("INSERT OR IGNORE INTO token_ends VALUES (?1, ?2, ?3)", params![info.id, at.0, actor])?;
    let entry = Entry {
        actor: actor.to_owned(),
        action: "token.revoked",
        target: format!("token {}", info.id),
        reason: reason.to_owned(),
        detail: format!("{} {}", info.role, info.name),
    };
    audit_entry(tx, at, &entry)
}

/// Notes a use.
///
/// # Errors
/// Only the database's own.
pub(super) fn used(tx: &Transaction<'_>, id: &str, at: UnixNanos) -> rusqlite::Result<()> {
    let upsert = "INSERT INTO token_uses VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET at = excluded.at";
    tx.execute(upsert, params![id, at.0]).map(|_| ())
}

/// An instant as a person reads it: UTC, to the second.
pub(crate) fn date(at: UnixNanos) -> String {
    let since = std::time::Duration::from_nanos(u64::try_from(at.0).unwrap_or(0));
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since).to_string()
}
