//! Metrics with their points.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint, exemplar,
    number_data_point,
};

use super::text::{Object, object};
use super::{attributes, resource, scope};

pub(super) fn write(request: &ExportMetricsServiceRequest, out: &mut Vec<u8>) {
    object(out, |o| {
        o.list("resourceMetrics", &request.resource_metrics, |o, r| {
            if let Some(found) = &r.resource {
                o.object("resource", |o| resource(o, found));
            }
            o.list("scopeMetrics", &r.scope_metrics, |o, s| {
                if let Some(found) = &s.scope {
                    o.object("scope", |o| scope(o, found));
                }
                o.list("metrics", &s.metrics, metric);
                o.text("schemaUrl", &s.schema_url);
            });
            o.text("schemaUrl", &r.schema_url);
        });
    });
}

fn metric(o: &mut Object<'_>, metric: &Metric) {
    o.text("name", &metric.name);
    o.text("description", &metric.description);
    o.text("unit", &metric.unit);
    attributes(o, "metadata", &metric.metadata);
    match &metric.data {
        None => {}
        Some(Data::Gauge(gauge)) => o.object("gauge", |o| o.list("dataPoints", &gauge.data_points, number)),
        Some(Data::Sum(sum)) => o.object("sum", |o| {
            o.list("dataPoints", &sum.data_points, number);
            o.number("aggregationTemporality", sum.aggregation_temporality);
            o.flag("isMonotonic", sum.is_monotonic);
        }),
        Some(Data::Histogram(h)) => o.object("histogram", |o| {
            o.list("dataPoints", &h.data_points, histogram);
            o.number("aggregationTemporality", h.aggregation_temporality);
        }),
        Some(Data::ExponentialHistogram(h)) => o.object("exponentialHistogram", |o| {
            o.list("dataPoints", &h.data_points, exponential);
            o.number("aggregationTemporality", h.aggregation_temporality);
        }),
        Some(Data::Summary(s)) => o.object("summary", |o| o.list("dataPoints", &s.data_points, summary)),
    }
}

fn number(o: &mut Object<'_>, point: &NumberDataPoint) {
    attributes(o, "attributes", &point.attributes);
    o.long("startTimeUnixNano", point.start_time_unix_nano);
    o.long("timeUnixNano", point.time_unix_nano);
    o.list("exemplars", &point.exemplars, exemplar);
    o.number("flags", point.flags);
    match point.value {
        None => {}
        Some(number_data_point::Value::AsInt(i)) => o.given_long("asInt", i),
        Some(number_data_point::Value::AsDouble(d)) => o.given_double("asDouble", d),
    }
}

fn histogram(o: &mut Object<'_>, point: &HistogramDataPoint) {
    attributes(o, "attributes", &point.attributes);
    o.long("startTimeUnixNano", point.start_time_unix_nano);
    o.long("timeUnixNano", point.time_unix_nano);
    o.long("count", point.count);
    o.maybe_double("sum", point.sum);
    o.longs("bucketCounts", &point.bucket_counts);
    o.doubles("explicitBounds", &point.explicit_bounds);
    o.list("exemplars", &point.exemplars, exemplar);
    o.number("flags", point.flags);
    o.maybe_double("min", point.min);
    o.maybe_double("max", point.max);
}

fn exponential(o: &mut Object<'_>, point: &ExponentialHistogramDataPoint) {
    attributes(o, "attributes", &point.attributes);
    o.long("startTimeUnixNano", point.start_time_unix_nano);
    o.long("timeUnixNano", point.time_unix_nano);
    o.long("count", point.count);
    o.maybe_double("sum", point.sum);
    o.number("scale", point.scale);
    o.long("zeroCount", point.zero_count);
    for (key, found) in [("positive", &point.positive), ("negative", &point.negative)] {
        if let Some(found) = found {
            o.object(key, |o| buckets(o, found));
        }
    }
    o.number("flags", point.flags);
    o.list("exemplars", &point.exemplars, exemplar);
    o.maybe_double("min", point.min);
    o.maybe_double("max", point.max);
    o.maybe_double("zeroThreshold", Some(point.zero_threshold).filter(|t| *t != 0.0));
}

fn buckets(o: &mut Object<'_>, buckets: &Buckets) {
    o.number("offset", buckets.offset);
    o.longs("bucketCounts", &buckets.bucket_counts);
}

fn summary(o: &mut Object<'_>, point: &SummaryDataPoint) {
    attributes(o, "attributes", &point.attributes);
    o.long("startTimeUnixNano", point.start_time_unix_nano);
    o.long("timeUnixNano", point.time_unix_nano);
    o.long("count", point.count);
    o.maybe_double("sum", Some(point.sum).filter(|sum| *sum != 0.0));
    o.list("quantileValues", &point.quantile_values, |o, q| {
        o.maybe_double("quantile", Some(q.quantile).filter(|q| *q != 0.0));
        o.maybe_double("value", Some(q.value).filter(|v| *v != 0.0));
    });
    o.number("flags", point.flags);
}

fn exemplar(o: &mut Object<'_>, exemplar: &Exemplar) {
    attributes(o, "filteredAttributes", &exemplar.filtered_attributes);
    o.long("timeUnixNano", exemplar.time_unix_nano);
    o.hex("spanId", &exemplar.span_id);
    o.hex("traceId", &exemplar.trace_id);
    match exemplar.value {
        None => {}
        Some(exemplar::Value::AsInt(i)) => o.given_long("asInt", i),
        Some(exemplar::Value::AsDouble(d)) => o.given_double("asDouble", d),
    }
}
