//! Requests for the service.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fuseboard_agent::proxy::{ProxyServer, RequestBody, WireError, is_grpc};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::TaskTracker;

use super::listener::Handler;
use super::{outbound::authority, upgrade};
use crate::answer::{Own, Plain, Reply};
use crate::headers;
use crate::metrics::Ending;
use crate::target::{Local, Targets};

/// Passes requests to the service.
#[derive(Debug)]
pub(crate) struct ToService {
    /// The service's name, for answers in its place.
    pub(crate) name: String,
    /// Of its own listener.
    pub(crate) scheme: &'static str,
    pub(crate) proxy: ProxyServer,
    pub(crate) targets: Arc<ArcSwap<Targets>>,
    /// Which of the targets' locals it is.
    pub(crate) at: usize,
    /// All connections.
    pub(crate) open: TaskTracker,
}

impl Handler for ToService {
    async fn handle(self: Arc<Self>, mut request: Request<Incoming>, from: SocketAddr) -> Response<Reply> {
        let Some(local) = self.targets.load().locals.get(self.at).cloned() else {
            let cause = "it is not configured any more";
            let own = Own::new(StatusCode::SERVICE_UNAVAILABLE, 14, "route", &self.name, cause);
            return own.answer(is_grpc(request.headers())).map(Reply::Own);
        };
        let entry = local.books.begin();
        let grpc = is_grpc(request.headers());
        let mut serving = self.proxy.begin(&request, local.templates.find(request.uri().path()));
        let turn = match serving.admit().map_err(|cause| self.shed(cause)).and_then(|()| self.turn(&local)) {
            Ok(turn) => turn,
            Err(own) => {
                entry.end(own.ending());
                return serving.refused(own.rule(), own.answer(grpc).map(Plain::Own)).map(Reply::Served);
            }
        };
        let upgrade = upgrade::Pending::of(&mut request);
        prepare(&mut request, from, self.scheme, upgrade.is_some());
        serving.write_headers(request.headers_mut());
        // Pinned, because each future that it is moved into is larger by all of it.
        let sending = pin!(local.peer.clone().pass(request.map(RequestBody::once)));
        let unreachable = |error: WireError| Own::unreachable(&self.name, &error);
        let sent = match serving.deadline() {
            Some(at) => match tokio::time::timeout_at(at, sending).await {
                Ok(sent) => sent.map_err(unreachable),
                Err(_) => Err(self.late()),
            },
            None => sending.await.map_err(unreachable),
        };
        drop(turn);
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

fn prepare(request: &mut Request<Incoming>, from: SocketAddr, scheme: &'static str, upgrade: bool) {
    let version = request.version();
    if let Some((_, host)) = authority(request) {
        request.headers_mut().insert(http::header::HOST, host);
    }
    let headers = request.headers_mut();
    headers::end_to_end(headers, upgrade);
    headers::forwarded(headers, from.ip(), scheme);
    headers::via(headers, version);
}

impl ToService {
    fn turn(&self, local: &Local) -> Result<Option<OwnedSemaphorePermit>, Own> {
        let Some(turns) = &local.turns else { return Ok(None) };
        let cause = "it answers as many requests as it may at a time";
        let full = || Own::new(StatusCode::SERVICE_UNAVAILABLE, 8, "limit", &self.name, cause).again();
        turns.clone().try_acquire_owned().map(Some).map_err(|_| full())
    }

    fn shed(&self, cause: String) -> Own {
        Own::new(StatusCode::SERVICE_UNAVAILABLE, 14, "shed", &self.name, cause).again()
    }

    fn late(&self) -> Own {
        let cause = "it did not answer before the caller's deadline";
        Own::new(StatusCode::GATEWAY_TIMEOUT, 4, "timeout", &self.name, cause)
    }
}
