//! Small pieces of telemetry, gathered into requests of moderate size.

use std::ops::ControlFlow;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::{Counts, Faults};
use crate::ingest::Telemetry;

/// Bytes of a file that make a request full.
const FULL: u64 = 1024 * 1024;

/// Where readers put what they read.
pub(super) struct Gather<'s> {
    sink: &'s mut dyn FnMut(Telemetry) -> ControlFlow<()>,
    most: u64,
    traces: ExportTraceServiceRequest,
    logs: ExportLogsServiceRequest,
    metrics: ExportMetricsServiceRequest,
    weight: u64,
    counts: Counts,
    faults: Faults,
    stopped: bool,
}

impl<'s> Gather<'s> {
    /// Gathers for `sink`; a single record may have `most` bytes.
    pub(super) fn new(sink: &'s mut dyn FnMut(Telemetry) -> ControlFlow<()>, most: u64) -> Self {
        Self {
            sink,
            most,
            traces: ExportTraceServiceRequest::default(),
            logs: ExportLogsServiceRequest::default(),
            metrics: ExportMetricsServiceRequest::default(),
            weight: 0,
            counts: Counts::default(),
            faults: Faults::default(),
            stopped: false,
        }
    }

    /// Adds telemetry that took `bytes` of the file.
    pub(super) fn add(&mut self, telemetry: Telemetry, bytes: u64) {
        let counts = &mut self.counts;
        match telemetry {
            Telemetry::Traces(request) => {
                let scopes = request.resource_spans.iter().flat_map(|r| &r.scope_spans);
                counts.spans += scopes.map(|s| s.spans.len() as u64).sum::<u64>();
                self.traces.resource_spans.extend(request.resource_spans);
            }
            Telemetry::Logs(request) => {
                let scopes = request.resource_logs.iter().flat_map(|r| &r.scope_logs);
                counts.logs += scopes.map(|s| s.log_records.len() as u64).sum::<u64>();
                self.logs.resource_logs.extend(request.resource_logs);
            }
            Telemetry::Metrics(request) => {
                let scopes = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
                counts.points += scopes.flat_map(|s| &s.metrics).map(points).sum::<u64>();
                self.metrics.resource_metrics.extend(request.resource_metrics);
            }
        }
        self.weight += bytes;
        if self.weight >= FULL {
            self.hand_on();
        }
    }

    /// Bytes that a single record may have.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// Notes a place that makes no sense; the sentence begins with the place.
    pub(super) fn fault(&mut self, sentence: impl Into<String>) {
        self.faults.add(sentence);
    }

    /// Whether nobody wants more.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    fn hand_on(&mut self) {
        self.weight = 0;
        let traces = std::mem::take(&mut self.traces);
        let logs = std::mem::take(&mut self.logs);
        let metrics = std::mem::take(&mut self.metrics);
        let all = [
            (!traces.resource_spans.is_empty()).then_some(Telemetry::Traces(traces)),
            (!logs.resource_logs.is_empty()).then_some(Telemetry::Logs(logs)),
            (!metrics.resource_metrics.is_empty()).then_some(Telemetry::Metrics(metrics)),
        ];
        for telemetry in all.into_iter().flatten() {
            if self.stopped {
                return;
            }
            self.stopped = (self.sink)(telemetry).is_break();
        }
    }

    /// Hands on the rest; what was read, and what could not be.
    pub(super) fn finish(mut self) -> (Counts, Faults) {
        self.hand_on();
        (self.counts, self.faults)
    }
}

fn points(metric: &Metric) -> u64 {
    let count = match &metric.data {
        None => 0,
        Some(Data::Gauge(g)) => g.data_points.len(),
        Some(Data::Sum(s)) => s.data_points.len(),
        Some(Data::Histogram(h)) => h.data_points.len(),
        Some(Data::ExponentialHistogram(h)) => h.data_points.len(),
        Some(Data::Summary(s)) => s.data_points.len(),
    };
    count as u64
}
