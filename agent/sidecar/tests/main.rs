//! The sidecar over real sockets.
#![expect(clippy::unwrap_used, reason = "what these tests lean on may fail them")]

mod http1;
mod rig;
