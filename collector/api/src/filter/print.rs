//! From expressions to text that reads the same again.

use std::fmt::{self, Display as _, Write as _};

use super::ast::{Compare, Expr, Op, Term};
use super::field::{Field, Kind, Place};
use super::value::{Number, Value, write_duration};

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::Term(term) => term.fmt(f),
            Self::Not(inner) => {
                f.write_char('-')?;
                inside(f, inner)
            }
            Self::All(parts) => parts.iter().enumerate().try_for_each(|(i, part)| {
                f.write_str(if i == 0 { "" } else { " " })?;
                match part {
                    Self::Either(_) => write!(f, "({part})"),
                    _ => part.fmt(f),
                }
            }),
            Self::Either(parts) => parts.iter().enumerate().try_for_each(|(i, part)| {
                f.write_str(if i == 0 { "" } else { " or " })?;
                part.fmt(f)
            }),
            Self::Somewhere(inner) => write!(f, "{{{inner}}}"),
        }
    }
}

fn inside(f: &mut fmt::Formatter<'_>, expr: &Expr) -> fmt::Result {
    match expr {
        Expr::All(_) | Expr::Either(_) => write!(f, "({expr})"),
        other => other.fmt(f),
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(needle) if is_word(needle.as_str()) => f.write_str(needle.as_str()),
            Self::Text(needle) => quote(f, needle.as_str()),
            Self::Has(field) => write!(f, "has:{field}"),
            Self::Compare(compare) => compare.fmt(f),
        }
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A glob has no quotes: `=` and its first sign must not be read as another operator.
        let merges = matches!(&self.value, Value::Glob(glob) if glob.as_str().starts_with(['=', '~']));
        let sign = if merges && self.op == Op::Equal { ":" } else { self.op.sign() };
        write!(f, "{}{sign}", self.field)?;
        match &self.value {
            Value::Text(text) => {
                let number = self.field.kind() == Kind::Any && Number::parse(text).is_some();
                if is_plain(text) && !number { f.write_str(text) } else { quote(f, text) }
            }
            Value::Glob(glob) => f.write_str(glob.as_str()),
            Value::Number(number) => f.write_str(number.as_str()),
            Value::Duration(nanos) => write_duration(f, *nanos),
            Value::Pattern(pattern) => quote(f, pattern.as_str()),
            Value::Edge(caller, callee) => {
                let (caller, callee) = (caller.as_str(), callee.as_str());
                let plain = |name: &str| is_plain(&name.replace('*', "x"));
                match plain(caller) && plain(callee) {
                    true => write!(f, "{caller}>{callee}"),
                    false => quote(f, &format!("{caller}>{callee}")),
                }
            }
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sign())
    }
}

/// Writes a field so that it is read as the same again.
pub(super) fn field(f: &mut fmt::Formatter<'_>, field: &Field) -> fmt::Result {
    let (place, key) = match field {
        Field::Known(known) => return f.write_str(known.name()),
        Field::Attribute(place, key) => (*place, key),
    };
    let prefix = match place {
        Place::Anywhere => "",
        Place::Span => "span.",
        Place::Resource => "resource.",
        Place::Event => "event.",
    };
    f.write_str(prefix)?;
    let bare = format!("{prefix}{key}");
    if is_key(&bare) && Field::named(&bare).as_ref() == Some(field) { f.write_str(key) } else { quote(f, key) }
}

/// Whether a text needs no quotes as a value.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_./@+,-:#%&".contains(c))
}

/// Whether a text needs no quotes as a field.
pub(super) fn is_key(text: &str) -> bool {
    let keyword = ["and", "or", "not", "has", "missing"].iter().any(|k| text.eq_ignore_ascii_case(k));
    !keyword
        && text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || "_./@-".contains(c))
}

/// Whether a text needs no quotes as a term of its own.
fn is_word(text: &str) -> bool {
    is_key(text) && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Writes a text in quotes.
pub(super) fn quote(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
