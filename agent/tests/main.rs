//! The agent over real sockets, against a collector that only listens.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what these tests lean on may fail them")]

mod auth;
mod brokers;
mod changes;
mod collector;
mod control;
mod daemon;
mod deadline;
mod discovery;
mod examples;
mod export;
mod fallback;
mod grpc;
mod hedging;
mod hostile;
mod http;
mod limits;
mod messaging;
mod paused;
mod pinned;
mod pki;
mod pools;
mod rig;
mod secure;
mod shedding;
mod tarpc;
mod tls;
