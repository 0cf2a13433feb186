//! Who may knock, and for what.
//!
//! Every route has a [`Deed`]; the [`Identity`] says who asks, and the caller's role whether they may. Where nobody is asked
//! who they are, only programs of this machine may knock, and no web page in a browser on it: a page of another site can send
//! requests to loopback addresses, and by rebinding its own name to 127.0.0.1 even read the replies. The browser then sends
//! the page's name as `Host` or `Origin`: only loopback names are let in. (No page can send a token that it does not have.)

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};
use fuseboard_api::ask::Refusal;
use fuseboard_api::identity::Deed;

use super::Door;
use super::codec::{Codecs, outcome};
use crate::control::refusal::bad_request;
use crate::identity::{Identity, neighbour_of, rpc_code};

/// A route to read at.
pub(super) fn reads<T: 'static>(door: &Door, deed: Deed, handler: impl Handler<T, Door>) -> MethodRouter<Door> {
    get(handler).layer(from_fn_with_state((door.identity.clone(), deed), admit))
}

/// A route that takes a body.
pub(super) fn takes<T: 'static>(door: &Door, deed: Deed, handler: impl Handler<T, Door>) -> MethodRouter<Door> {
    post(handler).layer(from_fn_with_state((door.identity.clone(), deed), admit))
}

/// Where nothing is: that, too, is told only to those who may ask.
pub(super) fn nothing<T: 'static>(door: &Door, deed: Deed, handler: impl Handler<T, Door>) -> MethodRouter<Door> {
    any(handler).layer(from_fn_with_state((door.identity.clone(), deed), admit))
}

/// Lets in who may do the deed; the handler finds the [caller](crate::identity::Caller) among the request's extensions.
pub(super) async fn admit(
    State((identity, deed)): State<(Arc<Identity>, Deed)>,
    mut request: Request,
    next: Next,
) -> Response {
    let from = neighbour_of(request.extensions());
    let (caller, refusal) = match identity.admit(request.headers(), request.extensions()).await {
        Ok(caller) => match caller.may(deed) {
            Ok(()) => {
                request.extensions_mut().insert(caller);
                return next.run(request).await;
            }
            Err(refusal) => (Some(caller), refusal),
        },
        Err(refusal) => (None, refusal),
    };
    // Questions are sent by POST, too.
    if request.method() == Method::POST && !matches!(deed, Deed::Read | Deed::Send | Deed::Steer) {
        let what = request.uri().path().to_owned();
        identity.note_refused(caller.as_ref(), from, &what, &refusal).await;
    }
    refused(request.headers(), refusal)
}

/// A refusal in the words of who asks: gRPC's or HTTP's.
fn refused(headers: &HeaderMap, refusal: Refusal) -> Response {
    if headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc")) {
        return rpc(&refusal).into_http();
    }
    outcome::<()>(Codecs::of(headers).wanted, Err(refusal))
}

/// A refusal as gRPC tells it.
fn rpc(refusal: &Refusal) -> tonic::Status {
    tonic::Status::new(rpc_code(refusal), refusal.message.clone())
}

/// Where nobody is asked who they are: lets in what speaks to a loopback name and comes from no foreign page.
pub(super) async fn loopback_only(State(identity): State<Arc<Identity>>, request: Request, next: Next) -> Response {
    match foreign(request.headers(), request.uri()) {
        Some(name) if !identity.required() => {
            let said = format!("{name:?} is not a name of this machine's loopback; use 127.0.0.1, [::1] or localhost");
            outcome::<()>(Codecs::of(request.headers()).wanted, Err(bad_request(said)))
        }
        _ => next.run(request).await,
    }
}

/// The name in a request that is not one of the loopback.
fn foreign(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let text = |name| headers.get(name).map(|v| v.to_str().unwrap_or("?").to_owned());
    // HTTP/2 has the name in the URI.
    let host = text(HOST).or_else(|| uri.authority().map(|a| a.as_str().to_owned()));
    match (host, text(ORIGIN)) {
        (Some(host), _) if !is_loopback(&host) => Some(host),
        (_, Some(origin)) if !is_loopback(origin.split_once("://").map_or(origin.as_str(), |(_, name)| name)) => {
            Some(origin)
        }
        _ => None,
    }
}

/// Whether an authority (`name`, `name:port`, `[address]:port`) names the loopback.
fn is_loopback(authority: &str) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_loopback_names_pass() {
        for name in ["localhost", "LOCALHOST:4390", "127.0.0.1:4390", "127.1.2.3", "[::1]:4390", "[::1]"] {
            assert!(is_loopback(name), "{name}");
        }
        for name in [
            "evil.example",
            "evil.example:4390",
            "localhost.evil.example",
            "192.168.0.1",
            "[2001:db8::1]:1",
            "",
            "null",
        ] {
            assert!(!is_loopback(name), "{name}");
        }
    }
}
