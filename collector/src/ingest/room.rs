//! The room for requests that are under way: bytes that all doors share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fault::Fault;

/// Room is counted in pieces of so many bytes.
const UNIT: usize = 1024;

/// All the room there is.
#[derive(Debug, Clone)]
pub(super) struct Hall {
    pieces: Arc<Semaphore>,
    bytes: usize,
}

impl Hall {
    /// Room for so many bytes, and for one request of `request` bytes (packed, unpacked and decoded) in any case.
    pub(super) fn new(bytes: usize, request: usize) -> Self {
        let pieces = bytes.max(request.saturating_mul(8)).div_ceil(UNIT).min(u32::MAX as usize);
        Self { pieces: Arc::new(Semaphore::new(pieces)), bytes: pieces * UNIT }
    }

    /// The room of one request: none yet.
    pub(super) fn enter(&self) -> Room {
        Room { hall: self.clone(), held: None, bytes: 0 }
    }
}

/// The room that one request holds; given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    hall: Hall,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Room {
    /// Takes more of it, without waiting: who waited would hold what others wait for.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.saturating_add(bytes);
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = self.bytes.div_ceil(UNIT).saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| Fault::Crowded)?;
        let permit = self.hall.pieces.clone().try_acquire_many_owned(more).map_err(|_| Fault::Crowded)?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        Ok(())
    }

    /// Takes what a body may need while it is decoded; `TooHeavy` when that is more than there is for all.
    pub(super) fn take_to_decode(&mut self, bytes: usize) -> Result<(), Fault> {
        if bytes > self.hall.bytes {
            return Err(Fault::TooHeavy(self.hall.bytes));
        }
        // What it has already counts: the last of the room is for whoever is alone.
        self.take(bytes.min(self.hall.bytes.saturating_sub(self.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_shared_and_comes_back() {
        let hall = Hall::new(10 * UNIT, UNIT);
        let (mut one, mut other) = (hall.enter(), hall.enter());
        one.take(1).expect("room");
        one.take(UNIT - 1).expect("the same piece");
        one.take(7 * UNIT).expect("room");
        assert!(matches!(other.take(2 * UNIT + 1), Err(Fault::Crowded)));
        drop(one);
        hall.enter().take(10 * UNIT).expect("all of it is free again but for nothing");
        assert!(matches!(hall.enter().take(11 * UNIT), Err(Fault::Crowded)));
        let mut heavy = hall.enter();
        heavy.take(UNIT).expect("room");
        heavy.take_to_decode(10 * UNIT).expect("all that is left");
        assert!(matches!(hall.enter().take_to_decode(1), Err(Fault::Crowded)), "until it has gone");
        assert!(matches!(hall.enter().take_to_decode(10 * UNIT + 1), Err(Fault::TooHeavy(_))), "never");
    }
}
