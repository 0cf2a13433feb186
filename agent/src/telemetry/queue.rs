//! Bounded queues between the calls and the exporters: a full queue drops and counts, it never waits.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{SpanData, SpanProcessor};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::deliver::Delivery;
use super::pack::Packer;
use super::span::{Now, Record};

/// Longest wait of a record for company.
const LINGER: Duration = Duration::from_millis(250);
/// Longest time that is given to a last batch once the agent is gone.
const LAST: Duration = Duration::from_secs(30);
/// Most records in one request.
const BATCH: usize = 128;

/// The books of one queue. Each record that it was given waits, until it is delivered or lost; once the queue has ended, what
/// still waits is lost too, wherever it was.
#[derive(Debug, Default)]
pub(crate) struct Books {
    waiting: AtomicU64,
    lost: AtomicU64,
    ended: AtomicBool,
}

impl Books {
    /// A record comes.
    fn given(&self) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
    }

    /// Records do not wait any more: some of them were refused, by the queue or by the collector, and it acknowledged the others.
    fn settled(&self, all: u64, lost: u64) {
        // In this order, so that a reader in between counts them twice rather than not at all.
        self.lost.fetch_add(lost, Ordering::AcqRel);
        self.waiting.fetch_sub(all, Ordering::AcqRel);
    }

    /// How many records were lost so far.
    pub(crate) fn dropped(&self) -> u64 {
        let waiting = if self.ended.load(Ordering::Acquire) { self.waiting.load(Ordering::Acquire) } else { 0 };
        self.lost.load(Ordering::Acquire) + waiting
    }
}

/// The calls' end of a queue.
pub(crate) struct Queue<T> {
    tx: mpsc::Sender<T>,
    half_full: Arc<Notify>,
    books: Arc<Books>,
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("capacity", &self.tx.max_capacity()).finish_non_exhaustive()
    }
}

impl<T> Queue<T> {
    /// Takes a record in, or counts it as lost.
    pub(crate) fn push(&self, record: T) {
        self.books.given();
        if self.tx.try_send(record).is_err() {
            self.books.settled(1, 1);
        } else if self.tx.capacity() < self.tx.max_capacity() / 2 {
            self.half_full.notify_one();
        }
    }
}

/// The exporters' end of a queue.
pub(crate) struct Drain<T> {
    rx: mpsc::Receiver<T>,
    half_full: Arc<Notify>,
    books: Arc<Books>,
}

/// However its task ends, with or without its consent.
impl<T> Drop for Drain<T> {
    fn drop(&mut self) {
        self.books.ended.store(true, Ordering::Release);
    }
}

/// A queue for `capacity` records.
pub(crate) fn queue<T>(capacity: usize) -> (Queue<T>, Drain<T>, Arc<Books>) {
    let (tx, rx) = mpsc::channel(capacity.max(2));
    let (half_full, books) = (Arc::new(Notify::new()), Arc::new(Books::default()));
    let queue = Queue { tx, half_full: half_full.clone(), books: books.clone() };
    (queue, Drain { rx, half_full, books: books.clone() }, books)
}

/// Sends batches, with retries of its own.
pub(crate) trait Send1<T>: Send + Sync + 'static {
    /// Sends, and says how many records of the batch are lost.
    fn send(&mut self, batch: &[T]) -> impl Future<Output = u64> + Send;
}

/// A span that has ended.
#[derive(Debug)]
pub(crate) enum Told {
    /// One of the agent's.
    Ours(Record),
    /// One that the application made with a tracer.
    Sdk(SpanData),
}

impl Told {
    /// One of the agent's.
    pub(super) fn ours(&self) -> Option<&Record> {
        if let Self::Ours(record) = self { Some(record) } else { None }
    }

    /// One that the application made with a tracer.
    pub(super) fn sdks(&self) -> Option<&SpanData> {
        if let Self::Sdk(span) = self { Some(span) } else { None }
    }
}

/// The way of spans out.
pub(super) struct Spans {
    pub(super) packer: Packer,
    pub(super) delivery: Delivery,
}

impl Send1<Told> for Spans {
    async fn send(&mut self, batch: &[Told]) -> u64 {
        let all = batch.len() as u64;
        let request = self.packer.pack(batch, Now::read());
        self.delivery.send(request).await.map_or(all, |rejected| rejected.min(all))
    }
}

impl Send1<(SdkLogRecord, InstrumentationScope)> for opentelemetry_otlp::LogExporter {
    async fn send(&mut self, batch: &[(SdkLogRecord, InstrumentationScope)]) -> u64 {
        let borrowed: Vec<_> = batch.iter().map(|(record, scope)| (record, scope)).collect();
        let sent = self.export(LogBatch::new(&borrowed)).await;
        if sent.is_ok() { 0 } else { batch.len() as u64 }
    }
}

/// A request to send what is queued now, and to say so when done.
pub(crate) type Flush = oneshot::Sender<()>;

