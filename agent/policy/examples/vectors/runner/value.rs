//! What engines answer, and whether it is what a vector expects.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::Wrong;

/// A fact after a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Got {
    /// Nothing there.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Whole(i128),
    /// Another number.
    Real(f64),
    /// A word.
    Text(String),
    /// Words; an empty place is `null`.
    List(Vec<Option<String>>),
    /// Numbers by name.
    Map(BTreeMap<String, f64>),
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
            Self::List(list) => write!(f, "{:?}", list.iter().take(40).collect::<Vec<_>>()),
            Self::Map(map) => write!(f, "{map:?}"),
            // The long answers of `calls` are cut.
            Self::Text(value) => write!(f, "{:?}", value.chars().take(160).collect::<String>()),
        }
    }
}

impl From<bool> for Got {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Got {
    fn from(value: u64) -> Self {
        Self::Whole(i128::from(value))
    }
}

impl From<String> for Got {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&str> for Got {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl<T: Into<Got>> From<Option<T>> for Got {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Nanoseconds as milliseconds, whole where they are whole.
pub(crate) fn millis(nanos: u128) -> Got {
    match i128::try_from(nanos) {
        Ok(n) if n % 1_000_000 == 0 => Got::Whole(n / 1_000_000),
        // By its decimal text, which rounds only once.
        _ => Got::Real(format!("{}.{:06}", nanos / 1_000_000, nanos % 1_000_000).parse().unwrap_or(f64::NAN)),
    }
}

/// A number, exactly where it is whole.
#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    fn of_json(value: &Value) -> Option<Self> {
        let whole = value.as_u64().map(i128::from).or_else(|| value.as_i64().map(i128::from));
        whole.map(Self::Whole).or_else(|| value.as_f64().map(Self::Real))
    }

    fn of_got(got: &Got) -> Option<Self> {
        match got {
            Got::Whole(n) => Some(Self::Whole(*n)),
            Got::Real(x) => Some(Self::Real(*x)),
            _ => None,
        }
    }

    fn real(self) -> f64 {
        match self {
            Self::Whole(n) => n as f64,
            Self::Real(x) => x,
        }
    }

    fn at_most(self, other: Self) -> bool {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a <= b,
            (a, b) => a.real() <= b.real(),
        }
    }

    fn near(self, other: Self, tolerance: Self) -> bool {
        match (self, other, tolerance) {
            (Self::Whole(a), Self::Whole(b), Self::Whole(tolerance)) => (a - b).abs() <= tolerance,
            (a, b, tolerance) => (a.real() - b.real()).abs() <= tolerance.real(),
        }
    }
}

/// Whether a fact is as expected. `Err` for an expectation that is not understood.
pub(crate) fn meets(key: &str, wanted: &Value, got: &Got) -> Result<bool, Wrong> {
    if matches!(key, "rotation_of" | "never" | "endpoint_in") {
        return among(key, wanted, got);
    }
    if let (Value::Object(fields), Got::Map(map)) = (wanted, got) {
        for (name, wanted) in fields {
            let Some(number) = map.get(name) else { return Ok(false) };
            if !meets(key, wanted, &Got::Real(*number))? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if let Value::Object(fields) = wanted {
        let field = |name: &str| match fields.get(name) {
            None => Ok(None),
            Some(value) => Number::of_json(value).map(Some).ok_or_else(|| format!("{key}.{name}: is no number")),
        };
        let number = Number::of_got(got);
        let names = |known: &[&str]| super::only(fields, known, &format!("expectation in {key}"));
        if fields.contains_key("value") {
            names(&["value", "tol"])?;
            let (value, tolerance) = (field("value")?, field("tol")?);
            return Ok(match (number, value, tolerance) {
                (Some(number), Some(value), Some(tolerance)) => number.near(value, tolerance),
                _ => false,
            });
        }
        names(&["min", "max"])?;
        let (min, max) = (field("min")?, field("max")?);
        return Ok(number.is_some_and(|number| {
            min.is_none_or(|min| min.at_most(number)) && max.is_none_or(|max| number.at_most(max))
        }));
    }
    Ok(match (wanted, got) {
        (Value::Null, Got::Null) => true,
        (Value::Bool(a), Got::Bool(b)) => a == b,
        (Value::String(a), Got::Text(b)) => a == b,
        (Value::Array(a), Got::List(b)) => *a == b.iter().map(|id| Value::from(id.clone())).collect::<Vec<_>>(),
        (Value::Number(_), _) => match (Number::of_json(wanted), Number::of_got(got)) {
            (Some(a), Some(b)) => a.at_most(b) && b.at_most(a),
            _ => false,
        },
        _ => false,
    })
}

/// Expectations about picks that are lists without being equal to them.
fn among(key: &str, wanted: &Value, got: &Got) -> Result<bool, Wrong> {
    let wanted = wanted.as_array().ok_or_else(|| format!("{key}: must be a list"))?;
    let same = |id: &Option<String>, wanted: &Value| *wanted == Value::from(id.clone());
    Ok(match (key, got) {
        ("endpoint_in", Got::Text(id)) => wanted.iter().any(|wanted| wanted == id),
        ("endpoint_in", Got::Null) => wanted.iter().any(Value::is_null),
        ("never", Got::List(list)) => !list.iter().any(|id| wanted.iter().any(|wanted| same(id, wanted))),
        ("rotation_of", Got::List(list)) => (0..wanted.len()).any(|start| {
            let turned = wanted.iter().cycle().skip(start);
            list.iter().zip(turned).all(|(id, wanted)| same(id, wanted))
        }),
        _ => false,
    })
}
