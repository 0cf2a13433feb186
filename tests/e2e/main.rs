//! All end-to-end tests and tidy checks, in one binary.
#![expect(clippy::expect_used, reason = "a test says by panicking what it could not do")]

mod console;
mod control;
mod identity;
mod replay;
mod rollout;
mod security;
mod sidecar;
mod threats;
mod tidy;
mod traces;
