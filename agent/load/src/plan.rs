//! What to send, how fast and for how long.

use std::time::Duration;

use reqwest::{Method, Url};

use crate::Goals;

/// Most requests of one run: a histogram and a ticket counter never overflow below it.
const MOST_REQUESTS: f64 = 1e10;
/// Most connections of one run.
const MOST_CONNECTIONS: usize = 10_000;

/// A plan that cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not a URL at all.
    #[error("`{url}` is not a URL ({why}); write it as http://HOST:PORT/PATH")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A URL of another scheme.
    #[error(
        "`{0}` cannot be loaded: only plain http:// is spoken here; point it at the service itself, behind its TLS"
    )]
    Scheme(String),
    /// Not an HTTP method.
    #[error("`{0}` is not an HTTP method; GET, POST, PUT, DELETE and the like are")]
    Method(String),
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
    /// The histograms could not be made.
    #[error("the latency histogram could not be made: {0}; this is a fault of the program, please report it")]
    Histogram(#[source] hdrhistogram::CreationError),
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made: {0}; check the process's limit of open files")]
    Client(#[source] reqwest::Error),
}

/// What to send, how fast and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadPlan {
    /// Where every request goes; nothing goes anywhere else (redirects are not followed, proxies are not asked).
    pub url: String,
    /// HTTP method; `GET` by default.
    pub method: String,
    /// Body of each request; none by default. Sent as `application/json`.
    pub body: Option<String>,
    /// Requests due a second; 5,000 by default.
    pub rate: f64,
    /// For how long requests are due; 10 s by default.
    pub duration: Duration,
    /// Requests in flight at most, each on a connection of its own; 64 by default.
    pub connections: usize,
    /// A request without an answer for this long, from its sending, has failed; 5 s by default. Also how long the end of
    /// the run is waited for.
    pub timeout: Duration,
    /// What the report is held against.
    pub goals: Goals,
}

impl LoadPlan {
    /// A plan with the defaults for a URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: "GET".to_owned(),
            body: None,
            rate: 5_000.0,
            duration: Duration::from_secs(10),
            connections: 64,
            timeout: Duration::from_secs(5),
            goals: Goals::default(),
        }
    }

    /// How many requests fall due.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let due = (self.rate * self.duration.as_secs_f64()).floor();
        if due.is_finite() && due > 0.0 { due.min(MOST_REQUESTS) as u64 } else { 0 }
    }

    /// When request `n`, from 0, is due after the start.
    #[must_use]
    pub fn due(&self, n: u64) -> Duration {
        Duration::from_secs_f64(n as f64 / self.rate)
    }

    /// Checks everything that can be checked before sending.
    pub(crate) fn check(&self) -> Result<(Url, Method), LoadError> {
        let url =
            Url::parse(&self.url).map_err(|error| LoadError::Url { url: self.url.clone(), why: error.to_string() })?;
        if url.scheme() != "http" {
            return Err(LoadError::Scheme(self.url.clone()));
        }
        let method = Method::from_bytes(self.method.as_bytes()).map_err(|_| LoadError::Method(self.method.clone()))?;
        let number = |name, value: String, must| Err(LoadError::Number { name, value, must });
        if !(self.rate.is_finite() && self.rate > 0.0) {
            return number("rate", self.rate.to_string(), "a number of requests a second above 0");
        }
        if self.connections == 0 || self.connections > MOST_CONNECTIONS {
            return number("connections", self.connections.to_string(), "between 1 and 10000");
        }
        if self.timeout.is_zero() {
            return number("timeout", "0".to_owned(), "longer than 0");
        }
        let due = self.rate * self.duration.as_secs_f64();
        if !(1.0..=MOST_REQUESTS).contains(&due) {
            return number("rate × duration", format!("{due}"), "between 1 and 10 thousand million requests");
        }
        Ok((url, method))
    }
}
