//! HTTP, both sides: a small client, a layer for any client that is a tower service, a layer for servers.

mod client;
mod layer;
mod line;
mod server;

use std::time::Duration;

use fuseboard_policy::names;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use opentelemetry::KeyValue;

pub use self::client::{HttpClient, HttpError, HttpRequest, HttpResponse};
pub use self::layer::{HttpClientLayer, HttpClientService, LayerError, Route};
pub use self::server::{HttpServer, HttpServerLayer};
pub use crate::body::ReplayBody;
use crate::call::{Ended, LiveAttempt};
use crate::propagation::inject;
use crate::timeout;

/// A header by which the application says that a request may be repeated.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Methods that may be done twice (RFC 9110, 9.2.2), and requests that say so.
pub(crate) fn is_idempotent(method: &Method, headers: &HeaderMap) -> bool {
    method.is_idempotent() || headers.contains_key(IDEMPOTENCY_KEY)
}

/// Writes the attempt's ids, number and what is left into a request's headers.
pub(crate) fn write_headers(attempt: &LiveAttempt, headers: &mut HeaderMap) {
    inject(&attempt.span_context(), headers);
    if let Some(left) = attempt.left() {
        headers.insert(const { HeaderName::from_static(names::TIMEOUT_HEADER) }, timeout::header(left));
    }
    headers.insert(const { HeaderName::from_static(names::ATTEMPT_HEADER) }, HeaderValue::from(attempt.number()));
}

/// The end of an attempt that was answered.
pub(crate) fn answered(status: StatusCode, headers: &HeaderMap) -> Ended {
    let code = if status.as_u16() < 400 { "ok".to_owned() } else { status.as_str().to_owned() };
    let mut ended = Ended::with(code);
    ended.attributes.push(status_attribute(status));
    let after = headers.get(http::header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
    ended.retry_after = after.map(Duration::from_secs);
    ended
}

pub(crate) fn status_attribute(status: StatusCode) -> KeyValue {
    KeyValue::new("http.response.status_code", i64::from(status.as_u16()))
}

/// The method as the conventions want it: unknown ones are `_OTHER`.
pub(crate) fn method_attribute(method: &Method) -> KeyValue {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];
    let method = known.into_iter().find(|m| *m == method.as_str()).unwrap_or("_OTHER");
    KeyValue::new("http.request.method", method)
}
