//! What an outcome's code means: for the breaker, and for the question whether to try again.
//!
//! A code is a gRPC status name in lower case (`unavailable`), an HTTP status as text (`503`), or one of the words for a
//! broken connection: `reset`, `connect`, `refused_stream`.

use crate::breaker::Outcome;

/// gRPC statuses that blame the callee. `deadline_exceeded` is here because a callee that does not answer in time is not
/// well, whoever's clock ran out; `resource_exhausted` because it refuses work.
const GRPC_FAILURES: [&str; 6] =
    ["unavailable", "deadline_exceeded", "internal", "unknown", "resource_exhausted", "data_loss"];
const CONNECTION_FAILURES: [&str; 3] = ["reset", "connect", "refused_stream"];
/// HTTP statuses that gRPC's "HTTP to gRPC Status Code Mapping" reads as `unavailable`.
const HTTP_UNAVAILABLE: [&str; 4] = ["429", "502", "503", "504"];

/// All gRPC status names, lower case.
pub const GRPC_STATUSES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// Whether a code is one that this crate knows.
#[must_use]
pub fn is_known(code: &str) -> bool {
    GRPC_STATUSES.contains(&code) || CONNECTION_FAILURES.contains(&code) || http_status(code).is_some()
}

/// All words that may stand in `retry.on`, besides HTTP statuses.
pub fn words() -> impl Iterator<Item = &'static str> {
    GRPC_STATUSES.into_iter().chain(CONNECTION_FAILURES)
}

/// How an answer with this code counts for the breaker.
///
/// Failures: gRPC `unavailable`, `deadline_exceeded`, `internal`, `unknown`, `resource_exhausted`, `data_loss`; HTTP 5xx
/// and 429; broken connections. `cancelled` and HTTP 499 count for nothing. Everything else (`invalid_argument`,
/// `not_found`, `already_exists`, `permission_denied`, HTTP 4xx…) is an answer of a healthy callee: a success.
#[must_use]
pub fn breaker_outcome(code: &str) -> Outcome {
    if code == "cancelled" || code == "499" {
        return Outcome::Cancelled;
    }
    let http = http_status(code).is_some_and(|status| status >= 500 || status == 429);
    if http || GRPC_FAILURES.contains(&code) || CONNECTION_FAILURES.contains(&code) {
        Outcome::Failure
    } else {
        Outcome::Success
    }
}

/// Whether a code is listed. `unavailable` in the list also stands for HTTP 429, 502, 503 and 504, `reset` also for
/// connections that could not be made.
#[must_use]
pub fn is_listed(on: &[String], code: &str) -> bool {
    on.iter().any(|word| {
        word == code
            || (word == "unavailable" && HTTP_UNAVAILABLE.contains(&code))
            || (word == "reset" && CONNECTION_FAILURES.contains(&code))
    })
}

fn http_status(code: &str) -> Option<u16> {
    let plain = code.len() == 3 && code.bytes().all(|c| c.is_ascii_digit());
    code.parse().ok().filter(|status| plain && (100..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_a_healthy_callee_are_successes() {
        for code in ["invalid_argument", "not_found", "already_exists", "permission_denied", "404", "401"] {
            assert_eq!(breaker_outcome(code), Outcome::Success, "{code}");
        }
        for code in ["unavailable", "internal", "500", "503", "429", "reset", "connect"] {
            assert_eq!(breaker_outcome(code), Outcome::Failure, "{code}");
        }
        assert_eq!(breaker_outcome("cancelled"), Outcome::Cancelled);
    }

    #[test]
    fn listed_words_stand_for_their_kin() {
        let on = vec!["unavailable".to_owned(), "reset".to_owned()];
        assert!(is_listed(&on, "503") && is_listed(&on, "connect") && is_listed(&on, "unavailable"));
        assert!(!is_listed(&on, "500") && !is_listed(&on, "internal"));
        assert!(is_known("503") && !is_known("5xx") && !is_known("999") && !is_known("+50"));
    }
}
