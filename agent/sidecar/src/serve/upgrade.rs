//! Connections that change their protocol, such as to WebSocket: from the answer on, bytes pass both ways untouched.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use tokio_util::task::TaskTracker;

use crate::headers;

/// A request that asks for an upgrade, before its answer.
#[derive(Debug)]
pub(super) struct Pending(OnUpgrade);

impl Pending {
    /// Takes it from a request that asks for one.
    pub(super) fn of<B>(request: &mut Request<B>) -> Option<Self> {
        let wanted = headers::wants_upgrade(request.version(), request.method(), request.headers());
        wanted.then(|| Self(hyper::upgrade::on(request)))
    }
}

/// Joins both sides, as one of what is `open`, where the answer agrees to the upgrade, and takes from every other answer what concerns one connection.
pub(super) fn settle<B>(pending: Option<Pending>, answer: &mut Response<B>, open: &TaskTracker) {
    let agreed = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    let protocol = answer.headers().get(UPGRADE).cloned();
    headers::end_to_end(answer.headers_mut(), false);
    if let (Some(Pending(near)), true) = (pending, agreed) {
        let far = hyper::upgrade::on(&mut *answer);
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            answer.headers_mut().insert(UPGRADE, protocol);
        }
        open.spawn(join(near, far));
    }
}

async fn join(near: OnUpgrade, far: OnUpgrade) {
    if let Ok((near, far)) = tokio::try_join!(near, far) {
        // Whoever hangs up ends it; there is nobody to tell.
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(near), &mut TokioIo::new(far)).await;
    }
}
