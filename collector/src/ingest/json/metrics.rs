//! Metric points.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, number_data_point,
};

use super::reader::{Object, Read, attributes, resource, scope, whole};

const TEMPORALITIES: [&str; 3] =
    ["AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA", "AGGREGATION_TEMPORALITY_CUMULATIVE"];

/// Reads a request.
pub(crate) fn metrics(body: &[u8]) -> Read<ExportMetricsServiceRequest> {
    metrics_in(&serde_json::from_slice(body)?)
}

/// Reads a request that is parsed already.
pub(crate) fn metrics_in(json: &serde_json::Value) -> Read<ExportMetricsServiceRequest> {
    let resource_metrics = Object::of("body", json)?.each("resourceMetrics", |o| {
        Ok(ResourceMetrics {
            resource: o.object("resource", resource)?,
            scope_metrics: o.each("scopeMetrics", |o| {
                Ok(ScopeMetrics {
                    scope: o.object("scope", scope)?,
                    metrics: o.each("metrics", metric)?,
                    schema_url: o.text("schemaUrl")?,
                })
            })?,
            schema_url: o.text("schemaUrl")?,
        })
    })?;
    Ok(ExportMetricsServiceRequest { resource_metrics })
}

fn metric(o: Object<'_>) -> Read<Metric> {
    let temporality = |o: Object<'_>| o.number_or_name("aggregationTemporality", &TEMPORALITIES);
    let data = if let Some(gauge) = o.object("gauge", |g| Ok(Gauge { data_points: g.each("dataPoints", number)? }))? {
        Some(Data::Gauge(gauge))
    } else if let Some(sum) = o.object("sum", |s| {
        Ok(Sum {
            data_points: s.each("dataPoints", number)?,
            aggregation_temporality: temporality(s)?,
            is_monotonic: s.flag("isMonotonic")?,
        })
    })? {
        Some(Data::Sum(sum))
    } else if let Some(histogram) = o.object("histogram", |h| {
        let data_points = h.each("dataPoints", histogram)?;
        Ok(Histogram { data_points, aggregation_temporality: temporality(h)? })
    })? {
        Some(Data::Histogram(histogram))
    } else if let Some(histogram) = o.object("exponentialHistogram", |h| {
        let data_points = h.each("dataPoints", exponential)?;
        Ok(ExponentialHistogram { data_points, aggregation_temporality: temporality(h)? })
    })? {
        Some(Data::ExponentialHistogram(histogram))
    } else {
        o.object("summary", |s| Ok(Summary { data_points: s.each("dataPoints", summary)? }))?.map(Data::Summary)
    };
    Ok(Metric {
        name: o.text("name")?,
        description: o.text("description")?,
        unit: o.text("unit")?,
        metadata: attributes(o, "metadata")?,
        data,
    })
}

fn number(o: Object<'_>) -> Read<NumberDataPoint> {
    let value = match o.get("asInt") {
        Some(v) => Some(number_data_point::Value::AsInt(whole("asInt", v)?)),
        None => o.double("asDouble")?.map(number_data_point::Value::AsDouble),
    };
    Ok(NumberDataPoint {
        attributes: attributes(o, "attributes")?,
        start_time_unix_nano: o.u64("startTimeUnixNano")?,
        time_unix_nano: o.u64("timeUnixNano")?,
        exemplars: o.each("exemplars", exemplar)?,
        flags: o.u32("flags")?,
        value,
    })
}

fn histogram(o: Object<'_>) -> Read<HistogramDataPoint> {
    Ok(HistogramDataPoint {
        attributes: attributes(o, "attributes")?,
        start_time_unix_nano: o.u64("startTimeUnixNano")?,
        time_unix_nano: o.u64("timeUnixNano")?,
        count: o.u64("count")?,
        sum: o.double("sum")?,
        bucket_counts: o.u64s("bucketCounts")?,
        explicit_bounds: o.doubles("explicitBounds")?,
        exemplars: o.each("exemplars", exemplar)?,
        flags: o.u32("flags")?,
        min: o.double("min")?,
        max: o.double("max")?,
    })
}

fn exponential(o: Object<'_>) -> Read<ExponentialHistogramDataPoint> {
    let buckets = |b: Object<'_>| Ok(Buckets { offset: b.i32("offset")?, bucket_counts: b.u64s("bucketCounts")? });
    Ok(ExponentialHistogramDataPoint {
        attributes: attributes(o, "attributes")?,
        start_time_unix_nano: o.u64("startTimeUnixNano")?,
        time_unix_nano: o.u64("timeUnixNano")?,
        count: o.u64("count")?,
        sum: o.double("sum")?,
        scale: o.i32("scale")?,
        zero_count: o.u64("zeroCount")?,
        positive: o.object("positive", buckets)?,
        negative: o.object("negative", buckets)?,
        flags: o.u32("flags")?,
        exemplars: o.each("exemplars", exemplar)?,
        min: o.double("min")?,
        max: o.double("max")?,
        zero_threshold: o.double("zeroThreshold")?.unwrap_or(0.0),
    })
}

fn summary(o: Object<'_>) -> Read<SummaryDataPoint> {
    Ok(SummaryDataPoint {
        attributes: attributes(o, "attributes")?,
        start_time_unix_nano: o.u64("startTimeUnixNano")?,
        time_unix_nano: o.u64("timeUnixNano")?,
        count: o.u64("count")?,
        sum: o.double("sum")?.unwrap_or(0.0),
        quantile_values: o.each("quantileValues", |q| {
            Ok(ValueAtQuantile {
                quantile: q.double("quantile")?.unwrap_or(0.0),
                value: q.double("value")?.unwrap_or(0.0),
            })
        })?,
        flags: o.u32("flags")?,
    })
}

fn exemplar(o: Object<'_>) -> Read<Exemplar> {
    let value = match o.get("asInt") {
        Some(v) => Some(exemplar::Value::AsInt(whole("asInt", v)?)),
        None => o.double("asDouble")?.map(exemplar::Value::AsDouble),
    };
    Ok(Exemplar {
        filtered_attributes: attributes(o, "filteredAttributes")?,
        time_unix_nano: o.u64("timeUnixNano")?,
        span_id: o.hex("spanId")?,
        trace_id: o.hex("traceId")?,
        value,
    })
}
