//! Reading fields of JSON objects leniently, and the parts that all signals share.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use serde_json::{Map, Value};

/// Why a JSON body is no OTLP.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadJson {
    /// No JSON at all.
    #[error("the body is not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A field of the wrong type.
    #[error("field {field:?} is {found}; expected {expected}")]
    Field {
        /// Where it stands: `resourceSpans[0].scopeSpans[0].spans[2].traceId`.
        field: String,
        /// What it must be.
        expected: &'static str,
        /// What it is, shortened.
        found: String,
    },
}

impl BadJson {
    /// The same, seen from the object around.
    fn inside(self, place: &str) -> Self {
        match self {
            Self::Field { field, expected, found } => {
                let dot = if field.is_empty() || field.starts_with('[') { "" } else { "." };
                Self::Field { field: format!("{place}{dot}{field}"), expected, found }
            }
            other => other,
        }
    }
}

/// Reads every item of a list; a mistake says at which.
fn items<'a, T>(field: &str, list: &'a [Value], read: impl Fn(&'a Value) -> Read<T>) -> Read<Vec<T>> {
    list.iter().enumerate().map(|(i, v)| read(v).map_err(|e| e.inside(&format!("{field}[{i}]")))).collect()
}

/// What was read, or where it made no sense.
pub(crate) type Read<T> = Result<T, BadJson>;

/// A JSON object, or nothing.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a>(Option<&'a Map<String, Value>>);

impl<'a> Object<'a> {
    pub(crate) fn of(field: &str, value: &'a Value) -> Read<Self> {
        match value {
            Value::Object(map) => Ok(Self(Some(map))),
            Value::Null => Ok(Self(None)),
            other => Err(bad(field, "an object", other)),
        }
    }

    /// A field that is there and not null.
    pub(crate) fn get(self, field: &str) -> Option<&'a Value> {
        self.0?.get(field).filter(|v| !v.is_null())
    }

    pub(crate) fn text(self, field: &str) -> Read<String> {
        match self.get(field) {
            None => Ok(String::new()),
            Some(Value::String(s)) => Ok(s.clone()),
            Some(other) => Err(bad(field, "text", other)),
        }
    }

    pub(crate) fn flag(self, field: &str) -> Read<bool> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(b)) => Ok(*b),
            Some(other) => Err(bad(field, "true or false", other)),
        }
    }

    pub(crate) fn u64(self, field: &str) -> Read<u64> {
        self.get(field).map_or(Ok(0), |v| whole(field, v))
    }

    pub(crate) fn u32(self, field: &str) -> Read<u32> {
        self.get(field).map_or(Ok(0), |v| whole(field, v))
    }

    pub(crate) fn i32(self, field: &str) -> Read<i32> {
        self.get(field).map_or(Ok(0), |v| whole(field, v))
    }

    pub(crate) fn double(self, field: &str) -> Read<Option<f64>> {
        self.get(field).map(|v| double(field, v)).transpose()
    }

    /// An enum: OTLP says numbers; some tools write names.
    pub(crate) fn number_or_name(self, field: &str, names: &[&str]) -> Read<i32> {
        match self.get(field) {
            Some(Value::String(name)) if name.parse::<i32>().is_err() => {
                let at = names.iter().position(|n| n.eq_ignore_ascii_case(name));
                at.and_then(|i| i32::try_from(i).ok())
                    .ok_or_else(|| bad(field, "a number or one of OTLP's names", &Value::String(name.clone())))
            }
            _ => self.i32(field),
        }
    }

    /// An id in hex, of either case.
    pub(crate) fn hex(self, field: &str) -> Read<Vec<u8>> {
        let text = self.text(field)?;
        let digits = text.as_bytes();
        let pair = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
        let all_hex = digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
        let bytes = all_hex.then(|| digits.chunks(2).filter_map(pair).collect());
        bytes.ok_or_else(|| bad(field, "an id in hexadecimal digits", &Value::String(text)))
    }

    pub(crate) fn list(self, field: &str) -> Read<&'a [Value]> {
        match self.get(field) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(bad(field, "a list", other)),
        }
    }

    /// Every object of a list.
    pub(crate) fn each<T>(self, field: &str, read: impl Fn(Object<'a>) -> Read<T>) -> Read<Vec<T>> {
        items(field, self.list(field)?, |v| read(Object::of("", v)?))
    }

    pub(crate) fn object<T>(self, field: &str, read: impl Fn(Object<'a>) -> Read<T>) -> Read<Option<T>> {
        let inside = |v| Object::of("", v).and_then(&read).map_err(|e| e.inside(field));
        self.get(field).map(inside).transpose()
    }

    pub(crate) fn u64s(self, field: &str) -> Read<Vec<u64>> {
        items(field, self.list(field)?, |v| whole("", v))
    }

    pub(crate) fn doubles(self, field: &str) -> Read<Vec<f64>> {
        items(field, self.list(field)?, |v| double("", v))
    }

    pub(crate) fn texts(self, field: &str) -> Read<Vec<String>> {
        items(field, self.list(field)?, |v| v.as_str().map(str::to_owned).ok_or_else(|| bad("", "text", v)))
    }
}

/// A field of the wrong type.
pub(crate) fn bad(field: &str, expected: &'static str, found: &Value) -> BadJson {
    let mut text = found.to_string();
    if let Some((cut, _)) = text.char_indices().nth(60) {
        text.truncate(cut);
        text.push('…');
    }
    BadJson::Field { field: field.to_owned(), expected, found: text }
}

/// A whole number, as a number or as text, exact over all 64 bits.
pub(crate) fn whole<T: TryFrom<i128>>(field: &str, value: &Value) -> Read<T> {
    let number: Option<i128> = match value {
        Value::Number(n) => n
            .as_i64()
            .map(i128::from)
            .or_else(|| n.as_u64().map(i128::from))
            .or_else(|| n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 1.8e19).map(|f| f as i128)),
        Value::String(s) => s.parse().ok(),
        _ => None,
    };
    number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| bad(field, "a whole number in range", value))
}

