//! Bodies under watch: a request's that may be too large or too slow, an answer's whose end is waited for.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use super::limits::{Limits, Permit, too_large, too_slow};
use super::record::Recorder;
use super::refusal::Refused;

type BoxError = Box<dyn Error + Send + Sync>;

/// A body that a server of tonic or axum reads, and that another can be put into.
pub trait ServerBody: HttpBody<Data = Bytes> + Send + Sized + 'static {
    /// Puts another body in its place.
    fn wrap<T>(body: T) -> Self
    where
        T: HttpBody<Data = Bytes, Error = BoxError> + Send + 'static;
}

impl ServerBody for axum::body::Body {
    fn wrap<T>(body: T) -> Self
    where
        T: HttpBody<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        Self::new(body)
    }
}

impl ServerBody for tonic::body::Body {
    fn wrap<T>(body: T) -> Self
    where
        T: HttpBody<Data = Bytes, Error = BoxError> + Send + 'static,
    {
        Self::new(body)
    }
}

/// What became of a body, told to the one who answers.
#[derive(Debug, Default)]
pub(super) struct Watch(AtomicU8);

const TOO_LARGE: u8 = 1;
const TOO_SLOW: u8 = 2;

impl Watch {
    /// Why the request is refused after all, if its body broke a limit.
    pub(super) fn broken(&self, limits: &Limits) -> Option<Refused> {
        match self.0.load(Ordering::Acquire) {
            TOO_LARGE => Some(too_large(limits.body.unwrap_or_default())),
            TOO_SLOW => Some(too_slow()),
            _ => None,
        }
    }
}

/// A body that did not come in time.
#[derive(Debug)]
struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body did not come in the time for it")
    }
}

impl Error for TooSlow {}

/// Puts a body under the limits that still have to be watched; one that is known to keep them passes untouched.
pub(super) fn watched<B>(body: B, limits: &Limits) -> (B, Option<Arc<Watch>>)
where
    B: ServerBody,
    B::Error: Into<BoxError>,
{
    let most = limits.body.filter(|most| body.size_hint().upper().is_none_or(|upper| upper > *most));
    let timed = limits.body_idle.is_some() || limits.body_within.is_some();
    if body.is_end_stream() || (most.is_none() && !timed) {
        return (body, None);
    }
    let watch = Arc::new(Watch::default());
    let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let end = limits.body_within.and_then(|limit| Instant::now().checked_add(limit));
    let body = WatchedBody {
        inner: Limited::new(body.map_err(Into::into), most),
        idle: limits.body_idle,
        wait: None,
        end: end.map(tokio::time::sleep_until),
        watch: watch.clone(),
    };
    (B::wrap(body), Some(watch))
}

pin_project! {
    /// A request's body under limits.
    struct WatchedBody<B> {
        #[pin]
        inner: Limited<B>,
        idle: Option<Duration>,
        // Runs while a piece is waited for.
        #[pin]
        wait: Option<Sleep>,
        #[pin]
        end: Option<Sleep>,
        watch: Arc<Watch>,
    }
}

impl<B> HttpBody for WatchedBody<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if let Poll::Ready(next) = this.inner.poll_frame(cx) {
            this.wait.set(None);
            if let Some(Err(error)) = &next
                && error.is::<LengthLimitError>()
            {
                this.watch.0.store(TOO_LARGE, Ordering::Release);
            }
            return Poll::Ready(next);
        }
        if this.wait.is_none() {
            let until = this.idle.and_then(|idle| Instant::now().checked_add(idle));
            this.wait.set(until.map(tokio::time::sleep_until));
        }
        let due = |timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>| {
            timer.as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready())
        };
        if due(this.wait.as_mut(), cx) || due(this.end.as_mut(), cx) {
            this.watch.0.store(TOO_SLOW, Ordering::Release);
            return Poll::Ready(Some(Err(Box::new(TooSlow))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project! {
    /// The body of an answer: the handler's, or the text of a refusal. What the request holds is given back at its end.
    pub struct GuardedBody<R> {
        #[pin]
        inner: Option<R>,
        text: Bytes,
        held: Held,
    }
}

/// What is given back, and written, at the end of an answer.
#[derive(Default)]
pub(super) struct Held {
    pub(super) permit: Option<Permit>,
    pub(super) recorder: Option<Recorder>,
}

impl<R> fmt::Debug for GuardedBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedBody").field("refused", &self.inner.is_none()).finish_non_exhaustive()
    }
}

impl<R: HttpBody<Data = Bytes>> GuardedBody<R> {
    /// A handler's body.
    pub(super) fn answer(inner: R, held: Held) -> Self {
        let mut body = Self { inner: Some(inner), text: Bytes::new(), held };
        if body.is_end_stream() {
            body.held.end();
        }
        body
    }

    /// The text of a refusal.
    pub(super) fn refusal(text: Bytes, mut held: Held) -> Self {
        held.end();
        Self { inner: None, text, held }
    }
}

impl Held {
    /// The answer is complete.
    fn end(&mut self) {
        self.permit = None;
        if let Some(recorder) = self.recorder.take() {
            recorder.complete();
        }
    }

    fn seen(&mut self, frame: &Frame<Bytes>) {
        let Some(recorder) = &mut self.recorder else { return };
        match frame.data_ref() {
            Some(data) => recorder.sent(data.len()),
            None => frame.trailers_ref().into_iter().for_each(|trailers| recorder.trailers(trailers)),
        }
    }
}

impl<R: HttpBody<Data = Bytes>> HttpBody for GuardedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            let text = std::mem::take(this.text);
            return Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))));
        };
        let next = ready!(inner.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &next {
            this.held.seen(frame);
        }
        // Whoever sends a body does not ask again once it says that nothing follows.
        if next.is_none() || inner.is_end_stream() {
            this.held.end();
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().map_or(self.text.is_empty(), HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(self.text.len() as u64), HttpBody::size_hint)
    }
}
