//! Who may knock: there is no login yet, so only programs of this machine may, and no web page in a browser on it.
//!
//! A page of another site can send requests to loopback addresses, and by rebinding its own name to 127.0.0.1 even read
//! the replies. The browser then sends the page's name as `Host` or `Origin`: only loopback names are let in.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::Response;

use super::codec::{Codecs, outcome};
use crate::control::refusal::bad_request;

/// Lets in what speaks to a loopback name and comes from no foreign page.
pub(super) async fn loopback_only(request: Request, next: Next) -> Response {
    match foreign(request.headers(), request.uri()) {
        None => next.run(request).await,
        Some(name) => {
            let said = format!("{name:?} is not a name of this machine's loopback; use 127.0.0.1, [::1] or localhost");
            outcome::<()>(Codecs::of(request.headers()).wanted, Err(bad_request(said)))
        }
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
