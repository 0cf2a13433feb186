//! What a service embeds: resilience layers, OTLP export, live control.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use fuseboard_agent::Agent;
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! // One agent per service instance; it waits for nobody, not even its collector.
//! let agent = Agent::builder("orders").version("2.14.0").otlp("127.0.0.1:4317").control("127.0.0.1:4390").start().await?;
//!
//! // Calls to others: deadline, retries, breaker, a span per attempt. `PaymentsClient::new(payments)` does the rest.
//! let payments = agent.grpc_client("payments", &["10.0.0.7:50051", "10.0.0.8:50051"])?;
//! let bank = agent.http_client("bank", "http://bank:8080")?;
//! let balance = bank.get("/balance").send().await?;
//!
//! // Calls from others: the caller's trace, deadline and attempt, for everything that the handler does.
//! let grpc = tonic::transport::Server::builder().layer(agent.grpc_server()); // .add_service(…)
//! let http: Router = Router::new().route("/healthz", get(|| async { "well" })).layer(agent.http_server());
//!
//! // The last batch is sent, within a bound.
//! agent.shutdown().await;
//! # drop((payments, balance, grpc, http));
//! # Ok(())
//! # }
//! ```
//!
//! **What is in force** comes from the control plane, live: timeouts, retries, breakers and an operator's overrides change
//! under running calls without losing a breaker's state; a call keeps what it began with. Without a control plane the
//! last good policy counts (in memory, and on disk with [`Builder::state_dir`]), before the first one the
//! [`Builder::default_policy`].
//!
//! **Context** ([`context`]) goes from server layers to client layers with the task. `tokio::spawn` leaves it behind:
//! [`context::spawn`] takes it along, [`context::spawn_detached`] the trace without its deadline.
//!
//! **What may be done twice** is tried again: HTTP's idempotent methods, operations named with `idempotent(…)` on a client,
//! requests with an `idempotency-key`; others only where the policy says `non_idempotent`. Bodies that are there as a whole
//! (up to 256 KiB) can be sent again, streams pass once.
//!
//! **tarpc** has no place for the number of an attempt: a retry that arrives over tarpc is not known as one.
//!
//! **Environment**: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`,
//! `OTEL_EXPORTER_OTLP_ENDPOINT` and `OTEL_TRACES_SAMPLER` fill what the builder leaves open.

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