impl<T: Send + 'static> Drain<T> {
    /// The next record.
    #[cfg(test)]
    pub(super) fn take(&mut self) -> Option<T> {
        self.rx.try_recv().ok()
    }

    /// Exports until `closing`, then once more what is queued.
    pub(crate) async fn run<E: Send1<T>>(
        mut self,
        mut exporter: E,
        mut flushes: mpsc::Receiver<Flush>,
        closing: CancellationToken,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let mut asked = None;
            tokio::select! {
                got = self.rx.recv_many(&mut batch, BATCH) => {
                    if got == 0 {
                        return;
                    }
                    // Company saves requests. Half a queue, a flush or the end cuts the wait short.
                    tokio::select! {
                        () = tokio::time::sleep(LINGER) => {}
                        () = self.half_full.notified() => {}
                        flush = flushes.recv() => asked = flush,
                        () = closing.cancelled() => {}
                    }
                }
                flush = flushes.recv() => asked = flush,
                () = closing.cancelled() => {}
            }
            let last = async {
                closing.cancelled().await;
                tokio::time::sleep(LAST).await;
            };
            tokio::select! {
                () = self.send_all(&mut batch, &mut exporter) => {}
                () = last => return,
            }
            if let Some(done) = asked {
                // Nobody may be waiting any more.
                let _ = done.send(());
            }
            if closing.is_cancelled() && self.rx.is_empty() {
                return;
            }
        }
    }

    async fn send_all<E: Send1<T>>(&mut self, batch: &mut Vec<T>, exporter: &mut E) {
        loop {
            while batch.len() < BATCH {
                match self.rx.try_recv() {
                    Ok(record) => batch.push(record),
                    Err(_) => break,
                }
            }
            if batch.is_empty() {
                return;
            }
            let lost = exporter.send(batch).await;
            self.books.settled(batch.len() as u64, lost);
            batch.clear();
        }
    }
}

/// The SDK's way to the queue of spans.
#[derive(Debug)]
pub(crate) struct SpanIntake(pub(crate) Arc<Queue<Told>>);

impl SpanProcessor for SpanIntake {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.0.push(Told::Sdk(span));
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl LogProcessor for Queue<(SdkLogRecord, InstrumentationScope)> {
    fn emit(&self, data: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.push((data.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// What a collector does with a batch.
    #[derive(Clone, Copy)]
    enum Word {
        Taken,
        Refused,
        Never,
    }

    #[derive(Clone)]
    struct Sink {
        batches: Arc<Mutex<Vec<usize>>>,
        /// About the first batch, and about all others.
        words: [Word; 2],
    }

    impl Sink {
        fn new(first: Word, then: Word) -> Self {
            Self { batches: Arc::default(), words: [first, then] }
        }
    }

    impl Send1<u32> for Sink {
        async fn send(&mut self, batch: &[u32]) -> u64 {
            let number = {
                let mut batches = self.batches.lock().unwrap();
                batches.push(batch.len());
                batches.len()
            };
            match self.words[usize::from(number > 1)] {
                Word::Taken => 0,
                Word::Refused => batch.len() as u64,
                Word::Never => std::future::pending().await,
            }
        }
    }

    fn closed() -> CancellationToken {
        let closing = CancellationToken::new();
        closing.cancel();
        closing
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_drops_and_counts() {
        let (queue, drain, books) = queue(4);
        (0..10).for_each(|n| queue.push(n));
        assert_eq!(books.dropped(), 6);
        let sink = Sink::new(Word::Taken, Word::Taken);
        drain.run(sink.clone(), mpsc::channel(1).1, closed()).await;
        assert_eq!(*sink.batches.lock().unwrap(), [4]);
        assert_eq!(books.dropped(), 6);
        // Nobody takes it any more.
        queue.push(10);
        assert_eq!(books.dropped(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_batch_is_counted() {
        let (queue, drain, books) = queue(8);
        (0..3).for_each(|n| queue.push(n));
        drain.run(Sink::new(Word::Refused, Word::Taken), mpsc::channel(1).1, closed()).await;
        assert_eq!(books.dropped(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_an_abandoned_export_held_is_counted_once() {
        const RECORDS: usize = BATCH * 2 + 100;
        // Aborted while a batch is under way, one more was acknowledged before it, the rest waits in the queue.
        let (queue, drain, books) = queue(RECORDS);
        (0..RECORDS).for_each(|n| queue.push(u32::try_from(n).unwrap()));
        let sink = Sink::new(Word::Taken, Word::Never);
        let task = tokio::spawn(drain.run(sink.clone(), mpsc::channel(1).1, closed()));
        while sink.batches.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(books.dropped(), 0, "nothing is lost as long as somebody tries");
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(books.dropped(), (RECORDS - BATCH) as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_that_waits_for_company_is_counted_when_its_task_is_aborted() {
        let (queue, drain, books) = queue(8);
        let (_flush, flushes) = mpsc::channel(1);
        let sink = Sink::new(Word::Taken, Word::Taken);
        let task = tokio::spawn(drain.run(sink, flushes, CancellationToken::new()));
        queue.push(1);
        // Taken out of the queue, not yet sent.
        while queue.tx.capacity() < queue.tx.max_capacity() {
            tokio::task::yield_now().await;
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(books.dropped(), 1);
    }
}
