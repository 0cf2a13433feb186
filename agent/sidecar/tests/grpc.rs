//! gRPC through the sidecar: unary, streams both ways, trailers, refusals.

use std::time::Duration;

use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::rig::{nobody, sidecar, soon, to};

/// Says back each word as it comes; `bye` ends with a status of its own.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl StreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = ReceiverStream<Result<String, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        Box::pin(async move {
            let mut words = request.into_inner();
            let (tx, rx) = mpsc::channel(4);
            tokio::spawn(async move {
                while let Ok(Some(word)) = words.message().await {
                    let last = word == "bye";
                    let said = if last { Err(Status::data_loss("gone")) } else { Ok(word) };
                    if tx.send(said).await.is_err() || last {
                        return;
                    }
                }
            });
            Ok(Response::new(ReceiverStream::new(rx)))
        })
    }
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async { Ok(Grpc::new(ProstCodec::default()).streaming(Echo, request).await) })
    }
}

async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(Server::builder().add_service(Echo).serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

/// A stream of words there and back.
async fn talk(url: String) -> Result<(mpsc::Sender<String>, Streaming<String>), Status> {
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let (tx, rx) = mpsc::channel(4);
    let path = PathAndQuery::from_static("/test.Echo/Talk");
    let request = Request::new(ReceiverStream::new(rx));
    let answer = client.streaming(request, path, ProstCodec::<String, String>::default()).await?;
    Ok((tx, answer.into_inner()))
}

#[tokio::test]
async fn words_pass_both_ways_as_they_are_said_and_the_status_comes_in_trailers() {
    let address = echo().await;
    let inbound = format!("[[inbound]]\nlisten = \"127.0.0.1:0\"\nto = \"{address}\"\n");
    // A retry policy keeps what passes, and must not wait for it.
    let policy = "[[edge]]\nservice = \"bank\"\nretry = { max_attempts = 2, on = [\"unavailable\"] }\n";
    let beside = sidecar(&format!("{inbound}{}", to(&[address], "")), policy).await;
    for url in [beside.inbound(""), beside.outbound("")] {
        let (say, mut heard) = soon(talk(url)).await.unwrap();
        for word in ["one", "two"] {
            say.send(word.to_owned()).await.unwrap();
            assert_eq!(soon(heard.message()).await.unwrap().as_deref(), Some(word), "before the next is said");
        }
        say.send("bye".to_owned()).await.unwrap();
        let status = soon(heard.message()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::DataLoss, "gone"));
    }
}

#[tokio::test]
async fn a_refusal_is_a_grpc_status() {
    let gone = nobody().await;
    let beside = sidecar(&to(&[gone], ""), "").await;
    let status = soon(talk(beside.outbound(""))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("bank"), "{status:?}");
    assert_eq!(status.metadata().get("x-fuseboard-refused-by").unwrap(), "unreachable");
}

#[tokio::test]
async fn a_stream_beyond_its_time_is_cut() {
    let policy = "[[edge]]\nservice = \"bank\"\ntimeout = { attempt_ms = 200 }\n";
    let beside = sidecar(&to(&[echo().await], ""), policy).await;
    let (say, mut heard) = soon(talk(beside.outbound(""))).await.unwrap();
    say.send("one".to_owned()).await.unwrap();
    assert_eq!(soon(heard.message()).await.unwrap().as_deref(), Some("one"));
    let cut = tokio::time::timeout(Duration::from_secs(20), heard.message()).await.unwrap();
    cut.unwrap_err();
}
