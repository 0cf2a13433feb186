//! What to send, how fast and for how long.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Pace, Thresholds};

/// Most connections, and most streams over all of them, of one run.
pub(crate) const MOST_CALLERS: usize = 100_000;

/// A plan that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not a URL at all.
    #[error(
        "`{url}` is not a URL ({why}); write it as http://HOST:PORT/PATH, or grpc://HOST:PORT/PACKAGE.SERVICE/METHOD"
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not an HTTP method.
    #[error("`{0}` is not an HTTP method; GET, POST, PUT, DELETE and the like are")]
    Method(String),
    /// Not a header.
    #[error("the header `{name}` cannot be sent ({why}); write it as NAME: VALUE")]
    Header {
        /// Its name; what it holds may be a secret.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A number that makes no sense.
    #[error("{name} is {value}, but must be {must}")]
    Number {
        /// Which setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        must: &'static str,
    },
    /// The `.proto` file or the message for it cannot be used.
    #[error("the gRPC request cannot be made: {0}")]
    Proto(String),
    /// The certificates cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The histograms could not be made.
    #[error("the latency histogram could not be made: {0}; this is a fault of the program, please report it")]
    Histogram(#[source] hdrhistogram::CreationError),
    /// The pacer's thread could not be started.
    #[error("no thread could be started: {0}; check the process's limits")]
    Thread(#[source] std::io::Error),
}

/// How the message of a gRPC call is made from [`LoadPlan::body`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrpcRequest {
    /// The `.proto` file that has the service: the body is then JSON (protobuf's mapping; none: `{}`). Without one the body is
    /// the encoded message itself.
    pub proto: Option<PathBuf>,
    /// Where its imports are looked for, besides its own folder.
    pub include: Vec<PathBuf>,
}

/// What to send, how fast and for how long.
#[derive(Clone, PartialEq)]
pub struct LoadPlan {
    /// Where every request goes: `http`, `https`, or `grpc`, `grpcs` with the method as path. Nothing goes anywhere else
    /// (redirects are not followed, proxies are not asked).
    pub url: String,
    /// HTTP method; `GET` by default. Not looked at for gRPC.
    pub method: String,
    /// Further headers; none by default. A body is sent as `application/json` unless they say otherwise.
    pub headers: Vec<(String, String)>,
    /// Body of each request; empty by default.
    pub body: Vec<u8>,
    /// For gRPC: how the message is made.
    pub grpc: GrpcRequest,
    /// Speak HTTP/2 from the first byte (h2c, or by ALPN over TLS); gRPC always does.
    pub http2: bool,
    /// Certificates (PEM) that are trusted besides the system's, for `https` and `grpcs`.
    pub roots: Option<PathBuf>,
    /// When requests are sent; 5,000 due a second by default.
    pub pace: Pace,
    /// For how long; 10 s by default.
    pub duration: Duration,
    /// Connections; 64 by default.
    pub connections: usize,
    /// Requests in flight at once on a connection; 1 by default, more need HTTP/2.
    pub streams: usize,
    /// A request without an answer for this long, from its sending, has failed; 5 s by default. Also how long the end of
    /// the run is waited for.
    pub timeout: Duration,
    /// What the report is held against; [`Thresholds::usual`] by default.
    pub thresholds: Option<Thresholds>,
}

/// Headers by their names, a URL without its user, a body by its size: what they hold may be secrets.
impl fmt::Debug for LoadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("LoadPlan")
            .field("url", &shown(&self.url))
            .field("method", &self.method)
            .field("headers", &headers)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("pace", &self.pace)
            .field("duration", &self.duration)
            .field("connections", &self.connections)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// A URL as it may be shown: what stands before the host's `@` is a secret.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest.get(..host).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{scheme}://***{}", rest.get(at..).unwrap_or_default()),
        None => url.to_owned(),
    }
}

impl LoadPlan {
    /// A plan with the defaults for a URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            grpc: GrpcRequest::default(),
            http2: false,
            roots: None,
            pace: Pace::steady(5_000.0),
            duration: Duration::from_secs(10),
            connections: 64,
            streams: 1,
            timeout: Duration::from_secs(5),
            thresholds: None,
        }
    }

    /// Checks the numbers.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let number = |name, value: usize, must| Err(LoadError::Number { name, value: value.to_string(), must });
        if self.connections == 0 || self.connections > 10_000 {
            return number("connections", self.connections, "between 1 and 10000");
        }
        if self.streams == 0 || self.streams.saturating_mul(self.connections) > MOST_CALLERS {
            return number("streams", self.streams, "at least 1, and with all connections together at most 100000");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let mut plan = LoadPlan::new("http://ann:hunter2@127.0.0.1:1/a@b");
        plan.headers = vec![("authorization".into(), "Bearer hunter2\n".into())];
        plan.body = b"hunter2".to_vec();
        let told = format!("{plan:?}");
        assert!(told.contains("http://***@127.0.0.1:1/a@b") && told.contains("authorization"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        let error = crate::Load::new(&plan).expect_err("no header has a line end").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
