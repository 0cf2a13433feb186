//! Servers that end an HTTP/2 connection while requests go on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use crate::rig::{sidecar, soon, to};

const HTTP2: &str = "version = \"http2\"";

/// A server whose connections can be told to end.
#[derive(Clone, Default)]
struct Host {
    connections: Arc<AtomicUsize>,
    /// How often they were told.
    told: Arc<watch::Sender<usize>>,
    asked: Arc<Notify>,
    release: Arc<Notify>,
}

impl Host {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let host = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                host.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(host.clone().serve(stream));
            }
        });
        address
    }

    async fn serve(self, stream: tokio::net::TcpStream) {
        let mut told = self.told.subscribe();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let host = self.clone();
            async move {
                if request.uri().path() == "/slow" {
                    host.asked.notify_one();
                    host.release.notified().await;
                }
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"fine"))))
            }
        });
        let mut connection =
            std::pin::pin!(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = told.changed() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

#[tokio::test]
async fn requests_move_to_another_connection_and_the_one_under_way_is_answered() {
    let host = Host::default();
    let beside = sidecar(&to(&[host.start().await], HTTP2), "").await;
    let slow = tokio::spawn(reqwest::get(beside.outbound("/slow")));
    soon(host.asked.notified()).await;
    host.told.send_modify(|times| *times += 1);
    // Until the server's word has come, requests go on over the old connection; none may fail.
    soon(async {
        while host.connections.load(Ordering::SeqCst) < 2 {
            assert_eq!(reqwest::get(beside.outbound("/")).await.unwrap().text().await.unwrap(), "fine");
        }
    })
    .await;
    host.release.notify_one();
    assert_eq!(soon(slow).await.unwrap().unwrap().text().await.unwrap(), "fine");
    assert_eq!(host.connections.load(Ordering::SeqCst), 2);
}

/// A server that refuses its first request unseen.
async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut first = true;
        while let Some(Ok((_, mut answer))) = connection.accept().await {
            if std::mem::take(&mut first) {
                answer.send_reset(h2::Reason::REFUSED_STREAM);
                continue;
            }
            let mut body = answer.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"fine"), true).unwrap();
        }
    });
    address
}

/// Only that makes another try harmless where a request is not idempotent.
#[tokio::test]
async fn what_a_server_refuses_unseen_is_sent_again() {
    let refused = refusing().await;
    let policy = "[[edge]]\nservice = \"bank\"\nretry = { max_attempts = 2, on = [\"connect\"] }\n";
    let beside = sidecar(&to(&[refused], HTTP2), policy).await;
    let answer = soon(reqwest::Client::new().post(beside.outbound("/")).send()).await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "fine");
}
