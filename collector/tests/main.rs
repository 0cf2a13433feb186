//! The collector over real sockets.
#![expect(clippy::expect_used, reason = "a test's helpers may fail it, too")]

mod agent;
mod common;
mod connections;
mod control;
mod doors;
mod durable;
mod edges;
#[cfg(unix)]
mod faults;
mod files;
mod fixtures;
mod fleet;
mod identity;
mod incident;
mod jaeger;
mod letters;
mod lint;
mod logs;
mod malformed;
mod metrics;
mod program;
mod prometheus;
mod redact;
mod replay;
mod rollout;
mod search;
mod secrets;
mod sql;
mod tls;
mod zipkin;
