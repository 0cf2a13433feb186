//! What may stand at a place of a filter: for completion.

use std::ops::Range;

use super::ast::Op;
use super::field::Field;
use super::print;
use super::scan::Scanner;

/// What is being typed at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// A field, or text.
    Field {
        /// The bytes typed of it, to be replaced.
        typed: Range<usize>,
    },
    /// An operator, behind a field.
    Op {
        /// The field.
        field: Field,
        /// Where it goes.
        at: usize,
    },
    /// A value.
    Value {
        /// Of which field.
        field: Field,
        /// How it will be compared.
        op: Op,
        /// The bytes typed of it, to be replaced; quotes belong to them.
        typed: Range<usize>,
    },
    /// Nothing that could be offered: the inside of a quoted text.
    Nothing,
}

/// What is being typed where byte `cursor` of `text` is. Whatever stands behind the cursor is not looked at.
#[must_use]
pub fn expected(text: &str, cursor: usize) -> Expected {
    let before = text.get(..cursor).unwrap_or(text);
    let mut scan = Scanner::new(before);
    loop {
        scan.skip_space();
        while matches!(scan.peek(), Some('(' | ')' | '{' | '}' | '-' | '!')) && scan.operator_ahead().is_none() {
            scan.bump();
            scan.skip_space();
        }
        let from = scan.at();
        if scan.rest().is_empty() {
            return Expected::Field { typed: from..from };
        }
        let field = if matches!(scan.peek(), Some('"' | '\'')) {
            let quoted = scan.quoted();
            if !quoted.closed {
                return Expected::Nothing;
            }
            Field::attribute(quoted.text)
        } else {
            let word = scan.word();
            if scan.rest().is_empty() {
                return Expected::Field { typed: from..scan.at() };
            }
            if (word == "has" || word == "missing") && scan.operator().is_some() {
                let from = scan.at();
                scan.word();
                if scan.rest().is_empty() {
                    return Expected::Field { typed: from..scan.at() };
                }
                continue;
            }
            Field::named(word).unwrap_or_else(|| Field::attribute(word))
        };
        let end = scan.at();
        let Some(op) = scan.operator() else {
            if scan.rest().is_empty() {
                return Expected::Op { field, at: end };
            }
            // A word of free text: the next term begins.
            if scan.rest().trim().is_empty() {
                let at = before.len();
                return Expected::Field { typed: at..at };
            }
            continue;
        };
        scan.skip_space();
        let from = scan.at();
        if matches!(scan.peek(), Some('"' | '\'')) {
            if scan.quoted().closed && !scan.rest().is_empty() {
                continue;
            }
        } else {
            scan.value();
        }
        if scan.rest().is_empty() {
            return Expected::Value { field, op, typed: from..scan.at() };
        }
    }
}

/// A text as it must be written as a value.
#[must_use]
pub fn written_value(text: &str) -> String {
    if print::is_plain(text) {
        return text.to_owned();
    }
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = print::quote(&mut out, text);
    out
}

/// An attribute's key as it must be written as a field.
#[must_use]
pub fn written_key(key: &str) -> String {
    Field::attribute(key).to_string()
}
