//! Bodies: received within limits of size and time.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;

use super::Door;
use super::fault::Fault;
use super::room::Room;

/// What is left of a body that is refused for its size is read and thrown away for so long: who is still sending does not
/// listen, and would only see the connection break.
const DRAIN: Duration = Duration::from_secs(5);

/// A body as it was sent, and the room it takes.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    pub(super) room: Room,
}

/// Receives a body of at most `limit` bytes.
///
/// # Errors
/// Too large, too slow, broken off, or no room for it.
pub(super) async fn receive(door: &Door, headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Whole, Fault> {
    let too_large = Fault::TooLarge(door.limits.request);
    let told = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|length| length > limit as u64) {
        // Who waits for our word before sending has it now.
        if !headers.contains_key(header::EXPECT) {
            drain(&mut body, door).await;
        }
        return Err(too_large);
    }
    let mut room = door.hall.enter();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let until = Instant::now() + door.limits.body;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let frame = tokio::time::timeout(door.limits.silence.min(left), body.frame()).await;
        let frame = match frame.map_err(|_| Fault::Slow)? {
            None => break,
            Some(Err(e)) => return Err(Fault::Bad(format!("the body broke off: {e}"))),
            Some(Ok(frame)) => frame,
        };
        let Ok(piece) = frame.into_data() else { continue };
        if first.len() + rest.len() + piece.len() > limit {
            drop((first, rest, room));
            drain(&mut body, door).await;
            return Err(too_large);
        }
        room.take(piece.len())?;
        if first.is_empty() && rest.is_empty() {
            // Most bodies come in one piece and need no copy.
            first = piece;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&piece);
        }
    }
    let bytes = if rest.is_empty() { first } else { rest.freeze() };
    Ok(Whole { bytes, room })
}

async fn drain(body: &mut Body, door: &Door) {
    let patience = DRAIN.min(door.limits.body);
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    if tokio::time::timeout(patience, all).await.is_err() {
        tracing::debug!("a body that was too large is still being sent");
    }
}
