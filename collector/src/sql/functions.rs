//! Functions for statements.

use std::time::{Duration, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::KeyValueList;
use prost::Message as _;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::Value;
use rusqlite::{Connection, Result};
use serde_json::{Value as Json, json};

use crate::files::words::{object, plain};
use crate::otlp::words::{attributes, value};
use crate::store::logs::Entry;
use crate::store::logs::block::Block;

pub(super) fn add(conn: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    conn.create_scalar_function(c"attr", 2, flags, attr)?;
    conn.create_scalar_function(c"iso", 1, flags, iso)?;
    conn.create_scalar_function(c"log_block", 1, flags, log_block)?;
    conn.create_scalar_function(c"pairs_json", 1, flags, pairs_json)
}

/// `attr(attributes, 'http.route')`: a value out of a JSON object, by its key as it is, dots and all.
fn attr(ctx: &Context<'_>) -> Result<Value> {
    let (Some(json), Some(key)) =
        (ctx.get_raw(0).as_str_or_null().ok().flatten(), ctx.get_raw(1).as_str_or_null().ok().flatten())
    else {
        return Ok(Value::Null);
    };
    let Ok(Json::Object(mut fields)) = serde_json::from_str(json) else { return Ok(Value::Null) };
    Ok(fields.remove(key).map_or(Value::Null, cell))
}

/// JSON as SQLite has it.
fn cell(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Integer(b.into()),
        Json::String(s) => Value::Text(s),
        Json::Number(n) => n.as_i64().map_or_else(|| Value::Real(n.as_f64().unwrap_or(f64::NAN)), Value::Integer),
        nested => Value::Text(nested.to_string()),
    }
}

/// `iso(start)`: RFC 3339 in UTC, with nanoseconds.
fn iso(ctx: &Context<'_>) -> Result<Option<String>> {
    let nanos: Option<i64> = ctx.get(0)?;
    let since = nanos.and_then(|n| u64::try_from(n).ok()).map(Duration::from_nanos);
    Ok(since.map(words_of))
}

fn words_of(since: Duration) -> String {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + since).to_string()
}

/// The records of a stored block as a JSON list, for the view of logs.
fn log_block(ctx: &Context<'_>) -> Result<String> {
    let broken = |e: String| rusqlite::Error::UserFunctionError(e.into());
    let bytes: Vec<u8> = ctx.get(0)?;
    let block = Block::decode(&bytes).map_err(|e| broken(e.to_string()))?;
    let texts = block.texts().map_err(|e| broken(e.to_string()))?;
    let hex = |id: &[u8]| {
        let there = id.iter().any(|byte| *byte != 0);
        there.then(|| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    let record = |entry: Entry<'_>| {
        let record = entry.whole().map_err(|e| broken(e.to_string()))?;
        Ok(json!({
            "time": entry.time,
            "severity": entry.severity,
            "severity_text": record.severity_text,
            "body": record.body.map(|body| plain(&value(Some(body)))),
            "event_name": record.event_name,
            "attributes": object(&attributes(record.attributes)),
            "trace_id": hex(&entry.context.0),
            "span_id": hex(&entry.context.1),
            "origin": entry.origin,
            "arrival": entry.arrival,
        }))
    };
    let records: Vec<Json> = block.entries(&texts).map(record).collect::<Result<_>>()?;
    Ok(Json::Array(records).to_string())
}

/// Stored attributes as a JSON object, for the view of metric points.
fn pairs_json(ctx: &Context<'_>) -> Result<String> {
    let bytes: Vec<u8> = ctx.get(0)?;
    let list = KeyValueList::decode(&bytes[..]).map_err(|e| rusqlite::Error::UserFunctionError(e.into()))?;
    Ok(object(&attributes(list.values)).to_string())
}
