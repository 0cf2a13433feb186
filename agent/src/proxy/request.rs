//! A request's body on its way out: it passes as it comes, and what has passed is kept for another attempt.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::BoxError;
use crate::body::MOST_BUFFERED;

/// A request's body, for one or more attempts.
pub(super) enum Source<B> {
    /// There is none.
    Empty,
    /// Passes once.
    Once(Mutex<Option<B>>),
    /// What has passed is kept.
    Kept(Arc<Mutex<Kept<B>>>),
}

/// The body of one attempt.
pub struct RequestBody<B>(Part<B>);

enum Part<B> {
    Empty,
    Once(B),
    Kept(Reader<B>),
}

/// One attempt's place in what is kept. Several may read at a time.
struct Reader<B> {
    all: Arc<Mutex<Kept<B>>>,
    /// The next frame of data, counted from the first.
    next: usize,
    told_trailers: bool,
    hint: SizeHint,
}

/// What has passed of a body, and the rest of it.
pub(super) struct Kept<B> {
    rest: Option<B>,
    data: Vec<Bytes>,
    /// How many frames of data have passed; as many are kept, or none.
    passed: usize,
    size: usize,
    trailers: Option<HeaderMap>,
    /// More has passed than is kept, or it broke off: there can be no other attempt.
    spilled: bool,
    /// Readers that wait for the rest. The rest itself knows the last one only.
    waiting: Vec<Waker>,
}

impl<B: Body<Data = Bytes>> Source<B> {
    /// A body; `again` where it may be wanted more than once.
    pub(super) fn new(body: B, again: bool) -> Self {
        if body.is_end_stream() {
            return Self::Empty;
        }
        if !again {
            return Self::Once(Mutex::new(Some(body)));
        }
        let (data, waiting) = (Vec::new(), Vec::new());
        let kept = Kept { rest: Some(body), data, passed: 0, size: 0, trailers: None, spilled: false, waiting };
        Self::Kept(Arc::new(Mutex::new(kept)))
    }

    /// Whether there can be another attempt.
    pub(super) fn can_repeat(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(_) => false,
            Self::Kept(kept) => !lock(kept).spilled,
        }
    }

    /// The body for the next attempt.
    pub(super) fn next(&self) -> RequestBody<B> {
        RequestBody(match self {
            Self::Empty => Part::Empty,
            Self::Once(body) => lock(body).take().map_or(Part::Empty, Part::Once),
            Self::Kept(all) => {
                let hint = lock(all).hint();
                Part::Kept(Reader { all: all.clone(), next: 0, told_trailers: false, hint })
            }
        })
    }
}

impl<B> RequestBody<B> {
    /// A body that passes once.
    pub fn once(body: B) -> Self {
        Self(Part::Once(body))
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B: Body<Data = Bytes>> Kept<B> {
    /// All of it, from the beginning.
    fn hint(&self) -> SizeHint {
        let here = self.size as u64;
        let Some(rest) = self.rest.as_ref().map(B::size_hint) else { return SizeHint::with_exact(here) };
        let mut hint = SizeHint::new();
        hint.set_lower(here + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(here + upper);
        }
        hint
    }

    fn keep(&mut self, data: &Bytes) {
        self.passed += 1;
        self.size += data.len();
        self.spilled |= self.size > MOST_BUFFERED;
        if self.spilled {
            self.data = Vec::new();
        } else {
            self.data.push(data.clone());
        }
    }
}

impl<B> Kept<B> {
    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }

    /// The next frame, of the rest.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<BoxError>,
    {
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let Poll::Ready(polled) = Pin::new(&mut *rest).poll_frame(cx) else {
            if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                self.waiting.push(cx.waker().clone());
            }
            return Poll::Pending;
        };
        let over = rest.is_end_stream();
        match &polled {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.keep(data);
                } else {
                    self.trailers = frame.trailers_ref().cloned();
                }
            }
            // The one who asks broke off: nobody wants another attempt.
            Some(Err(_)) => self.spilled = true,
            None => {}
        }
        if over || self.trailers.is_some() || !matches!(polled, Some(Ok(_))) {
            self.rest = None;
        }
        self.wake();
        Poll::Ready(polled.map(|frame| frame.map_err(Into::into)))
    }
}

