//! Requests with replies: calls of an RPC.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, HeaderMap, Message, Request, RequestError};
use bytes::Bytes;
use fuseboard_policy::deadline::format_timeout;
use fuseboard_policy::names::{ATTEMPT_HEADER, TIMEOUT_HEADER};
use opentelemetry::KeyValue;

use super::is_connected;
use crate::agent::Inner;
use crate::call::{Ended, LiveAttempt, LiveCall, NoPlace, Protocol, Read, Refusal, Target, Transport, drive};
use crate::propagation::{Headers as _, inject};

/// By which services of NATS say that they failed.
const SERVICE_ERROR: &str = "Nats-Service-Error-Code";

/// Asks a service and waits for its replies; see [`crate::Agent::nats_client`].
#[derive(Clone)]
pub struct NatsClient {
    agent: Arc<Inner>,
    client: Client,
    service: Arc<str>,
    idempotent: bool,
}

impl std::fmt::Debug for NatsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsClient").field("service", &self.service).finish_non_exhaustive()
    }
}

/// A request without a reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NatsRequestError {
    /// A local rule refused: nothing was sent.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It never left.
    #[error("the client is not connected: it connects again by itself")]
    NotConnected,
    /// Nobody replied in time.
    #[error("nobody replied in time")]
    TimedOut,
    /// The client or the server said no; nobody listening is one of its kinds.
    #[error("there is no reply: {0}")]
    Failed(RequestError),
}

impl NatsClient {
    pub(super) fn new(agent: &Arc<Inner>, client: &Client, service: &str) -> Self {
        Self { agent: agent.clone(), client: client.clone(), service: service.into(), idempotent: false }
    }

    /// Says that its requests may be made twice.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Asks; the subject is the operation. A reply with `Nats-Service-Error-Code` is a reply, and counts by its code as one over
    /// HTTP would.
    ///
    /// # Errors
    /// A rule refused, or there is no reply.
    pub async fn request(&self, subject: &str, payload: Bytes) -> Result<Message, NatsRequestError> {
        self.request_with_headers(subject, HeaderMap::new(), payload).await
    }

    /// Asks with headers.
    ///
    /// # Errors
    /// A rule refused, or there is no reply.
    pub async fn request_with_headers(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Message, NatsRequestError> {
        let target = Target {
            protocol: Protocol::Nats,
            service: self.service.clone(),
            operation: subject.into(),
            idempotent: self.idempotent,
            replayable: true,
            limit: None,
            members: None,
            attributes: vec![KeyValue::new("rpc.system.name", "nats"), KeyValue::new("rpc.method", subject.to_owned())],
            details: Vec::new(),
        };
        let asking = Asking { client: &self.client, subject, headers, payload };
        drive(&asking, LiveCall::begin(&self.agent, target), b"").await
    }
}

struct Asking<'a> {
    client: &'a Client,
    subject: &'a str,
    headers: HeaderMap,
    payload: Bytes,
}

impl Transport for Asking<'_> {
    type Request = Request;
    type Got = Result<Message, NatsRequestError>;
    type Answer = Message;
    type Error = NatsRequestError;

    async fn request(&self, attempt: &mut LiveAttempt) -> Result<Request, NoPlace> {
        let mut headers = self.headers.clone();
        inject(&attempt.span_context(), &mut headers);
        let left = attempt.left();
        if let Some(left) = left {
            headers.set_header(TIMEOUT_HEADER, format_timeout(left));
        }
        headers.set_header(ATTEMPT_HEADER, attempt.number().to_string());
        let request = Request::new().headers(headers).payload(self.payload.clone());
        // Where a rule limits it, the client's own limit must not come first.
        Ok(match left {
            Some(left) => request.timeout(Some(left + Duration::from_secs(1))),
            None => request,
        })
    }

    async fn send(&self, request: Request) -> Self::Got {
        if !is_connected(self.client) {
            return Err(NatsRequestError::NotConnected);
        }
        self.client.send_request(self.subject.to_owned(), request).await.map_err(NatsRequestError::Failed)
    }

    fn read(&self, _: &LiveAttempt, got: Self::Got) -> Read<Message, NatsRequestError> {
        let ended = match &got {
            Ok(reply) => reply_of(reply),
            Err(NatsRequestError::NotConnected) => Ended::no_connection(),
            Err(NatsRequestError::Failed(error)) => match error.kind() {
                RequestErrorKind::TimedOut => Ended::timed_out(),
                // The server says that nobody has it.
                RequestErrorKind::NoResponders => Ended { never_sent: true, ..Ended::with("unavailable") },
                RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                    Ended::with("invalid_argument")
                }
                RequestErrorKind::Other => Ended::with("reset"),
            },
            Err(_) => Ended::with("unavailable"),
        };
        Read::Ended(ended, got)
    }

    fn late(&self) -> NatsRequestError {
        NatsRequestError::TimedOut
    }
}

fn reply_of(reply: &Message) -> Ended {
    let code = reply.headers.as_ref().and_then(|headers| headers.get(SERVICE_ERROR));
    Ended::with(code.map_or_else(|| "ok".to_owned(), |code| code.as_str().trim().to_owned()))
}
