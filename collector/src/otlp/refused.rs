//! Records that make no sense, and what to say of them.

use std::collections::BTreeMap;

/// Why single records were refused, and how many for each reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    reasons: BTreeMap<&'static str, u64>,
    example: String,
}

impl Refused {
    /// Counts one; `name` helps to find it.
    pub fn add(&mut self, reason: &'static str, name: &str) {
        if self.reasons.is_empty() {
            self.example = name.chars().take(80).collect();
        }
        *self.reasons.entry(reason).or_insert(0) += 1;
    }

    /// Adds what another request had refused.
    pub fn merge(&mut self, other: &Self) {
        if self.reasons.is_empty() {
            self.example.clone_from(&other.example);
        }
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason).or_insert(0) += count;
        }
    }

    /// Why, and how many for each reason.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.reasons.iter().map(|(reason, count)| (*reason, *count))
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.reasons.values().sum()
    }

    /// `3 spans refused: 2 without an end time, 1 whose trace id is all zeros; the first is "GET /"`. Empty when none was.
    pub fn sentence(&self, record: &str) -> String {
        if self.reasons.is_empty() {
            return String::new();
        }
        let count = self.count();
        let plural = if count == 1 { "" } else { "s" };
        let reasons: Vec<String> = self.reasons.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        format!("{count} {record}{plural} refused: {}; the first is {:?}", reasons.join(", "), self.example)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_reasons_counts_and_an_example() {
        let mut refused = Refused::default();
        assert_eq!(refused.sentence("span"), "");
        refused.add("without an end time", "GET /");
        assert_eq!(refused.sentence("span"), "1 span refused: 1 without an end time; the first is \"GET /\"");
        refused.add("without an end time", "x");
        refused.add("whose trace id is not 16 bytes, or all zeros", "y");
        assert_eq!(
            refused.sentence("span"),
            "3 spans refused: 1 whose trace id is not 16 bytes, or all zeros, 2 without an end time; the first is \"GET /\""
        );
        let mut sum = Refused::default();
        sum.merge(&refused);
        sum.merge(&refused);
        assert_eq!((sum.count(), sum.reasons().map(|(_, n)| n).sum::<u64>()), (6, 6));
        assert!(sum.sentence("span").ends_with("the first is \"GET /\""));
    }
}
