//! The collector over real sockets.

mod agent;
mod common;
mod control;
mod durable;
mod edges;
mod fixtures;
mod fleet;
mod malformed;
mod replay;
