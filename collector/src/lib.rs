//! Receives OTLP, stores it in SQLite, answers questions, steers agents.
//!
//! Rooms: `ingest` turns OTLP into rows, `store` keeps them in one SQLite file, `query` answers from it, `control` steers
//! agents, `incident` cuts files out of the store, `analyze` says what is normal and what comes next, `serve` is the door.

/// gRPC server of the agents' control stream, generated from `agent/policy/proto/control.proto`.
#[expect(missing_docs, clippy::all, unreachable_pub, reason = "generated")]
mod generated {
    pub(crate) mod control {
        include!("generated/control.rs");
    }
}

mod base64;
pub mod ingest;
pub mod query;
pub mod store;
