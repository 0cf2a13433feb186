//! The way of an export's bytes to whoever takes them.

use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::ExportError;

/// Bytes that are handed on at once.
const PIECE: usize = 256 * 1024;
/// Pieces that may wait for their taker.
pub(super) const WAITING: usize = 4;
/// A taker that takes nothing for so long is given up: the store's snapshot is held for it all the while.
const PATIENCE: Duration = Duration::from_secs(60);

/// Collects bytes and hands them on. For a thread that may block.
pub(super) struct Sink {
    pieces: mpsc::Sender<Result<Bytes, ExportError>>,
    runtime: Handle,
    /// What is not handed on yet.
    pub(super) buffer: Vec<u8>,
}

impl Sink {
    pub(super) fn new(pieces: mpsc::Sender<Result<Bytes, ExportError>>, runtime: Handle) -> Self {
        Self { pieces, runtime, buffer: Vec::new() }
    }

    /// Hands on what is there when it is enough.
    pub(super) fn pass(&mut self) -> Result<(), ExportError> {
        if self.buffer.len() < PIECE { Ok(()) } else { self.flush() }
    }

    /// Hands on what is there.
    pub(super) fn flush(&mut self) -> Result<(), ExportError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        let sent = self.runtime.block_on(self.pieces.send_timeout(Ok(piece), PATIENCE));
        sent.map_err(|_| ExportError::GivenUp)
    }
}
