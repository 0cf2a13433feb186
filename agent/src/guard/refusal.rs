//! A refusal of a request, in the words of HTTP and of gRPC.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use tonic::{Code, Status};

/// Why a request is not answered by its handler. Its text goes to the caller: it holds nothing secret.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// `auth`, `rate`, `concurrency`, `headers`, `body` or `body_timeout`.
    pub(crate) rule: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) code: Code,
    pub(crate) text: String,
    /// When to come again.
    pub(crate) retry_after: Option<Duration>,
    /// How to say who one is.
    pub(crate) challenge: Option<String>,
}

impl Refused {
    pub(crate) fn new(rule: &'static str, status: StatusCode, code: Code, text: impl Into<String>) -> Self {
        Self { rule, status, code, text: text.into(), retry_after: None, challenge: None }
    }

    pub(crate) fn again_in(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The answer: its head, and its body as text. gRPC says everything in its head.
    pub(crate) fn answer(&self, grpc: bool) -> (Response<()>, Bytes) {
        let (mut answer, body) = if grpc { self.grpc() } else { self.http() };
        if let Some(value) = self.challenge.as_ref().and_then(|text| HeaderValue::try_from(text).ok()) {
            answer.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds: a shorter wait is rounded up.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            if grpc {
                let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                answer.headers_mut().insert(HeaderName::from_static("grpc-retry-pushback-ms"), HeaderValue::from(ms));
            }
        }
        (answer, body)
    }

    fn grpc(&self) -> (Response<()>, Bytes) {
        (Status::new(self.code, self.text.clone()).into_http::<()>(), Bytes::new())
    }

    fn http(&self) -> (Response<()>, Bytes) {
        let mut answer = Response::new(());
        *answer.status_mut() = self.status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        (answer, Bytes::from(format!("{}\n", self.text)))
    }
}

/// Whether a request is one of gRPC.
pub(crate) fn is_grpc<B>(request: &http::Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}
