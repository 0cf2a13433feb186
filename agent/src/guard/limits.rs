//! Limits of what callers may ask for, each and together.

use std::sync::Arc;
use std::time::Duration;

use fuseboard_policy::concurrency::{ConcurrencyLimiter, Ended, Ticket};
use fuseboard_policy::rate::RateLimiter;
use fuseboard_policy::settings::{Concurrency, Rate};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use tonic::Code;

use super::caller::Caller;
use super::refusal::Refused;
use super::table::Table;
use crate::clock::Clock;

/// Callers that are known at once when nothing else is said.
const CALLERS: usize = 10_000;
/// When a caller whose requests in flight are too many may come again.
const SOON: Duration = Duration::from_secs(1);

/// What a server takes; nothing is limited unless it is said. Each limit refuses on its own, and every refusal is counted
/// (`resilience.requests.refused`, by rule).
///
/// ```
/// use std::time::Duration;
/// use fuseboard_agent::guard::Limits;
///
/// let limits = Limits::default().body(1 << 20).body_idle(Duration::from_secs(10)).rate_per_caller(100, 200).in_flight_per_caller(32);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Limits {
    pub(super) body: Option<u64>,
    pub(super) body_idle: Option<Duration>,
    pub(super) body_within: Option<Duration>,
    headers: Option<usize>,
    rate: Option<Rate>,
    in_flight: Option<u64>,
    rate_per_caller: Option<Rate>,
    in_flight_per_caller: Option<u64>,
    callers: Option<usize>,
}

impl Limits {
    /// Largest body of a request, in bytes: 413. Of a gRPC request it is the sum of its messages (one message has tonic's own
    /// limit of 4 MiB): `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn body(mut self, bytes: u64) -> Self {
        self.body = Some(bytes);
        self
    }

    /// Longest wait for the next piece of a body: 408 or `DEADLINE_EXCEEDED`. It ends idle gRPC streams, too.
    #[must_use]
    pub fn body_idle(mut self, limit: Duration) -> Self {
        self.body_idle = Some(limit);
        self
    }

    /// Longest time for a whole body: 408 or `DEADLINE_EXCEEDED`. It ends long gRPC streams, too.
    #[must_use]
    pub fn body_within(mut self, limit: Duration) -> Self {
        self.body_within = Some(limit);
        self
    }

    /// Most bytes of names and values of all headers together: 431 or `RESOURCE_EXHAUSTED`. hyper's own limits (16 KiB over
    /// HTTP/2) go before it.
    #[must_use]
    pub fn headers(mut self, bytes: usize) -> Self {
        self.headers = Some(bytes);
        self
    }

    /// Requests a second from all callers together, and how many may come at once: 429 or `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn rate(mut self, per_sec: u64, burst: u64) -> Self {
        self.rate = Some(Rate::TokenBucket { per_sec, burst });
        self
    }

    /// Like [`Limits::rate`], for each [`Caller`].
    #[must_use]
    pub fn rate_per_caller(mut self, per_sec: u64, burst: u64) -> Self {
        self.rate_per_caller = Some(Rate::TokenBucket { per_sec, burst });
        self
    }

    /// Requests in flight, from the first byte to the end of the answer, of all callers together: 503 or `UNAVAILABLE`.
    #[must_use]
    pub fn in_flight(mut self, most: u64) -> Self {
        self.in_flight = Some(most);
        self
    }

    /// Requests in flight of each [`Caller`]: 429 or `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn in_flight_per_caller(mut self, most: u64) -> Self {
        self.in_flight_per_caller = Some(most);
        self
    }

    /// Callers that are told apart at once; 10,000 when not given. One that was not seen lately makes room for a new one; where
    /// all have requests in flight, the new ones share one account.
    #[must_use]
    pub fn callers(mut self, most: usize) -> Self {
        self.callers = Some(most);
        self
    }

    fn limits_callers(&self) -> bool {
        self.rate_per_caller.is_some() || self.in_flight_per_caller.is_some()
    }

    /// What can be said of a body before it is read.
    pub(super) fn check_length(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let said = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        match self.body {
            Some(most) if said.is_some_and(|length| length > most) => Err(too_large(most)),
            _ => Ok(()),
        }
    }

    fn check_headers(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let Some(most) = self.headers else { return Ok(()) };
        let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size <= most {
            return Ok(());
        }
        let text = format!("the headers have {size} bytes, {most} are taken");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Err(Refused::new("headers", status, Code::ResourceExhausted, text))
    }
}

/// A body that is too large.
pub(super) fn too_large(most: u64) -> Refused {
    let text = format!("the body is larger than the {most} bytes that are taken");
    Refused::new("body", StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, text)
}

/// A body that comes too slowly.
pub(super) fn too_slow() -> Refused {
    let text = "the body did not come in the time for it";
    Refused::new("body_timeout", StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, text)
}

/// Limits at work.
pub(super) struct Limiter {
    pub(super) limits: Limits,
    clock: Clock,
    all: Account,
    callers: Table<Caller, Account>,
    /// Those who find no place of their own.
    others: Arc<Account>,
}

/// What one caller, or all together, have used.
struct Account {
    rate: Option<RateLimiter>,
    in_flight: Option<Arc<ConcurrencyLimiter>>,
}

impl Account {
    fn new(rate: Option<&Rate>, in_flight: Option<u64>, now: u64) -> Self {
        let fixed = |max| Arc::new(ConcurrencyLimiter::new(&Concurrency::Fixed { max }, || 0.0));
        Self { rate: rate.map(|rate| RateLimiter::new(rate, now)), in_flight: in_flight.map(fixed) }
    }

