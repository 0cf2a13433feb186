//! What a service embeds: resilience layers, OTLP export, live control.

mod address;
mod agent;
mod body;
mod builder;
mod call;
mod clock;
pub mod context;
mod control;
mod edges;
mod error;
mod generated;
pub mod grpc;
pub mod http;
mod log;
mod messaging;
mod propagation;
mod rules;
mod serve;
pub mod tarpc;
mod telemetry;
mod timeout;

pub use self::agent::Agent;
pub use self::builder::Builder;
pub use self::call::Refusal;
pub use self::error::AgentError;
pub use self::log::Severity;
pub use self::messaging::{Consumer, Producer};
pub use ::http::Method as HttpMethod;
pub use fuseboard_policy as policy;

pub use self::propagation::{Headers, extract, inject};
