//! Where in the text of a document a problem stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Problem {
    /// Where it stands in the text that was parsed: the setting it names, else its rule; `None` when it is about the document
    /// as a whole.
    #[must_use]
    pub fn position(&self, text: &str) -> Option<Position> {
        let offset = match DeTable::parse(text) {
            Err(error) => error.span().map(|span| span.start),
            Ok(top) => self.offset(top.get_ref()),
        }?;
        let before = text.get(..offset)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Some(Position { line, column })
    }

    fn offset(&self, top: &DeTable<'_>) -> Option<usize> {
        let (head, setting) = self.path.split_once(": ").unwrap_or((&self.path, ""));
        let Some((section, rest)) = head.split_once('[') else { return key(top, head).map(|(at, _)| at) };
        let index: usize = rest.split_once(']')?.0.parse().ok()?;
        let (_, DeValue::Array(rules)) = key(top, section)? else { return None };
        let rule = rules.get(index.checked_sub(1)?)?;
        let mut at = rule.span().start;
        let mut inside = rule.get_ref();
        for part in setting.split('.').filter(|part| !part.is_empty()) {
            let DeValue::Table(table) = inside else { break };
            let Some((found, value)) = key(table, part) else { break };
            (at, inside) = (found, value);
        }
        Some(at)
    }
}

/// Where a key stands, and its value.
fn key<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<(usize, &'a DeValue<'i>)> {
    let mut all = table.iter();
    let (key, value): (&Spanned<_>, &Spanned<_>) = all.find(|(key, _)| key.get_ref().as_ref() == name)?;
    Some((key.span().start, value.get_ref()))
}

#[cfg(test)]
mod tests {
    use crate::document::PolicyDocument;

    fn positions(text: &str) -> Vec<(usize, usize)> {
        let problems = PolicyDocument::parse(text).expect_err("something is wrong");
        problems.iter().map(|p| p.position(text).map_or((0, 0), |at| (at.line, at.column))).collect()
    }

    #[test]
    fn problems_are_found_where_they_stand() {
        let text = "# a\n[[edge]]\nservice = \"a\"\ntimeout = { attempt_ms = 0 }\n\n[[edge]]\nservice = \"b\"\n  braker = {}\n";
        assert_eq!(positions(text), [(4, 13), (8, 3)]);
        assert_eq!(positions("[[edge]]\nservice = \"a\"\n[edge.breaker]\nmin_calls = 0\n"), [(4, 1)]);
        assert_eq!(positions("x = [\n"), [(1, 6)]);
        assert_eq!(positions("\nwrong = 1\n"), [(2, 1)]);
        assert_eq!(positions("[[service]]\nname = \"é\"\nslo = { success = 7.0 }\n"), [(3, 9)]);
    }
}
