//! The echo: one answer over three protocols without any layer around them, to compare what the protocols themselves cost.
//! `cargo bench -p fuseboard-demo --bench protocols` does.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use axum::routing::post;
use axum::{Json, Router};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tarpc::server::{BaseChannel, Channel as _};
use tarpc::tokio_serde::formats::Bincode;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// What goes there and comes back: an order as the shop's front end would post it.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct EchoOrder {
    /// Number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Who ordered.
    #[prost(string, tag = "2")]
    pub customer: String,
    /// What.
    #[prost(message, repeated, tag = "3")]
    pub lines: Vec<EchoLine>,
    /// A word for whoever packs it.
    #[prost(string, tag = "4")]
    pub note: String,
}

/// A line of an order.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
pub struct EchoLine {
    /// Stock-keeping unit.
    #[prost(string, tag = "1")]
    pub sku: String,
    /// Pieces.
    #[prost(uint32, tag = "2")]
    pub count: u32,
    /// Price of a piece, in cents.
    #[prost(uint64, tag = "3")]
    pub cents: u64,
}

impl EchoOrder {
    /// An order of five lines; 360 bytes as JSON.
    #[must_use]
    pub fn sample() -> Self {
        let line = |n: u32| EchoLine { sku: format!("SKU-{:06}", n * 7_919), count: n + 1, cents: 1_299 };
        Self {
            id: 81_172_635,
            customer: "c0ffee00-1234-4abc-9def-0123456789ab".to_owned(),
            lines: (0..5).map(line).collect(),
            note: "Please leave it with the neighbour on the second floor.".to_owned(),
        }
    }
}

/// The echo over tarpc.
#[tarpc::service]
pub trait Echo {
    /// Answers what it was told.
    async fn echo(order: EchoOrder) -> EchoOrder;
}

/// Path of the echo's gRPC method.
pub const GRPC_METHOD: &str = "/shop.v1.Echo/Echo";

/// Answers everybody what they said.
#[derive(Debug, Clone, Copy)]
struct Parrot;

impl Echo for Parrot {
    async fn echo(self, _: tarpc::context::Context, order: EchoOrder) -> EchoOrder {
        order
    }
}

impl NamedService for Parrot {
    const NAME: &'static str = "shop.v1.Echo";
}

impl UnaryService<EchoOrder> for Parrot {
    type Response = EchoOrder;
    type Future = std::future::Ready<Result<Response<EchoOrder>, Status>>;

    fn call(&mut self, request: Request<EchoOrder>) -> Self::Future {
        std::future::ready(Ok(Response::new(request.into_inner())))
    }
}

impl Service<http::Request<Body>> for Parrot {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async { Ok(Grpc::new(ProstCodec::<EchoOrder, EchoOrder>::default()).unary(Parrot, request).await) })
    }
}

/// Where the echo answers.
#[derive(Debug, Clone, Copy)]
pub struct EchoAddresses {
    /// tarpc over TCP with bincode.
    pub tarpc: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// HTTP/1.1 with JSON: `POST /echo`.
    pub http: SocketAddr,
}

/// Serves the echo on free ports of loopback until the runtime ends.
///
/// # Errors
/// A port cannot be had.
pub async fn serve_echo() -> std::io::Result<EchoAddresses> {
    let free = || TcpListener::bind("127.0.0.1:0");
    let (tarpc, grpc, http) = (free().await?, free().await?, free().await?);
    let addresses = EchoAddresses { tarpc: tarpc.local_addr()?, grpc: grpc.local_addr()?, http: http.local_addr()? };
    tokio::spawn(serve_tarpc(tarpc));
    let incoming = TcpIncoming::from(grpc).with_nodelay(Some(true));
    tokio::spawn(Server::builder().add_service(Parrot).serve_with_incoming(incoming));
    let router = Router::new().route("/echo", post(async |Json(order): Json<EchoOrder>| Json(order)));
    let http = axum::serve::ListenerExt::tap_io(http, |stream| {
        // Only slower without it.
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(axum::serve(http, router).into_future());
    Ok(addresses)
}

async fn serve_tarpc(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        // Only slower without it.
        let _ = stream.set_nodelay(true);
        let framed = tarpc::tokio_util::codec::LengthDelimitedCodec::builder().new_framed(stream);
        let transport = tarpc::serde_transport::new(framed, Bincode::default());
        tokio::spawn(BaseChannel::with_defaults(transport).execute(Parrot.serve()).for_each(async |answer| {
            tokio::spawn(answer);
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_as_long_as_it_is_said_to_be() {
        assert_eq!(serde_json::to_string(&EchoOrder::sample()).unwrap().len(), 360);
    }
}
