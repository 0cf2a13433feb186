//! Services for the tests: agents, and a gRPC service that does what a test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fuseboard_agent::Agent;
use fuseboard_agent::grpc::GrpcClient;
use fuseboard_agent::tls::ServerTls;
use futures_util::future::BoxFuture;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::collector::Collector;

/// A unary method that is at hand: that of OTLP. Here it charges cards.
pub(crate) const CHARGE: &str = "opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// An agent that tells a collector.
pub(crate) async fn agent(service: &str, collector: &Collector, policy: &str) -> Agent {
    Agent::builder(service)
        .instance(format!("{service}-1"))
        .otlp(collector.url())
        .default_policy_toml(policy)
        .start()
        .await
        .unwrap()
}

/// What a [`Charger`] answers.
pub(crate) type Answer = BoxFuture<'static, Result<(), Status>>;

/// A gRPC service behind an agent's server layer.
pub(crate) struct Charger {
    pub(crate) address: SocketAddr,
    pub(crate) calls: Arc<AtomicUsize>,
}

impl Charger {
    /// Starts one that answers as told; the closure is given the number of the request, from 1.
    pub(crate) async fn start(
        agent: &Agent,
        answer: impl Fn(usize, MetadataMap) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (charger, service, listener) = Self::listen(answer).await;
        let server = Server::builder().layer(agent.grpc_server()).add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        charger
    }

    /// Starts one over TLS.
    pub(crate) async fn start_tls(
        agent: &Agent,
        tls: &ServerTls,
        answer: impl Fn(usize, MetadataMap) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (charger, service, listener) = Self::listen(answer).await;
        let incoming = agent.grpc_tls_incoming(listener, tls).unwrap();
        let server = Server::builder().layer(agent.grpc_server()).add_service(service);
        tokio::spawn(server.serve_with_incoming(incoming));
        charger
    }

    /// Starts one that knows no agent, on a server that was set up already.
    pub(crate) async fn serve(
        mut server: Server,
        answer: impl Fn(usize, MetadataMap) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let (charger, service, listener) = Self::listen(answer).await;
        tokio::spawn(server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        charger
    }

    async fn listen(
        answer: impl Fn(usize, MetadataMap) -> Answer + Send + Sync + 'static,
    ) -> (Self, TraceServiceServer<Charging>, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::new(AtomicUsize::new(0));
        let service = Charging { calls: calls.clone(), answer: Box::new(answer) };
        (Self { address, calls }, TraceServiceServer::new(service), listener)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

struct Charging {
    calls: Arc<AtomicUsize>,
    answer: Box<dyn Fn(usize, MetadataMap) -> Answer + Send + Sync>,
}

#[tonic::async_trait]
impl TraceService for Charging {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        (self.answer)(number, request.metadata().clone()).await.map(|()| Response::new(Default::default()))
    }
}

/// Makes one call.
pub(crate) async fn charge(client: &GrpcClient) -> Result<(), Status> {
    TraceServiceClient::new(client.clone()).export(ExportTraceServiceRequest::default()).await.map(|_| ())
}

/// A client for some instances of payments.
pub(crate) fn payments(agent: &Agent, instances: &[&Charger]) -> GrpcClient {
    let addresses: Vec<String> = instances.iter().map(|c| c.address.to_string()).collect();
    agent.grpc_client("payments", &addresses).unwrap()
}

/// Sends its word when it is dropped.
pub(crate) struct OnDrop(pub(crate) Option<tokio::sync::oneshot::Sender<()>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            let _ = tell.send(());
        }
    }
}
