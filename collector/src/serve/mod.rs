//! The doors: the control address (console, command line, agents), and the metrics address.

mod answer;
mod codec;
mod export;
mod guard;
mod jaeger;
mod live;
mod neighbours;
mod plain;
pub(crate) mod ports;
mod prometheus;
mod reception;
pub(crate) mod security;
mod tail;
mod tokens;

use std::io::Read as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use fuseboard_api::ask::{Answer, Ask, Question, Refusal};
use fuseboard_api::command::{Command, Receipt};
use fuseboard_api::identity::Deed;
use fuseboard_api::{TraceId, UnixNanos};
use fuseboard_tls::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub(crate) use answer::Desk;
pub(crate) use jaeger::jaeger;
pub(crate) use reception::{Reception, run};

use self::codec::{Codec, Codecs, outcome};
use self::guard::{nothing, reads, takes};
use crate::control::MAX_MESSAGE;
use crate::control::refusal::{bad_request, internal, not_found, unavailable};
use crate::generated::control::control_server::ControlServer;
use crate::identity::{self, Caller, Identity};

/// Questions and commands have at most so many bytes.
const MAX_BODY: usize = 1024 * 1024;
/// Files are sent in pieces of so many bytes.
const PIECE: u64 = 256 * 1024;

/// Questions that are answered at the same time. More would only share the same processors, while their answers pile up.
const AT_ONCE: usize = 4;
/// A question that has waited so long for its turn is refused.
const TURN: Duration = Duration::from_secs(10);

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    desk: Arc<Desk>,
    identity: Arc<Identity>,
    stop: CancellationToken,
    turns: Arc<Semaphore>,
    started: SystemTime,
}

impl Door {
    /// A door to a desk, for those whom `identity` lets in; it closes at `stop`.
    pub(crate) fn new(desk: Arc<Desk>, identity: Arc<Identity>, stop: CancellationToken) -> Self {
        Self { desk, identity, stop, turns: Arc::new(Semaphore::new(AT_ONCE)), started: SystemTime::now() }
    }

    /// Waits for a turn to be answered; turns are given in the order of asking.
    ///
    /// # Errors
    /// `unavailable` when too many others are answered first.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        turn(self.turns.clone(), TURN).await
    }
}

async fn turn(turns: Arc<Semaphore>, patience: Duration) -> Result<OwnedSemaphorePermit, Refusal> {
    match tokio::time::timeout(patience, turns.acquire_owned()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => Err(unavailable("too many questions are waiting for an answer; ask again in a moment")),
    }
}

/// The control address: HTTP/1.1 and HTTP/2 for the console and `curl`, gRPC for agents.
pub(crate) fn control(door: &Door) -> Router {
    let words = Router::new()
        .route("/v1/ask", takes(door, Deed::Read, ask))
        // What it takes depends on the command.
        .route("/v1/command", takes(door, Deed::Whoami, command))
        .route("/v1/live", reads(door, Deed::Read, live))
        .route("/v1/incidents/{id}/file", reads(door, Deed::Read, incident_file))
        .route("/v1/traces/{id}", reads(door, Deed::Read, trace))
        .route("/v1/stats", reads(door, Deed::Read, plain::stats))
        .route("/v1/export", reads(door, Deed::Read, export::export))
        .route("/v1/edges", reads(door, Deed::Read, plain::edges))
        .route("/v1/tail", reads(door, Deed::Read, tail::tail))
        .route("/v1/whoami", reads(door, Deed::Whoami, tokens::whoami))
        .route("/v1/tokens", reads(door, Deed::Tokens, tokens::list).merge(takes(door, Deed::Tokens, tokens::create)))
        .route("/v1/tokens/{id}/revoke", takes(door, Deed::Tokens, tokens::revoke))
        .fallback_service(nothing(door, Deed::Whoami, nowhere).with_state(door.clone()))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(door.clone());
    let all = match door.desk.control() {
        None => words,
        Some(control) => {
            let agents = ControlServer::new(control.service()).max_decoding_message_size(MAX_MESSAGE);
            let admit = from_fn_with_state((door.identity.clone(), Deed::Steer), guard::admit);
            Routes::new(agents).into_axum_router().layer(admit).reset_fallback().merge(words)
        }
    };
    all.layer(from_fn_with_state(door.identity.clone(), guard::no_strangers))
}

/// The metrics address.
pub(crate) fn metrics(door: &Door) -> Router {
    Router::new()
        .route("/metrics", reads(door, Deed::Scrape, prometheus::metrics))
        .route("/healthz", reads(door, Deed::Scrape, prometheus::health))
        .fallback_service(nothing(door, Deed::Scrape, nowhere_here).with_state(door.clone()))
        .with_state(door.clone())
        .layer(from_fn_with_state(door.identity.clone(), guard::no_strangers))
}

