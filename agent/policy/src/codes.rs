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

/// All gRPC status names, lower case, in the order of their numbers.
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

/// The HTTP statuses 500…599 in one word, for `retry.on`.
const HTTP_5XX: &str = "5xx";

/// Whether a code is a failure that this crate knows: a gRPC status but `ok`, a word for a broken connection, an HTTP
/// status from 400.
#[must_use]
pub fn is_failure(code: &str) -> bool {
    let grpc = GRPC_STATUSES.contains(&code) && code != "ok";
    grpc || CONNECTION_FAILURES.contains(&code) || http_status(code).is_some_and(|status| status >= 400)
}

/// Whether a word stands for many codes in `retry.on`: `5xx`.
#[must_use]
pub fn is_class(word: &str) -> bool {
    word == HTTP_5XX
}

/// All words for outcomes, besides HTTP statuses.
pub fn words() -> impl Iterator<Item = &'static str> {
    GRPC_STATUSES.into_iter().chain(CONNECTION_FAILURES)
}

/// The HTTP status that says what a gRPC status or a word for a broken connection says (`google.rpc.Code`'s mapping, but
/// 499 for `cancelled` and 503 for what broke on the way); an HTTP status is itself.
#[must_use]
pub fn to_http(code: &str) -> u16 {
    match code {
        "ok" => 200,
        "invalid_argument" | "failed_precondition" | "out_of_range" => 400,
        "unauthenticated" => 401,
        "permission_denied" => 403,
        "not_found" => 404,
        "already_exists" | "aborted" => 409,
        "resource_exhausted" => 429,
        "cancelled" => 499,
        "unimplemented" => 501,
        "unavailable" | "reset" | "connect" | "refused_stream" => 503,
        "deadline_exceeded" => 504,
        code => http_status(code).unwrap_or(500),
    }
}

/// The gRPC status, in lower case, that says what an HTTP status says (gRPC's "HTTP to gRPC Status Code Mapping", but
/// 499 is `cancelled` and 504 `deadline_exceeded`); a gRPC status is itself.
#[must_use]
pub fn to_grpc(code: &str) -> &'static str {
    if let Some(own) = GRPC_STATUSES.into_iter().find(|status| *status == code) {
        return own;
    }
    match http_status(code) {
        Some(200..300) => "ok",
        Some(400) => "internal",
        Some(401) => "unauthenticated",
        Some(403) => "permission_denied",
        Some(404) => "unimplemented",
        Some(499) => "cancelled",
        Some(504) => "deadline_exceeded",
        Some(429 | 502 | 503) | None => "unavailable",
        Some(_) => "unknown",
    }
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
/// connections that could not be made, `5xx` for HTTP 500…599.
#[must_use]
pub fn is_listed(on: &[String], code: &str) -> bool {
    on.iter().any(|word| {
        word == code
            || (word == "unavailable" && HTTP_UNAVAILABLE.contains(&code))
            || (word == "reset" && CONNECTION_FAILURES.contains(&code))
            || (word == HTTP_5XX && code.starts_with('5') && http_status(code).is_some())
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
        let on = vec!["5xx".to_owned()];
        assert!(["500", "503", "599"].iter().all(|code| is_listed(&on, code)));
        assert!(!["429", "404", "unavailable", "reset"].iter().any(|code| is_listed(&on, code)));
        assert!(is_failure("503") && is_failure("reset") && is_failure("unavailable"));
        assert!(!["5xx", "999", "+50", "200", "302", "ok", "OK"].iter().any(|code| is_failure(code)));
    }

    #[test]
    fn statuses_are_told_in_the_words_of_the_other_protocol() {
        for (grpc, http) in [("unavailable", 503), ("deadline_exceeded", 504), ("not_found", 404), ("internal", 500)] {
            assert_eq!(to_http(grpc), http);
        }
        assert_eq!((to_http("418"), to_http("reset")), (418, 503));
        for (http, grpc) in
            [("503", "unavailable"), ("504", "deadline_exceeded"), ("418", "unknown"), ("401", "unauthenticated")]
        {
            assert_eq!(to_grpc(http), grpc);
        }
        assert_eq!((to_grpc("aborted"), to_grpc("reset")), ("aborted", "unavailable"));
    }
}
