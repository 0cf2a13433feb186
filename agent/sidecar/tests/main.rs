//! The sidecar over real sockets.
#![expect(clippy::unwrap_used, reason = "what these tests lean on may fail them")]

mod config;
mod edges;
mod grpc;
mod http1;
mod process;
mod rig;
mod secure;
