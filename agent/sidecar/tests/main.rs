//! The sidecar over real sockets.
#![expect(clippy::unwrap_used, reason = "what these tests lean on may fail them")]

mod config;
#[path = "../../tests/daemon.rs"]
mod daemon;
mod discovery;
mod edges;
mod goaway;
mod grpc;
mod http1;
mod process;
mod rig;
mod secure;
