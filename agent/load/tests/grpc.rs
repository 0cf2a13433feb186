//! gRPC calls against a tonic server, plain and over TLS.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fuseboard_load::{GrpcRequest, LoadPlan, Pace, Report, run};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

const PROTO: &str = r#"
    syntax = "proto3";
    package till.v1;
    message Sale { string item = 1; uint32 count = 2; }
    message Receipt { uint32 total = 1; }
    service Till { rpc Sell(Sale) returns (Receipt); rpc Stock(stream Sale) returns (Receipt); }
"#;

#[derive(Clone, PartialEq, prost::Message)]
struct Sale {
    #[prost(string, tag = "1")]
    item: String,
    #[prost(uint32, tag = "2")]
    count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Receipt {
    #[prost(uint32, tag = "1")]
    total: u32,
}

/// Sells up to nine cups at once.
#[derive(Clone, Copy)]
struct Till;

impl NamedService for Till {
    const NAME: &'static str = "till.v1.Till";
}

impl UnaryService<Sale> for Till {
    type Response = Receipt;
    type Future = BoxFuture<Response<Receipt>, Status>;

    fn call(&mut self, request: Request<Sale>) -> Self::Future {
        let sale = request.into_inner();
        Box::pin(async move {
            match (sale.item.as_str(), sale.count) {
                ("cup", 1..=9) => Ok(Response::new(Receipt { total: sale.count * 4 })),
                ("cup", _) => Err(Status::resource_exhausted("not that many")),
                _ => Err(Status::not_found("only cups")),
            }
        })
    }
}

impl Service<http::Request<Body>> for Till {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let till = *self;
        Box::pin(async move { Ok(Grpc::new(ProstCodec::<Receipt, Sale>::default()).unary(till, request).await) })
    }
}

async fn till() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(Till).serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(async move { server.await.unwrap() });
    format!("grpc://{address}/till.v1.Till/Sell")
}

/// 20 calls in 0.1 s, two at once on each of two connections.
fn small(url: String, folder: &tempfile::TempDir, body: &str) -> LoadPlan {
    let proto = folder.path().join("till.proto");
    std::fs::write(&proto, PROTO).unwrap();
    LoadPlan {
        grpc: GrpcRequest { proto: Some(proto), include: Vec::new() },
        body: body.as_bytes().to_vec(),
        pace: Pace::steady(200.0),
        duration: Duration::from_millis(100),
        connections: 2,
        streams: 2,
        thresholds: Some("p99<10s,errors<=0%".parse().unwrap()),
        ..LoadPlan::new(url)
    }
}

async fn go(plan: &LoadPlan) -> Report {
    run(plan, CancellationToken::new()).await.unwrap()
}

#[tokio::test]
async fn a_call_is_made_from_json_and_its_status_is_read() {
    let (url, folder) = (till().await, tempfile::tempdir().unwrap());
    let sold = go(&small(url.clone(), &folder, r#"{"item": "cup", "count": 3}"#)).await;
    assert_eq!((sold.ok, sold.passed), (20, true), "{sold}");
    let refused = go(&small(url.clone(), &folder, r#"{"item": "cup", "count": 10}"#)).await;
    assert_eq!(refused.errors["grpc_resource_exhausted"], 20);
    let empty = go(&small(url, &folder, "")).await;
    assert_eq!(empty.errors["grpc_not_found"], 20, "no body is an empty message");
}

#[tokio::test]
async fn an_encoded_message_needs_no_proto_file() {
    let (url, folder) = (till().await, tempfile::tempdir().unwrap());
    let body = prost::Message::encode_to_vec(&Sale { item: "cup".into(), count: 1 });
    let plan = LoadPlan { grpc: GrpcRequest::default(), body, ..small(url, &folder, "") };
    assert_eq!(go(&plan).await.ok, 20);
}

#[tokio::test]
async fn what_the_proto_file_does_not_have_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = async |path: &str, body: &str| {
        let plan = small(format!("grpc://127.0.0.1:9/{path}"), &folder, body);
        run(&plan, CancellationToken::new()).await.unwrap_err().to_string()
    };
    assert!(refused("till.v1.Shop/Sell", "").await.contains("it has till.v1.Till"));
    assert!(refused("till.v1.Till/Buy", "").await.contains("Sell, Stock"));
    assert!(refused("till.v1.Till/Stock", "").await.contains("stream"));
    assert!(refused("", "").await.contains("PACKAGE.SERVICE/METHOD"));
    assert!(refused("till.v1.Till/Sell", r#"{"price": 3}"#).await.contains("price"));
    let gone = GrpcRequest { proto: Some(PathBuf::from("/nowhere.proto")), include: Vec::new() };
    let plan = LoadPlan { grpc: gone, ..LoadPlan::new("grpc://127.0.0.1:9/a.B/C") };
    assert!(run(&plan, CancellationToken::new()).await.unwrap_err().to_string().contains("/nowhere.proto"));
}

#[tokio::test]
async fn over_tls_the_certificate_must_be_trusted() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key.into()).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (streams, incoming) = tokio::sync::mpsc::channel::<Result<TlsStream<TcpStream>, std::io::Error>>(4);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                streams.send(Ok(stream)).await.unwrap();
            }
        }
    });
    let incoming = tokio_stream::wrappers::ReceiverStream::new(incoming);
    tokio::spawn(async move { Server::builder().add_service(Till).serve_with_incoming(incoming).await.unwrap() });

    let folder = tempfile::tempdir().unwrap();
    let url = format!("grpcs://localhost:{port}/till.v1.Till/Sell");
    let plan = small(url, &folder, r#"{"item": "cup", "count": 3}"#);
    let stranger = go(&plan).await;
    assert_eq!(stranger.errors["tls"], 20, "{stranger}");
    let pem = folder.path().join("ca.pem");
    std::fs::write(&pem, own.cert.pem()).unwrap();
    let trusted = go(&LoadPlan { roots: Some(pem), ..plan }).await;
    assert_eq!(trusted.ok, 20, "{trusted}");
}
