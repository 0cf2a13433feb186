//! Read-only SQL over a Fuseboard file: spans as a table, whatever they are stored in, beside the tables that are there.
//!
//! | table | what it has |
//! |---|---|
//! | `spans` | one row a span; a condition on `trace_id`, `service` or `start` keeps it from reading everything |
//! | `logs` | log records |
//! | `metric_points` | points of metrics |
//! | `edges` | calls of each second over each edge of the call graph |
//!
//! Functions: `attr(json, key)` is a value out of `attributes` or `resource`, `iso(nanos)` a time for people. All other tables of
//! the file can be read as they are.

mod functions;
mod reader;
mod spans;
mod views;

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};

use self::reader::Reader;
use crate::store::{self, StoreError};

/// A cell of a result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Blob(&'a [u8]),
}

/// Why a statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The statement, in SQLite's words and with what may help.
    #[error("{message}{hint}")]
    Statement {
        /// What SQLite says.
        message: String,
        /// What to do, on a line of its own; may be empty.
        hint: String,
    },
    /// Who took the rows wants no more.
    #[error("stopped")]
    Stopped,
}

/// The tables that are made for people, for hints.
const TABLES: &str = "spans, logs, metric_points, edges";

impl From<rusqlite::Error> for SqlError {
    fn from(error: rusqlite::Error) -> Self {
        let message = match &error {
            rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
            rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
            rusqlite::Error::MultipleStatement => "there is more than one statement; give one at a time".to_owned(),
            other => other.to_string(),
        };
        let says = |words: &str| message.contains(words);
        let hint = if says("no such table") {
            format!("there are {TABLES}, and what `SELECT name FROM sqlite_schema` lists")
        } else if says("no such column") {
            format!(
                "spans has {}; an attribute is attr(attributes, 'http.route'); text stands in single quotes",
                spans::NAMES.join(", ")
            )
        } else if says("no such function") {
            "besides SQLite's own functions there are attr(json, key) and iso(nanos)".to_owned()
        } else if says("incomplete input") {
            "the statement breaks off".to_owned()
        } else if says("syntax error") {
            "the statement is SQLite's SELECT: SELECT service, count(*) FROM spans GROUP BY service".to_owned()
        } else if says("readonly") || error.sqlite_error_code() == Some(ErrorCode::AuthorizationForStatementDenied) {
            "this only reads: a SELECT changes nothing and is all there is".to_owned()
        } else {
            String::new()
        };
        let hint = if hint.is_empty() { hint } else { format!("\n{hint}") };
        Self::Statement { message, hint }
    }
}

/// A file to ask. It is seen as of the moment when it was opened, also while a collector goes on writing it.
#[derive(Debug)]
pub struct Database {
    conn: Connection,
}

impl Database {
    /// Opens a file.
    ///
    /// # Errors
    /// A sentence for a file that is missing, foreign, newer or damaged.
    pub fn open(path: &Path) -> Result<Self, SqlError> {
        let conn = store::look(path)?;
        let reader = Reader::new(store::look(path)?)?;
        let allowed = |on: bool| conn.pragma_update(None, "query_only", on);
        // Views of this connection alone; the file itself is open for reading only.
        allowed(false)?;
        functions::add(&conn)?;
        spans::add(&conn, reader)?;
        views::add(&conn)?;
        allowed(true)?;
        conn.execute_batch("BEGIN")?;
        Ok(Self { conn })
    }

    /// Carries out one statement: `columns` gets the names first, then `row` every row as it is found, until it says false.
    ///
    /// # Errors
    /// What is wrong with the statement, with a hint.
    pub fn query(
        &self,
        sql: &str,
        columns: impl FnOnce(&[String]) -> bool,
        mut row: impl FnMut(&[Cell<'_>]) -> bool,
    ) -> Result<(), SqlError> {
        let mut statement = self.conn.prepare(sql)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        if names.is_empty() {
            let message = "the statement gives no rows".to_owned();
            return Err(SqlError::Statement { message, hint: "\nthis only reads: write a SELECT".to_owned() });
        }
        if !statement.readonly() {
            let message = "the statement would write".to_owned();
            return Err(SqlError::Statement { message, hint: "\nthis only reads: write a SELECT".to_owned() });
        }
        if !columns(&names) {
            return Err(SqlError::Stopped);
        }
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            let mut cells = Vec::with_capacity(names.len());
            for i in 0..names.len() {
                cells.push(cell(found.get_ref(i)?));
            }
            if !row(&cells) {
                return Err(SqlError::Stopped);
            }
        }
        Ok(())
    }
}

fn cell(value: ValueRef<'_>) -> Cell<'_> {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(i) => Cell::Int(i),
        ValueRef::Real(d) => Cell::Real(d),
        // What is no UTF-8 is bytes.
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).map_or(Cell::Blob(bytes), Cell::Text),
        ValueRef::Blob(bytes) => Cell::Blob(bytes),
    }
}
