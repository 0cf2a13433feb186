//! What a sender is told of a request that was stored: all of it, or what was refused.

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceResponse};
use prost::Message as _;
use serde_json::json;

use super::Signal;

/// What was refused of a request that was otherwise stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Partial {
    pub(super) rejected: i64,
    pub(super) message: String,
}

impl Partial {
    fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// The signal's response in protobuf; empty when all was stored.
    pub(super) fn encode(&self, signal: Signal) -> Vec<u8> {
        if self.is_whole() {
            return Vec::new();
        }
        let (rejected, error_message) = (self.rejected, self.message.clone());
        match signal {
            Signal::Traces => {
                let partial_success = Some(ExportTracePartialSuccess { rejected_spans: rejected, error_message });
                ExportTraceServiceResponse { partial_success }.encode_to_vec()
            }
            Signal::Metrics => {
                let partial_success =
                    Some(ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message });
                ExportMetricsServiceResponse { partial_success }.encode_to_vec()
            }
            Signal::Logs => {
                let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records: rejected, error_message });
                ExportLogsServiceResponse { partial_success }.encode_to_vec()
            }
        }
    }

    /// The same in JSON: 64-bit numbers are text there.
    pub(super) fn json(&self, signal: Signal) -> serde_json::Value {
        let count = match signal {
            Signal::Traces => "rejectedSpans",
            Signal::Metrics => "rejectedDataPoints",
            Signal::Logs => "rejectedLogRecords",
        };
        if self.is_whole() {
            json!({})
        } else {
            json!({"partialSuccess": {count: self.rejected.to_string(), "errorMessage": self.message}})
        }
    }
}
