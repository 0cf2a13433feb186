//! Metric points of all five kinds.

use fuseboard_api::metric::MetricKind;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, KeyValueList};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use prost::Message;

use super::{Decoded, nanos, reasonable, short};
use crate::otlp::Refused;
use crate::store::rows::{NewMetric, NewPoint};

/// A point says so when it stands for "no value was recorded".
const NO_VALUE: u32 = 1;

/// Decodes a request.
pub(in crate::ingest) fn metrics(request: ExportMetricsServiceRequest) -> Decoded {
    let mut out = Decoded::default();
    for resource in request.resource_metrics {
        for scope in resource.scope_metrics {
            if scope.metrics.is_empty() {
                continue;
            }
            let origin =
                out.origin(resource.resource.as_ref(), &resource.schema_url, scope.scope.as_ref(), &scope.schema_url);
            for metric in scope.metrics {
                let row = decode(metric, origin, &mut out.refused);
                out.batch.bytes += row.points.iter().map(|p| p.body.len() + p.attributes.len() + 150).sum::<usize>();
                if !row.points.is_empty() {
                    out.batch.metrics.push(row);
                }
            }
        }
    }
    out
}

/// Points of one metric on their way into rows.
struct Points<'a> {
    name: &'a str,
    refused: &'a mut Refused,
    rows: Vec<NewPoint>,
}

impl Points<'_> {
    /// `body` is the point without attributes and time.
    fn add(&mut self, attributes: Vec<KeyValue>, time: u64, shown: Shown, body: &impl Message) {
        if self.name.is_empty() {
            self.refused.add("of a metric without a name", "");
            return;
        }
        let time = match nanos(time) {
            Some(0) => return self.refused.add("without a time", self.name),
            None => return self.refused.add("dated after the year 2262", self.name),
            Some(time) => time,
        };
        if !reasonable(&attributes) {
            return self.refused.add("with more than 10,000 attributes, or values nested deeper than 64", self.name);
        }
        let attributes = KeyValueList { values: attributes }.encode_to_vec();
        let Shown { value, count, sum } = shown;
        self.rows.push(NewPoint { attributes, time, value, count, sum, body: body.encode_to_vec() });
    }

    fn numbers(&mut self, points: Vec<NumberDataPoint>) {
        for mut p in points {
            let (attributes, time) = (std::mem::take(&mut p.attributes), std::mem::take(&mut p.time_unix_nano));
            let value = match p.value {
                Some(Value::AsInt(i)) => i as f64,
                Some(Value::AsDouble(d)) => d,
                None if p.flags & NO_VALUE != 0 => f64::NAN,
                None => {
                    self.refused.add("without a value", self.name);
                    continue;
                }
            };
            self.add(attributes, time, Shown { value, count: 0, sum: 0.0 }, &p);
        }
    }
}

/// The figures that are drawn.
#[derive(Clone, Copy)]
struct Shown {
    value: f64,
    count: u64,
    sum: f64,
}

impl Shown {
    fn distribution(count: u64, sum: f64) -> Self {
        Self { value: if count == 0 { 0.0 } else { sum / count as f64 }, count, sum }
    }
}

fn decode(metric: Metric, origin: usize, refused: &mut Refused) -> NewMetric {
    let mut points = Points { name: &metric.name, refused, rows: Vec::new() };
    let (mut temporality, mut monotonic) = (0, false);
    let kind = match metric.data {
        None => MetricKind::Gauge,
        Some(Data::Gauge(g)) => {
            points.numbers(g.data_points);
            MetricKind::Gauge
        }
        Some(Data::Sum(s)) => {
            (temporality, monotonic) = (s.aggregation_temporality, s.is_monotonic);
            points.numbers(s.data_points);
            MetricKind::Sum
        }
        Some(Data::Histogram(h)) => {
            temporality = h.aggregation_temporality;
            for mut p in h.data_points {
                let (attributes, time) = (std::mem::take(&mut p.attributes), std::mem::take(&mut p.time_unix_nano));
                if p.bucket_counts.len() > 1 && p.bucket_counts.len() != p.explicit_bounds.len() + 1 {
                    points.refused.add("whose bucket counts do not match its bounds", &metric.name);
                    continue;
                }
                points.add(attributes, time, Shown::distribution(p.count, p.sum.unwrap_or(0.0)), &p);
            }
            MetricKind::Histogram
        }
        Some(Data::ExponentialHistogram(h)) => {
            temporality = h.aggregation_temporality;
            for mut p in h.data_points {
                let (attributes, time) = (std::mem::take(&mut p.attributes), std::mem::take(&mut p.time_unix_nano));
                points.add(attributes, time, Shown::distribution(p.count, p.sum.unwrap_or(0.0)), &p);
            }
            MetricKind::ExponentialHistogram
        }
        Some(Data::Summary(s)) => {
            for mut p in s.data_points {
                let (attributes, time) = (std::mem::take(&mut p.attributes), std::mem::take(&mut p.time_unix_nano));
                points.add(attributes, time, Shown::distribution(p.count, p.sum), &p);
            }
            MetricKind::Summary
        }
    };
    let points = points.rows;
    NewMetric {
        origin,
        kind,
        unit: short(metric.unit),
        description: short(metric.description),
        metadata: KeyValueList { values: metric.metadata }.encode_to_vec(),
        temporality: u8::try_from(temporality).unwrap_or(0).min(2),
        monotonic,
        points,
        name: short(metric.name),
    }
}
