//! What a service embeds: resilience layers, OTLP export, live control.
//!
//! An axum service, instrumented on both sides in five lines (where it exports to and who controls it, the
//! [environment](#environment) says; [`Agent::builder`] says it in code):
//!
//! ```no_run
//! # async fn serve(listener: tokio::net::TcpListener) -> Result<(), Box<dyn std::error::Error>> {
//! use axum::{Router, routing::get};
//! use fuseboard_agent::{Agent, stop_signal};
//!
//! let agent = Agent::start("gateway").await?;
//! let bank = agent.http_client("bank", "http://bank:8080")?; // bank.get("/balance").send().await?
//! let router: Router = Router::new().route("/healthz", get(|| async { "well" })).layer(agent.http_server());
//! axum::serve(listener, router).with_graceful_shutdown(stop_signal()).await?;
//! agent.shutdown().await; // the last batch is sent, within a bound
//! # drop(bank);
//! # Ok(())
//! # }
//! ```
//!
//! A tonic service:
//!
//! ```no_run
//! # async fn serve(
//! #     orders: opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceServiceServer<
//! #         impl opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::TraceService,
//! #     >,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! use fuseboard_agent::{Agent, stop_signal};
//! use tonic::transport::Server;
//!
//! let agent = Agent::builder("orders").version("2.14.0").otlp("127.0.0.1:4317").control("127.0.0.1:4390").start().await?;
//! let payments = agent.grpc_client("payments", ["10.0.0.7:50051", "10.0.0.8:50051"])?; // PaymentsClient::new(payments)
//! let server = Server::builder().layer(agent.grpc_server()).add_service(orders);
//! server.serve_with_shutdown("0.0.0.0:50051".parse()?, stop_signal()).await?;
//! agent.shutdown().await;
//! # drop(payments);
//! # Ok(())
//! # }
//! ```
//!
//! With certificates, tokens and limits, each a call more ([`tls`], [`guard`]; whole programs in `agent/examples`):
//!
//! ```no_run
//! # async fn serve(listener: tokio::net::TcpListener, router: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//! use fuseboard_agent::guard::{Limits, RequestLog};
//! use fuseboard_agent::tls::{ClientTls, Peer, ServerTls};
//! use fuseboard_agent::{Agent, stop_signal};
//!
//! let inside = ClientTls::default().roots("ca.pem").identity("tls.crt", "tls.key");
//! let agent = Agent::builder("orders").tls(inside).start().await?; // for https:// addresses, whoever dials them
//! let limits = Limits::default().rate_per_caller(100, 200).in_flight_per_caller(32).body(1 << 20);
//! let router = router.layer(agent.http_server().with_limits(limits).with_log(RequestLog::default().route("*")));
//! let incoming = agent.http_tls_listener(listener, &ServerTls::new("tls.crt", "tls.key").require_clients_of("ca.pem"))?;
//! let service = router.into_make_service_with_connect_info::<Peer>();
//! axum::serve(incoming, service).with_graceful_shutdown(stop_signal()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! **What is in force** comes from the control plane, live: timeouts, retries, breakers and an operator's overrides change
//! under running calls without losing a breaker's state; a call keeps what it began with. Without a control plane the
//! last good policy counts (in memory, and on disk with [`Builder::state_dir`]), before the first one the
//! [`Builder::default_policy`].
//!
//! A change may have to be confirmed: unless the word comes in time, the agent goes back by itself to the last policy that was
//! confirmed, also without its control plane and over a restart. What is out of this service's own [`Bounds`] is refused, whoever
//! sends it.
//!
//! **Context** ([`context`]) goes from server layers to client layers with the task. `tokio::spawn` leaves it behind:
//! [`context::spawn`] takes it along, [`context::spawn_detached`] the trace without its deadline.
//!
//! **What may be done twice** is tried again: HTTP's idempotent methods, operations named with `idempotent(…)` on a client,
//! requests with an `idempotency-key`; others only where the policy says `non_idempotent`. A request that certainly never
//! left, because no connection could be made, is tried again whatever it does. Bodies that are there as a whole (up to
//! 256 KiB) can be sent again, streams pass once.
//!
//! **Hedges** (`hedge` in the policy) are sent by every client for what may be done twice: beside an attempt that takes long,
//! on another instance, within the retry budget. The first good answer counts, the other attempts are cancelled.
//!
//! **Fallbacks**: what the application is given for a call that failed or was refused, where the policy names a status, or a
//! value that was registered with [`Agent::fallback`]. Spans and metrics tell what the call was.
//!
//! **Shedding** (`shed` in the policy of this service): while the processor is busy ([`Builder::processor_load`]) the server
//! layers refuse requests beyond what the machine can serve, with `UNAVAILABLE` or 503 and the word to come again in a second.
//!
//! **tarpc** has no place for the number of an attempt: a retry that arrives over tarpc is not known as one.
//!
//! # What is exported
//!
//! Over OTLP/gRPC, without globals; names are in [`policy::names`] or OpenTelemetry's own.
//!
//! - **Spans**: one for each call, named by its operation (`payments.v1.Payments/Charge`, `GET /orders/{id}`), with
//!   `resilience.call`; below it one for each attempt, with `resilience.attempt`; one for each request that is answered. A
//!   refused attempt is a span without length, with `resilience.refused_by`. Queues: `publish NAME` with its attempts, `process NAME`.
//! - **Metrics**: `http.server.request.duration`, `http.client.request.duration` (attempts), `rpc.server.call.duration`,
//!   `rpc.client.call.duration` (calls), `resilience.attempts`, `resilience.refusals`, `resilience.calls.in_flight`,
//!   `resilience.pool.*` and `resilience.discovery.*` by instance and by callee, `http.client.open_connections`,
//!   `http.client.active_requests`,
//!   `resilience.requests.in_flight`, `resilience.requests.shed`, `resilience.requests.refused`,
//!   `resilience.circuit_breaker.transitions`, `tls.handshakes`, `tls.certificate.expires_in`;
//!   for queues `messaging.client.operation.duration`, `messaging.client.sent.messages`, `messaging.client.consumed.messages`,
//!   `messaging.process.duration`, `resilience.queue.lag`, `resilience.queue.depth`.
//! - **Events**: `resilience.circuit_breaker.transition`, on the span that caused it and as a log record with its trace;
//!   `resilience.refused`, on refused spans.
//! - **Log records** of the application, by [`Agent::log`], with the current trace.
//!
//! # Environment
//!
//! These fill what the builder leaves open.
//!
//! | variable | says |
//! |---|---|
//! | `FUSEBOARD_CONTROL` | the control address: [`Builder::control`] |
//! | `FUSEBOARD_TOKEN_FILE`, then `FUSEBOARD_TOKEN` | the token for the collector, control and export: [`Builder::token`] |
//! | `FUSEBOARD_TLS_ROOTS`, `FUSEBOARD_TLS_CERTIFICATE`, `FUSEBOARD_TLS_KEY` | PEM files for every connection to an `https://` address: [`Builder::tls`] |
//! | `FUSEBOARD_STATE_DIR` | where the last good policy is kept: [`Builder::state_dir`] |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | the service's name, and attributes (also `service.instance.id`, `service.version`) |
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, then `OTEL_EXPORTER_OTLP_ENDPOINT` | the OTLP/gRPC address of all three signals: [`Builder::otlp`] |
//! | `OTEL_EXPORTER_OTLP_INSECURE` | `false`: an OTLP address without a scheme is `https://` |
//! | `OTEL_EXPORTER_OTLP_CERTIFICATE`, `…_CLIENT_CERTIFICATE`, `…_CLIENT_KEY` (or `…_TRACES_…`) | PEM files for the export: [`Builder::otlp_tls`] |
//! | `OTEL_EXPORTER_OTLP_HEADERS` (or that of a signal) | headers of each export, `name=value,name=value`; an `authorization` among them goes in the place of the token |
//! | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | which traces are sampled |
//! | `OTEL_SPAN_{ATTRIBUTE,EVENT,LINK}_COUNT_LIMIT` | bounds of a span |
//! | `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` | `none` switches the signal off |
//!
//! # Bounds, and a collector that is not there
//!
//! Nothing of a call ever waits for the export. 8,192 spans and 2,048 log records wait at most ([`Builder::max_queued_spans`],
//! [`Builder::max_queued_logs`]); what does not fit is lost and counted ([`Agent::dropped`]). Batches of up to 128 records leave
//! after 250 ms at the latest, one request at a time for each signal, and are offered again with growing pauses (up to 2 s)
//! for ten minutes. Metrics go out every 5 s and are cumulative: a failed export is made good by the next. At most 128
//! operations of a callee have a breaker of their own, the others share one. [`Agent::shutdown`] takes 5 s at most.
//! The control stream is made again by itself; meanwhile the last good policy counts, and overrides end on this clock.
//!
//! A client that follows a source of [`discovery`] has two tasks more, each address that is announced one or two.
//! An agent has no thread of its own. It has five tasks on the runtime it was started on: the exporters of spans, logs and
//! metrics, the control stream, and a tick every 100 ms for breakers with calls in flight and probes overdue (it rests until the
//! first call).
//!
//! # What it costs
//!
//! `cargo bench -p fuseboard-agent --bench overhead -- --quick`, on two busy cores of a virtual machine: a breaker's admit and
//! finish 32 ns, the whole pipeline of a call 191 ns, a client call with its two spans and metrics 4.8 µs (a bare tower
//! service: 0.33 µs), a served gRPC request 1.8 µs. Two readings of the clock took 46 ns there. Telemetry's own part, which is
//! the same call with it less the call without: 1.8 µs and 10 allocations of a client call (spans 1.6 µs, metrics 0.2 µs and no
//! allocation), 0.6 µs where the trace is not recorded, 0.7 µs and 4 allocations of a served request. The instruments of an edge
//! hold 2.5 KB once it has been called. The exporters work beside the calls, on the runtime's other threads: encoding costs them
//! more than recording costs a call.

mod address;
mod agent;
mod body;
mod bounds;
mod builder;
mod call;
mod clock;
pub mod context;
mod control;
pub mod discovery;
mod edges;
mod environment;
mod error;
mod fallback;
mod generated;
pub mod grpc;
pub mod guard;
pub mod http;
mod log;
mod members;
pub mod messaging;
mod propagation;
pub mod proxy;
mod registration;
mod room;
mod rules;
mod seldom;
mod serve;
mod shedding;
mod sightings;
mod signal;
pub mod tarpc;
mod telemetry;
mod timeout;
pub mod tls;
mod token;

pub use self::agent::Agent;
pub use self::bounds::Bounds;
pub use self::builder::Builder;
pub use self::call::Refusal;
pub use self::error::AgentError;
pub use self::log::Severity;
pub use self::room::PoolLimits;
pub use self::signal::stop_signal;
pub use self::token::Token;
pub use ::http::Method as HttpMethod;
pub use fuseboard_policy as policy;

pub use self::propagation::{Headers, extract, inject};
