//! What the export of a span costs the thread that exports: packing it, and its share of a request of many. Against
//! OpenTelemetry's exporter, with the same spans, on the same thread, to the same collector.

use std::time::{Duration, Instant};

use fuseboard_agent::Agent;
use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState, Tracer as _,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use rustix::time::{ClockId, clock_gettime};

use super::median;

/// Spans of a request.
const BATCH: usize = 128;
const NAME: &str = "POST /payments/{id}/charge";

/// Prints it.
pub(crate) fn costs(length: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let beside = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let address = beside.block_on(super::collector::collector())?;
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let [ours, theirs] = here.block_on(async {
        let agent = Agent::builder("bench").otlp(address.to_string()).without_metrics().start().await?;
        let rival = SpanExporter::builder().with_tonic().with_endpoint(format!("http://{address}")).build()?;
        let (tracer, mut samples) = (agent.tracer("bench"), [Vec::new(), Vec::new()]);
        let begun = Instant::now();
        while begun.elapsed() < length * 2 {
            for _ in 0..BATCH {
                let builder = SpanBuilder::from_name(NAME).with_kind(SpanKind::Client).with_attributes(attributes());
                drop(tracer.build(builder));
            }
            let before = cpu();
            agent.flush().await;
            samples[0].push((cpu() - before) / BATCH as f64);

            let batch = (0..BATCH).map(|_| span()).collect();
            let before = cpu();
            rival.export(batch).await?;
            samples[1].push((cpu() - before) / BATCH as f64);
        }
        agent.shutdown().await;
        if agent.dropped() > 0 {
            return Err(format!("{} spans were dropped", agent.dropped()).into());
        }
        Ok::<_, Box<dyn std::error::Error>>(samples.map(median))
    })?;
    super::print("export of a span", ours, ("opentelemetry-otlp", theirs));
    Ok(())
}

/// Time that this thread has worked, in nanoseconds.
fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// As many as an attempt has, of the same kinds.
fn attributes() -> Vec<KeyValue> {
    vec![
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("url.template", "/payments/{id}/charge"),
        KeyValue::new("url.full", "http://10.0.0.17:8080/payments/8271/charge"),
        KeyValue::new("server.address", "10.0.0.17"),
        KeyValue::new("server.port", 8080),
        KeyValue::new("http.response.status_code", 200),
        KeyValue::new("peer.service", "payments"),
        KeyValue::new("fuseboard.attempt", 1),
        KeyValue::new("fuseboard.revision", 17),
        KeyValue::new("fuseboard.decision", "admitted"),
        KeyValue::new("fuseboard.queued_ms", 0.25),
        KeyValue::new("fuseboard.probe", false),
    ]
}

fn span() -> SpanData {
    let now = std::time::SystemTime::now();
    let (trace, span) = (TraceId::from(0x1234_5678_9abc_def0_1234_u128), SpanId::from(0x1234_5678_u64));
    SpanData {
        span_context: SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: NAME.into(),
        start_time: now,
        end_time: now,
        attributes: attributes(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("bench").build(),
    }
}
