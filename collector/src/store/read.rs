//! Connections that read. No reader waits for the writer, nor the writer for a reader: that is what the write-ahead log gives.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cache::Cache;
use super::error::StoreError;
use super::open::{self, OpenMode};
use super::snapshot::Snapshot;

/// A fixed number of connections; who finds none free waits in line.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
    cache: Arc<Cache>,
}

impl Readers {
    pub(super) fn open(path: &Path, mode: OpenMode, count: usize, cache: Arc<Cache>) -> Result<Self, StoreError> {
        let count = count.max(1);
        let mut idle = Vec::with_capacity(count);
        for _ in 0..count {
            idle.push(open::reader(path, mode)?);
        }
        Ok(Self { idle: Arc::new(Mutex::new(idle)), turns: Arc::new(Semaphore::new(count)), cache })
    }

    /// Runs `f` on one of the connections, on this thread.
    pub(super) fn with_first<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let conn = idle.last().ok_or(StoreError::Closed)?;
        Ok(f(conn)?)
    }

    /// Runs `f` inside a read transaction on a thread of tokio's blocking pool.
    pub(super) async fn run<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: FnOnce(&Snapshot<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let lease = Lease::take(&self.idle, turn)?;
        let cache = self.cache.clone();
        let done = tokio::task::spawn_blocking(move || {
            let conn = lease.conn.as_ref().ok_or(StoreError::Closed)?;
            let tx = conn.unchecked_transaction().map_err(StoreError::from)?;
            let value = f(&Snapshot::new(&tx, &cache))?;
            tx.finish().map_err(StoreError::from)?;
            Ok(value)
        });
        match done.await {
            Ok(outcome) => outcome,
            Err(e) => match e.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(StoreError::Closed.into()),
            },
        }
    }
}

/// A connection that finds its way back, also when the reading fails, panics or is given up.
struct Lease {
    conn: Option<Connection>,
    home: Arc<Mutex<Vec<Connection>>>,
    /// Ends after the connection is home.
    _turn: OwnedSemaphorePermit,
}

impl Lease {
    fn take(home: &Arc<Mutex<Vec<Connection>>>, turn: OwnedSemaphorePermit) -> Result<Self, StoreError> {
        let conn = home.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(Self { conn: Some(conn.ok_or(StoreError::Busy)?), home: home.clone(), _turn: turn })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.home.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}
