//! Where in the text a field stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One step to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A key of a table.
    Key(&'static str),
    /// An element of an array.
    At(usize),
}

/// The text, read for its places.
pub(super) struct Lines<'a> {
    text: &'a str,
    root: Option<Spanned<DeTable<'a>>>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, root: DeTable::parse(text).ok() }
    }

    /// The line of a field, or of the innermost table around it that is written.
    pub(super) fn of(&self, path: &[Step]) -> usize {
        let Some(root) = &self.root else { return 1 };
        let mut start = root.span().start;
        let mut table = Some(root.get_ref());
        let mut array = None;
        for step in path {
            let found: Option<&Spanned<DeValue<'_>>> = match step {
                Step::Key(key) => table.and_then(|t| t.get(*key)),
                Step::At(at) => array.and_then(|a: &toml::de::DeArray<'_>| a.get(*at)),
            };
            let Some(found) = found else { break };
            start = found.span().start;
            (table, array) = (found.get_ref().as_table(), found.get_ref().as_array());
        }
        line(self.text, start)
    }
}

/// The line, from 1, of a byte.
pub(super) fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|b| *b == b'\n').count()
}
