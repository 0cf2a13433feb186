//! HTTP as the registries speak it: small JSON requests, and answers that go on.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::DiscoveryError;
use crate::tls::{Alpn, Connector, Dialer};

/// Largest answer that is read, in bytes.
pub(super) const MOST_ANSWER: usize = 8 * 1024 * 1024;
const CONNECT: Duration = Duration::from_secs(2);

/// A client of registries.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client<Connector, Full<Bytes>>,
}

impl Http {
    /// With the TLS settings of a dialer.
    pub(super) fn new(dialer: &Dialer) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(dialer.connector(Alpn::Http1, CONNECT));
        Self { client }
    }

    /// The head of an answer, within a limit; the body is still to come.
    pub(super) async fn open(
        &self,
        at: &str,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, DiscoveryError> {
        let answer = tokio::time::timeout(limit, self.client.request(request)).await;
        answer.map_err(|_| unreachable(at, "no answer in time"))?.map_err(|error| unreachable(at, innermost(&error)))
    }

    /// A whole answer, within a limit.
    pub(super) async fn whole(
        &self,
        at: &str,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Bytes>, DiscoveryError> {
        let whole = async {
            let (parts, mut body) = self.open(at, request, limit).await?.into_parts();
            let mut data = BytesMut::new();
            while let Some(more) = chunk(at, &mut body).await? {
                if data.len() + more.len() > MOST_ANSWER {
                    return Err(unreadable(at, format!("it has more than {MOST_ANSWER} bytes")));
                }
                data.extend_from_slice(&more);
            }
            Ok(Response::from_parts(parts, data.freeze()))
        };
        tokio::time::timeout(limit, whole).await.map_err(|_| unreachable(at, "no whole answer in time"))?
    }
}

/// The next piece of an answer; `None` at its end.
pub(super) async fn chunk(at: &str, body: &mut Incoming) -> Result<Option<Bytes>, DiscoveryError> {
    loop {
        let Some(frame) = body.frame().await else { return Ok(None) };
        let frame = frame.map_err(|error| unreachable(at, innermost(&error)))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

pub(super) fn unreachable(at: &str, reason: impl std::fmt::Display) -> DiscoveryError {
    DiscoveryError::Unreachable { at: at.to_owned(), reason: reason.to_string() }
}

pub(super) fn unreadable(at: &str, reason: impl std::fmt::Display) -> DiscoveryError {
    DiscoveryError::Unreadable { at: at.to_owned(), reason: reason.to_string() }
}

/// What happened, without the layers around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
