//! A reply's body. A gRPC call ends with its trailers, so the body carries the call's end.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

use super::client::too_late;
use crate::call::{Ended, LiveAttempt, LiveCall};

pin_project! {
    /// The body of a reply: ends the call's spans when the trailers arrive, cuts it when its time is over, cancels it when it
    /// is dropped before.
    pub struct ReplyBody {
        #[pin]
        inner: Option<Body>,
        open: Option<(LiveCall, LiveAttempt)>,
        #[pin]
        limit: Option<Sleep>,
    }
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyBody").field("open", &self.open.is_some()).finish_non_exhaustive()
    }
}

impl ReplyBody {
    /// A body whose call has ended.
    pub(super) fn settled(inner: Body) -> Self {
        Self { inner: Some(inner), open: None, limit: None }
    }

    /// A body that decides how its call ends.
    pub(super) fn open(inner: Body, call: LiveCall, attempt: LiveAttempt) -> Self {
        let limit = attempt.until().map(tokio::time::sleep_until);
        Self { inner: Some(inner), open: Some((call, attempt)), limit }
    }
}

fn finish(open: &mut Option<(LiveCall, LiveAttempt)>, ended: &Ended) {
    if let Some((call, attempt)) = open.take() {
        // The application has the headers: nothing is tried again from here on.
        call.commit(attempt, ended);
    }
}

/// The end that a reply's trailers tell.
pub(crate) fn by_trailers(trailers: &HeaderMap) -> Ended {
    super::ended(trailers, super::status_of(trailers))
}

impl HttpBody for ReplyBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        match inner.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    finish(this.open, &by_trailers(trailers));
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(status))) => {
                finish(this.open, &super::ended_by(&status));
                Poll::Ready(Some(Err(status)))
            }
            Poll::Ready(None) => {
                finish(this.open, &Ended::with("unknown"));
                Poll::Ready(None)
            }
            Poll::Pending => {
                let due = this.open.is_some()
                    && this.limit.as_mut().as_pin_mut().is_some_and(|limit| limit.poll(cx).is_ready());
                if !due {
                    return Poll::Pending;
                }
                finish(this.open, &Ended::timed_out());
                this.inner.set(None);
                Poll::Ready(Some(Err(too_late())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // While the call is open the end must be polled for: it carries the status.
        self.open.is_none() && self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

/// An answer of the application's own, for [`crate::Agent::fallback`].
#[derive(Debug, Clone)]
pub struct Reply {
    /// With gRPC's five bytes before it: not packed, and its length.
    message: Bytes,
}

impl Reply {
    /// A unary answer: one message and the status `OK`.
    #[must_use]
    pub fn new(message: &impl prost::Message) -> Self {
        let mut data = vec![0; 5];
        // A vector always has room.
        let _ = message.encode(&mut data);
        let length = u32::try_from(data.len() - 5).unwrap_or(u32::MAX).to_be_bytes();
        data.iter_mut().skip(1).zip(length).for_each(|(place, byte)| *place = byte);
        Self { message: data.into() }
    }

    pub(super) fn into_response(self) -> Response<ReplyBody> {
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
        let body = Full::new(self.message).with_trailers(std::future::ready(Some(Ok(trailers))));
        let mut response = Response::new(ReplyBody::settled(Body::new(body)));
        let grpc = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
        response
    }
}
