//! What stands before the handlers of a server: a log of requests, auth, limits.
//!
//! One call each on the layer that a server has anyway, for tonic and for axum alike:
//!
//! ```no_run
//! # fn layers(agent: &fuseboard_agent::Agent, auth: fuseboard_agent::guard::Auth) {
//! use fuseboard_agent::guard::{Limits, RequestLog};
//!
//! let limits = Limits::default().rate_per_caller(100, 200).in_flight_per_caller(32).body(1 << 20);
//! let layer = agent.http_server().with_auth(auth).with_limits(limits).with_log(RequestLog::default().route("*"));
//! # drop(layer);
//! # }
//! ```
//!
//! **Order**, from the outside, whatever the order of the calls: log → auth → limits → load shedding → deadline and span → handler.
//! A caller is known before its limits are looked at; an answer that one of them gives is logged, and is a span (with
//! `resilience.refused_by`) like that of a handler.
//!
//! **Refusals** are counted (`resilience.requests.refused`, by rule) and say when to come again:
//!
//! | rule | HTTP | gRPC |
//! |---|---|---|
//! | `auth` | 401 or 403, `www-authenticate` | `UNAUTHENTICATED`, `PERMISSION_DENIED` |
//! | `auth`, too many new tokens | 429, `retry-after` | `RESOURCE_EXHAUSTED`, `grpc-retry-pushback-ms` |
//! | `auth`, while no keys could be read yet | 503, `retry-after` | `UNAVAILABLE`, `grpc-retry-pushback-ms` |
//! | `headers` | 431 | `RESOURCE_EXHAUSTED` |
//! | `body` | 413 | `RESOURCE_EXHAUSTED` |
//! | `body_timeout` | 408 | `DEADLINE_EXCEEDED` |
//! | `rate` | 429, `retry-after` | `RESOURCE_EXHAUSTED`, `grpc-retry-pushback-ms` |
//! | `concurrency` of a caller | 429, `retry-after` | `RESOURCE_EXHAUSTED`, `grpc-retry-pushback-ms` |
//! | `concurrency` of all | 503, `retry-after` | `UNAVAILABLE`, `grpc-retry-pushback-ms` |
//!
//! **When something is missing.** Without keys (their address does not answer, their file is broken) the last ones stay in force and
//! a log record says what is wrong; before the first ones nobody is let in. Everything here has bounds: callers that are told
//! apart (10,000), tokens that are remembered (1,024), the size of a token (8 KiB) and of a document of keys (1 MiB), records
//! a second. Limits are of this instance alone: nothing is shared between instances.
//!
//! **Cost.** A layer without any of them is not there. `cargo bench -p fuseboard-agent --bench overhead -- --quick`, on two busy cores
//! of a virtual machine: limits of callers and of all 0.6 µs a request, a token that was seen before 0.7 µs (it is found by its
//! text); a new one costs its signature, tens of microseconds. `Auth::checks_per_caller` bounds what forged ones cost.

#[cfg(feature = "jwt")]
mod auth;
mod body;
mod caller;
mod limits;
mod record;
mod refusal;
mod routes;
mod service;
mod table;

#[cfg(feature = "jwt")]
pub use self::auth::{Auth, Claims, KeyError, Keys};
pub use self::body::{GuardedBody, ServerBody};
pub use self::caller::Caller;
pub use self::limits::Limits;
pub use self::record::RequestLog;
pub(crate) use self::record::SpanSlot;
pub use self::service::{Guarded, GuardedLayer};
pub(crate) use self::service::{Refusing, guards_for};
