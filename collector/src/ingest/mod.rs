//! OTLP in: gRPC and HTTP, protobuf and JSON, decoded once into typed rows and handed to the store.
//!
//! A request is acknowledged after what it brought is durable. Records that make no sense are refused by name and the rest
//! is stored; a store that cannot keep up, or whose disk is full, makes senders wait and try again.

mod decode;
mod facts;
mod grpc;
mod http;
pub(crate) mod json;
mod prepare;

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use crate::redact::{Counts, Redactor};
use crate::store::{Store, StoreError, Vitals};

pub use self::grpc::grpc;
pub use self::http::http;
pub use self::prepare::{Prepared, Taken, Telemetry};
pub use crate::otlp::Refused;

/// The largest request taken, in bytes after decompression: OTLP's recommended limit.
pub const MAX_REQUEST: usize = 64 * 1024 * 1024;

/// How long a sender should wait before it tries again, in seconds.
const RETRY_AFTER: u64 = 1;

/// The three kinds of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metric points.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    /// What one record of it is called in sentences.
    #[must_use]
    pub fn record(self) -> &'static str {
        match self {
            Self::Traces => "span",
            Self::Metrics => "data point",
            Self::Logs => "log record",
        }
    }
}

/// What both doors need.
#[derive(Debug, Clone)]
struct Door {
    store: Store,
    vitals: Arc<Vitals>,
    /// What must not be stored; `None` costs nothing.
    redactor: Option<Arc<Redactor>>,
}

/// What was refused of a request that was otherwise stored.
#[derive(Debug, Default, PartialEq, Eq)]
struct Partial {
    rejected: i64,
    message: String,
}

impl Door {
    /// Redacts and decodes a request. Nothing is made of it before, no sentence either.
    fn traces(&self, mut request: ExportTraceServiceRequest) -> decode::Decoded {
        self.redact(&mut request, Redactor::traces);
        decode::traces(request)
    }

    /// See [`Door::traces`].
    fn metrics(&self, mut request: ExportMetricsServiceRequest) -> decode::Decoded {
        self.redact(&mut request, Redactor::metrics);
        decode::metrics(request)
    }

    /// See [`Door::traces`].
    fn logs(&self, mut request: ExportLogsServiceRequest) -> decode::Decoded {
        self.redact(&mut request, Redactor::logs);
        decode::logs(request)
    }

    fn redact<R>(&self, request: &mut R, with: impl Fn(&Redactor, &mut R) -> Counts) {
        if let Some(redactor) = &self.redactor {
            self.vitals.count_redactions(&with(redactor, request).0);
        }
    }

    /// Stores what was decoded.
    async fn take(&self, signal: Signal, decoded: decode::Decoded) -> Result<Partial, StoreError> {
        let rejected = decoded.refused.count();
        let message = decoded.refused.sentence(signal.record());
        self.vitals.count_rejected(rejected);
        if !message.is_empty() {
            tracing::warn!("{message}");
        }
        if !decoded.batch.origins.is_empty() {
            let stored = self.store.append(decoded.batch).await.inspect_err(|_| self.vitals.count_refused_request())?;
            self.vitals.count_received(stored.stored);
        }
        Ok(Partial { rejected: i64::try_from(rejected).unwrap_or(i64::MAX), message })
    }
}
