//! OTLP messages into rows: once, at the edge, into types that cannot be wrong.

mod logs;
mod metrics;
mod traces;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use crate::otlp::Refused;
use crate::store::rows::{Batch, NewOrigin};

pub(super) use self::logs::logs;
pub(super) use self::metrics::metrics;
pub(super) use self::traces::{encoded_traces, traces};

/// What a request brought.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    /// What can be stored.
    pub(super) batch: Batch,
    /// What cannot.
    pub(super) refused: Refused,
}

/// Attributes a record may have; more than that is no telemetry.
const MAX_ATTRIBUTES: usize = 10_000;

/// Bytes that a name may have: names stand in every answer, so a sender must not make them as long as it likes.
const MAX_NAME: usize = 1024;

/// A name, cut where it is too long; the dots say so.
fn short(mut name: String) -> String {
    if name.len() > MAX_NAME {
        name.truncate(name.floor_char_boundary(MAX_NAME));
        name.push('…');
    }
    name
}

/// How deep values may be nested.
const MAX_DEPTH: usize = 64;

impl Decoded {
    /// Adds a sender and gives its position.
    fn origin(
        &mut self,
        resource: Option<&Resource>,
        resource_schema_url: &str,
        scope: Option<&InstrumentationScope>,
        scope_schema_url: &str,
    ) -> usize {
        let attributes = resource.map_or(&[][..], |r| &r.attributes);
        let text = |key: &str| short(text(attributes, key).unwrap_or_default().to_owned());
        let service = match text("service.name") {
            name if name.is_empty() => "unknown_service".to_owned(),
            name => name,
        };
        let origin = NewOrigin {
            service,
            instance: text("service.instance.id"),
            version: text("service.version"),
            resource: resource.map(prost::Message::encode_to_vec).unwrap_or_default(),
            resource_schema_url: resource_schema_url.to_owned(),
            scope: scope.map(InstrumentationScope::encode_to_vec).unwrap_or_default(),
            scope_schema_url: scope_schema_url.to_owned(),
        };
        self.batch.bytes += origin.resource.len() + origin.scope.len() + 200;
        self.batch.origins.push(origin);
        self.batch.origins.len() - 1
    }
}

/// A text attribute.
fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match attributes.iter().find(|kv| kv.key == key)?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(s) => Some(s),
        _ => None,
    }
}

/// An OTLP time as stored; `None` beyond the year 2262.
fn nanos(time: u64) -> Option<i64> {
    i64::try_from(time).ok()
}

/// Whether attributes are few and flat enough to be stored and drawn.
fn reasonable(attributes: &[KeyValue]) -> bool {
    fn deep(value: Option<&Value>, left: usize) -> bool {
        match value {
            Some(Value::ArrayValue(a)) => left > 0 && a.values.iter().all(|v| deep(v.value.as_ref(), left - 1)),
            Some(Value::KvlistValue(l)) => {
                left > 0 && l.values.iter().all(|kv| deep(kv.value.as_ref().and_then(|v| v.value.as_ref()), left - 1))
            }
            _ => true,
        }
    }
    attributes.len() <= MAX_ATTRIBUTES
        && attributes.iter().all(|kv| deep(kv.value.as_ref().and_then(|v| v.value.as_ref()), MAX_DEPTH))
}
