//! What an agent tells the collector over OTLP: its own providers (no globals), bounded queues, export that never holds up a
//! call.

mod deliver;
#[cfg(test)]
mod equal;
mod instruments;
mod pack;
mod protobuf;
mod queue;
mod span;
mod table;
mod tracer;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use opentelemetry::InstrumentationScope;
use opentelemetry::logs::LoggerProvider as _;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{LogExporter, MetricExporter, RetryPolicy, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogExporter as _, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter as _;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use self::deliver::{Delivery, LONGEST_PAUSE, PATIENCE};
pub(crate) use self::instruments::Instruments;
use self::pack::Packer;
use self::queue::{Books, Flush, SpanIntake, Spans, queue};
pub(crate) use self::span::{At, Common, Record, Span};
pub(crate) use self::table::{Digest, Parts, Series, Table};
use self::tracer::Sampling;
pub(crate) use self::tracer::{Parent, Tracer};
use crate::environment;
use crate::error::AgentError;
use crate::tls::Dialer;
use crate::token::Bearer;

/// The instrumentation scope of everything that the agent itself tells.
const SCOPE: &str = "fuseboard-agent";
/// Longest time that one request to the collector may take.
const REQUEST: Duration = Duration::from_secs(10);

/// What is exported; sizes and periods of the export.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Whether there are spans.
    pub(crate) traces: bool,
    /// Whether there are metrics.
    pub(crate) metrics: bool,
    /// Most spans that wait.
    pub(crate) spans: usize,
    /// Most log records that wait.
    pub(crate) logs: usize,
    /// Time between two exports of metrics.
    pub(crate) metrics_every: Duration,
}

