//! Who one is, and tokens: given, listed, taken.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use fuseboard_api::ask::Refusal;
use fuseboard_api::identity::{MadeToken, NewToken, RevokeToken, TokenInfo};
use serde::de::DeserializeOwned;

use super::Door;
use super::codec::{self, Codecs, outcome};
use crate::control::refusal::{bad_request, opened_file};
use crate::identity::Caller;

/// Who acts where nobody is asked who they are.
const NOBODY: &str = "somebody at the control address";

/// `GET /v1/whoami`.
pub(super) async fn whoami(Extension(caller): Extension<Caller>, headers: HeaderMap) -> Response {
    outcome(Codecs::of(&headers).wanted, Ok::<_, Refusal>(caller.whoami()))
}

/// `GET /v1/tokens`.
pub(super) async fn list(State(door): State<Door>, headers: HeaderMap) -> Response {
    outcome(Codecs::of(&headers).wanted, Ok::<_, Refusal>(door.identity.list()))
}

/// `POST /v1/tokens`.
pub(super) async fn create(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let codecs = Codecs::of(&headers);
    let made: Result<MadeToken, Refusal> = async {
        let wanted: NewToken = read(&door, codecs, body)?;
        door.identity.create(wanted, &caller.actor(NOBODY)).await
    }
    .await;
    outcome(codecs.wanted, made)
}

/// `POST /v1/tokens/{id}/revoke`.
pub(super) async fn revoke(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let codecs = Codecs::of(&headers);
    let revoked: Result<TokenInfo, Refusal> = async {
        let wanted: RevokeToken = read(&door, codecs, body)?;
        door.identity.revoke(&id, &wanted.reason, &caller.actor(NOBODY)).await
    }
    .await;
    outcome(codecs.wanted, revoked)
}

fn read<T: DeserializeOwned>(door: &Door, codecs: Codecs, body: Result<Bytes, BytesRejection>) -> Result<T, Refusal> {
    if door.desk.control().is_none() {
        return Err(opened_file());
    }
    // A web page can send other kinds of bodies anywhere without being asked; these two it cannot.
    match codecs.sent {
        None => Err(bad_request("this needs Content-Type: application/json or application/msgpack")),
        Some(_) => codec::read(codecs, body),
    }
}
