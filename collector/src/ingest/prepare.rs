//! Telemetry that did not come over OTLP's doors: read from a file, or said in another protocol.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message as _;

use super::Refused;
use super::decode::{self, Decoded};
use super::{Signal, Store, StoreError};
use crate::redact::Redactor;
use crate::store::rows::Appended;

/// One request, however it came.
#[derive(Debug, Clone, PartialEq)]
pub enum Telemetry {
    /// Spans.
    Traces(ExportTraceServiceRequest),
    /// Log records.
    Logs(ExportLogsServiceRequest),
    /// Metric points.
    Metrics(ExportMetricsServiceRequest),
}

impl Telemetry {
    /// Which kind it is.
    #[must_use]
    pub fn signal(&self) -> Signal {
        match self {
            Self::Traces(_) => Signal::Traces,
            Self::Logs(_) => Signal::Logs,
            Self::Metrics(_) => Signal::Metrics,
        }
    }

    /// Where OTLP over HTTP takes it.
    #[must_use]
    pub fn path(&self) -> &'static str {
        match self {
            Self::Traces(_) => "/v1/traces",
            Self::Logs(_) => "/v1/logs",
            Self::Metrics(_) => "/v1/metrics",
        }
    }

    /// How many records a collector refused, and why, as its answer in protobuf says.
    ///
    /// # Errors
    /// When the answer is no OTLP.
    pub fn rejected(answer: &[u8]) -> Result<(u64, String), prost::DecodeError> {
        // The answers for all three kinds have the same fields.
        let partial = ExportTraceServiceResponse::decode(answer)?.partial_success.unwrap_or_default();
        Ok((u64::try_from(partial.rejected_spans).unwrap_or(0), partial.error_message))
    }

    /// The request as OTLP in protobuf.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Traces(request) => request.encode_to_vec(),
            Self::Logs(request) => request.encode_to_vec(),
            Self::Metrics(request) => request.encode_to_vec(),
        }
    }

    /// Redacts and checks every record and makes it ready to be stored; work for a thread that may be busy for a while.
    #[must_use]
    pub fn prepare(mut self, redactor: Option<&Redactor>) -> Prepared {
        let signal = self.signal();
        if let Some(redactor) = redactor {
            match &mut self {
                Self::Traces(request) => redactor.traces(request),
                Self::Logs(request) => redactor.logs(request),
                Self::Metrics(request) => redactor.metrics(request),
            };
        }
        let decoded = match self {
            Self::Traces(request) => decode::traces(request),
            Self::Logs(request) => decode::logs(request),
            Self::Metrics(request) => decode::metrics(request),
        };
        Prepared { signal, decoded }
    }
}

/// A request whose records are checked.
#[derive(Debug)]
pub struct Prepared {
    signal: Signal,
    decoded: Decoded,
}

/// What became of a request.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// What was stored, and what had been before.
    pub appended: Appended,
    /// What made no sense.
    pub refused: Refused,
}

impl Prepared {
    /// Which kind it is.
    #[must_use]
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// About how many bytes wait to be stored.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.decoded.batch.bytes
    }

    /// Stores what can be stored; returns once it is durable.
    ///
    /// # Errors
    /// Why the store would not have it; then nothing of it is stored.
    pub async fn store(self, store: &Store) -> Result<Taken, StoreError> {
        let Decoded { batch, refused } = self.decoded;
        let appended = if batch.is_empty() { Appended::default() } else { store.append(batch).await? };
        Ok(Taken { appended, refused })
    }
}
