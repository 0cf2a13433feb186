//! The engines against the conformance vectors and against naive models.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod breaker;
mod breaker_model;
mod breaker_threads;
mod budget;
mod count;
mod document;
mod footprint;
mod hedging;
mod limits;
mod pipeline;
mod pools;
mod races;
mod rates;
#[path = "../../examples/vectors/runner/mod.rs"]
mod runner;
mod shedding;
mod vectors;
