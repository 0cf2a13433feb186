//! A tonic service with the agent around it, and a client of it. The service is one whose code is at hand: that of OTLP itself,
//! which counts the spans that it is sent.
//!
//! ```sh
//! cargo run -p fuseboard-agent --example tonic
//! ```
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` and `FUSEBOARD_CONTROL` say where the collector is.

use std::error::Error;

use fuseboard_agent::guard::{Limits, RequestLog};
use fuseboard_agent::{Agent, stop_signal};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let agent = Agent::start("counter").await?;
    let listener = TcpListener::bind("127.0.0.1:50051").await?;
    serve(&agent, listener, stop_signal()).await?;
    agent.shutdown().await;
    Ok(())
}

/// Serves until `stop` ends; makes one call of its own.
pub(crate) async fn serve(
    agent: &Agent,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    let mut counter = TraceServiceClient::new(agent.grpc_client("counter", [listener.local_addr()?.to_string()])?);
    let limits = Limits::default().rate_per_caller(1000, 1000).in_flight_per_caller(64);
    let layer = agent.grpc_server().with_limits(limits).with_log(RequestLog::default().route("*"));
    let server = Server::builder().layer(layer).add_service(TraceServiceServer::new(Counter));
    let server = server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop);
    let call = async move {
        match counter.export(ExportTraceServiceRequest::default()).await {
            Ok(_) => println!("counted"),
            Err(status) => println!("not counted: {status}"),
        }
    };
    Ok(tokio::join!(server, call).0?)
}

struct Counter;

#[tonic::async_trait]
impl TraceService for Counter {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        println!("{} resources", request.into_inner().resource_spans.len());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