    fn take_place(&self, clock: Clock, now: u64) -> Option<Place> {
        let Some(limiter) = &self.in_flight else { return Some(Place(None)) };
        limiter.acquire(now).map(|ticket| Place(Some((limiter.clone(), ticket, clock))))
    }

    fn take_token(&self, now: u64) -> bool {
        self.rate.as_ref().is_none_or(|rate| rate.acquire(now, 1))
    }
}

/// A place among the requests in flight; dropping it gives it back.
struct Place(Option<(Arc<ConcurrencyLimiter>, Ticket, Clock)>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((limiter, ticket, clock)) = self.0.take() {
            limiter.release(ticket, clock.now(), Ended::Ignored, || 0.0);
        }
    }
}

/// What a request holds until its answer has ended.
pub(super) struct Permit {
    _all: Place,
    _own: Option<(Arc<Account>, Place)>,
}

impl Limiter {
    pub(super) fn new(limits: Limits, clock: Clock) -> Self {
        let now = clock.now();
        Self {
            all: Account::new(limits.rate.as_ref(), limits.in_flight, now),
            others: Arc::new(Account::new(limits.rate_per_caller.as_ref(), limits.in_flight_per_caller, now)),
            callers: Table::new(limits.callers.unwrap_or(CALLERS)),
            limits,
            clock,
        }
    }

    /// Lets a request in, or says why not. The caller's own limits go first, so that one who asks for too much uses up nothing
    /// of what all have together.
    pub(super) fn admit(&self, caller: &Caller, headers: &HeaderMap) -> Result<Permit, Refused> {
        self.limits.check_headers(headers)?;
        self.limits.check_length(headers)?;
        let now = self.clock.now();
        let own = if self.limits.limits_callers() { Some(self.admit_caller(caller, now)?) } else { None };
        let busy = || {
            Refused::new("concurrency", StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, "too many requests at once")
        };
        let all = self.all.take_place(self.clock, now).ok_or_else(|| busy().again_in(SOON))?;
        if !self.all.take_token(now) {
            return Err(too_many("too many requests a second").again_in(refill(self.limits.rate.as_ref())));
        }
        Ok(Permit { _all: all, _own: own })
    }

    fn admit_caller(&self, caller: &Caller, now: u64) -> Result<(Arc<Account>, Place), Refused> {
        let (rate, most) = (self.limits.rate_per_caller.as_ref(), self.limits.in_flight_per_caller);
        let account = self.callers.entry(caller, || Account::new(rate, most, now));
        let account = account.unwrap_or_else(|| self.others.clone());
        let busy = || {
            let (status, text) = (StatusCode::TOO_MANY_REQUESTS, "too many requests of this caller at once");
            Refused::new("concurrency", status, Code::ResourceExhausted, text)
        };
        let place = account.take_place(self.clock, now).ok_or_else(|| busy().again_in(SOON))?;
        if !account.take_token(now) {
            return Err(too_many("too many requests of this caller a second").again_in(refill(rate)));
        }
        Ok((account, place))
    }
}

fn too_many(text: &str) -> Refused {
    Refused::new("rate", StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, text)
}

/// When a bucket has a token again at the latest.
fn refill(rate: Option<&Rate>) -> Duration {
    match rate {
        Some(Rate::TokenBucket { per_sec, .. }) => Duration::from_secs_f64(1.0 / (*per_sec).max(1) as f64),
        Some(Rate::SlidingWindow { window_ms, .. }) => Duration::from_millis(*window_ms),
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(n: u8) -> Caller {
        Caller::Address([10, 0, 0, n].into())
    }

    #[test]
    fn one_caller_uses_up_its_own_and_nothing_of_others() {
        let limits = Limits::default().rate_per_caller(1, 3).rate(1000, 4);
        let limiter = Limiter::new(limits, Clock::start());
        let take = |n| limiter.admit(&caller(n), &HeaderMap::new()).map(drop).map_err(|refused| refused.rule);
        assert_eq!([take(1), take(1), take(1)], [Ok(()); 3]);
        for _ in 0..100 {
            assert_eq!(take(1), Err("rate"));
        }
        assert_eq!(take(2), Ok(()));
    }

    #[test]
    fn places_are_given_back() {
        let limiter = Limiter::new(Limits::default().in_flight_per_caller(2).in_flight(3), Clock::start());
        let take = |n| limiter.admit(&caller(n), &HeaderMap::new()).map_err(|refused| refused.status.as_u16());
        let (one, _two) = (take(1).unwrap(), take(1).unwrap());
        assert_eq!(take(1).err(), Some(429));
        let _three = take(2).unwrap();
        assert_eq!(take(3).err(), Some(503));
        drop(one);
        // What was refused for all gave back the caller's own place.
        assert!(take(3).is_ok() && take(1).is_ok());
    }

    #[test]
    fn headers_and_lengths_are_looked_at_first() {
        let limits = Limits::default().headers(20).body(100).rate(1, 1);
        let limiter = Limiter::new(limits, Clock::start());
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            limiter.admit(&caller(1), &headers).map(drop).map_err(|refused| refused.status.as_u16())
        };
        assert_eq!(with("x-long", "twenty bytes of text"), Err(431));
        assert_eq!(with("content-length", "101"), Err(413));
        assert_eq!(with("content-length", "100"), Ok(()));
    }
}
