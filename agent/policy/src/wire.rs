//! The messages between agent and collector.

/// Generated from `proto/control.proto`.
#[expect(missing_docs, clippy::all, unreachable_pub)]
pub mod v1 {
    include!("generated/control.rs");
}
