//! Small numbers for what repeats in memory: names of services, operations and peers, who sends, and what is counted.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use fuseboard_api::graph::NodeKind;

/// Texts remembered; beyond it the memory is emptied between two commits.
const REMEMBERED: usize = 200_000;

/// Texts by number. The number 0 is the empty text.
#[derive(Debug)]
pub(super) struct Names {
    numbers: HashMap<Box<[u8]>, u32, FixedState>,
    texts: Vec<Box<[u8]>>,
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Self { numbers: HashMap::default(), texts: Vec::new() };
        names.number(b"");
        names
    }
}

impl Names {
    /// The number of a text.
    pub(super) fn number(&mut self, text: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.into(), number);
        self.texts.push(text.into());
        number
    }

    /// The text of a number.
    pub(super) fn text(&self, number: u32) -> &str {
        let bytes = self.texts.get(number as usize).map(AsRef::as_ref).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    pub(super) fn is_full(&self) -> bool {
        self.texts.len() > REMEMBERED
    }
}

/// What a series counts, by numbers of [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SeriesKey {
    /// What callers saw on an edge.
    Edge {
        /// Who calls.
        caller: u32,
        /// Who is called.
        callee: u32,
        /// What for.
        operation: u32,
    },
    /// What an instance answered.
    Inbound {
        /// Number of the party.
        party: u32,
        /// What it answered.
        operation: u32,
    },
}

/// What a series' ends are, as far as known when it is first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeriesFacts {
    pub(super) caller_kind: NodeKind,
    pub(super) callee_kind: NodeKind,
    /// Number of `postgresql`, ….
    pub(super) system: u32,
    pub(super) asynchronous: bool,
}

/// A series in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Series {
    pub(super) key: SeriesKey,
    pub(super) facts: SeriesFacts,
    /// Its row in the table; `None` until it is looked up.
    pub(super) row: Option<i64>,
    /// The second that was counted last, and where.
    pub(super) last: Option<(i64, u32)>,
}

/// An instance of a service in a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Party {
    pub(super) service: u32,
    pub(super) instance: u32,
    pub(super) version: u32,
}

/// Everything that is numbered in memory only.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) names: Names,
    parties: HashMap<Party, u32, FixedState>,
    by_party: Vec<Party>,
    numbers: HashMap<SeriesKey, u32, FixedState>,
    pub(super) series: Vec<Series>,
}

impl Book {
    /// The number of an instance.
    pub(super) fn party(&mut self, party: Party) -> u32 {
        *self.parties.entry(party).or_insert_with(|| {
            self.by_party.push(party);
            self.by_party.len() as u32 - 1
        })
    }

    /// The instance of a number.
    pub(super) fn party_of(&self, number: u32) -> Party {
        self.by_party.get(number as usize).copied().unwrap_or(Party { service: 0, instance: 0, version: 0 })
    }

    /// The number of a series; `facts` when it is new.
    pub(super) fn series(&mut self, key: SeriesKey, facts: impl FnOnce() -> SeriesFacts) -> u32 {
        *self.numbers.entry(key).or_insert_with(|| {
            self.series.push(Series { key, facts: facts(), row: None, last: None });
            self.series.len() as u32 - 1
        })
    }

    /// After a rollback: rows given inside it are void.
    pub(super) fn forget_rows(&mut self) {
        for series in &mut self.series {
            (series.row, series.last) = (None, None);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.names.is_full() || self.series.len() > REMEMBERED || self.by_party.len() > REMEMBERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_has_the_same_number() {
        let mut names = Names::default();
        assert_eq!(names.number(b""), 0);
        let shop = names.number("lädt".as_bytes());
        assert_eq!((names.number("lädt".as_bytes()), names.text(shop), names.text(99)), (shop, "lädt", ""));
        assert_ne!(names.number(b"other"), shop);
    }
}
