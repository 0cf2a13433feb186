//! What is stored as OTLP again, field by field as it came: for files, and for whoever wants to send it on.

use std::collections::BTreeMap;

use fuseboard_api::{TimeRange, TraceId, UnixNanos};
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use rusqlite::{Connection, params};

use super::proto::decode;
use crate::store::StoreError;
use crate::store::logs::tables::{self, Wanted};

/// Points handed over at once, at most.
const POINTS: usize = 1_000;

/// A resource and a scope as they came.
struct Sender {
    resource: Option<Resource>,
    resource_schema_url: String,
    scope: Option<InstrumentationScope>,
    scope_schema_url: String,
}

fn sender(conn: &Connection, id: i64) -> Result<Sender, StoreError> {
    let mut read = conn
        .prepare_cached("SELECT resource, resource_schema_url, scope, scope_schema_url FROM origins WHERE id = ?1")?;
    let (resource, resource_schema_url, scope, scope_schema_url) =
        read.query_row([id], |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get(1)?, r.get::<_, Vec<u8>>(2)?, r.get(3)?)))?;
    Ok(Sender {
        // None and one without a field are the same to OTLP.
        resource: (!resource.is_empty()).then(|| decode(&resource)).transpose()?,
        resource_schema_url,
        scope: (!scope.is_empty()).then(|| decode(&scope)).transpose()?,
        scope_schema_url,
    })
}

/// Hands over every point of a range as of an instant, series by series and by time, up to 1,000 at once.
///
/// # Errors
/// What the database or `visit` says.
pub fn metrics(
    conn: &Connection,
    range: TimeRange,
    as_of: UnixNanos,
    mut visit: impl FnMut(ResourceMetrics) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut series = conn.prepare(
        "SELECT id, origin, name, kind, unit, description, temporality, monotonic, attributes, metadata
         FROM metrics
         WHERE arrival <= ?1 ORDER BY id",
    )?;
    let mut points = conn.prepare(
        "SELECT time, body FROM points WHERE metric = ?1 AND time >= ?2 AND time < ?3 AND arrival <= ?4 ORDER BY time",
    )?;
    let mut rows = series.query([as_of.0])?;
    while let Some(row) = rows.next()? {
        let attributes: Vec<u8> = row.get(8)?;
        let kind =
            Kind { code: row.get(3)?, temporality: row.get(6)?, monotonic: row.get(7)?, attributes: &attributes };
        let (origin, name, unit, description): (i64, String, String, String) =
            (row.get(1)?, row.get(2)?, row.get(4)?, row.get(5)?);
        let metadata: KeyValueList = decode(row.get_ref(9)?.as_blob().unwrap_or_default())?;
        let mut hand_over = |some: &mut Vec<(i64, Vec<u8>)>| {
            let Sender { resource, resource_schema_url, scope, scope_schema_url } = sender(conn, origin)?;
            let data = Some(kind.data(std::mem::take(some))?);
            let (name, unit, description) = (name.clone(), unit.clone(), description.clone());
            let metric = Metric { name, unit, description, data, metadata: metadata.values.clone() };
            let scope = ScopeMetrics { scope, metrics: vec![metric], schema_url: scope_schema_url };
            visit(ResourceMetrics { resource, scope_metrics: vec![scope], schema_url: resource_schema_url })
        };
        let mut some = Vec::new();
        let mut found = points.query(params![row.get::<_, i64>(0)?, range.from.0, range.to.0, as_of.0])?;
        while let Some(point) = found.next()? {
            some.push((point.get(0)?, point.get(1)?));
            if some.len() == POINTS {
                hand_over(&mut some)?;
            }
        }
        if !some.is_empty() {
            hand_over(&mut some)?;
        }
    }
    Ok(())
}

/// Hands over every log record of a range as of an instant, or those of one trace in it, block by block: those of one sender
/// together, by time.
///
/// # Errors
/// What the database or `visit` says.
pub fn logs(
    conn: &Connection,
    range: TimeRange,
    trace: Option<TraceId>,
    as_of: UnixNanos,
    mut visit: impl FnMut(ResourceLogs) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let wanted = Wanted { times: (range.from.0, range.to.0), ..Wanted::all(as_of.0) };
    let mut blocks = tables::list(conn, &wanted)?;
    if let Some(trace) = trace {
        blocks = tables::of_trace(conn, trace, blocks)?;
    }
    for row in blocks.into_iter().rev() {
        let block = tables::read(conn, row.id)?;
        let texts = block.texts().map_err(tables::damaged)?;
        let mut of_senders: BTreeMap<i64, Vec<LogRecord>> = BTreeMap::new();
        for entry in block.entries(&texts) {
            let of_trace = trace.is_none_or(|trace| entry.context.0 == trace.0);
            if of_trace && range.contains(UnixNanos(entry.time)) && entry.arrival <= as_of.0 {
                let record = entry.whole().map_err(|e| StoreError::Corrupt(e.to_string()))?;
                of_senders.entry(entry.origin).or_default().push(record);
            }
        }
        for (origin, log_records) in of_senders {
            let Sender { resource, resource_schema_url, scope, scope_schema_url } = sender(conn, origin)?;
            let scope_logs = vec![ScopeLogs { scope, log_records, schema_url: scope_schema_url }];
            visit(ResourceLogs { resource, scope_logs, schema_url: resource_schema_url })?;
        }
    }
    Ok(())
}

/// What a metric's points are.
struct Kind<'a> {
    code: i64,
    temporality: i32,
    monotonic: bool,
    attributes: &'a [u8],
}

impl Kind<'_> {
    fn data(&self, points: Vec<(i64, Vec<u8>)>) -> Result<Data, StoreError> {
        let (temporality, attributes) = (self.temporality, self.attributes);
        Ok(match self.code {
            1 => Data::Sum(Sum {
                data_points: whole(points, attributes, number)?,
                aggregation_temporality: temporality,
                is_monotonic: self.monotonic,
            }),
            2 => {
                let set = |p: &mut HistogramDataPoint, a, t| (p.attributes, p.time_unix_nano) = (a, t);
                let data_points = whole(points, attributes, set)?;
                Data::Histogram(Histogram { data_points, aggregation_temporality: temporality })
            }
            3 => {
                let set = |p: &mut ExponentialHistogramDataPoint, a, t| (p.attributes, p.time_unix_nano) = (a, t);
                let data_points = whole(points, attributes, set)?;
                Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality: temporality })
            }
            4 => {
                let set = |p: &mut SummaryDataPoint, a, t| (p.attributes, p.time_unix_nano) = (a, t);
                Data::Summary(Summary { data_points: whole(points, attributes, set)? })
            }
            _ => Data::Gauge(Gauge { data_points: whole(points, attributes, number)? }),
        })
    }
}

type Pairs = Vec<opentelemetry_proto::tonic::common::v1::KeyValue>;

fn number(point: &mut NumberDataPoint, attributes: Pairs, time: u64) {
    (point.attributes, point.time_unix_nano) = (attributes, time);
}

/// Points with what their columns have of them.
fn whole<P: Message + Default>(
    points: Vec<(i64, Vec<u8>)>,
    attributes: &[u8],
    set: impl Fn(&mut P, Pairs, u64),
) -> Result<Vec<P>, StoreError> {
    let list: KeyValueList = decode(attributes)?;
    let make = |(time, body): (i64, Vec<u8>)| {
        let mut point: P = decode(&body)?;
        set(&mut point, list.values.clone(), time.max(0) as u64);
        Ok(point)
    };
    points.into_iter().map(make).collect()
}
