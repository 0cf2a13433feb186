//! gRPC over tonic, both sides.

mod client;
mod response;
mod server;

use http::HeaderMap;
use opentelemetry::KeyValue;
use tonic::{Code, Status};

pub use self::client::GrpcClient;
pub(crate) use self::client::{call_attributes, early_status, timer_went_off, write_headers};
pub(crate) use self::response::by_trailers;
pub use self::response::{Reply, ReplyBody};
pub use self::server::{GrpcServer, GrpcServerLayer, ServedBody};
pub(crate) use self::server::{end, is_server_error};
use crate::call::{Ended, Pushback};

/// gRPC's hint about another try, in milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// The convention's name for the status of a call.
const STATUS_CODE: &str = "rpc.response.status_code";

/// A status code in the words of the policy.
pub(crate) fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// The code of a word of the policy.
fn code(word: &str) -> Code {
    let all = (0..=16).map(Code::from_i32);
    all.into_iter().find(|code| self::word(*code) == word).unwrap_or(Code::Unavailable)
}

/// The status as the conventions write it: `DEADLINE_EXCEEDED`.
pub(crate) fn status_attribute(code: Code) -> KeyValue {
    KeyValue::new(STATUS_CODE, word(code).to_ascii_uppercase())
}

/// The status in headers or trailers; what has none is unknown.
pub(crate) fn status_of(headers: &HeaderMap) -> Code {
    headers.get("grpc-status").map_or(Code::Unknown, |v| Code::from_bytes(v.as_bytes()))
}

/// An end by a status that came in headers or trailers.
pub(crate) fn ended(headers: &HeaderMap, code: Code) -> Ended {
    let mut ended = Ended::with(word(code));
    ended.attributes.push(status_attribute(code));
    ended.pushback = match headers.get(PUSHBACK).map(|v| v.to_str().ok().and_then(|t| t.parse::<i64>().ok())) {
        None => Pushback::None,
        Some(Some(ms)) if ms >= 0 => Pushback::After(std::time::Duration::from_millis(ms.unsigned_abs())),
        // Negative or unreadable: do not try again.
        Some(_) => Pushback::Never,
    };
    ended
}

/// An end by a status of the transport's or of ours.
fn ended_by(status: &Status) -> Ended {
    let mut ended = Ended::with(word(status.code()));
    ended.attributes.push(status_attribute(status.code()));
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_codes_are_one_to_one() {
        for n in 0..=16 {
            let one = Code::from_i32(n);
            assert_eq!(code(word(one)), one);
        }
        assert_eq!(code("reset"), Code::Unavailable);
    }

    #[test]
    fn an_unreadable_pushback_forbids() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(PUSHBACK, http::HeaderValue::from_static(value));
            ended(&headers, Code::Unavailable).pushback
        };
        assert_eq!(with("20"), Pushback::After(std::time::Duration::from_millis(20)));
        assert_eq!(with("-1"), Pushback::Never);
        assert_eq!(with("soon"), Pushback::Never);
        assert_eq!(ended(&HeaderMap::new(), Code::Ok).pushback, Pushback::None);
    }
}
