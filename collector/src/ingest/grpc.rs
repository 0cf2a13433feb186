//! OTLP over gRPC.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use super::{Door, MAX_REQUEST, Partial, RETRY_AFTER, Signal, decode};
use crate::redact::Redactor;
use crate::store::{Store, StoreError, Vitals};

/// The three OTLP services, with gzip and the recommended size limit; for a tonic server.
#[must_use]
pub fn grpc(store: Store, vitals: Arc<Vitals>, redactor: Option<Arc<Redactor>>) -> Routes {
    let door = Door { store, vitals, redactor };
    macro_rules! service {
        ($server:ident) => {
            $server::new(door.clone())
                .accept_compressed(Gzip)
                .send_compressed(Gzip)
                .max_decoding_message_size(MAX_REQUEST)
        };
    }
    let routes = Routes::new(service!(TraceServiceServer))
        .add_service(service!(MetricsServiceServer))
        .add_service(service!(LogsServiceServer));
    Routes::from(routes.into_axum_router().layer(axum::middleware::map_response(too_large_for_good)))
}

/// A message beyond the size limit is out of range to the RPC library, which to OTLP means "try again". Sent again it would
/// be as large: OTLP wants it refused as exhausting a resource, without a time to retry.
async fn too_large_for_good(mut response: axum::response::Response) -> axum::response::Response {
    if let Some(code) = response.headers_mut().get_mut(Status::GRPC_STATUS)
        && *code == (Code::OutOfRange as i32).to_string().as_str()
    {
        *code = http::HeaderValue::from(Code::ResourceExhausted as i32);
    }
    response
}

/// `google.rpc.Status`, as gRPC puts it into its details header and OTLP/HTTP into its error bodies.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

/// Says when to try again.
pub(super) fn retry_info() -> Detail {
    let delay = Delay { seconds: RETRY_AFTER as i64 };
    Detail {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".into(),
        value: RetryInfo { delay: Some(delay) }.encode_to_vec(),
    }
}

/// What a sender is told when the store did not take its records.
pub(super) fn refusal(error: &StoreError) -> RpcStatus {
    let message = error.to_string();
    match error {
        e if e.may_pass() => RpcStatus { code: Code::Unavailable as i32, message, details: vec![retry_info()] },
        StoreError::ReadOnly => RpcStatus { code: Code::FailedPrecondition as i32, message, details: vec![] },
        _ => RpcStatus { code: Code::Internal as i32, message, details: vec![] },
    }
}

fn status(error: &StoreError) -> Status {
    let refusal = refusal(error);
    Status::with_details(Code::from(refusal.code), refusal.message.clone(), refusal.encode_to_vec().into())
}

impl Door {
    async fn answer(&self, signal: Signal, decoded: decode::Decoded) -> Result<Option<Partial>, Status> {
        let partial = self.take(signal, decoded).await.map_err(|e| status(&e))?;
        Ok((partial != Partial::default()).then_some(partial))
    }
}

#[tonic::async_trait]
impl TraceService for Door {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let partial = self.answer(Signal::Traces, self.traces(request.into_inner())).await?;
        let partial_success =
            partial.map(|p| ExportTracePartialSuccess { rejected_spans: p.rejected, error_message: p.message });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl MetricsService for Door {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let partial = self.answer(Signal::Metrics, self.metrics(request.into_inner())).await?;
        let partial_success =
            partial.map(|p| ExportMetricsPartialSuccess { rejected_data_points: p.rejected, error_message: p.message });
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl LogsService for Door {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let partial = self.answer(Signal::Logs, self.logs(request.into_inner())).await?;
        let partial_success =
            partial.map(|p| ExportLogsPartialSuccess { rejected_log_records: p.rejected, error_message: p.message });
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}
