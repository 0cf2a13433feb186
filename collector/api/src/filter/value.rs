//! Values that fields are compared with.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text, taken as it is.
    Text(String),
    /// Text in which `*` stands for any text.
    Glob(Glob),
    /// A number.
    Number(Number),
    /// Nanoseconds.
    Duration(u64),
    /// A regular expression.
    Pattern(Pattern),
    /// A call: its caller and its callee, each a [`Glob`].
    Edge(Glob, Glob),
}

/// Text in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// A glob as it is written.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The only text that it matches, when there is only one.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(self.0.as_str())
    }

    /// Whether a whole text is of this form.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut text) = text.strip_prefix(head) else { return false };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        for piece in middle.split('*').filter(|p| !p.is_empty()) {
            // The leftmost place leaves most for the others.
            match text.find(piece) {
                Some(at) => text = &text[at + piece.len()..],
                None => return false,
            }
        }
        text.ends_with(tail)
    }
}

/// A number as it was typed, and its value.
#[derive(Debug, Clone)]
pub struct Number {
    text: String,
    whole: Option<i64>,
    double: f64,
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Number {
    /// A number as people write one: digits, with a sign, point or exponent; `None` for everything else, `inf` too.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_start_matches(['-', '+']);
        if text.len() - digits.len() > 1 || !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let double: f64 = text.parse().ok().filter(|d: &f64| d.is_finite())?;
        Some(Self { text: text.to_owned(), whole: text.parse().ok(), double })
    }

    /// As it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its value, when it is whole and fits.
    #[must_use]
    pub fn whole(&self) -> Option<i64> {
        self.whole
    }

    /// Its value, as near as a double comes.
    #[must_use]
    pub fn double(&self) -> f64 {
        self.double
    }

    /// How a whole number compares to it: exactly when both are whole, else as doubles.
    #[must_use]
    pub fn order_int(&self, other: i64) -> Ordering {
        match self.whole {
            Some(whole) => other.cmp(&whole),
            None => (other as f64).partial_cmp(&self.double).unwrap_or(Ordering::Less),
        }
    }

    /// How a double compares to it; `None` for NaN.
    #[must_use]
    pub fn order_double(&self, other: f64) -> Option<Ordering> {
        other.partial_cmp(&self.double)
    }

    /// How a text that is written like a number compares to it; `None` for any other text.
    #[must_use]
    pub fn order_text(&self, other: &str) -> Option<Ordering> {
        let other = Self::parse(other.trim())?;
        match other.whole {
            Some(whole) => Some(self.order_int(whole)),
            None => self.order_double(other.double),
        }
    }
}

/// A regular expression, checked and limited in size.
#[derive(Debug, Clone)]
pub struct Pattern(Arc<Regex>);

/// A regular expression may take so many bytes when it is compiled.
const PATTERN_SIZE: usize = 1 << 20;

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Pattern {
    /// Checks and compiles a regular expression.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(text).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build();
        built.map(|regex| Self(Arc::new(regex))).map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => "it would become too large".to_owned(),
            // Its last line says what is wrong; those before draw where.
            other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        })
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it matches somewhere in a text.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// A text that is looked for inside others, in upper or lower case.
#[derive(Debug, Clone)]
pub struct Needle {
    text: String,
    pattern: Pattern,
}

impl PartialEq for Needle {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Needle {
    /// A text to look for; `None` when it is too long.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let pattern = Pattern::new(&format!("(?i){}", regex::escape(&text))).ok()?;
        Some(Self { text, pattern })
    }

    /// As it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a text holds it.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.pattern.is_match(text)
    }
}

/// Units of durations, the longest first, and their nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

/// Whether a word is a unit of durations.
pub(super) fn is_unit(word: &str) -> bool {
    UNITS.iter().any(|(unit, _)| *unit == word) || word == "μs"
}

/// Nanoseconds of a duration: `250ms`, `1.5s`, `2m30s` is not one.
pub(super) fn duration(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    // There are two letters that look like this; both are typed.
    let unit = if unit == "μs" { "µs" } else { unit };
    let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale);
    }
    let number: f64 = number.parse().ok()?;
    let nanos = (number * scale as f64).round();
    // Beyond this a double no longer tells single nanoseconds apart; nothing lasts a century.
    (nanos.is_finite() && nanos < 9e18).then_some(nanos as u64)
}

/// Writes a duration with the longest unit that says it exactly.
pub(super) fn write_duration(f: &mut fmt::Formatter<'_>, nanos: u64) -> fmt::Result {
    let (unit, scale) =
        UNITS.into_iter().find(|(_, scale)| nanos.is_multiple_of(*scale) && nanos > 0).unwrap_or(("ns", 1));
    write!(f, "{}{unit}", nanos / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, nanos) in [
            ("250ms", Some(250_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("2µs", Some(2_000)),
            ("2μs", Some(2_000)),
            ("2us", Some(2_000)),
            ("7ns", Some(7)),
            ("3m", Some(180_000_000_000)),
            ("1h", Some(3_600_000_000_000)),
            ("250", None),
            ("ms", None),
            ("1.2.3s", None),
            ("5 min", None),
            ("99999999999999999999s", None),
            ("18446744073709551615ns", Some(u64::MAX)),
            ("18446744073709551615s", None),
        ] {
            assert_eq!(duration(text), nanos, "{text}");
        }
    }

    #[test]
    fn globs_match_whole_texts() {
        for (glob, text, fits) in [
            ("GET*", "GET /orders", true),
            ("*orders", "GET /orders", true),
            ("*/o*s", "GET /orders", true),
            ("GET", "GET /orders", false),
            ("*", "", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a**b", "ab", true),
            ("*ab*ab*", "abab", true),
            ("*ab*ab*", "aba", false),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(Glob::new(glob).matches(text), fits, "{glob} on {text}");
        }
    }

    #[test]
    fn numbers_are_those_that_people_write() {
        for text in ["1", "-2.5", "+3", ".5", "1e3", "9223372036854775807", "18446744073709551616"] {
            assert!(Number::parse(text).is_some(), "{text}");
        }
        for text in ["", "-", "inf", "NaN", "1.2.3", "0x10", "--1", "1 2", "1e999"] {
            assert!(Number::parse(text).is_none(), "{text}");
        }
        let large = Number::parse("9007199254740993").unwrap();
        assert!(large.order_int(9_007_199_254_740_992).is_lt(), "exact beyond what doubles tell apart");
        assert_eq!(Number::parse("2.5").unwrap().order_text(" 2.50 "), Some(Ordering::Equal));
        assert_eq!(Number::parse("2.5").unwrap().order_text("two"), None);
    }

    #[test]
    fn texts_are_found_in_any_case() {
        let needle = Needle::new("Ärger (1.5)").unwrap();
        assert!(needle.is_in("kein ÄRGER (1.5) mehr") && !needle.is_in("ärger 1x5"));
        assert!(Needle::new("").unwrap().is_in(""));
        assert!(Needle::new("x".repeat(super::super::MAX_LENGTH)).is_some(), "all that a filter can hold");
    }

    #[test]
    fn a_pattern_that_would_grow_too_large_is_refused() {
        assert_eq!(Pattern::new(r"\w{1000}{1000}").unwrap_err(), "it would become too large");
        assert!(Pattern::new("(").unwrap_err().contains("unclosed group"));
    }
}
