//! Stored points as figures that can be reckoned with.

use fuseboard_api::metric::{MetricExemplar, MetricKind, MetricPoint};
use fuseboard_api::{SpanId, TraceId, UnixNanos};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, NumberDataPoint, SummaryDataPoint, exemplar,
    number_data_point,
};

use super::buckets::{Buckets, Exponential};
use crate::query::proto;
use crate::store::StoreError;

/// OTLP's flag for "no value was recorded".
const NO_VALUE: u32 = 1;

/// A point with all that is drawn from it.
#[derive(Debug, Clone, Default)]
pub(super) struct Point {
    pub(super) shown: MetricPoint,
    pub(super) buckets: Option<Buckets>,
    /// The sender's own quantiles.
    pub(super) quantiles: Vec<(f64, f64)>,
    pub(super) exemplars: Vec<Exemplar>,
}

impl Point {
    /// A point from its row.
    pub(super) fn read(kind: MetricKind, time: i64, body: &[u8]) -> Result<Self, StoreError> {
        let mut out = match kind {
            MetricKind::Gauge | MetricKind::Sum => number(proto::decode(body)?),
            MetricKind::Histogram => explicit(proto::decode(body)?),
            MetricKind::ExponentialHistogram => exponential(proto::decode(body)?),
            MetricKind::Summary => summary(&proto::decode(body)?),
        };
        let shown = &mut out.shown;
        shown.time = UnixNanos(time);
        // What is no number can be neither drawn nor written as JSON.
        shown.gap |= !shown.value.is_finite();
        for figure in [&mut shown.value, &mut shown.sum] {
            if !figure.is_finite() {
                *figure = 0.0;
            }
        }
        shown.min = shown.min.filter(|x| x.is_finite());
        shown.max = shown.max.filter(|x| x.is_finite());
        Ok(out)
    }
}

/// The mean, where there is anything to take it of.
fn mean(count: u64, sum: f64) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

fn time(nanos: u64) -> UnixNanos {
    UnixNanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

fn number(p: NumberDataPoint) -> Point {
    let (value, whole) = match p.value {
        Some(number_data_point::Value::AsInt(i)) => (i as f64, Some(i)),
        Some(number_data_point::Value::AsDouble(d)) => (d, None),
        None => (0.0, None),
    };
    let gap = p.flags & NO_VALUE != 0 || p.value.is_none();
    let shown = MetricPoint { value, whole, gap, start: time(p.start_time_unix_nano), ..MetricPoint::default() };
    Point { shown, exemplars: p.exemplars, ..Point::default() }
}

fn explicit(p: HistogramDataPoint) -> Point {
    let sum = p.sum.unwrap_or(0.0);
    let shown = MetricPoint {
        value: mean(p.count, sum),
        count: p.count,
        sum,
        min: p.min,
        max: p.max,
        start: time(p.start_time_unix_nano),
        gap: p.flags & NO_VALUE != 0,
        ..MetricPoint::default()
    };
    // Without bounds there is nothing to know of the distribution.
    let buckets = (p.bucket_counts.len() == p.explicit_bounds.len() + 1 && !p.explicit_bounds.is_empty())
        .then_some(Buckets::Explicit { bounds: p.explicit_bounds, counts: p.bucket_counts });
    Point { shown, buckets, exemplars: p.exemplars, ..Point::default() }
}

fn exponential(p: ExponentialHistogramDataPoint) -> Point {
    let sum = p.sum.unwrap_or(0.0);
    let shown = MetricPoint {
        value: mean(p.count, sum),
        count: p.count,
        sum,
        min: p.min,
        max: p.max,
        start: time(p.start_time_unix_nano),
        gap: p.flags & NO_VALUE != 0,
        ..MetricPoint::default()
    };
    let buckets = Exponential::new(p.scale, p.zero_count, p.zero_threshold, p.positive, p.negative);
    Point { shown, buckets: Some(Buckets::Exponential(buckets)), exemplars: p.exemplars, ..Point::default() }
}

fn summary(p: &SummaryDataPoint) -> Point {
    let shown = MetricPoint {
        value: mean(p.count, p.sum),
        count: p.count,
        sum: p.sum,
        start: time(p.start_time_unix_nano),
        gap: p.flags & NO_VALUE != 0,
        ..MetricPoint::default()
    };
    let quantiles = p.quantile_values.iter().map(|v| (v.quantile, v.value)).collect();
    Point { shown, quantiles, ..Point::default() }
}

/// An exemplar in the console's words; `None` when it has no finite value.
pub(super) fn exemplar(e: Exemplar) -> Option<MetricExemplar> {
    let (value, whole) = match e.value? {
        exemplar::Value::AsInt(i) => (i as f64, Some(i)),
        exemplar::Value::AsDouble(d) => (d, None),
    };
    value.is_finite().then(|| MetricExemplar {
        time: time(e.time_unix_nano),
        value,
        whole,
        trace_id: TraceId::from_slice(&e.trace_id),
        span_id: SpanId::from_slice(&e.span_id),
        attributes: proto::attributes(e.filtered_attributes),
    })
}
