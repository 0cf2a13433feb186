//! Timeouts in headers: gRPC's `grpc-timeout`, the same format in `x-fuseboard-timeout` for HTTP, and Envoy's
//! `x-envoy-expected-rq-timeout-ms` on the way in.

use std::time::Duration;

use fuseboard_policy::deadline::{format_timeout, parse_timeout};
use fuseboard_policy::names::{ATTEMPT_HEADER, TIMEOUT_HEADER};
use http::{HeaderMap, HeaderValue};

use crate::propagation::Headers;

/// gRPC's own header.
pub(crate) const GRPC_TIMEOUT: &str = "grpc-timeout";
const ENVOY_TIMEOUT: &str = "x-envoy-expected-rq-timeout-ms";
/// How often gRPC has tried this call before.
pub(crate) const GRPC_ATTEMPTS: &str = "grpc-previous-rpc-attempts";

/// What a request's headers say that it may take.
pub(crate) fn inbound(headers: &HeaderMap) -> Option<Duration> {
    let read = |name| headers.get_header(name);
    let envoy = || read(ENVOY_TIMEOUT)?.trim().parse::<u64>().ok().filter(|ms| *ms > 0).map(Duration::from_millis);
    read(GRPC_TIMEOUT).or_else(|| read(TIMEOUT_HEADER)).and_then(|t| parse_timeout(t.trim())).or_else(envoy)
}

/// What is left, as a header's value.
pub(crate) fn header(left: Duration) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(format_timeout(left))).unwrap_or(HeaderValue::from_static("0n"))
}

/// Which attempt of its caller's call a request is, where it says so.
pub(crate) fn inbound_attempt(headers: &HeaderMap) -> Option<u32> {
    let number = |name: &str| headers.get_header(name).and_then(|v| v.trim().parse::<u32>().ok());
    number(ATTEMPT_HEADER).or_else(|| number(GRPC_ATTEMPTS).map(|before| before.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_timeouts_of_each_kind() {
        let mut headers = HeaderMap::new();
        assert_eq!(inbound(&headers), None);
        headers.set_header(ENVOY_TIMEOUT, String::from("250"));
        assert_eq!(inbound(&headers), Some(Duration::from_millis(250)));
        headers.set_header(TIMEOUT_HEADER, String::from("200m"));
        assert_eq!(inbound(&headers), Some(Duration::from_millis(200)));
        headers.set_header(GRPC_TIMEOUT, String::from("1S"));
        assert_eq!(inbound(&headers), Some(Duration::from_secs(1)));
    }

    #[test]
    fn reads_attempts_of_both_kinds() {
        let mut headers = HeaderMap::new();
        assert_eq!(inbound_attempt(&headers), None);
        headers.set_header(GRPC_ATTEMPTS, String::from("2"));
        assert_eq!(inbound_attempt(&headers), Some(3));
        headers.set_header(ATTEMPT_HEADER, String::from("2"));
        assert_eq!(inbound_attempt(&headers), Some(2));
    }
}
