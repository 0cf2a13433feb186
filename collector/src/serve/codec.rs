//! Words on the wire: JSON or MessagePack, as the caller likes.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use fuseboard_api::ask::Refusal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::MAX_BODY;
use crate::control::refusal::{bad_request, internal};

/// How words are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// `application/json`.
    Json,
    /// `application/msgpack`, structs as maps with their field names.
    MessagePack,
}

/// How a request is written and how it wants its reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codecs {
    /// Of the request's body; `None` when it says neither.
    pub(super) sent: Option<Codec>,
    /// Of the reply.
    pub(super) wanted: Codec,
}

impl Codecs {
    /// As the headers say. Without `Accept` the reply is written as the request was, else as JSON.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok()).unwrap_or_default();
        let sent = named(text(CONTENT_TYPE));
        Self { sent, wanted: named(text(ACCEPT)).or(sent).unwrap_or(Codec::Json) }
    }
}

fn named(header: &str) -> Option<Codec> {
    header.split(',').find_map(|media| match media.split(';').next().map(str::trim) {
        Some("application/json") => Some(Codec::Json),
        Some("application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack") => Some(Codec::MessagePack),
        _ => None,
    })
}

/// Reads a body; JSON unless it says otherwise.
///
/// # Errors
/// `bad_request` with the place of the mistake.
pub(super) fn read<T: DeserializeOwned>(codecs: Codecs, body: Result<Bytes, BytesRejection>) -> Result<T, Refusal> {
    let body = body.map_err(|rejected| match rejected.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Refusal::new("too_large", format!("the request is larger than {} KiB", MAX_BODY / 1024))
        }
        _ => bad_request(format!("the body broke off: {}", rejected.body_text())),
    })?;
    match codecs.sent.unwrap_or(Codec::Json) {
        Codec::Json => {
            serde_json::from_slice(&body).map_err(|e| bad_request(format!("the body cannot be read as JSON: {e}")))
        }
        Codec::MessagePack => rmp_serde::from_slice(&body)
            .map_err(|e| bad_request(format!("the body cannot be read as MessagePack: {e}"))),
    }
}

/// Writes a reply.
pub(super) fn reply<T: Serialize>(codec: Codec, status: StatusCode, words: &T) -> Response {
    let (kind, written) = match codec {
        Codec::Json => ("application/json", serde_json::to_vec(words).map_err(|e| e.to_string())),
        Codec::MessagePack => ("application/msgpack", rmp_serde::to_vec_named(words).map_err(|e| e.to_string())),
    };
    match written {
        Ok(body) => (status, [(CONTENT_TYPE, kind)], body).into_response(),
        Err(e) => {
            let refusal = internal(format!("the reply cannot be written: {e}"));
            (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(refusal)).into_response()
        }
    }
}

/// Writes an answer or a refusal.
pub(super) fn outcome<T: Serialize>(codec: Codec, outcome: Result<T, Refusal>) -> Response {
    match outcome {
        Ok(words) => reply(codec, StatusCode::OK, &words),
        Err(refusal) => {
            let mut response = reply(codec, status_of(&refusal), &refusal);
            explain(response.headers_mut(), &refusal);
            response
        }
    }
}

/// The headers that go with a refusal.
pub(super) fn explain(headers: &mut HeaderMap, refusal: &Refusal) {
    match refusal.code.as_str() {
        "unauthenticated" => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"fuseboard\""));
        }
        "slow_down" => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
        }
        _ => {}
    }
}

/// The HTTP status of a refusal.
pub(super) fn status_of(refusal: &Refusal) -> StatusCode {
    match refusal.code.as_str() {
        "bad_request" | "bad_query" => StatusCode::BAD_REQUEST,
        "not_found" => StatusCode::NOT_FOUND,
        "conflict" => StatusCode::CONFLICT,
        "read_only" | "forbidden" => StatusCode::FORBIDDEN,
        "unauthenticated" => StatusCode::UNAUTHORIZED,
        "slow_down" => StatusCode::TOO_MANY_REQUESTS,
        "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codecs(sent: Option<&'static str>, accept: Option<&'static str>) -> Codecs {
        let mut headers = HeaderMap::new();
        if let Some(sent) = sent {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(sent));
        }
        if let Some(accept) = accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        Codecs::of(&headers)
    }

    #[test]
    fn a_reply_is_written_as_asked_or_as_the_request_was() {
        assert_eq!(codecs(None, None).wanted, Codec::Json);
        assert_eq!(codecs(None, Some("*/*")).wanted, Codec::Json);
        assert_eq!(codecs(Some("application/msgpack"), None).wanted, Codec::MessagePack);
        assert_eq!(codecs(Some("application/msgpack"), Some("application/json")).wanted, Codec::Json);
        assert_eq!(
            codecs(Some("application/json; charset=utf-8"), Some("text/html, application/x-msgpack;q=0.5")).wanted,
            Codec::MessagePack
        );
        assert_eq!(codecs(Some("text/plain"), None).sent, None);
    }
}
