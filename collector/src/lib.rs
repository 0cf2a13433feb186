//! Receives OTLP, stores it in SQLite, answers questions, steers agents.
//!
//! Rooms: `ingest` turns OTLP into rows, `store` keeps them in one SQLite file, `query` answers from it, `control` steers
//! agents, `incident` cuts files out of the store, `lint` holds policies against what was observed, `analyze` says what is
//! normal and what comes next, `redact` keeps secrets out, `identity` says who asks and what they may do, `serve` is the door,
//! `files` are other formats in and out, `sql` is for statements by hand.
//!
//! What could be attacked, what is done about it and which test holds it stands in `docs/threats.md`.

/// gRPC server of the agents' control stream, generated from `agent/policy/proto/control.proto`.
#[expect(unreachable_pub, reason = "generated")]
mod generated {
    pub(crate) mod control {
        include!("generated/control.rs");
    }
}

mod analyze;
/// Following the audit's chain outside a collector: in a file, or in exported lines.
pub mod audit {
    pub use crate::control::{ChainError, Line, verify_file, verify_lines};
}
mod base64;
mod collector;
mod control;
pub mod files;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod identity;
mod incident;
pub mod ingest;
mod limits;
mod lint;
pub mod otlp;
pub mod query;
pub mod redact;
mod serve;
pub mod sql;
pub mod store;
mod tables;
pub mod tokens;
pub mod units;

pub use collector::{
    Addresses, BadPlace, Collector, Config, DEFAULT_PORTS, Handle, InitialPolicy, Mode, Place, StartError,
    default_data_file,
};
pub use identity::Auth;
pub use limits::Limits;
pub use serve::security::{DoorName, DoorTls, NoDoor};
