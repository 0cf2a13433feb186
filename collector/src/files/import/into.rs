//! A file into a store.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tokio::sync::mpsc;

use super::{FileError, Found, read};
use crate::ingest::{Prepared, Refused, Signal, Taken};
use crate::redact::Redactor;
use crate::store::{Store, StoreError};

/// What became of a file's records.
#[derive(Debug, Clone, Serialize)]
pub struct Imported {
    /// What the file held.
    #[serde(flatten)]
    pub found: Found,
    /// Records newly stored.
    pub stored: u64,
    /// Records that had been stored before.
    pub duplicates: u64,
    /// Records that made no sense.
    pub refused: u64,
    /// Why, one sentence a kind of telemetry.
    pub reasons: Vec<String>,
}

/// Why a file could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread to be had.
    #[error("a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Requests read ahead of the store.
const AHEAD: usize = 2;
/// Requests and bytes on their way into the store at a time.
const IN_FLIGHT: usize = 8;
const IN_FLIGHT_BYTES: usize = 32 * 1024 * 1024;

/// Reads a file on a thread of its own, redacts what it holds and stores it; returns once that is durable.
///
/// # Errors
/// When nothing could be read, or the store would not have it. What was stored until then stays.
pub async fn import(
    store: &Store,
    redactor: Option<Arc<Redactor>>,
    name: impl Into<String>,
    input: impl Read + Send + 'static,
) -> Result<Imported, ImportError> {
    let name = name.into();
    let (hand, mut requests) = mpsc::channel::<Prepared>(AHEAD);
    let (tell, found) = tokio::sync::oneshot::channel();
    let reader = std::thread::Builder::new().name("file-reader".into()).spawn(move || {
        let mut sink =
            |telemetry: crate::ingest::Telemetry| match hand.blocking_send(telemetry.prepare(redactor.as_deref())) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
        // Nobody listens when the import was given up.
        let _ = tell.send(read(&name, input, &mut sink));
    });
    reader.map_err(ImportError::Thread)?;
    let mut sum = Sum::default();
    let mut flying = FuturesUnordered::new();
    let mut bytes = 0;
    loop {
        let room = flying.len() < IN_FLIGHT && (bytes < IN_FLIGHT_BYTES || flying.is_empty());
        tokio::select! {
            Some((signal, size, taken)) = flying.next() => {
                bytes -= size;
                sum.add(signal, &taken?);
            }
            request = requests.recv(), if room => match request {
                None => break,
                Some(request) => {
                    let size = request.bytes();
                    bytes += size;
                    flying.push(async move { (request.signal(), size, request.store(store).await) });
                }
            },
        }
    }
    while let Some((signal, _, taken)) = flying.next().await {
        sum.add(signal, &taken?);
    }
    let found = found.await.map_err(|_| StoreError::Closed)??;
    Ok(sum.told(found))
}

#[derive(Default)]
struct Sum {
    stored: u64,
    duplicates: u64,
    refused: [(Option<Signal>, Refused); 3],
}

impl Sum {
    fn add(&mut self, signal: Signal, taken: &Taken) {
        self.stored += taken.appended.stored;
        self.duplicates += taken.appended.duplicates;
        let place = self.refused.iter_mut().find(|(s, _)| s.is_none_or(|s| s == signal));
        if let Some((kind, refused)) = place {
            *kind = Some(signal);
            refused.merge(&taken.refused);
        }
    }

    fn told(self, found: Found) -> Imported {
        let told = self.refused.iter().filter_map(|(signal, refused)| Some(refused.sentence((*signal)?.record())));
        Imported {
            stored: self.stored,
            duplicates: self.duplicates,
            refused: self.refused.iter().map(|(_, r)| r.count()).sum(),
            reasons: told.filter(|sentence| !sentence.is_empty()).collect(),
            found,
        }
    }
}
