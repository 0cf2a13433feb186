//! Conditions on traces that need their spans whole: attributes and text.

use fuseboard_api::trace::TraceQuery;
use fuseboard_api::{TraceId, UnixNanos};
use opentelemetry_proto::tonic::trace::v1::Span;
use rusqlite::{Connection, params};

use super::proto;
use crate::store::StoreError;

/// What is looked for.
pub(super) struct Search {
    /// One span must have all of these, values as text.
    attributes: Vec<(String, String)>,
    /// Any span must hold this, in lower case.
    text: Option<String>,
    /// Whether what is looked for must stand in a span's bytes as it is typed, but for the case of ASCII letters. Then most
    /// spans need not be decoded at all.
    literal: bool,
}

impl Search {
    /// `None` when the query has no such condition.
    pub(super) fn of(query: &TraceQuery) -> Option<Self> {
        let text = query.text.as_ref().filter(|t| !t.is_empty()).map(|t| t.to_lowercase());
        if query.attributes.is_empty() && text.is_none() {
            return None;
        }
        let literal = text.as_ref().is_some_and(|t| is_literal(t));
        Some(Self { attributes: query.attributes.clone(), text, literal })
    }

    /// Whether a trace has what is looked for.
    pub(super) fn finds(&self, conn: &Connection, trace: TraceId, as_of: UnixNanos) -> Result<bool, StoreError> {
        let (mut attributes, mut found) = (self.attributes.is_empty(), self.text.is_none());
        let mut read = conn.prepare_cached(
            "SELECT n.text, s.body FROM spans s JOIN names n ON n.id = s.name WHERE s.trace_id = ?1 AND s.arrival <= ?2",
        )?;
        let mut rows = read.query(params![&trace.0[..], as_of.0])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob().map_err(|e| StoreError::Corrupt(e.to_string()))?;
            if let Some(text) = self.text.as_ref().filter(|_| !found) {
                let name: String = row.get(0)?;
                found = name.to_lowercase().contains(text);
            }
            let may_have_attributes =
                !attributes && self.attributes.iter().all(|(key, _)| contains(body, key.as_bytes()));
            let may_have_text =
                !found && self.text.as_ref().is_some_and(|t| !self.literal || contains(body, t.as_bytes()));
            if may_have_attributes || may_have_text {
                let span: Span = proto::decode(body)?;
                attributes = attributes || self.attributes_in(&span);
                found = found || self.text_in(&span);
            }
            if attributes && found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn attributes_in(&self, span: &Span) -> bool {
        let value =
            |key: &String| span.attributes.iter().find(|kv| kv.key == *key).map(|kv| proto::value(kv.value.clone()));
        self.attributes.iter().all(|(key, wanted)| value(key).is_some_and(|v| v.to_string() == *wanted))
    }

    fn text_in(&self, span: &Span) -> bool {
        let Some(text) = &self.text else { return true };
        let status = span.status.as_ref().map(|s| s.message.to_lowercase()).unwrap_or_default();
        let value = |v: &Option<_>| proto::value(Option::clone(v)).to_string().to_lowercase();
        status.contains(text) || span.attributes.iter().any(|kv| value(&kv.value).contains(text))
    }
}

/// Whether a text can only come from stored text: numbers, truth values and lists are written anew when they are shown,
/// and beyond ASCII upper and lower case differ in their bytes.
fn is_literal(text: &str) -> bool {
    let written_anew = |c: char| c.is_ascii_digit() || "[]{},:.+- ".contains(c);
    // `true`, `false`, `inf`, `NaN`, exponents and hexadecimal bytes are letters, too.
    let letters = "truefalsinabcd";
    text.is_ascii()
        && !text.chars().all(|c| written_anew(c) || letters.contains(c))
        && !text.contains([',', ':', '[', ']', '{', '}'])
}

/// Whether `bytes` hold `needle`, the case of ASCII letters aside.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else { return true };
    let (low, high) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    bytes.iter().enumerate().any(|(at, byte)| {
        (*byte == low || *byte == high)
            && bytes.get(at + 1..at + 1 + rest.len()).is_some_and(|there| there.eq_ignore_ascii_case(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_in_the_bytes_is_searched_there() {
        for literal in ["timeout", "payments.v1", "get /orders", "x-y"] {
            assert!(is_literal(literal), "{literal:?}");
        }
        for anew in ["42", "true", "1.5e", "a, b", "ärger", "inf", "{k: v}", "deadbeef"] {
            assert!(!is_literal(anew), "{anew:?}");
        }
    }

    #[test]
    fn bytes_are_searched_without_regard_to_case() {
        assert!(contains(b"\x0aUpper Case", b"per c"));
        assert!(contains(b"abc", b"") && contains(b"abc", b"C"));
        assert!(!contains(b"abc", b"cd") && !contains(b"", b"a"));
    }
}
