//! What is wrong with a filter, and where.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// First byte of the part that is wrong.
    pub from: usize,
    /// The byte after it; may equal `from` where something is missing.
    pub to: usize,
    /// The place for people: characters are counted from 1.
    pub character: usize,
    /// What is wrong.
    pub what: String,
    /// What to do; may be empty.
    pub advice: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at character {}", self.what, self.character)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "{}", self.advice) }
    }
}

impl std::error::Error for Mistake {}

/// Something that is allowed but was hardly meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// First byte of the part.
    pub from: usize,
    /// The byte after it.
    pub to: usize,
    /// In words.
    pub text: String,
}

/// The one of `names` that `typed` may have been meant to be: at most one letter differs in short words, two in longer
/// ones, or only the case.
pub(super) fn near<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let allowed = match typed.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    names.into_iter().map(|n| (distance(&typed, n), n)).filter(|(d, _)| *d <= allowed).min().map(|(_, n)| n)
}

/// How many letters must be put in, taken out, exchanged with the next or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_near_and_other_words_are_not() {
        let names = ["service", "status", "duration", "name", "kind"];
        for (typed, meant) in [
            ("servce", Some("service")),
            ("Service", Some("service")),
            ("sttaus", Some("status")),
            ("duratoin", Some("duration")),
            ("nam", Some("name")),
            ("customer", None),
            ("id", None),
            ("", None),
        ] {
            assert_eq!(near(typed, names), meant, "{typed}");
        }
    }
}
