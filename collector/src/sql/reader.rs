//! What the table of spans reads from: a connection of its own, since a table cannot use the one that reads it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fuseboard_api::UnixNanos;
use fuseboard_api::span::Origin;
use rusqlite::Connection;

use crate::query::Origins;
use crate::store::{Cache, Snapshot, StoreError};

/// Bytes of decoded segments that are kept.
const CACHE: usize = 64 * 1024 * 1024;

/// Everything that had been stored.
pub(super) const EVER: UnixNanos = UnixNanos(i64::MAX);

/// A snapshot that stays, and what was decoded of it.
#[derive(Debug)]
pub(super) struct Reader {
    conn: Mutex<Connection>,
    cache: Cache,
}

impl Reader {
    /// Over a connection, as of now.
    pub(super) fn new(conn: Connection) -> Result<Arc<Self>, StoreError> {
        conn.execute_batch("BEGIN")?;
        // The transaction begins with the first reading.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(Arc::new(Self { conn: Mutex::new(conn), cache: Cache::new(CACHE) }))
    }

    /// Reads from the snapshot.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError>) -> rusqlite::Result<T> {
        let conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        read(&Snapshot::new(&conn, &self.cache)).map_err(|e| rusqlite::Error::ModuleError(e.to_string()))
    }

    /// The numbers of all senders of a service.
    pub(super) fn senders_of(&self, service: &str) -> rusqlite::Result<Vec<i64>> {
        self.with(|snapshot| {
            let mut read = snapshot.prepare_cached("SELECT id FROM origins WHERE service = ?1 ORDER BY id")?;
            let ids = read.query_map([service], |r| r.get(0))?;
            Ok(ids.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// Senders met by a scan.
#[derive(Default)]
pub(super) struct Met {
    origins: Origins,
    /// Their resources as JSON: the same text for thousands of rows.
    resources: HashMap<i64, Arc<str>>,
}

impl Met {
    /// The sender with this number.
    pub(super) fn origin(&mut self, reader: &Reader, id: i64) -> rusqlite::Result<Arc<Origin>> {
        reader.with(|snapshot| self.origins.get(snapshot, id))
    }

    /// A sender's resource as JSON.
    pub(super) fn resource(&mut self, reader: &Reader, id: i64) -> rusqlite::Result<Arc<str>> {
        if let Some(known) = self.resources.get(&id) {
            return Ok(known.clone());
        }
        let origin = self.origin(reader, id)?;
        let text: Arc<str> = crate::files::words::object(&origin.resource).to_string().into();
        self.resources.insert(id, text.clone());
        Ok(text)
    }
}
