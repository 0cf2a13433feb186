//! Log records that know the span they belong to.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::context::FutureExt;
pub use opentelemetry::logs::Severity;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _};
use opentelemetry::trace::{TraceContextExt, Tracer};
use opentelemetry::{Array, Context, KeyValue, Value};

use crate::agent::Inner;

/// Writes a record; the current span's ids go with it.
pub(crate) fn write(agent: &Arc<Inner>, severity: Severity, message: String, attributes: &[KeyValue]) {
    emit(agent, severity, None, message, attributes);
}

/// Writes an event: a record with a name.
pub(crate) fn event(
    agent: &Arc<Inner>,
    severity: Severity,
    name: &'static str,
    message: String,
    attributes: &[KeyValue],
) {
    emit(agent, severity, Some(name), message, attributes);
}

fn emit(agent: &Inner, severity: Severity, name: Option<&'static str>, message: String, attributes: &[KeyValue]) {
    let logger = &agent.telemetry.logger;
    let mut record = logger.create_log_record();
    record.set_timestamp(SystemTime::now());
    record.set_severity_number(severity);
    record.set_severity_text(severity.name());
    record.set_body(message.into());
    if let Some(name) = name {
        record.set_event_name(name);
    }
    record.add_attributes(attributes.iter().map(|kv| (kv.key.clone(), any(kv.value.clone()))));
    logger.emit(record);
}

fn any(value: Value) -> AnyValue {
    match value {
        Value::Bool(v) => AnyValue::Boolean(v),
        Value::I64(v) => AnyValue::Int(v),
        Value::F64(v) => AnyValue::Double(v),
        Value::String(v) => AnyValue::String(v),
        Value::Array(Array::Bool(v)) => AnyValue::ListAny(Box::new(v.into_iter().map(AnyValue::Boolean).collect())),
        Value::Array(Array::I64(v)) => AnyValue::ListAny(Box::new(v.into_iter().map(AnyValue::Int).collect())),
        Value::Array(Array::F64(v)) => AnyValue::ListAny(Box::new(v.into_iter().map(AnyValue::Double).collect())),
        Value::Array(Array::String(v)) => AnyValue::ListAny(Box::new(v.into_iter().map(AnyValue::String).collect())),
        other => AnyValue::String(other.to_string().into()),
    }
}

/// Runs a future in an internal span.
pub(crate) async fn in_span<F: Future>(
    agent: &Arc<Inner>,
    name: &'static str,
    attributes: Vec<KeyValue>,
    work: F,
) -> F::Output {
    let tracer = &agent.telemetry.tracer;
    let span = tracer.span_builder(name).with_attributes(attributes).start(tracer);
    let cx = Context::current_with_span(span);
    let output = work.with_context(cx.clone()).await;
    cx.span().end();
    output
}
