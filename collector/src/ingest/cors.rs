//! Web pages that send: those of this machine may, others when they are named in the settings.
//!
//! A page of another site could otherwise fill the store from any visitor's browser, since a browser sends simple requests
//! to loopback addresses without asking first.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::Door;

const PRIVATE_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_ALLOWED: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Answers browsers that ask first, and tells pages that may not send so.
pub(super) async fn pages(State(door): State<Door>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.as_ref().is_some_and(|origin| may_send(origin, &door.limits.origins));
    let asks = request.method() == Method::OPTIONS && origin.is_some();
    let mut response = match &origin {
        Some(_) if asks => preflight(request.headers(), allowed),
        Some(origin) if !allowed => refused(origin),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    if let Some(origin) = origin.filter(|_| allowed) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

fn refused(origin: &HeaderValue) -> Response {
    let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
    let said = format!("pages of {origin:?} may not send here; start the collector with --cors-origin to let them");
    (StatusCode::FORBIDDEN, said).into_response()
}

fn preflight(asked: &HeaderMap, allowed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
        if let Some(wanted) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        if asked.contains_key(PRIVATE_ASKED) {
            headers.insert(PRIVATE_ALLOWED, HeaderValue::from_static("true"));
        }
    }
    response
}

fn may_send(origin: &HeaderValue, more: &[String]) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    is_local(origin) || more.iter().any(|one| one == "*" || one.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

fn is_local(origin: &str) -> bool {
    let Some((_, host)) = origin.split_once("://") else { return false };
    let name = match host.strip_prefix("[::1]") {
        Some(_) => "[::1]",
        None => host.split(':').next().unwrap_or_default(),
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]") || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine_and_named_ones_may_send() {
        let more = ["https://shop.example/".to_owned()];
        let may = |origin: &'static str, more: &[String]| may_send(&HeaderValue::from_static(origin), more);
        for origin in [
            "http://localhost:5173",
            "https://127.0.0.1",
            "http://[::1]:3000",
            "http://app.localhost",
            "https://Shop.example",
        ] {
            assert!(may(origin, &more), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "http://localhost.evil.example",
            "null",
            "https://shop.example.evil",
            "http://shop.example",
        ] {
            assert!(!may(origin, &more), "{origin}");
            assert!(may(origin, &["*".to_owned()]), "{origin}");
        }
    }
}
