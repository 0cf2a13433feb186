//! Telemetry in: OTLP over gRPC and HTTP in protobuf and JSON, and Zipkin's spans, decoded once into typed rows and handed
//! to the store.
//!
//! A request is acknowledged after what it brought is durable. Records that make no sense are refused by name and the rest
//! is stored; a store that cannot keep up, or whose disk is full, makes senders wait and try again.

mod body;
mod complaints;
mod cors;
mod decode;
mod fault;
mod grpc;
mod http;
pub(crate) mod json;
mod packing;
mod partial;
mod payload;
mod prepare;
mod room;
mod scope;
mod zipkin;

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use self::complaints::Complaints;
pub use self::grpc::grpc;
pub use self::http::http;
use self::partial::Partial;
pub use self::prepare::{Prepared, Taken, Telemetry};
use self::room::Hall;
pub use self::zipkin::zipkin;
use crate::identity::Identity;
use crate::limits::Limits;
pub use crate::otlp::Refused;
use crate::otlp::read::Malformed;
use crate::redact::{Counts, Redactor};
use crate::store::{Store, StoreError, Vitals};

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

/// What all doors share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Door {
    store: Store,
    vitals: Arc<Vitals>,
    /// What must not be stored; `None` costs nothing.
    redactor: Option<Arc<Redactor>>,
    limits: Arc<Limits>,
    hall: Hall,
    complaints: Arc<Complaints>,
    /// Who is asked for a token; nobody where there is none.
    identity: Option<Arc<Identity>>,
}

impl Door {
    /// Doors to a store, within limits.
    #[must_use]
    pub fn new(store: Store, redactor: Option<Arc<Redactor>>, limits: Limits) -> Self {
        let hall = Hall::new(limits.pending, limits.request);
        let vitals = store.vitals().clone();
        Self { store, vitals, redactor, limits: Arc::new(limits), hall, complaints: Arc::default(), identity: None }
    }

    /// The same, for those whom `identity` lets in.
    pub(crate) fn for_known(mut self, identity: Arc<Identity>) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Redacts and decodes a request. Nothing is made of it before, no sentence either.
    fn traces(&self, mut request: ExportTraceServiceRequest) -> decode::Decoded {
        self.redact(&mut request, Redactor::traces);
        decode::traces(request)
    }

    /// Decodes a request as it came. Only where something may have to be redacted is it taken apart first.
    fn encoded_traces(&self, bytes: Bytes) -> Result<decode::Decoded, Malformed> {
        if self.concerns(&bytes) {
            return Ok(self.traces(ExportTraceServiceRequest::decode(bytes)?));
        }
        decode::encoded_traces(bytes)
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

    /// Whether a request in protobuf may hold what must not be stored.
    fn concerns(&self, request: &[u8]) -> bool {
        self.redactor.as_ref().is_some_and(|redactor| redactor.may_concern(request))
    }

    /// See [`Door::encoded_traces`].
    fn encoded_metrics(&self, bytes: Bytes) -> Result<decode::Decoded, prost::DecodeError> {
        let concerns = self.concerns(&bytes);
        let request = ExportMetricsServiceRequest::decode(bytes)?;
        Ok(if concerns { self.metrics(request) } else { decode::metrics(request) })
    }

    /// See [`Door::encoded_traces`].
    fn encoded_logs(&self, bytes: Bytes) -> Result<decode::Decoded, prost::DecodeError> {
        let concerns = self.concerns(&bytes);
        let request = ExportLogsServiceRequest::decode(bytes)?;
        Ok(if concerns { self.logs(request) } else { decode::logs(request) })
    }

    /// Stores what was decoded.
    async fn take(&self, signal: Signal, decoded: decode::Decoded) -> Result<Partial, StoreError> {
        let rejected = decoded.refused.count();
        let message = decoded.refused.sentence(signal.record());
        self.vitals.count_rejected(rejected);
        if rejected > 0 {
            self.complaints.add(signal, &decoded.refused);
        }
        if !decoded.batch.is_empty() {
            let stored = self.store.append(decoded.batch).await?;
            self.vitals.count_received(stored.stored);
        }
        Ok(Partial { rejected: i64::try_from(rejected).unwrap_or(i64::MAX), message })
    }
}
