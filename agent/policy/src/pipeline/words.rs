//! What the pipeline is told and what it answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Which local rule refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// The breaker is open, or half open with all probes taken.
    Breaker,
    /// The deadline has passed.
    Deadline,
    /// So many calls were made already.
    Rate,
    /// The callee refuses most calls anyway.
    Throttle,
    /// So many calls are in flight already.
    Concurrency,
}

impl RefusedBy {
    /// The word for spans ([`crate::names::REFUSED_BY`]).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Deadline => "deadline",
            Self::Rate => "rate",
            Self::Throttle => "throttle",
            Self::Concurrency => "concurrency",
        }
    }

    /// The gRPC status, lower case, that an application is given for it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Breaker | Self::Throttle => "unavailable",
            Self::Deadline => "deadline_exceeded",
            Self::Rate | Self::Concurrency => "resource_exhausted",
        }
    }
}

/// A call or attempt that must not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused locally by {}: {cause}", by.as_str())]
pub struct Refused {
    /// The rule.
    pub by: RefusedBy,
    /// The breaker's state in words.
    pub breaker_state: &'static str,
    /// When the breaker lets a probe through, on the engine's clock.
    pub probe_at: Option<u64>,
    /// Why.
    pub cause: Cause,
}

/// Why a local rule refused; in words, with the numbers, where it is displayed. Nothing is written down before that: an edge
/// that refuses much must do it cheaply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Why the breaker left the closed state.
    Breaker(Arc<str>),
    /// The deadline has passed.
    Deadline,
    /// The rate is used up.
    Rate,
    /// The callee takes so few calls.
    Throttle {
        /// Chance that a call is refused, in per cent.
        percent: u32,
    },
    /// The places are taken.
    Concurrency {
        /// Calls in flight.
        in_flight: u64,
        /// The limit.
        limit: u64,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breaker(cause) => f.write_str(cause),
            Self::Deadline => f.write_str("the deadline has passed"),
            Self::Rate => f.write_str("more calls than the edge's rate allows"),
            Self::Throttle { percent } => write!(f, "the callee takes so few calls that {percent} % are not sent"),
            Self::Concurrency { in_flight, limit } => {
                write!(f, "{in_flight} calls are in flight and the limit is {limit}")
            }
        }
    }
}

/// What is known of a call when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbound {
    /// What the caller's own deadline leaves.
    pub left: Option<Duration>,
    /// Which attempt the request that caused this call is itself (1 = not a retry): 2 and more are not retried further.
    pub attempt: u32,
    /// Whether the operation may be made twice.
    pub idempotent: bool,
}

impl Default for Inbound {
    fn default() -> Self {
        Self { left: None, attempt: 1, idempotent: false }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptKind<'a> {
    /// The callee answered well.
    Success,
    /// The callee, or the connection to it, gave this code (see [`crate::codes`]).
    Failure {
        /// A gRPC status name in lower case, an HTTP status, or `reset`, `connect`.
        code: &'a str,
    },
    /// The request certainly never left: no connection could be made. A failure that is safe to try again whatever the
    /// operation does.
    NeverSent {
        /// As for [`AttemptKind::Failure`]: `connect`, for one.
        code: &'a str,
    },
    /// The attempt timeout or the deadline cut it.
    TimedOut,
    /// The caller gave up.
    Cancelled,
}

/// How an attempt ended, with what the reply said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptOutcome<'a> {
    /// How.
    pub kind: AttemptKind<'a>,
    /// The reply's `grpc-retry-pushback-ms`.
    pub pushback: Option<&'a str>,
    /// The reply's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The attempt's trace where it is sampled, for the breaker's report.
    pub trace_id: Option<[u8; 16]>,
}

impl<'a> AttemptOutcome<'a> {
    /// An outcome of which the reply says nothing more.
    #[must_use]
    pub const fn plain(kind: AttemptKind<'a>) -> Self {
        Self { kind, pushback: None, retry_after: None, trace_id: None }
    }
}

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The call succeeded.
    Done,
    /// Wait, then ask for another attempt.
    Retry {
        /// How long.
        after: Duration,
    },
    /// Another attempt of the call is still under way; what that comes to decides.
    Wait,
    /// Hand the failure to the application.
    GiveUp {
        /// Why there is no further attempt.
        why: GiveUp,
    },
}

/// Why a failed call is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GiveUp {
    /// The edge has no retries.
    NoRetry,
    /// The caller gave up.
    Cancelled,
    /// The outcome is not one of `retry.on`.
    NotListed,
    /// `max_attempts` are used.
    Attempts,
    /// The operation is not known to be idempotent, and the request may have had an effect.
    NotIdempotent,
    /// The request that caused the call is itself a retry.
    AlreadyRetry,
    /// The reply forbids it.
    Pushback,
    /// The next attempt would not begin before the deadline.
    Deadline,
    /// The retry budget is spent.
    Budget,
}

/// Why an attempt is not joined by another though its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoHedge {
    /// None is due.
    NotDue,
    /// The deadline has passed.
    Deadline,
    /// The breaker refuses.
    Breaker,
    /// Attempts are under way on every instance there is.
    NoOther,
    /// The retry budget is spent.
    Budget,
}

impl NoHedge {
    /// The word for spans and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotDue => "not_due",
            Self::Deadline => "deadline",
            Self::Breaker => "breaker",
            Self::NoOther => "no_other_instance",
            Self::Budget => "retry_budget",
        }
    }
}

impl GiveUp {
    /// The word for spans and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRetry => "no_retry",
            Self::Cancelled => "cancelled",
            Self::NotListed => "not_listed",
            Self::Attempts => "attempts",
            Self::NotIdempotent => "not_idempotent",
            Self::AlreadyRetry => "already_retry",
            Self::Pushback => "pushback",
            Self::Deadline => "deadline",
            Self::Budget => "retry_budget",
        }
    }
}
