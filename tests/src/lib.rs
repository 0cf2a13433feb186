//! End-to-end tests, the shared stage, tidy checks.

pub mod codegen;
pub mod stage;
