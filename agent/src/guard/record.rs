//! One log record a request, for the routes where that is wanted.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::MatchedPath;
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;
use tonic::Code;

use super::caller::Caller;
use super::routes::Routes;
use crate::agent::Inner;
use crate::log::{self, Severity};
use crate::seldom::{Seldom, and_others};

/// Longest path that is written, in bytes.
const MOST_PATH: usize = 512;

/// Writes one log record a request, with its trace, for the routes that are named; for none by default.
///
/// A good answer is written as information, one that the caller is to blame for (4xx, `NOT_FOUND`…) as a warning, one of the
/// server's own as an error. Queries, headers and bodies are never written. However many requests there are, no more than
/// [`RequestLog::per_sec`] records are, and the next one says how many were left out.
///
/// ```
/// use fuseboard_agent::guard::RequestLog;
///
/// let log = RequestLog::default().route("/orders/*").sample(0.1).per_sec(20);
/// ```
#[derive(Debug, Clone)]
pub struct RequestLog {
    routes: Routes<()>,
    share: f64,
    per_sec: u32,
}

impl Default for RequestLog {
    fn default() -> Self {
        Self { routes: Routes::default(), share: 1.0, per_sec: 50 }
    }
}

impl RequestLog {
    /// Writes the requests of a path, or of all that begin with it (`/orders/*`), or of all (`*`).
    #[must_use]
    pub fn route(mut self, path: impl Into<String>) -> Self {
        self.routes.set(path, ());
        self
    }

    /// The share of good answers that is written, 0 to 1; 1 when not given. Others are always written.
    #[must_use]
    pub fn sample(mut self, share: f64) -> Self {
        self.share = share.clamp(0.0, 1.0);
        self
    }

    /// Most records a second; 50 when not given.
    #[must_use]
    pub fn per_sec(mut self, most: u32) -> Self {
        self.per_sec = most;
        self
    }
}

/// Where a server layer says which span is the request's.
#[derive(Clone, Default)]
pub(crate) struct SpanSlot(Arc<OnceLock<SpanContext>>);

impl SpanSlot {
    /// Tells whoever asked in the request's extensions.
    pub(crate) fn tell<B>(request: &Request<B>, span: impl FnOnce() -> SpanContext) {
        if let Some(slot) = request.extensions().get::<Self>() {
            let _ = slot.0.set(span());
        }
    }
}

/// A request log at work.
pub(super) struct Writer {
    settings: RequestLog,
    seldom: Seldom,
    agent: Arc<Inner>,
}

impl Writer {
    pub(super) fn new(settings: RequestLog, agent: Arc<Inner>) -> Self {
        Self { seldom: Seldom::new(settings.per_sec), settings, agent }
    }

    /// Begins the record of a request, if it gets one.
    pub(super) fn begin(self: &Arc<Self>, request: &mut Parts) -> Option<Recorder> {
        let route = request.extensions.get::<MatchedPath>().map(|route| route.as_str().to_owned());
        let path = request.uri.path();
        let asked = |path: &str| self.settings.routes.get(path).is_some();
        if !asked(path) && !route.as_deref().is_some_and(asked) {
            return None;
        }
        let (path, slot) = (shortened(path), SpanSlot::default());
        let method = request.method.clone();
        request.extensions.insert(slot.clone());
        let (writer, started) = (self.clone(), Instant::now());
        Some(Recorder {
            writer,
            slot,
            method,
            path,
            route,
            started,
            caller: None,
            answer: None,
            bytes: 0,
            complete: false,
        })
    }
}

fn shortened(path: &str) -> String {
    match path.char_indices().find(|(at, c)| at + c.len_utf8() > MOST_PATH) {
        Some((at, _)) => format!("{}…", path.get(..at).unwrap_or_default()),
        None => path.to_owned(),
    }
}

/// The record of one request. Dropped before it is complete, it says that the request was cancelled.
pub(super) struct Recorder {
    writer: Arc<Writer>,
    slot: SpanSlot,
    method: Method,
    path: String,
    route: Option<String>,
    started: Instant,
    pub(super) caller: Option<Caller>,
    answer: Option<Answer>,
    bytes: u64,
    complete: bool,
}

#[derive(Clone, Copy)]
enum Answer {
    Http(StatusCode),
    /// Without a code until the trailers have come.
    Grpc(Option<Code>),
}

impl Recorder {
    /// The head of the answer.
    pub(super) fn head(&mut self, status: StatusCode, headers: &HeaderMap, grpc: bool) {
        self.answer = Some(if grpc { Answer::Grpc(code(headers)) } else { Answer::Http(status) });
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if let (Some(Answer::Grpc(known)), Some(code)) = (&mut self.answer, code(trailers)) {
            *known = Some(code);
        }
    }

    /// The answer went out as a whole.
    pub(super) fn complete(mut self) {
        // The rest is done when it is dropped.
        self.complete = true;
    }

    fn write(&self) {
        let answer = self.answer.filter(|_| self.complete);
        let (severity, outcome) = match answer {
            None => (Severity::Warn, "cancelled".to_owned()),
            Some(Answer::Http(status)) => (of_status(status), status.as_u16().to_string()),
            Some(Answer::Grpc(code)) => {
                let code = code.unwrap_or(Code::Unknown);
                (of_code(code), crate::grpc::word(code).to_ascii_uppercase())
            }
        };
        let writer = &self.writer;
        if severity == Severity::Info && rand::random::<f64>() >= writer.settings.share {
            return;
        }
        let Some(skipped) = writer.seldom.pass() else { return };
        let took = self.started.elapsed();
        let text = format!("{} {} {outcome} in {}", self.method, self.path, milliseconds(took));
        let _entered = self.slot.0.get().map(|span| Context::new().with_remote_span_context(span.clone()).attach());
        let attributes = self.attributes(answer, took);
        log::event(&writer.agent, severity, "fuseboard.request", and_others(text, skipped), &attributes);
    }

    fn attributes(&self, answer: Option<Answer>, took: Duration) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("http.request.method", self.method.to_string()),
            KeyValue::new("url.path", self.path.clone()),
            KeyValue::new("duration_ms", took.as_secs_f64() * 1e3),
            KeyValue::new("http.response.body.size", i64::try_from(self.bytes).unwrap_or(i64::MAX)),
        ];
        attributes.extend(self.route.as_ref().map(|route| KeyValue::new("http.route", route.clone())));
        attributes.extend(self.caller.as_ref().map(|caller| KeyValue::new("caller", caller.to_string())));
        match answer {
            Some(Answer::Http(status)) => attributes.push(crate::http::status_attribute(status)),
            Some(Answer::Grpc(code)) => attributes.push(crate::grpc::status_attribute(code.unwrap_or(Code::Unknown))),
            None => {}
        }
        attributes
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.write();
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

fn of_status(status: StatusCode) -> Severity {
    match status.as_u16() {
        500.. => Severity::Error,
        400.. => Severity::Warn,
        _ => Severity::Info,
    }
}

fn of_code(code: Code) -> Severity {
    match code {
        Code::Ok => Severity::Info,
        code if crate::grpc::is_server_error(code) => Severity::Error,
        _ => Severity::Warn,
    }
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1e3)
}