async fn ask(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let codecs = Codecs::of(&headers);
    let answered = async {
        let ask = codec::read::<Ask>(codecs, body)?;
        caller.may(identity::of_question(&ask.question))?;
        let turn = door.turn().await?;
        Ok((door.desk.ask(ask).await?, turn))
    };
    match answered.await {
        // A large answer takes long to write: not on the threads that serve everybody.
        Ok((answered, turn)) => {
            let written = tokio::task::spawn_blocking(move || {
                let response = codec::reply(codecs.wanted, StatusCode::OK, &answered);
                drop(turn);
                response
            });
            let failed = |_| outcome::<()>(codecs.wanted, Err(internal("the answer could not be written")));
            written.await.unwrap_or_else(failed)
        }
        Err(refusal) => outcome::<()>(codecs.wanted, Err(refusal)),
    }
}

async fn command(
    State(door): State<Door>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let codecs = Codecs::of(&headers);
    // A web page can send other kinds of bodies anywhere without being asked; these two it cannot.
    let read = match codecs.sent {
        None => Err(bad_request("a command needs Content-Type: application/json or application/msgpack")),
        Some(_) => codec::read::<Command>(codecs, body),
    };
    let receipt = match read {
        Ok(command) => commanded(&door, &caller, peer.address().ip(), command).await,
        Err(refusal) => Err(refusal),
    };
    outcome(codecs.wanted, receipt)
}

/// Carries out what the caller may command, under the caller's own name.
async fn commanded(door: &Door, caller: &Caller, from: IpAddr, mut command: Command) -> Result<Receipt, Refusal> {
    let deed = identity::of_action(&command.action);
    if let Err(refusal) = caller.may(deed) {
        door.identity.note_refused(Some(caller), from, deed.words(), &refusal).await;
        return Err(refusal);
    }
    command.actor = caller.actor(&command.actor);
    door.desk.command(command).await
}

async fn live(State(door): State<Door>) -> Response {
    live::reply(door.desk.store().clone(), door.stop.clone())
}

async fn incident_file(State(door): State<Door>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let wanted = Codecs::of(&headers).wanted;
    match exported(&door, &id).await {
        Ok((name, body)) => {
            let headers = [
                (CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
                (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
            ];
            (headers, body).into_response()
        }
        Err(refusal) => outcome::<()>(wanted, Err(refusal)),
    }
}

async fn exported(door: &Door, id: &str) -> Result<(String, Body), Refusal> {
    let id: u64 = id.parse().map_err(|_| bad_request(format!("{id:?} is not the number of an incident")))?;
    let (name, file) = door.desk.incident_file(id).await?;
    Ok((name, Body::from_stream(pieces(file))))
}

/// A file, piece by piece; read on threads where it may block.
fn pieces(mut file: std::fs::File) -> impl Stream<Item = std::io::Result<Bytes>> {
    async_stream::try_stream! {
        loop {
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = Vec::with_capacity(PIECE as usize);
                (&mut file).take(PIECE).read_to_end(&mut piece)?;
                Ok::<_, std::io::Error>((file, piece))
            });
            let (back, piece) = read.await.map_err(std::io::Error::other)??;
            if piece.is_empty() {
                return;
            }
            file = back;
            yield piece.into();
        }
    }
}

async fn trace(State(door): State<Door>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let found: Result<_, Refusal> = async {
        let id: TraceId = id.parse().map_err(|e| bad_request(format!("{e}")))?;
        let ask = Ask { question: Question::Trace(id), as_of: None };
        match door.desk.ask(ask).await?.answer {
            Answer::Trace(Some(trace)) => Ok(crate::query::otlp::trace_to_json(&trace)),
            _ => Err(not_found(format!("nothing of trace {id} is stored"))),
        }
    }
    .await;
    // OTLP has its own words in JSON, not in MessagePack.
    let codec = if found.is_ok() { Codec::Json } else { Codecs::of(&headers).wanted };
    outcome(codec, found)
}

async fn nowhere_here(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let said = format!(
        "there is no {method} {}; here are /metrics and /healthz, all else is at the control address",
        uri.path()
    );
    outcome::<()>(Codecs::of(&headers).wanted, Err(not_found(said)))
}

async fn nowhere(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let said = format!(
        "there is no {method} {}; see /v1/ask, /v1/command, /v1/live, /v1/tail, /v1/stats, /v1/edges",
        uri.path()
    );
    let mut reply = outcome::<()>(Codecs::of(&headers).wanted, Err(not_found(said)));
    *reply.status_mut() = StatusCode::NOT_FOUND;
    reply
}

/// An instant of now for questions over the last seconds.
fn last(seconds: u64, now: UnixNanos) -> fuseboard_api::TimeRange {
    fuseboard_api::TimeRange::ending(now, Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_too_long_for_a_turn_is_refused_and_the_next_is_not() {
        let turns = Arc::new(Semaphore::new(1));
        let first = turn(turns.clone(), TURN).await.expect("nobody else asks");
        let refused = turn(turns.clone(), Duration::from_millis(1)).await.expect_err("the first is not done");
        assert_eq!(refused.code, "unavailable");
        drop(first);
        drop(turn(turns, TURN).await.expect("the first is done"));
    }
}
