//! Request bodies that can be sent again: what is there at once is buffered, a stream passes untouched.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use pin_project_lite::pin_project;

/// Largest body that is kept for another attempt, in bytes; larger ones are sent once.
pub(crate) const MOST_BUFFERED: usize = 256 * 1024;

pin_project! {
    /// What was read of a body already, then the rest of it.
    #[derive(Debug)]
    pub struct ReplayBody<B> {
        prefix: VecDeque<Bytes>,
        trailers: Option<HeaderMap>,
        #[pin]
        rest: Option<B>,
    }
}

/// A request's body, for one or more attempts.
pub(crate) enum Outgoing<B> {
    /// Everything is here.
    Whole { data: VecDeque<Bytes>, trailers: Option<HeaderMap> },
    /// Can be sent once.
    Once(Mutex<Option<ReplayBody<B>>>),
}

impl<B> Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Takes what the body has ready, up to [`MOST_BUFFERED`].
    pub(crate) fn take(mut body: B) -> Result<Self, B::Error> {
        let (mut data, mut size) = (VecDeque::new(), 0);
        loop {
            match body.frame().now_or_never() {
                Some(None) => return Ok(Self::Whole { data, trailers: None }),
                Some(Some(Err(error))) => return Err(error),
                Some(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => {
                        size += bytes.len();
                        data.push_back(bytes);
                        if size > MOST_BUFFERED {
                            return Ok(Self::once(data, body));
                        }
                    }
                    Err(frame) => return Ok(Self::Whole { data, trailers: frame.into_trailers().ok() }),
                },
                None => return Ok(Self::once(data, body)),
            }
        }
    }

    fn once(prefix: VecDeque<Bytes>, rest: B) -> Self {
        Self::Once(Mutex::new(Some(ReplayBody { prefix, trailers: None, rest: Some(rest) })))
    }

    /// Whether it can be sent more than once.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Whole { .. })
    }

    /// The body for the next attempt; empty if it was sent and cannot be sent again.
    pub(crate) fn next(&self) -> ReplayBody<B> {
        match self {
            Self::Whole { data, trailers } => {
                ReplayBody { prefix: data.clone(), trailers: trailers.clone(), rest: None }
            }
            Self::Once(body) => {
                let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
                body.unwrap_or(ReplayBody { prefix: VecDeque::new(), trailers: None, rest: None })
            }
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(data) = this.prefix.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match this.rest.as_pin_mut() {
            Some(rest) => rest.poll_frame(cx),
            None => Poll::Ready(this.trailers.take().map(|t| Ok(Frame::trailers(t)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_empty() && self.trailers.is_none() && self.rest.as_ref().is_none_or(B::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let here: u64 = self.prefix.iter().map(|b| b.len() as u64).sum();
        let Some(rest) = self.rest.as_ref().map(B::size_hint) else { return SizeHint::with_exact(here) };
        let mut hint = SizeHint::new();
        hint.set_lower(here + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(here + upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};

    #[tokio::test]
    async fn a_whole_body_is_sent_twice() {
        let body = Outgoing::take(Full::new(Bytes::from_static(b"order"))).unwrap();
        assert!(body.is_whole());
        for _ in 0..2 {
            assert_eq!(body.next().collect().await.unwrap().to_bytes(), "order");
        }
    }

    #[tokio::test]
    async fn a_stream_passes_once_and_whole() {
        let (tx, rx) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, std::convert::Infallible>>(4);
        tx.send(Ok(Frame::data(Bytes::from_static(b"one ")))).await.unwrap();
        let body = Outgoing::take(StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(rx))).unwrap();
        assert!(!body.is_whole());
        tx.send(Ok(Frame::data(Bytes::from_static(b"two")))).await.unwrap();
        drop(tx);
        assert_eq!(body.next().collect().await.unwrap().to_bytes(), "one two");
        assert!(body.next().is_end_stream());
    }
}
