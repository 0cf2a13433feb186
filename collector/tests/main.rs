//! The collector over real sockets.

mod agent;
mod common;
mod control;
mod doors;
mod durable;
mod edges;
mod fixtures;
mod fleet;
mod incident;
mod malformed;
mod replay;
