//! The engines against the conformance vectors and against naive models.

#[path = "../../examples/vectors/runner/mod.rs"]
mod runner;
mod vectors;
