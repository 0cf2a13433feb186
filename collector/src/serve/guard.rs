//! Who may knock, and for what.
//!
//! Every route has a [`Deed`]; the [`Identity`] says who asks, and the caller's role whether they may. Where nobody is asked
//! who they are, only programs of this machine may knock, and no web page in a browser on it: a page of another site can send
//! requests to loopback addresses, and by rebinding its own name to 127.0.0.1 even read the replies. The browser then sends
//! the page's name as `Host` or `Origin`: only loopback names are let in. (No page can send a token that it does not have.) Over
//! TLS a browser may show a certificate for any page: there only our own pages are let in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};
use fuseboard_api::ask::Refusal;
use fuseboard_api::identity::Deed;
use fuseboard_tls::Peer;

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

/// Lets in what speaks to a name of ours and comes from no foreign page.
pub(super) async fn no_strangers(State(identity): State<Arc<Identity>>, request: Request, next: Next) -> Response {
    let (headers, uri) = (request.headers(), request.uri());
    let said = if Peer::of(request.extensions()).is_some_and(Peer::is_secure) {
        foreign_page(headers, uri).map(|page| format!("pages of {page:?} may not ask here"))
    } else {
        foreign(headers, uri)
            .filter(|_| !identity.required())
            .map(|name| format!("{name:?} is not a name of this machine's loopback; use 127.0.0.1, [::1] or localhost"))
    };
    match said {
        None => next.run(request).await,
        Some(said) => outcome::<()>(Codecs::of(headers).wanted, Err(bad_request(said))),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|v| v.to_str().unwrap_or("?").to_owned())
}

/// The name that is spoken to.
fn host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    // HTTP/2 has the name in the URI.
    text(headers, HOST).or_else(|| uri.authority().map(|a| a.as_str().to_owned()))
}

/// The page in a request over TLS, where it is none of ours. Its name needs no look: the browser has compared it with our
/// certificate, so that nobody can have rebound a name of theirs.
fn foreign_page(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let (origin, host) = (text(headers, ORIGIN)?, host(headers, uri));
    let own = origin.strip_prefix("https://").zip(host).is_some_and(|(page, host)| page.eq_ignore_ascii_case(&host));
    (!own).then_some(origin)
}

/// The name in a plain request that is not one of the loopback.
fn foreign(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    match (host(headers, uri), text(headers, ORIGIN)) {
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
