//! The way to a collector: HTTP, with TLS where the address says so, and with a token where one is given.
//!
//! The console's link and the command line share it, so that both trust the same, say the same when something is wrong, and
//! neither ever shows a token to a network in the clear.

mod access;
mod address;

use std::fmt;
use std::time::Duration;

use fuseboard_tls::{Alpn, Connector, HandshakeError};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
pub use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use self::access::{Access, AccessError};
pub use self::address::{BadAddress, DEFAULT_URL, address, beside, query};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest sentence that is passed on from somebody who is no collector, in bytes.
const LONGEST_SAYING: usize = 200;
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Nobody was reached.
    #[error("{0}")]
    Unreachable(String),
    /// Who was reached is not trusted, or does not trust us.
    #[error("{0}")]
    Untrusted(String),
    /// The answer did not begin, or did not go on.
    #[error("{place} did not answer in time")]
    Late {
        /// Who was asked.
        place: String,
    },
    /// The answer broke off.
    #[error("{place} broke off: {why}")]
    Broken {
        /// Who was asked.
        place: String,
        /// What happened.
        why: String,
    },
    /// The answer is larger than anything a collector says.
    #[error("{place} sent more than {most} bytes")]
    TooLarge {
        /// Who was asked.
        place: String,
        /// The limit.
        most: usize,
    },
}

/// One collector's control address, and how one is known there.
#[derive(Clone)]
pub struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    base: String,
    place: String,
    bearer: Option<HeaderValue>,
    silence: Duration,
}

/// Without the token.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .field("token", &self.bearer.is_some())
            .finish_non_exhaustive()
    }
}

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Sent<'a> {
    /// The body, and how it is written; nothing is sent by GET.
    pub body: Option<(&'a str, Bytes)>,
    /// How the reply should be written.
    pub accept: Option<&'a str>,
}

impl Client {
    /// A client of the collector at `url` (see [`address`]); nothing is sent yet. Who says nothing for `silence` is given up.
    ///
    /// # Errors
    /// When a file of `access` cannot be used, or the token would go over a network in the clear.
    pub fn new(url: &str, access: &Access, silence: Duration) -> Result<Self, AccessError> {
        let url = address(url).map_err(AccessError::Address)?;
        let (secure, place) = address::parts(&url);
        let bearer = access.bearer()?;
        if bearer.is_some() && !secure && !address::is_loopback(&place) {
            return Err(AccessError::InTheClear { url });
        }
        let connector = access.dialer()?.connector(Alpn::Http1, CONNECT);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { http, base: url, place, bearer, silence })
    }

    /// The address, as it is asked.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Sends a request: POST where it has a body, else GET.
    ///
    /// # Errors
    /// [`WireError`]; an answer of refusal is none.
    pub async fn send(&self, path: &str, sent: Sent<'_>) -> Result<Reply, WireError> {
        let (method, body) = match sent.body {
            Some((kind, body)) => (Method::POST, Some((kind, body))),
            None => (Method::GET, None),
        };
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in [(CONTENT_TYPE, body.as_ref().map(|(kind, _)| *kind)), (ACCEPT, sent.accept)] {
            request = value.into_iter().fold(request, |request, value| request.header(&name, value));
        }
        request = self.bearer.iter().fold(request, |request, bearer| request.header(AUTHORIZATION, bearer));
        let request = request.body(Full::new(body.map(|(_, body)| body).unwrap_or_default()));
        let request = request.map_err(|e| WireError::Unreachable(format!("{}{path}: {e}", self.base)))?;
        let asked = tokio::time::timeout(self.silence, self.http.request(request));
        let answered = asked.await.map_err(|_| WireError::Late { place: self.place.clone() })?;
        let response = answered.map_err(|e| why(&self.place, &e))?;
        Ok(Reply { response, silence: self.silence, place: self.place.clone() })
    }
}

/// What came back.
pub struct Reply {
    response: Response<Incoming>,
    silence: Duration,
    place: String,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Reply {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Whether it is written in JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.response.headers().get(CONTENT_TYPE).is_some_and(|v| v.to_str().is_ok_and(|v| v.contains("json")))
    }

    /// How long to wait before asking again, where the other side says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When it breaks off or nothing comes for too long.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, WireError> {
        loop {
            let frame = tokio::time::timeout(self.silence, self.response.body_mut().frame()).await;
            let late = |_| WireError::Late { place: self.place.clone() };
            match frame.map_err(late)? {
                None => return Ok(None),
                Some(Err(e)) => return Err(WireError::Broken { place: self.place.clone(), why: innermost(&e) }),
                Some(Ok(frame)) => {
                    // Trailers say nothing here.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The whole body, of at most `most` bytes.
    ///
    /// # Errors
    /// Like [`Reply::chunk`], and when it is larger.
    pub async fn bytes(mut self, most: usize) -> Result<Vec<u8>, WireError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > most {
                return Err(WireError::TooLarge { place: self.place, most });
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}

/// A status, and what stands below it where that is a sentence for people.
#[must_use]
pub fn said(status: StatusCode, body: &[u8]) -> String {
    let words = std::str::from_utf8(body).unwrap_or_default().trim();
    let plain = !words.is_empty() && words.len() < LONGEST_SAYING && !words.contains(['<', '{', '\n']);
    if plain { format!("{status}: {words}") } else { status.to_string() }
}

/// Why nobody was reached, in words: what TLS says names the host itself.
fn why(place: &str, error: &legacy::Error) -> WireError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(found) = cause {
        if let Some(handshake) = found.downcast_ref::<HandshakeError>() {
            return WireError::Untrusted(handshake.to_string());
        }
        cause = found.source();
    }
    WireError::Unreachable(format!("{place}: {}", innermost(error)))
}

/// The innermost cause, which names what the system said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_sentence_is_passed_on_but_no_page() {
        let wrong = StatusCode::BAD_REQUEST;
        assert_eq!(said(wrong, b"this port speaks TLS\n"), "400 Bad Request: this port speaks TLS");
        for page in [&b"<html>no</html>"[..], b"", b"\xff", b"a\nb", &[b'a'; 4096]] {
            assert_eq!(said(wrong, page), "400 Bad Request");
        }
    }
}