fn double(field: &str, value: &Value) -> Read<f64> {
    let number = match value {
        Value::Number(n) => n.as_f64(),
        // `NaN`, `Infinity` and `-Infinity` are JSON's way out, and parse.
        Value::String(s) => s.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| bad(field, "a number", value))
}

pub(super) fn attributes(o: Object<'_>, field: &str) -> Read<Vec<KeyValue>> {
    o.each(field, |kv| Ok(KeyValue { key: kv.text("key")?, value: kv.object("value", any)?, key_strindex: 0 }))
}

pub(super) fn any(o: Object<'_>) -> Read<AnyValue> {
    let value = if let Some(v) = o.get("stringValue") {
        Some(Any::StringValue(v.as_str().ok_or_else(|| bad("stringValue", "text", v))?.to_owned()))
    } else if o.get("boolValue").is_some() {
        Some(Any::BoolValue(o.flag("boolValue")?))
    } else if let Some(v) = o.get("intValue") {
        Some(Any::IntValue(whole("intValue", v)?))
    } else if let Some(d) = o.double("doubleValue")? {
        Some(Any::DoubleValue(d))
    } else if let Some(v) = o.get("bytesValue") {
        let bytes = v.as_str().and_then(crate::base64::decode);
        Some(Any::BytesValue(bytes.ok_or_else(|| bad("bytesValue", "bytes in base64", v))?))
    } else if let Some(values) = o.object("arrayValue", |a| a.each("values", any))? {
        Some(Any::ArrayValue(ArrayValue { values }))
    } else {
        o.object("kvlistValue", |l| attributes(l, "values"))?.map(|values| Any::KvlistValue(KeyValueList { values }))
    };
    Ok(AnyValue { value })
}

pub(super) fn resource(o: Object<'_>) -> Read<Resource> {
    Ok(Resource {
        attributes: attributes(o, "attributes")?,
        dropped_attributes_count: o.u32("droppedAttributesCount")?,
        entity_refs: o.each("entityRefs", |e| {
            Ok(EntityRef {
                schema_url: e.text("schemaUrl")?,
                r#type: e.text("type")?,
                id_keys: e.texts("idKeys")?,
                description_keys: e.texts("descriptionKeys")?,
            })
        })?,
    })
}

pub(super) fn scope(o: Object<'_>) -> Read<InstrumentationScope> {
    Ok(InstrumentationScope {
        name: o.text("name")?,
        version: o.text("version")?,
        attributes: attributes(o, "attributes")?,
        dropped_attributes_count: o.u32("droppedAttributesCount")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_are_exact_as_text_and_as_numbers() {
        for v in [json!(9_007_199_254_740_993_i64), json!("9007199254740993")] {
            assert_eq!(whole::<i64>("n", &v).expect("a number"), 9_007_199_254_740_993);
        }
        assert_eq!(whole::<u64>("n", &json!("18446744073709551615")).expect("a number"), u64::MAX);
        assert_eq!(whole::<i64>("n", &json!(-5)).expect("a number"), -5);
        let sentence = whole::<u64>("count", &json!(-1)).expect_err("negative").to_string();
        assert_eq!(sentence, "field \"count\" is -1; expected a whole number in range");
    }

    #[test]
    fn a_mistake_says_where_it_stands() {
        let v = json!({"spans": [{}, {"attributes": [{"key": "a", "value": {"arrayValue": {"values": [{"intValue": "x"}]}}}]}], "n": [1, "y"], "o": [5]});
        let o = Object::of("body", &v).expect("an object");
        let place = |e: Option<BadJson>| match e {
            Some(BadJson::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        let read = o.each("spans", |s| attributes(s, "attributes"));
        assert_eq!(place(read.err()), "spans[1].attributes[0].value.arrayValue.values[0].intValue");
        assert_eq!(place(o.u64s("n").err()), "n[1]");
        assert_eq!(place(o.each("o", |_| Ok(())).err()), "o[0]");
        assert_eq!(place(o.object("n", |_| Ok(())).err()), "n");
    }

    #[test]
    fn values_of_every_kind_and_none() {
        let v = json!({"arrayValue": {"values": [{"intValue": 1}, {}, {"doubleValue": "NaN"}, {"bytesValue": "AQI="}, null]}});
        let read = any(Object::of("value", &v).expect("an object")).expect("a value");
        let Some(Any::ArrayValue(list)) = read.value else { panic!("a list") };
        assert_eq!(list.values[0].value, Some(Any::IntValue(1)));
        assert_eq!(list.values[1].value, None);
        assert!(matches!(list.values[2].value, Some(Any::DoubleValue(d)) if d.is_nan()));
        assert_eq!(list.values[3].value, Some(Any::BytesValue(vec![1, 2])));
        assert_eq!(list.values[4].value, None);
    }

    #[test]
    fn ids_are_hex_of_either_case() {
        let v = json!({"a": "00FFaa", "b": "xyz", "c": null});
        let o = Object::of("o", &v).expect("an object");
        assert_eq!(o.hex("a").expect("hex"), [0, 255, 170]);
        assert!(o.hex("b").expect_err("no hex").to_string().contains("hexadecimal"));
        assert!(o.hex("c").expect("absent").is_empty());
    }
}
