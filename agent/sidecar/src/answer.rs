//! Answers: those that pass through, and those of the sidecar's own.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use fuseboard_agent::Refusal;
use fuseboard_agent::policy::codes;
use fuseboard_agent::proxy::{AnswerBody, BoxError, ProxyError, ServingBody, WireError};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use serde::Serialize;

use crate::metrics::Ending;
use crate::wire::WireBody;

/// Says which rule refused a request: that of a policy, or `shed`, `unreachable`, `timeout`, `limit`, `route`.
const REFUSED_BY: HeaderName = HeaderName::from_static("x-fuseboard-refused-by");

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The sidecar's own words.
    Own(Full<Bytes>),
    /// From the service, or its own words in the service's place.
    Served(ServingBody<Plain>),
    /// From an upstream.
    Called(AnswerBody<WireBody>),
}

/// A body without an end to tell.
#[derive(Debug)]
pub(crate) enum Plain {
    /// The sidecar's own words.
    Own(Full<Bytes>),
    /// From the service.
    Wire(WireBody),
}

/// Polls whichever body it is, its errors in boxes.
macro_rules! either {
    ($name:ident: $($variant:ident),+) => {
        impl Body for $name {
            type Data = Bytes;
            type Error = BoxError;

            fn poll_frame(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
                match &mut *self {
                    $(Self::$variant(body) => Pin::new(body).poll_frame(cx).map_err(BoxError::from)),+
                }
            }

            fn is_end_stream(&self) -> bool {
                match self {
                    $(Self::$variant(body) => body.is_end_stream()),+
                }
            }

            fn size_hint(&self) -> SizeHint {
                match self {
                    $(Self::$variant(body) => body.size_hint()),+
                }
            }
        }
    };
}

either!(Reply: Own, Served, Called);
either!(Plain: Own, Wire);

/// Why the sidecar answers itself.
#[derive(Debug)]
pub(crate) struct Own {
    status: StatusCode,
    /// gRPC's number for it.
    code: u8,
    rule: &'static str,
    service: String,
    operation: Option<String>,
    cause: String,
    retry_after: Option<u32>,
}

/// Its form in a body.
#[derive(Serialize)]
struct Words<'a> {
    error: &'static str,
    service: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    cause: &'a str,
}

impl Own {
    /// An answer with a status, gRPC's code for it, the rule behind it and the service that it is about.
    pub(crate) fn new(
        status: StatusCode,
        code: u8,
        rule: &'static str,
        service: &str,
        cause: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            rule,
            service: service.to_owned(),
            operation: None,
            cause: cause.into(),
            retry_after: None,
        }
    }

    /// What became of a call.
    pub(crate) fn failed(error: &ProxyError) -> Self {
        match error {
            ProxyError::Refused(refusal) => Self::refused(refusal),
            ProxyError::TimedOut(service) => {
                let cause = "it did not answer in time";
                Self::new(StatusCode::GATEWAY_TIMEOUT, 4, "timeout", service, cause)
            }
            ProxyError::Unreachable { service, error } => Self::unreachable(service, error),
            other => Self::new(StatusCode::BAD_GATEWAY, 14, "unreachable", "", other.to_string()),
        }
    }

    /// The wire gave no answer.
    pub(crate) fn unreachable(service: &str, error: &WireError) -> Self {
        let cause = chain(error);
        match error {
            WireError::NotSent(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, 14, "unreachable", service, cause).again()
            }
            WireError::Broken(_) => Self::new(StatusCode::BAD_GATEWAY, 14, "unreachable", service, cause),
        }
    }

    fn refused(refusal: &Refusal) -> Self {
        let status = match refusal.rule {
            "rate" => StatusCode::TOO_MANY_REQUESTS,
            "deadline" => StatusCode::GATEWAY_TIMEOUT,
            "fault" | "fallback" => http_status(&refusal.code),
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let own = Self::new(status, grpc_code(&refusal.code), refusal.rule, &refusal.service, refusal.cause.clone());
        // A deadline does not come back; faults and fallbacks are no state of the callee's.
        let again = !matches!(refusal.rule, "deadline" | "fault" | "fallback");
        Self { operation: Some(refusal.operation.to_string()), retry_after: again.then_some(1), ..own }
    }

    /// With advice to come back in a second.
    pub(crate) fn again(self) -> Self {
        Self { retry_after: Some(1), ..self }
    }

    /// The rule behind it.
    pub(crate) fn rule(&self) -> &'static str {
        self.rule
    }

    /// How it counts.
    pub(crate) fn ending(&self) -> Ending {
        match self.rule {
            "unreachable" => Ending::Unreachable,
            "timeout" => Ending::Late,
            _ => Ending::Refused,
        }
    }

    /// As the one who asked understands it: JSON, or a gRPC answer of headers alone.
    pub(crate) fn answer(&self, grpc: bool) -> Response<Full<Bytes>> {
        let mut answer = if grpc { self.in_grpc() } else { self.in_json() };
        answer.headers_mut().insert(REFUSED_BY, HeaderValue::from_static(self.rule));
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }

    fn in_json(&self) -> Response<Full<Bytes>> {
        let operation = self.operation.as_deref();
        let words = Words { error: self.rule, service: &self.service, operation, cause: &self.cause };
        let text = serde_json::to_vec(&words).unwrap_or_default();
        let mut answer = Response::new(Full::from(text));
        *answer.status_mut() = self.status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }

    fn in_grpc(&self) -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::default());
        let message = match self.service.as_str() {
            "" => self.cause.clone(),
            service => format!("{service}: {}: {}", self.rule, self.cause),
        };
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(u16::from(self.code)));
        if let Ok(message) = HeaderValue::try_from(percent(&message)) {
            headers.insert("grpc-message", message);
        }
        answer
    }
}

/// An error and what is behind it, outermost first, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        next = error.source();
    }
    said
}

/// gRPC's encoding of messages: everything but printable ASCII, and the percent sign itself.
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// The HTTP status for a code in the policy's words, which may be a status itself.
fn http_status(word: &str) -> StatusCode {
    StatusCode::from_u16(codes::to_http(word)).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// gRPC's number for a code in the policy's words, or for an HTTP status.
fn grpc_code(word: &str) -> u8 {
    (0_u8..).zip(codes::GRPC_STATUSES).find(|(_, name)| *name == word).map_or(14, |(code, _)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_answer_is_its_headers_alone() {
        let own = Own::new(StatusCode::SERVICE_UNAVAILABLE, 14, "unreachable", "bank", "100 % gone\n");
        let answer = own.answer(true);
        assert_eq!((answer.status(), &answer.headers()["grpc-status"]), (StatusCode::OK, &"14".parse().unwrap()));
        assert_eq!(answer.headers()["grpc-message"], "bank: unreachable: 100 %25 gone%0A");
        assert_eq!(answer.headers()["x-fuseboard-refused-by"], "unreachable");
        assert!(answer.body().is_end_stream());
    }

    #[test]
    fn codes_have_numbers_in_both_protocols() {
        assert_eq!((http_status("not_found"), http_status("418")), (StatusCode::NOT_FOUND, StatusCode::IM_A_TEAPOT));
        assert_eq!(http_status("unavailable"), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((grpc_code("ok"), grpc_code("unauthenticated"), grpc_code("503")), (0, 16, 14));
    }
}
