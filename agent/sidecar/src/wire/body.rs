//! An answer's body; with its end the connection is free again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use fuseboard_agent::proxy::RequestBody;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::OwnedSemaphorePermit;

use super::peer::Peer;

/// The body of an answer from an instance.
#[derive(Debug)]
pub(crate) struct WireBody {
    inner: Incoming,
    lease: Option<Lease>,
}

/// A connection in use. Dropped before its answer is complete, the connection is closed.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) peer: Arc<Peer>,
    pub(super) connection: SendRequest<RequestBody<Incoming>>,
    pub(super) _turn: OwnedSemaphorePermit,
}

impl WireBody {
    /// A body, and the connection that it occupies.
    pub(super) fn new(inner: Incoming, lease: Option<Lease>) -> Self {
        let mut body = Self { inner, lease };
        body.release();
        body
    }

    fn release(&mut self) {
        if !self.inner.is_end_stream() {
            return;
        }
        self.end();
    }

    fn end(&mut self) {
        if let Some(Lease { peer, connection, .. }) = self.lease.take() {
            peer.keep(connection);
        }
    }
}

impl Body for WireBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => self.release(),
            Poll::Ready(Some(Err(_))) => drop(self.lease.take()),
            Poll::Ready(None) => self.end(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
