//! Bounded queues between the calls and the exporters: a full queue drops and counts, it never waits.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Longest wait of a record for company.
const LINGER: Duration = Duration::from_millis(250);
/// Longest time that is given to a last batch once the agent is gone.
const LAST: Duration = Duration::from_secs(30);
/// Most records in one request.
const BATCH: usize = 512;

/// Records lost since the agent started, whatever the reason.
#[derive(Debug, Default)]
pub(crate) struct Dropped(AtomicU64);

impl Dropped {
    /// Counts lost records.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many were lost.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The calls' end of a queue.
pub(crate) struct Queue<T> {
    tx: mpsc::Sender<T>,
    half_full: Arc<Notify>,
    dropped: Arc<Dropped>,
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("capacity", &self.tx.max_capacity()).finish_non_exhaustive()
    }
}

impl<T> Queue<T> {
    fn push(&self, record: T) {
        if self.tx.try_send(record).is_err() {
            self.dropped.add(1);
        } else if self.tx.capacity() < self.tx.max_capacity() / 2 {
            self.half_full.notify_one();
        }
    }
}

/// The exporters' end of a queue.
pub(crate) struct Drain<T> {
    rx: mpsc::Receiver<T>,
    half_full: Arc<Notify>,
    dropped: Arc<Dropped>,
}

/// A queue for `capacity` records.
pub(crate) fn queue<T>(capacity: usize, dropped: &Arc<Dropped>) -> (Queue<T>, Drain<T>) {
    let (tx, rx) = mpsc::channel(capacity.max(2));
    let half_full = Arc::new(Notify::new());
    let queue = Queue { tx, half_full: half_full.clone(), dropped: dropped.clone() };
    (queue, Drain { rx, half_full, dropped: dropped.clone() })
}

/// Sends a batch, with retries of its own; an error means that the batch is lost.
pub(crate) trait Send1<T>: Send + Sync + 'static {
    /// Sends.
    fn send(&self, batch: Vec<T>) -> impl Future<Output = OTelSdkResult> + Send;
}

impl Send1<SpanData> for opentelemetry_otlp::SpanExporter {
    fn send(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.export(batch)
    }
}

impl Send1<(SdkLogRecord, InstrumentationScope)> for opentelemetry_otlp::LogExporter {
    async fn send(&self, batch: Vec<(SdkLogRecord, InstrumentationScope)>) -> OTelSdkResult {
        let borrowed: Vec<_> = batch.iter().map(|(record, scope)| (record, scope)).collect();
        self.export(LogBatch::new(&borrowed)).await
    }
}

/// A request to send what is queued now, and to say so when done.
pub(crate) type Flush = oneshot::Sender<()>;

impl<T: Send + 'static> Drain<T> {
    /// Exports until `closing`, then once more what is queued.
    pub(crate) async fn run<E: Send1<T>>(
        mut self,
        exporter: E,
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
                () = self.send_all(&mut batch, &exporter) => {}
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

    async fn send_all<E: Send1<T>>(&mut self, batch: &mut Vec<T>, exporter: &E) {
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
            let full = std::mem::replace(batch, Vec::with_capacity(BATCH));
            // Counted as lost if the export is abandoned half way, too.
            let lost = Lost { count: full.len() as u64, dropped: &self.dropped };
            if exporter.send(full).await.is_ok() {
                lost.none();
            }
        }
    }
}

struct Lost<'a> {
    count: u64,
    dropped: &'a Dropped,
}

impl Lost<'_> {
    fn none(mut self) {
        self.count = 0;
    }
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.dropped.add(self.count);
        }
    }
}

impl SpanProcessor for Queue<SpanData> {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.push(span);
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
    use opentelemetry_sdk::error::OTelSdkError;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Sink {
        batches: Arc<Mutex<Vec<usize>>>,
        broken: bool,
    }

    impl Send1<u32> for Sink {
        async fn send(&self, batch: Vec<u32>) -> OTelSdkResult {
            self.batches.lock().unwrap().push(batch.len());
            if self.broken { Err(OTelSdkError::AlreadyShutdown) } else { Ok(()) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_drops_and_counts() {
        let dropped = Arc::new(Dropped::default());
        let (queue, drain) = queue(4, &dropped);
        (0..10).for_each(|n| queue.push(n));
        assert_eq!(dropped.get(), 6);
        let (sink, closing) = (Sink::default(), CancellationToken::new());
        closing.cancel();
        drain.run(sink.clone(), mpsc::channel(1).1, closing).await;
        assert_eq!(*sink.batches.lock().unwrap(), [4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_batch_is_counted() {
        let dropped = Arc::new(Dropped::default());
        let (queue, drain) = queue(8, &dropped);
        (0..3).for_each(|n| queue.push(n));
        let closing = CancellationToken::new();
        closing.cancel();
        drain.run(Sink { broken: true, ..Sink::default() }, mpsc::channel(1).1, closing).await;
        assert_eq!(dropped.get(), 3);
    }
}
