//! OTLP in JSON, every field of it: ids in hex, 64-bit numbers as text, enums as numbers, fields at their default left out.

mod logs;
mod metrics;
mod text;
mod traces;

use self::text::Object;
use crate::ingest::Telemetry;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// Writes a request as one line of a JSON lines file, its line break with it.
pub fn line(telemetry: &Telemetry, out: &mut Vec<u8>) {
    match telemetry {
        Telemetry::Traces(request) => traces::write(request, out),
        Telemetry::Logs(request) => logs::write(request, out),
        Telemetry::Metrics(request) => metrics::write(request, out),
    }
    out.push(b'\n');
}

fn resource(o: &mut Object<'_>, resource: &Resource) {
    attributes(o, "attributes", &resource.attributes);
    o.number("droppedAttributesCount", resource.dropped_attributes_count);
    o.list("entityRefs", &resource.entity_refs, |o, entity| {
        o.text("schemaUrl", &entity.schema_url);
        o.text("type", &entity.r#type);
        o.texts("idKeys", &entity.id_keys);
        o.texts("descriptionKeys", &entity.description_keys);
    });
}

fn scope(o: &mut Object<'_>, scope: &InstrumentationScope) {
    o.text("name", &scope.name);
    o.text("version", &scope.version);
    attributes(o, "attributes", &scope.attributes);
    o.number("droppedAttributesCount", scope.dropped_attributes_count);
}

fn attributes(o: &mut Object<'_>, key: &str, list: &[KeyValue]) {
    o.list(key, list, |o, kv| {
        o.text("key", &kv.key);
        if let Some(value) = &kv.value {
            o.object("value", |o| any(o, value));
        }
    });
}

/// A value is written also where it is a default: that it is there says which kind it is.
fn any(o: &mut Object<'_>, value: &AnyValue) {
    match &value.value {
        // Never sent outside of profiles, and the table that it points into is not there.
        None | Some(Value::StringValueStrindex(_)) => {}
        Some(Value::StringValue(s)) => o.given_text("stringValue", s),
        Some(Value::BoolValue(b)) => o.given("boolValue", b),
        Some(Value::IntValue(i)) => o.given_long("intValue", i),
        Some(Value::DoubleValue(d)) => o.given_double("doubleValue", *d),
        Some(Value::BytesValue(b)) => o.given_text("bytesValue", &crate::base64::encode(b)),
        Some(Value::ArrayValue(a)) => o.object("arrayValue", |o| o.list("values", &a.values, any)),
        Some(Value::KvlistValue(l)) => o.object("kvlistValue", |o| attributes(o, "values", &l.values)),
    }
}

#[cfg(test)]
mod tests;
