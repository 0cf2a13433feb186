//! The generator against servers of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod grpc;
mod http;
