//! Who may send, and for whom: an agent speaks for the services that its token or certificate names.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use fuseboard_api::identity::Deed;
use http::{HeaderValue, header};

use super::Door;
use super::decode::Decoded;
use super::fault::Fault;
use crate::identity::Caller;

/// What is refused of a request that is otherwise stored.
const OTHERS: &str = "of a service that this sender's token or certificate does not name";

/// Lets in who may send; says no with the status and headers of the protocol, in plain words.
pub(super) async fn admit(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let Some(identity) = &door.identity else { return next.run(request).await };
    let caller = identity.admit(request.headers(), request.extensions()).await;
    match caller.and_then(|caller| caller.may(Deed::Send).map(|()| caller)) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => {
            door.vitals.count_refused_request();
            let kind = request.headers().get(header::CONTENT_TYPE);
            if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
                let code = crate::identity::rpc_code(&refusal);
                return tonic::Status::new(code, refusal.message).into_http::<Body>();
            }
            super::http::refused(request.headers(), &Fault::Access(refusal))
        }
    }
}

/// Who sends; anybody where nobody is asked.
pub(super) fn sender(request: &Request) -> Caller {
    request.extensions().get().cloned().unwrap_or(Caller::Anybody)
}

/// The header by which a sender learns that it is asked for a token.
pub(super) fn challenge() -> HeaderValue {
    HeaderValue::from_static("Bearer realm=\"fuseboard\"")
}

/// Leaves out what is said in the name of services that are not the sender's, and counts it. Nothing of them stays: who is
/// named as a sender of nothing would still be listed as a service.
pub(super) fn keep_own(decoded: &mut Decoded, sender: &Caller) {
    let Decoded { batch, refused } = decoded;
    let mut foreign = |service: &str, n: usize| (0..n).for_each(|_| refused.add(OTHERS, service));
    for tape in &mut batch.tapes {
        let own = Places::of(tape.senders.iter().map(|s| sender.speaks_for(tape.text(s.service))));
        if own.all() {
            continue;
        }
        for span in tape.spans.iter().filter(|span| own.at(span.sender as usize).is_none()) {
            foreign(tape.senders.get(span.sender as usize).map_or("", |s| tape.text(s.service)), 1);
        }
        tape.spans.retain_mut(|span| keep(&own, span.sender as usize, |at| span.sender = at as u32));
        tape.senders = own.kept(std::mem::take(&mut tape.senders));
    }
    batch.tapes.retain(|tape| !tape.spans.is_empty());
    let own = Places::of(batch.origins.iter().map(|o| sender.speaks_for(&o.service)));
    if own.all() {
        return;
    }
    let records = batch.logs.iter().map(|log| (log.origin, 1));
    for (origin, n) in records.chain(batch.metrics.iter().map(|m| (m.origin, m.points.len()))) {
        if own.at(origin).is_none() {
            foreign(batch.origins.get(origin).map_or("", |o| &o.service), n);
        }
    }
    batch.logs.retain_mut(|log| keep(&own, log.origin, |at| log.origin = at));
    batch.metrics.retain_mut(|metric| keep(&own, metric.origin, |at| metric.origin = at));
    batch.origins = own.kept(std::mem::take(&mut batch.origins));
}

/// Where each of a list will stand once the others are gone; `None` for those that go.
struct Places(Vec<Option<usize>>);

impl Places {
    fn of(own: impl Iterator<Item = bool>) -> Self {
        let mut next = 0..;
        Self(own.map(|own| if own { next.next() } else { None }).collect())
    }

    fn all(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    fn at(&self, before: usize) -> Option<usize> {
        self.0.get(before).copied().flatten()
    }

    fn kept<T>(&self, all: Vec<T>) -> Vec<T> {
        all.into_iter().zip(&self.0).filter_map(|(one, place)| place.map(|_| one)).collect()
    }
}

/// Whether a record of a sender stays; then it is told the sender's new place.
fn keep(own: &Places, sender: usize, tell: impl FnOnce(usize)) -> bool {
    own.at(sender).map(tell).is_some()
}
