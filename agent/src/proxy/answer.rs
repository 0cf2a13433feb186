//! An answer's body on its way in. The call it belongs to ends with it: when all has passed, when it breaks, when its time
//! is over; it is cancelled when the body is dropped before.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::BoxError;
use crate::call::{Ended, LiveAttempt, LiveCall};
use crate::grpc;

pin_project! {
    /// The body of an answer that came through [`super::ProxyClient::call`].
    pub struct AnswerBody<R> {
        #[pin]
        inner: Option<R>,
        // In a box, so that a connection without a call is small.
        open: Option<Box<Open>>,
    }
}

/// A call that ends with its answer's body.
pub(super) struct Open {
    call: LiveCall,
    attempt: LiveAttempt,
    limit: Option<Pin<Box<Sleep>>>,
    /// How a body that ends by itself ends the call; where it is absent, gRPC's trailers say it.
    ended: Option<Ended>,
}

impl Open {
    /// The call's attempt was answered. See [`Open::ended`].
    pub(super) fn new(call: LiveCall, attempt: LiveAttempt, ended: Option<Ended>) -> Box<Self> {
        Box::new(Self { call, attempt, limit: None, ended })
    }

    fn finish(self, ended: &Ended) {
        // The caller has the headers: nothing is tried again from here on.
        self.call.commit(self.attempt, ended);
    }

    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(at) = self.attempt.until() else { return false };
        self.limit.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at))).as_mut().poll(cx).is_ready()
    }
}

impl<R> AnswerBody<R> {
    /// A body whose call has ended.
    pub(super) fn settled(inner: R) -> Self {
        Self { inner: Some(inner), open: None }
    }

    /// A body that ends its call.
    pub(super) fn open(inner: R, open: Box<Open>) -> Self {
        Self { inner: Some(inner), open: Some(open) }
    }

    /// The callee's own body, for connections that change their protocol; the call ends here.
    pub fn into_inner(mut self) -> Option<R> {
        if let Some(mut open) = self.open.take() {
            let ended = open.ended.take().unwrap_or_else(|| Ended::with("unknown"));
            open.finish(&ended);
        }
        self.inner.take()
    }
}

impl<R> std::fmt::Debug for AnswerBody<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerBody").field("open", &self.open.is_some()).finish_non_exhaustive()
    }
}

impl<R> Body for AnswerBody<R>
where
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        match inner.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(mut open) = this.open.take() {
                    match (frame.trailers_ref(), open.ended.take()) {
                        (Some(trailers), None) => open.finish(&grpc::by_trailers(trailers)),
                        (Some(_), Some(ended)) => open.finish(&ended),
                        // The last of it may be known as such: nobody will ask for more.
                        (None, Some(ended)) if inner.is_end_stream() => open.finish(&ended),
                        (None, ended) => {
                            open.ended = ended;
                            *this.open = Some(open);
                        }
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(open) = this.open.take() {
                    open.finish(&Ended::with("reset"));
                }
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                if let Some(mut open) = this.open.take() {
                    let ended = open.ended.take().unwrap_or_else(|| Ended::with("unknown"));
                    open.finish(&ended);
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                if !this.open.as_mut().is_some_and(|open| open.is_due(cx)) {
                    return Poll::Pending;
                }
                if let Some(open) = this.open.take() {
                    open.finish(&Ended::timed_out());
                }
                this.inner.set(None);
                Poll::Ready(Some(Err("the answer was cut: its timeout or the call's deadline had come".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // While the call is open the end must be polled for: it may carry a status.
        self.open.is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
