//! Ids beside a message, and the transports that move them between there and tarpc's context.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use pin_project_lite::pin_project;
use tarpc::{ClientMessage, Request, RequestName, trace};

/// A message with the ids of the span it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Carried<M> {
    pub(super) trace: trace::Context,
    pub(super) message: M,
}

impl<M: RequestName> RequestName for Carried<M> {
    fn name(&self) -> &str {
        self.message.name()
    }
}

pin_project! {
    /// The client's end of a transport: on the way out, ids go from beside the message into the context.
    #[derive(Debug)]
    pub(super) struct ClientCarry<T> {
        #[pin]
        pub(super) inner: T,
    }
}

pin_project! {
    /// The server's end of a transport: on the way in, ids go from the context beside the message.
    #[derive(Debug)]
    pub(super) struct ServerCarry<T> {
        #[pin]
        pub(super) inner: T,
    }
}

fn unknown_kind() -> io::Error {
    io::Error::other("tarpc sent a kind of message that this agent does not know")
}

impl<T, M> Sink<ClientMessage<Carried<M>>> for ClientCarry<T>
where
    T: Sink<ClientMessage<M>, Error = io::Error>,
{
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, item: ClientMessage<Carried<M>>) -> io::Result<()> {
        let plain = match item {
            ClientMessage::Request(Request { mut context, id, message }) => {
                context.trace_context = message.trace;
                ClientMessage::Request(Request { context, id, message: message.message })
            }
            ClientMessage::Cancel { trace_context, request_id } => ClientMessage::Cancel { trace_context, request_id },
            _ => return Err(unknown_kind()),
        };
        self.project().inner.start_send(plain)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_close(cx)
    }
}

impl<T: Stream> Stream for ClientCarry<T> {
    type Item = T::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T::Item>> {
        self.project().inner.poll_next(cx)
    }
}

impl<T, R> Sink<R> for ServerCarry<T>
where
    T: Sink<R, Error = io::Error>,
{
    type Error = io::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, item: R) -> io::Result<()> {
        self.project().inner.start_send(item)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_close(cx)
    }
}

impl<T, M> Stream for ServerCarry<T>
where
    T: Stream<Item = io::Result<ClientMessage<M>>>,
{
    type Item = io::Result<ClientMessage<Carried<M>>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let carried = |message| match message {
            ClientMessage::Request(Request { context, id, message }) => {
                let message = Carried { trace: context.trace_context, message };
                Ok(ClientMessage::Request(Request { context, id, message }))
            }
            ClientMessage::Cancel { trace_context, request_id } => {
                Ok(ClientMessage::Cancel { trace_context, request_id })
            }
            _ => Err(unknown_kind()),
        };
        self.project().inner.poll_next(cx).map(|item| item.map(|message| message.and_then(carried)))
    }
}
