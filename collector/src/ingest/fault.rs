//! Why a request is turned away, in gRPC's words and in HTTP's.

use fuseboard_api::ask::Refusal;
use http::StatusCode;
use prost::Message;
use tonic::Code;

use super::RETRY_AFTER;
use crate::identity::rpc_code;
use crate::store::StoreError;

/// What went wrong with a request as a whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It makes no sense; the sentence says where.
    #[error("{0}")]
    Bad(String),
    /// Packed in a way that is not known.
    #[error("content encoding {0:?} is not known; use gzip, deflate or none")]
    Packing(String),
    /// It would be as large the next time.
    #[error("the request is larger than {} after decompression; send smaller batches", crate::units::bytes(*.0 as u64))]
    TooLarge(usize),
    /// Small on the wire, but not in memory.
    #[error("the request holds so many values that decoding it would take more than {}; send smaller batches", crate::units::bytes(*.0 as u64))]
    TooHeavy(usize),
    /// Others' requests take all the room.
    #[error("too many requests are under way; try again in a moment")]
    Crowded,
    /// The sender stopped sending.
    #[error("the body did not come in time; try again")]
    Slow,
    /// The store would not have it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not known who sends, or they may not.
    #[error("{}", .0.message)]
    Access(Refusal),
    /// A fault of the collector.
    #[error("{0}")]
    Failed(&'static str),
}

impl Fault {
    /// gRPC's code. OTLP senders try again after `UNAVAILABLE` and `DEADLINE_EXCEEDED`, and after `RESOURCE_EXHAUSTED`
    /// only when they are told when.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Bad(_) => Code::InvalidArgument,
            Self::Packing(_) => Code::Unimplemented,
            Self::TooLarge(_) | Self::TooHeavy(_) | Self::Crowded => Code::ResourceExhausted,
            Self::Slow => Code::DeadlineExceeded,
            Self::Store(e) if e.may_pass() => Code::Unavailable,
            Self::Store(StoreError::ReadOnly) => Code::FailedPrecondition,
            Self::Access(refusal) => rpc_code(refusal),
            Self::Store(_) | Self::Failed(_) => Code::Internal,
        }
    }

    /// HTTP's status; OTLP senders try again after 429, 502, 503 and 504.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Packing(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) | Self::TooHeavy(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Crowded => StatusCode::TOO_MANY_REQUESTS,
            Self::Slow => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(e) if e.may_pass() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Access(refusal) => match rpc_code(refusal) {
                Code::Unauthenticated => StatusCode::UNAUTHORIZED,
                Code::PermissionDenied => StatusCode::FORBIDDEN,
                Code::Unavailable => StatusCode::TOO_MANY_REQUESTS,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::Store(_) | Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the same request may be taken later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Crowded | Self::Slow => true,
            Self::Store(e) => e.may_pass(),
            Self::Access(refusal) => rpc_code(refusal) == Code::Unavailable,
            _ => false,
        }
    }

    /// As `google.rpc.Status`, with the time to wait where trying again may help.
    pub(super) fn rpc(&self) -> RpcStatus {
        let details = if self.may_pass() { vec![retry_info()] } else { Vec::new() };
        RpcStatus { code: self.code() as i32, message: self.to_string(), details }
    }

    /// The same as JSON has it.
    pub(super) fn json(&self) -> serde_json::Value {
        let mut status = serde_json::json!({ "code": self.code() as i32, "message": self.to_string() });
        if self.may_pass() {
            let delay = format!("{RETRY_AFTER}s");
            status["details"] = serde_json::json!([{ "@type": RETRY_INFO, "retryDelay": delay }]);
        }
        status
    }
}

/// `google.rpc.Status`, as gRPC puts it into its details header and OTLP/HTTP into its error bodies.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// Says when to try again.
fn retry_info() -> Detail {
    let delay = Delay { seconds: RETRY_AFTER as i64 };
    Detail { type_url: RETRY_INFO.into(), value: RetryInfo { delay: Some(delay) }.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_try_again_is_told_when_in_both_protocols() {
        // OTLP's lists of what senders repeat.
        let codes = [Code::Unavailable, Code::DeadlineExceeded];
        let statuses = [429, 502, 503, 504];
        let again = [Fault::Crowded, Fault::Slow, StoreError::Busy.into(), StoreError::DiskFull.into()];
        for fault in again {
            let rpc = fault.rpc();
            assert_eq!(rpc.details, [retry_info()], "{fault}");
            assert!(codes.contains(&fault.code()) || fault.code() == Code::ResourceExhausted, "{fault}");
            assert!(statuses.contains(&fault.status().as_u16()), "{fault}");
            assert_eq!(fault.json()["details"][0]["retryDelay"], "1s");
        }
        let never = [
            Fault::Bad("x".into()),
            Fault::Packing("zstd".into()),
            Fault::TooLarge(1),
            Fault::TooHeavy(1),
            StoreError::ReadOnly.into(),
        ];
        for fault in never {
            assert!(fault.rpc().details.is_empty() && !codes.contains(&fault.code()), "{fault}");
            assert!(!statuses.contains(&fault.status().as_u16()), "{fault}");
            assert_eq!(fault.json().get("details"), None);
        }
    }

    #[test]
    fn the_time_to_wait_is_written_as_google_defines_it() {
        // Field 1 of RetryInfo is a Duration, whose field 1 is seconds.
        assert_eq!(retry_info().value, [0x0a, 2, 0x08, 1]);
    }
}
