//! Requests of the service.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fuseboard_agent::proxy::is_grpc;
use http::header::{HOST, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use tokio_util::task::TaskTracker;

use super::listener::Handler;
use super::upgrade;
use crate::answer::{Own, Reply};
use crate::headers;
use crate::metrics::Ending;
use crate::target::{Targets, Upstream, choose};

/// Passes requests to upstreams.
#[derive(Debug)]
pub(crate) struct ToUpstream {
    /// The one that all go to; by host and path where none is named.
    pub(crate) only: Option<String>,
    pub(crate) targets: Arc<ArcSwap<Targets>>,
    /// All connections.
    pub(crate) open: TaskTracker,
}

impl Handler for ToUpstream {
    async fn handle(self: Arc<Self>, mut request: Request<Incoming>, _: SocketAddr) -> Response<Reply> {
        let grpc = is_grpc(request.headers());
        let upstream = match self.upstream(&mut request) {
            Ok(upstream) => upstream,
            Err(own) => return own.answer(grpc).map(Reply::Own),
        };
        let entry = upstream.books.begin();
        let version = request.version();
        let upgrade = upgrade::Pending::of(&mut request);
        headers::end_to_end(request.headers_mut(), upgrade.is_some());
        headers::via(request.headers_mut(), version);
        let (parts, body) = request.into_parts();
        let about = upstream.about(&parts, grpc);
        match upstream.client.call(Request::from_parts(parts, body), about).await {
            Ok(mut answer) => {
                let failed = answer.status().is_server_error();
                entry.end(if failed { Ending::Failed } else { Ending::Fine });
                let through = answer.version();
                upgrade::settle(upgrade, &mut answer, &self.open);
                headers::via(answer.headers_mut(), through);
                answer.map(Reply::Called)
            }
            Err(error) => {
                let own = Own::failed(&error);
                entry.end(own.ending());
                own.answer(grpc).map(Reply::Own)
            }
        }
    }
}

impl ToUpstream {
    /// Whom a request is for. Its `host` header says so from here on.
    fn upstream(&self, request: &mut Request<Incoming>) -> Result<Arc<Upstream>, Own> {
        let wrong = |status, code, cause: String| Err(Own::new(status, code, "route", "", cause));
        if request.method() == Method::CONNECT {
            let cause =
                "CONNECT is not spoken here: a tunnel would pass by every policy; send plain requests".to_owned();
            return wrong(StatusCode::NOT_IMPLEMENTED, 12, cause);
        }
        let named = authority(request);
        let all = &self.targets.load().upstreams;
        if let Some(only) = &self.only {
            // The listener's own address says nothing to the upstream.
            request.headers_mut().remove(HOST);
            if let Some((authority, host)) = named
                && !is_local(&authority)
            {
                request.headers_mut().insert(HOST, host);
            }
            let upstream = all.iter().find(|upstream| **upstream.client.service() == **only);
            let gone = || Own::new(StatusCode::SERVICE_UNAVAILABLE, 14, "route", only, "it is not configured any more");
            return upstream.cloned().ok_or_else(gone);
        }
        let Some((authority, host)) = named else {
            return wrong(StatusCode::BAD_REQUEST, 3, "the request names no host".to_owned());
        };
        match choose(all, &authority, request.uri().path()) {
            Some(upstream) => {
                request.headers_mut().insert(HOST, host);
                Ok(upstream.clone())
            }
            None => {
                let cause = format!("no [[upstream]] has the host `{authority}` and this path; add it to its `hosts`");
                wrong(StatusCode::NOT_FOUND, 12, cause)
            }
        }
    }
}

/// The host that a request names: in its URI, else in its header.
pub(super) fn authority<B>(request: &Request<B>) -> Option<(Authority, HeaderValue)> {
    if let Some(authority) = request.uri().authority() {
        return Some((authority.clone(), HeaderValue::try_from(authority.as_str()).ok()?));
    }
    let host = request.headers().get(HOST)?;
    Some((Authority::try_from(host.as_bytes()).ok()?, host.clone()))
}

/// Whether a host is this machine as the service sees it.
fn is_local(authority: &Authority) -> bool {
    matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]" | "0.0.0.0")
}
