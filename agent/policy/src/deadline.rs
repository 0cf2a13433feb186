//! Deadlines: how much time a call has, what an attempt may take of it, and how it travels in headers.
//!
//! The header format is that of gRPC over HTTP/2 (`grpc-timeout`); HTTP carries the same format in
//! [`crate::names::TIMEOUT_HEADER`]. Rules: gRPC's PROTOCOL-HTTP2 and proposal A6 (the deadline covers all attempts).

use std::time::Duration;

use crate::settings::Timeout;

const UNITS: [(u8, u128); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];
const MOST_DIGITS: usize = 8;
const LARGEST: u128 = 99_999_999;

/// Reads a `grpc-timeout`: one to eight ASCII digits and one of `H M S m u n`. `None` for anything else.
#[must_use]
pub fn parse_timeout(text: &str) -> Option<Duration> {
    let (unit, digits) = text.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > MOST_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0u128, |value, digit| value * 10 + u128::from(digit - b'0'));
    let (_, nanos) = UNITS.iter().find(|(name, _)| name == unit)?;
    Some(from_nanos(value * nanos))
}

/// Writes a `grpc-timeout` in the finest unit whose value, rounded *down*, has at most eight digits: never promises more
/// time than is left. What not even hours can hold becomes `99999999H`.
#[must_use]
pub fn format_timeout(timeout: Duration) -> String {
    let nanos = timeout.as_nanos();
    for (unit, width) in UNITS {
        if nanos / width <= LARGEST {
            return format!("{}{}", nanos / width, char::from(unit));
        }
    }
    format!("{LARGEST}H")
}

fn from_nanos(nanos: u128) -> Duration {
    // Mostly it fits, and dividing 64 bits is much cheaper.
    if let Ok(nanos) = u64::try_from(nanos) {
        return Duration::from_nanos(nanos);
    }
    let secs = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
    Duration::new(secs, u32::try_from(nanos % 1_000_000_000).unwrap_or(0))
}

/// Whether anything may still be sent, and what to tell the callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outbound {
    /// No deadline: send no header.
    Unlimited,
    /// Send with this much left.
    Left(Duration),
    /// Fail locally, send nothing.
    Expired,
}

/// The deadline of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadline {
    /// Nanoseconds; wider than the clock, so that no sum can wrap.
    at: Option<u128>,
}

impl Deadline {
    /// A call arrives at `now`: its deadline is `now + min(overall, inbound)`; none if both are absent.
    #[must_use]
    pub fn begin(now: u64, timeout: &Timeout, inbound: Option<Duration>) -> Self {
        let overall = timeout.overall_ms.map(|ms| Duration::from_millis(ms).as_nanos());
        let inbound = inbound.map(|left| left.as_nanos());
        let limit = match (overall, inbound) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { at: limit.map(|l| u128::from(now) + l) }
    }

    /// What is left at `now`, never negative; `None` without a deadline.
    #[must_use]
    pub fn left(&self, now: u64) -> Option<Duration> {
        self.at.map(|at| from_nanos(at.saturating_sub(u128::from(now))))
    }

    /// Whether the deadline has come: at exactly its instant it has.
    #[must_use]
    pub fn expired(&self, now: u64) -> bool {
        self.at.is_some_and(|at| u128::from(now) >= at)
    }

    /// The limit of an attempt that starts now: `min(attempt_ms, what is left)`; `None` if neither exists.
    #[must_use]
    pub fn attempt_limit(&self, now: u64, timeout: &Timeout) -> Option<Duration> {
        let own = timeout.attempt_ms.map(Duration::from_millis);
        match (own, self.left(now)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether a retry that starts after `delay` still begins before the deadline.
    #[must_use]
    pub fn allows_retry(&self, now: u64, delay: Duration) -> bool {
        self.at.is_none_or(|at| u128::from(now) + delay.as_nanos() < at)
    }

    /// What to send on, keeping `offset` back for the way.
    #[must_use]
    pub fn outbound(&self, now: u64, offset: Duration) -> Outbound {
        match self.left(now).map(|left| left.saturating_sub(offset)) {
            None => Outbound::Unlimited,
            Some(Duration::ZERO) => Outbound::Expired,
            Some(left) => Outbound::Left(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_header_is_kept_whole() {
        let most = parse_timeout("99999999H").unwrap();
        assert_eq!(most.as_secs(), 99_999_999 * 3600);
        assert_eq!(format_timeout(most), "99999999H");
        assert_eq!(format_timeout(Duration::MAX), "99999999H");
        let deadline = Deadline::begin(u64::MAX, &Timeout::default(), Some(most));
        assert_eq!(deadline.left(u64::MAX), Some(most));
    }

    #[test]
    fn zero_is_expired_at_once() {
        let deadline = Deadline::begin(5, &Timeout::default(), parse_timeout("0m"));
        assert!(deadline.expired(5));
        assert_eq!(deadline.outbound(5, Duration::ZERO), Outbound::Expired);
    }

    #[test]
    fn text_that_is_no_timeout_is_none() {
        for text in ["", "S", "1", "+1S", " 1S", "1 S", "1S ", "123456789n", "1µ", "٣S"] {
            assert_eq!(parse_timeout(text), None, "{text:?}");
        }
    }
}