/// The providers and the queues of one agent.
#[derive(Debug)]
pub(crate) struct Telemetry {
    /// Makes the agent's spans.
    pub(crate) tracer: Tracer,
    /// Makes the agent's log records.
    pub(crate) logger: SdkLogger,
    /// The agent's metrics; `None` where nobody wants them.
    pub(crate) instruments: Option<Instruments>,
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    books: [Arc<Books>; 2],
    flushes: Vec<mpsc::Sender<Flush>>,
    closing: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Telemetry {
    /// Makes the providers and starts the exporters' tasks on the current runtime. Connects when there is something to send.
    pub(crate) fn start(
        resource: Resource,
        otlp: Uri,
        dialer: &Dialer,
        bearer: &Bearer,
        limits: Limits,
    ) -> Result<Self, AgentError> {
        let channel = channel(otlp, dialer);
        let made = |e: opentelemetry_otlp::ExporterBuildError| AgentError::Export(e.to_string());
        let packer = Packer::new(&resource, &InstrumentationScope::builder(SCOPE).build());
        let delivery =
            Delivery::new(InterceptedService::new(channel.clone(), bearer.clone()), environment::span_headers());
        let spans = Spans { packer, delivery };
        let mut logs = LogExporter::builder()
            .with_tonic()
            .with_channel(channel.clone())
            .with_interceptor(bearer.clone())
            .with_timeout(PATIENCE)
            .with_retry_policy(patient())
            .build()
            .map_err(made)?;
        // The next export of metrics says all that this one did: no need to insist.
        let metrics = MetricExporter::builder()
            .with_tonic()
            .with_channel(channel)
            .with_interceptor(bearer.clone())
            .with_timeout(REQUEST)
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(made)?;
        logs.set_resource(&resource);

        let closing = CancellationToken::new();
        let (span_queue, span_drain, span_books) = queue(limits.spans);
        let (log_queue, log_drain, log_books) = queue(limits.logs);
        let (span_queue, sampling) = (Arc::new(span_queue), Sampling::from_environment());
        let reader = Reader(Arc::new(ManualReader::default()));
        let mut tracers = SdkTracerProvider::builder().with_sampler(sampling.sampler()).with_resource(resource.clone());
        if limits.traces {
            tracers = tracers.with_span_processor(SpanIntake(span_queue.clone()));
        }
        let loggers =
            SdkLoggerProvider::builder().with_log_processor(log_queue).with_resource(resource.clone()).build();
        let mut meters = SdkMeterProvider::builder().with_resource(resource);
        if limits.metrics {
            meters = meters.with_reader(reader.clone());
        }
        let meters = meters.build();

        let (span_flush, span_flushes) = mpsc::channel(4);
        let (log_flush, log_flushes) = mpsc::channel(4);
        let (metric_flush, metric_flushes) = mpsc::channel(4);
        let tasks = vec![
            tokio::spawn(span_drain.run(spans, span_flushes, closing.clone())),
            tokio::spawn(log_drain.run(logs, log_flushes, closing.clone())),
            tokio::spawn(push_metrics(reader, metrics, limits.metrics_every, metric_flushes, closing.clone())),
        ];
        Ok(Self {
            tracer: Tracer::new(sampling, limits.traces.then_some(span_queue)),
            logger: loggers.logger(SCOPE),
            instruments: limits.metrics.then(|| Instruments::new(&meters.meter(SCOPE))),
            tracers: tracers.build(),
            meters,
            books: [span_books, log_books],
            flushes: vec![span_flush, log_flush, metric_flush],
            closing,
            tasks: Mutex::new(tasks),
        })
    }

    /// A tracer for the application's own spans.
    pub(crate) fn tracer(&self, scope: &'static str) -> SdkTracer {
        self.tracers.tracer(scope)
    }

    /// A meter for the application's own metrics.
    pub(crate) fn meter(&self, scope: &'static str) -> Meter {
        self.meters.meter(scope)
    }

    /// Records lost since the start; after the end, all that were never acknowledged.
    pub(crate) fn dropped(&self) -> u64 {
        self.books.iter().map(|books| books.dropped()).sum()
    }

    /// Sends what is queued now, within `limit`.
    pub(crate) async fn flush(&self, limit: Duration) {
        let all = self.flushes.iter().map(|to| async {
            let (done, wait) = oneshot::channel();
            if to.send(done).await.is_ok() {
                let _ = wait.await;
            }
        });
        let _ = tokio::time::timeout(limit, futures_util::future::join_all(all)).await;
    }

    /// Sends what is queued and ends, within `limit`; what is not sent by then is lost and counted.
    pub(crate) async fn shutdown(&self, limit: Duration) {
        self.closing.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let until = tokio::time::Instant::now() + limit;
        for mut task in tasks {
            if tokio::time::timeout_at(until, &mut task).await.is_err() {
                task.abort();
                // It ends at its next await; only then is all it held counted.
                let _ = task.await;
            }
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

fn channel(otlp: Uri, dialer: &Dialer) -> Channel {
    let (endpoint, connector) = dialer.grpc(otlp, Duration::from_secs(2));
    endpoint.timeout(REQUEST).connect_with_connector_lazy(connector)
}

fn patient() -> RetryPolicy {
    RetryPolicy::recommended().with_max_retries(usize::MAX).with_max_delay(LONGEST_PAUSE)
}

/// A reader that both the provider and the export task hold.
#[derive(Debug, Clone)]
struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: std::sync::Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, rm: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(rm)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

async fn push_metrics(
    reader: Reader,
    exporter: MetricExporter,
    every: Duration,
    mut flushes: mpsc::Receiver<Flush>,
    closing: CancellationToken,
) {
    let mut metrics = ResourceMetrics::default();
    loop {
        let mut asked = None;
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            flush = flushes.recv() => asked = flush,
            () = closing.cancelled() => {}
        }
        if reader.collect(&mut metrics).is_ok() {
            // A failed export is made good by the next one: sums and histograms are cumulative.
            let _ = exporter.export(&metrics).await;
        }
        if let Some(done) = asked {
            let _ = done.send(());
        }
        if closing.is_cancelled() {
            return;
        }
    }
}
