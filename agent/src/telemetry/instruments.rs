//! The metrics of an agent: rate, errors and duration of each side of each call, and what the rules around calls did.

use fuseboard_policy::names;
use opentelemetry::metrics::{BoundUpDownCounter, Counter, Gauge, Histogram, Meter, UpDownCounter};

/// Seconds; the boundaries that OpenTelemetry's conventions advise for request durations.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// All instruments of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Instruments {
    /// `http.server.request.duration`.
    pub(crate) http_server: Histogram<f64>,
    /// `http.client.request.duration`: each attempt.
    pub(crate) http_client: Histogram<f64>,
    /// `rpc.server.call.duration`.
    pub(crate) rpc_server: Histogram<f64>,
    /// `rpc.client.call.duration`: each logical call.
    pub(crate) rpc_client: Histogram<f64>,
    /// `resilience.attempts`, by callee, operation and outcome.
    pub(crate) attempts: Counter<u64>,
    /// `resilience.refusals`, by callee, operation and rule.
    pub(crate) refusals: Counter<u64>,
    /// `resilience.calls.in_flight`, by callee and operation.
    pub(crate) in_flight: UpDownCounter<i64>,
    /// `resilience.requests.in_flight`: requests that this instance answers.
    pub(crate) answering: BoundUpDownCounter<i64>,
    /// `resilience.requests.shed`: requests that this instance refused because its processor was busy.
    pub(crate) shed: Counter<u64>,
    /// `resilience.circuit_breaker.transitions`, by callee, operation, from and to.
    pub(crate) transitions: Counter<u64>,
    /// Queues and topics.
    pub(crate) messaging: Messaging,
}

/// The metrics of messages.
#[derive(Debug, Clone)]
pub(crate) struct Messaging {
    /// `messaging.client.operation.duration`: each publish, with its retries.
    pub(crate) operation: Histogram<f64>,
    /// `messaging.client.sent.messages`.
    pub(crate) sent: Counter<u64>,
    /// `messaging.client.consumed.messages`.
    pub(crate) consumed: Counter<u64>,
    /// `messaging.process.duration`.
    pub(crate) process: Histogram<f64>,
    /// `resilience.queue.lag`: from publish to processing.
    pub(crate) lag: Histogram<f64>,
    /// `resilience.queue.depth`: messages that wait, where the broker says so.
    pub(crate) depth: Gauge<u64>,
}

/// Seconds that messages wait in a queue: up to hours.
const WAITS: [f64; 12] = [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0];

impl Messaging {
    fn new(meter: &Meter) -> Self {
        let histogram = |name: &'static str, what: &'static str, bounds: &[f64]| {
            meter.f64_histogram(name).with_unit("s").with_description(what).with_boundaries(bounds.to_vec()).build()
        };
        let counter = |name: &'static str, what: &'static str| {
            meter.u64_counter(name).with_unit("{message}").with_description(what).build()
        };
        Self {
            operation: histogram(
                "messaging.client.operation.duration",
                "Duration of messaging operation initiated by a producer or consumer client.",
                &SECONDS,
            ),
            sent: counter(
                "messaging.client.sent.messages",
                "Number of messages producer attempted to send to the broker.",
            ),
            consumed: counter(
                "messaging.client.consumed.messages",
                "Number of messages that were delivered to the application.",
            ),
            process: histogram("messaging.process.duration", "Duration of processing operation.", &SECONDS),
            lag: histogram(names::QUEUE_LAG, "Time from publishing a message to processing it.", &WAITS),
            depth: meter
                .u64_gauge(names::QUEUE_DEPTH)
                .with_unit("{message}")
                .with_description("Messages that wait for this consumer, as the broker counts them.")
                .build(),
        }
    }
}

impl Instruments {
    /// Makes the instruments.
    pub(crate) fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, what: &'static str| {
            meter.f64_histogram(name).with_unit("s").with_description(what).with_boundaries(SECONDS.to_vec()).build()
        };
        Self {
            http_server: seconds("http.server.request.duration", "Duration of HTTP server requests."),
            http_client: seconds("http.client.request.duration", "Duration of HTTP client requests."),
            rpc_server: seconds("rpc.server.call.duration", "Duration of an incoming remote procedure call."),
            rpc_client: seconds("rpc.client.call.duration", "Duration of an outgoing remote procedure call."),
            attempts: meter
                .u64_counter(names::ATTEMPTS)
                .with_unit("{attempt}")
                .with_description("Attempts that went on the wire.")
                .build(),
            refusals: meter
                .u64_counter("resilience.refusals")
                .with_unit("{refusal}")
                .with_description("Attempts and calls that a local rule refused.")
                .build(),
            in_flight: meter
                .i64_up_down_counter("resilience.calls.in_flight")
                .with_unit("{call}")
                .with_description("Calls that wait for their callee.")
                .build(),
            answering: meter
                .i64_up_down_counter("resilience.requests.in_flight")
                .with_unit("{request}")
                .with_description("Requests that this instance is answering.")
                .build()
                .bind(&[]),
            shed: meter
                .u64_counter("resilience.requests.shed")
                .with_unit("{request}")
                .with_description("Requests refused because the processor was busy.")
                .build(),
            transitions: meter
                .u64_counter("resilience.circuit_breaker.transitions")
                .with_unit("{transition}")
                .with_description("Changes of breakers' states.")
                .build(),
            messaging: Messaging::new(meter),
        }
    }
}