impl<B> Reader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut kept = lock(&self.all);
        if let Some(data) = kept.data.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if self.next < kept.passed {
            return Poll::Ready(Some(Err("the request was too long to be kept for another attempt".into())));
        }
        if kept.rest.is_some() {
            let polled = std::task::ready!(kept.poll_rest(cx));
            self.next = kept.passed;
            self.told_trailers = kept.trailers.is_some();
            return Poll::Ready(polled);
        }
        if self.told_trailers {
            return Poll::Ready(None);
        }
        self.told_trailers = true;
        Poll::Ready(kept.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_over(&self) -> bool {
        let kept = lock(&self.all);
        kept.rest.is_none() && self.next == kept.passed && (self.told_trailers || kept.trailers.is_none())
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        // The rest may know this reader only: let the others ask it again.
        lock(&self.all).wake();
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.0 {
            Part::Empty => Poll::Ready(None),
            Part::Once(body) => Pin::new(body).poll_frame(cx).map(|f| f.map(|f| f.map_err(Into::into))),
            Part::Kept(reader) => reader.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Part::Empty => true,
            Part::Once(body) => body.is_end_stream(),
            Part::Kept(reader) => reader.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Part::Empty => SizeHint::with_exact(0),
            Part::Once(body) => body.size_hint(),
            Part::Kept(reader) => reader.hint,
        }
    }
}

impl<B> std::fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Part::Empty => "RequestBody(empty)",
            Part::Once(_) => "RequestBody(passes once)",
            Part::Kept(_) => "RequestBody(kept)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt as _, StreamBody};
    use std::convert::Infallible;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    type Frames = mpsc::Sender<Result<Frame<Bytes>, Infallible>>;

    fn body(again: bool) -> (Frames, Source<impl Body<Data = Bytes, Error = Infallible> + Unpin>) {
        let (tx, rx) = mpsc::channel(8);
        (tx, Source::new(StreamBody::new(ReceiverStream::new(rx)), again))
    }

    async fn text(
        body: RequestBody<impl Body<Data = Bytes, Error = Infallible> + Unpin>,
    ) -> (String, Option<HeaderMap>) {
        let all = body.collect().await.unwrap();
        let trailers = all.trailers().cloned();
        (String::from_utf8(all.to_bytes().to_vec()).unwrap(), trailers)
    }

    async fn say(tx: &Frames, words: &'static str) {
        tx.send(Ok(Frame::data(Bytes::from_static(words.as_bytes())))).await.unwrap();
    }

    #[tokio::test]
    async fn a_second_attempt_says_again_what_had_passed_and_reads_on() {
        let (tx, source) = body(true);
        say(&tx, "one ").await;
        let mut first = source.next();
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "one ");
        let second = source.next();
        say(&tx, "two").await;
        let mut trailers = HeaderMap::new();
        trailers.insert("sum", http::HeaderValue::from_static("2"));
        tx.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
        drop(tx);
        assert_eq!(text(second).await, ("one two".to_owned(), Some(trailers.clone())));
        assert!(source.can_repeat());
        assert_eq!(text(source.next()).await, ("one two".to_owned(), Some(trailers)));
    }

    #[tokio::test]
    async fn two_attempts_read_side_by_side_and_one_may_go() {
        let (tx, source) = body(true);
        let (first, second) = (source.next(), source.next());
        let (first, second) = (tokio::spawn(text(first)), tokio::spawn(text(second)));
        tokio::task::yield_now().await;
        // Whichever was the last to ask for more takes the only waker along.
        let gone = {
            let mut third = source.next();
            assert!(futures_util::FutureExt::now_or_never(third.frame()).is_none());
            third
        };
        drop(gone);
        say(&tx, "both").await;
        drop(tx);
        assert_eq!((first.await.unwrap().0, second.await.unwrap().0), ("both".to_owned(), "both".to_owned()));
    }

    #[tokio::test]
    async fn more_than_is_kept_passes_once() {
        let (tx, source) = body(true);
        let big = Bytes::from(vec![b'x'; MOST_BUFFERED / 2 + 1]);
        for _ in 0..2 {
            tx.send(Ok(Frame::data(big.clone()))).await.unwrap();
        }
        say(&tx, "end").await;
        drop(tx);
        let (passed, _) = text(source.next()).await;
        assert_eq!(passed.len(), 2 * big.len() + 3);
        assert!(!source.can_repeat());
    }

    #[tokio::test]
    async fn what_is_not_wanted_twice_is_not_kept() {
        let (tx, source) = body(false);
        say(&tx, "order").await;
        drop(tx);
        assert!(!source.can_repeat());
        assert_eq!(text(source.next()).await.0, "order");
        let empty = Source::new(http_body_util::Empty::<Bytes>::new(), true);
        assert!(empty.next().is_end_stream() && empty.can_repeat());
    }
}
