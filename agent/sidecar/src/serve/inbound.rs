//! Requests for the service.

use std::net::SocketAddr;
use std::sync::Arc;

use fuseboard_agent::proxy::{ProxyServer, RequestBody, WireError, is_grpc};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use tokio_util::task::TaskTracker;

use super::listener::Handler;
use super::{outbound::authority, upgrade};
use crate::answer::{Own, Plain, Reply};
use crate::headers;
use crate::metrics::Ending;
use crate::target::Local;
use crate::wire::WireBody;

/// Passes requests to the service.
#[derive(Debug)]
pub(crate) struct ToService {
    /// The service's name, for answers in its place.
    pub(crate) name: String,
    pub(crate) proxy: ProxyServer,
    pub(crate) local: Arc<Local>,
    /// All connections.
    pub(crate) open: TaskTracker,
}

impl Handler for ToService {
    async fn handle(self: Arc<Self>, mut request: Request<Incoming>, from: SocketAddr) -> Response<Reply> {
        let entry = self.local.books.begin();
        let grpc = is_grpc(request.headers());
        let serving = self.proxy.begin(&request, self.local.templates.find(request.uri().path()));
        let upgrade = upgrade::Pending::of(&mut request);
        self.prepare(&mut request, from, upgrade.is_some());
        serving.write_headers(request.headers_mut());
        let sending = self.send(request);
        let sent = match serving.deadline() {
            Some(at) => tokio::time::timeout_at(at, sending).await.unwrap_or_else(|_| Err(self.late())),
            None => sending.await,
        };
        let (ending, answer) = match sent {
            Ok(answer) => {
                let failed = answer.status().is_server_error();
                (if failed { Ending::Failed } else { Ending::Fine }, answer.map(Plain::Wire))
            }
            Err(own) => (own.ending(), own.answer(grpc).map(Plain::Own)),
        };
        entry.end(ending);
        let mut answer = serving.answered(answer);
        upgrade::settle(upgrade, &mut answer, &self.open);
        answer.map(Reply::Served)
    }
}

impl ToService {
    fn prepare(&self, request: &mut Request<Incoming>, from: SocketAddr, upgrade: bool) {
        let version = request.version();
        if let Some(host) = authority(request) {
            request.headers_mut().insert(http::header::HOST, host.1);
        }
        let headers = request.headers_mut();
        headers::end_to_end(headers, upgrade);
        headers::forwarded(headers, from.ip(), "http");
        headers::via(headers, version);
    }

    async fn send(&self, request: Request<Incoming>) -> Result<Response<WireBody>, Own> {
        let _turn = match &self.local.turns {
            Some(turns) => Some(turns.try_acquire().map_err(|_| self.full())?),
            None => None,
        };
        let sent = self.local.peer.clone().pass(request.map(RequestBody::once)).await;
        sent.map_err(|error: WireError| Own::unreachable(&self.name, &error))
    }

    fn full(&self) -> Own {
        let cause = "it answers as many requests as it may at a time";
        Own::new(StatusCode::SERVICE_UNAVAILABLE, 8, "limit", &self.name, cause).again()
    }

    fn late(&self) -> Own {
        let cause = "it did not answer before the caller's deadline";
        Own::new(StatusCode::GATEWAY_TIMEOUT, 4, "timeout", &self.name, cause)
    }
}
