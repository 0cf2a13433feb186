//! Zipkin's span as it stands in JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::MAX_SPANS;

/// One span. Ids are required, all else may be missing or null.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sent {
    pub(super) trace_id: String,
    pub(super) id: String,
    #[serde(default)]
    pub(super) parent_id: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) kind: Option<String>,
    /// Microseconds since 1970.
    #[serde(default, deserialize_with = "micros")]
    pub(super) timestamp: Option<u64>,
    /// Microseconds.
    #[serde(default, deserialize_with = "micros")]
    pub(super) duration: Option<u64>,
    #[serde(default)]
    pub(super) shared: Option<bool>,
    #[serde(default)]
    pub(super) debug: Option<bool>,
    #[serde(default)]
    pub(super) local_endpoint: Option<Endpoint>,
    #[serde(default)]
    pub(super) remote_endpoint: Option<Endpoint>,
    #[serde(default)]
    pub(super) annotations: Option<Vec<Annotation>>,
    #[serde(default, deserialize_with = "tags")]
    pub(super) tags: BTreeMap<String, String>,
}

/// Where a side of a call is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    #[serde(default)]
    pub(super) service_name: Option<String>,
    #[serde(default)]
    pub(super) ipv4: Option<String>,
    #[serde(default)]
    pub(super) ipv6: Option<String>,
    #[serde(default)]
    pub(super) port: Option<u32>,
}

impl Endpoint {
    /// Its address; version 4 first.
    pub(super) fn address(&self) -> Option<&str> {
        [&self.ipv4, &self.ipv6].into_iter().flatten().map(String::as_str).find(|a| !a.is_empty())
    }

    /// Its service's name.
    pub(super) fn service(&self) -> Option<&str> {
        self.service_name.as_deref().filter(|s| !s.is_empty())
    }
}

/// Something that happened.
#[derive(Debug, Deserialize)]
pub(super) struct Annotation {
    #[serde(deserialize_with = "micros")]
    pub(super) timestamp: Option<u64>,
    pub(super) value: String,
}

/// A list of spans, not longer than [`MAX_SPANS`].
#[derive(Debug)]
pub(super) struct Spans(pub(super) Vec<Sent>);

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Spans;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of spans")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Spans, A::Error> {
                let mut spans = Vec::new();
                while let Some(span) = list.next_element()? {
                    if spans.len() == MAX_SPANS {
                        return Err(A::Error::custom(format!("more than {MAX_SPANS} spans; send smaller batches")));
                    }
                    spans.push(span);
                }
                Ok(Spans(spans))
            }
        }
        from.deserialize_seq(List)
    }
}

/// A number of microseconds, also when it was written as a float or as text.
fn micros<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let bad = |value: &Value| D::Error::custom(format!("{value} is not a number of microseconds"));
    match Value::deserialize(from)? {
        Value::Null => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(|_| bad(&Value::String(text))),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            (None, Some(float)) if float >= 0.0 => Ok(Some(float as u64)),
            _ => Err(bad(&Value::Number(number))),
        },
        other => Err(bad(&other)),
    }
}

/// Tags; values that are no text are written as JSON writes them, and null is none.
fn tags<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let sent: Option<BTreeMap<String, Value>> = Option::deserialize(from)?;
    let text = |(key, value)| match value {
        Value::Null => None,
        Value::String(text) => Some((key, text)),
        other => Some((key, other.to_string())),
    };
    Ok(sent.unwrap_or_default().into_iter().filter_map(text).collect())
}
