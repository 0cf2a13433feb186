//! Attribute, event, metric and header names that agent, collector and console share. OpenTelemetry's own names where it has
//! them; it has none for resilience yet, so ours follow the proposals under discussion there (`resilience.*`).

/// Position of an attempt in its call, from 1. On attempt spans.
pub const ATTEMPT: &str = "resilience.attempt";
/// Set (to `true`) on the span of a logical call whose attempts are its children; such a span is not an attempt itself.
pub const CALL: &str = "resilience.call";
/// How many attempts a call took (int). On logical spans; as a metric, the count of attempts that went on the wire.
pub const ATTEMPTS: &str = "resilience.attempts";
/// Why a failed call was not tried again: `not_listed`, `attempts`, `retry_budget`… (see
/// [`crate::pipeline::GiveUp::as_str`]), or `not_replayable` for a body that passes once. On logical spans.
pub const GAVE_UP: &str = "resilience.gave_up";
/// Set (to `true`) on attempts that were sent beside another that took long, or at once after one that failed
/// (`hedge`). On attempt spans; as a metric's label only where it is true.
pub const HEDGED: &str = "resilience.hedged";
/// Set (to `true`) on the span of a request that was refused because the processor is busy ([`crate::shed`]).
pub const SHED: &str = "resilience.shed";
/// What the application was given instead of the outcome that the span tells: a status, or the name of a registered value.
/// On logical spans.
pub const FALLBACK: &str = "resilience.fallback";
/// Set (to `true`) where an operator's fault delayed or aborted the attempt. On attempt spans.
pub const FAULT: &str = "resilience.fault";
/// What the deadline left when the span began, in milliseconds (double).
pub const DEADLINE_LEFT_MS: &str = "resilience.deadline.left_ms";
/// The attempt timeout in force, in milliseconds (int).
pub const ATTEMPT_TIMEOUT_MS: &str = "resilience.timeout.attempt_ms";
/// The overall timeout in force, in milliseconds (int).
pub const OVERALL_TIMEOUT_MS: &str = "resilience.timeout.overall_ms";
/// Which local rule refused the call: `breaker`, `deadline`, `retry_budget`, `rate`, `throttle`, `concurrency`, `discovery` (nobody is
/// known to call), `pool` (no room at the instance). Only on refused spans.
pub const REFUSED_BY: &str = "resilience.refused_by";
/// How a call or attempt ended: `success`, `failure`, `timeout`, `refused`, `cancelled`.
pub const OUTCOME: &str = "resilience.outcome";
/// Wait before this attempt, in milliseconds (double); absent on first attempts.
pub const BACKOFF_MS: &str = "resilience.backoff_ms";
/// The breaker's state when the attempt was admitted or refused: `closed`, `open`, `half_open`, `forced_open`, `forced_closed`, `disabled`.
pub const BREAKER_STATE: &str = "resilience.circuit_breaker.state";
/// Whether the attempt was a probe of a half-open breaker.
pub const BREAKER_PROBE: &str = "resilience.circuit_breaker.probe";
/// Span event and log event: a breaker changed its state.
pub const BREAKER_TRANSITION: &str = "resilience.circuit_breaker.transition";
/// Span event: a local rule refused.
pub const REFUSED_EVENT: &str = "resilience.refused";
/// Policy revision the call ran under (int).
pub const REVISION: &str = "policy.revision";
/// The callee's `service.name`, on client spans. OpenTelemetry's newer name; [`PEER_SERVICE_OLD`] is read too.
pub const PEER_SERVICE: &str = "service.peer.name";
/// The older name of [`PEER_SERVICE`].
pub const PEER_SERVICE_OLD: &str = "peer.service";
/// The operation as policies name it (`payments.v1.Payments/Charge`, `POST /authorize`), on client and attempt spans.
pub const OPERATION: &str = "resilience.operation";

/// Metric: seconds from publishing a message to processing it.
pub const QUEUE_LAG: &str = "resilience.queue.lag";
/// Metric: messages that wait for a consumer, as the broker counts them.
pub const QUEUE_DEPTH: &str = "resilience.queue.depth";
/// Milliseconds from publishing a message to processing it (double). On consumers' spans.
pub const QUEUE_LAG_MS: &str = "resilience.queue.lag_ms";
/// How often a message was handed out, this time included (int). On consumers' spans.
pub const DELIVERY: &str = "resilience.delivery";
/// What became of a processed message: `ack`, `retry`, `dead_letter`, `requeue`, or `drop` where the
/// broker hands out once. On consumers' spans.
pub const SETTLED: &str = "resilience.settled";

/// HTTP header with what the deadline leaves, in `grpc-timeout`'s format.
pub const TIMEOUT_HEADER: &str = "x-fuseboard-timeout";
/// Message header: when the message was published, in milliseconds since 1970.
pub const SENT_HEADER: &str = "x-fuseboard-sent";
/// Message header: when it is of no use any more, in milliseconds since 1970.
pub const DEADLINE_HEADER: &str = "x-fuseboard-deadline";
/// HTTP header with the attempt's number; a request with 2 or more is not retried further down.
pub const ATTEMPT_HEADER: &str = "x-fuseboard-attempt";
