//! Log records.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;

use super::{Decoded, nanos, reasonable, short};
use crate::store::logs::LogParts;
use crate::store::rows::NewLog;

/// Decodes a request.
pub(in crate::ingest) fn logs(request: ExportLogsServiceRequest) -> Decoded {
    let mut out = Decoded::default();
    for resource in request.resource_logs {
        for scope in resource.scope_logs {
            if scope.log_records.is_empty() {
                continue;
            }
            let origin =
                out.origin(resource.resource.as_ref(), &resource.schema_url, scope.scope.as_ref(), &scope.schema_url);
            for record in scope.log_records {
                match time(&record) {
                    Ok(time) => {
                        let row = NewLog { origin, parts: parts(record, time) };
                        out.batch.bytes += row.parts.size();
                        out.batch.logs.push(row);
                    }
                    Err(reason) => out.refused.add(reason, &record.event_name),
                }
            }
        }
    }
    out
}

/// When a record happened; or why it cannot be stored.
fn time(record: &LogRecord) -> Result<i64, &'static str> {
    let time = match (record.time_unix_nano, record.observed_time_unix_nano) {
        (0, 0) => return Err("without a time"),
        (0, observed) => observed,
        (time, _) => time,
    };
    let time = nanos(time).ok_or("dated after the year 2262")?;
    if !reasonable(&record.attributes) {
        return Err("with more than 10,000 attributes, or values nested deeper than 64");
    }
    match (record.trace_id.len(), record.span_id.len()) {
        (0 | 16, 0 | 8) => Ok(time),
        (0 | 16, _) => Err("whose span id is not 8 bytes"),
        _ => Err("whose trace id is not 16 bytes"),
    }
}

/// Names stand in every answer: they are cut where they are too long.
fn parts(mut record: LogRecord, time: i64) -> LogParts {
    record.event_name = short(record.event_name);
    record.severity_text = short(record.severity_text);
    LogParts::of(record, time)
}
