//! Words, quoted texts and operators of a filter's text.

use std::ops::Range;

use super::ast::Op;
use super::mistake::Mistake;

/// A place in a text, and what can be read from there.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// A quoted text.
#[derive(Debug)]
pub(super) struct Quoted {
    /// What it holds.
    pub(super) text: String,
    /// Whether its end was found.
    pub(super) closed: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn set(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &'a str {
        self.text.get(range).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    pub(super) fn eat(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        if there {
            self.bump();
        }
        there
    }

    pub(super) fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// A word where a term begins: up to white space, a bracket, a quote or an operator.
    pub(super) fn word(&mut self) -> &'a str {
        let from = self.at;
        while let Some(c) = self.peek() {
            let ends = c.is_whitespace() || "(){}\"'=<>~:".contains(c) || self.operator_ahead().is_some();
            if ends {
                break;
            }
            self.bump();
        }
        self.slice(from..self.at)
    }

    /// A word where a value stands: up to white space or a bracket that was not opened in it.
    pub(super) fn value(&mut self) -> &'a str {
        let from = self.at;
        let mut open = Vec::new();
        while let Some(c) = self.peek() {
            match c {
                c if c.is_whitespace() => break,
                '(' | '{' => open.push(c),
                ')' | '}' if open.pop().is_none() => break,
                _ => {}
            }
            self.bump();
        }
        self.slice(from..self.at)
    }

    /// A text in quotes, whose opening quote is next.
    pub(super) fn quoted(&mut self) -> Quoted {
        let mut text = String::new();
        let Some(quote) = self.bump() else { return Quoted { text, closed: false } };
        while let Some(c) = self.bump() {
            match c {
                c if c == quote => return Quoted { text, closed: true },
                '\\' => match self.peek() {
                    Some(c) if c == quote || c == '\\' => text.extend(self.bump()),
                    Some('n') => {
                        self.bump();
                        text.push('\n');
                    }
                    Some('t') => {
                        self.bump();
                        text.push('\t');
                    }
                    _ => text.push('\\'),
                },
                c => text.push(c),
            }
        }
        Quoted { text, closed: false }
    }

    /// The operator that is next, and its length.
    pub(super) fn operator_ahead(&self) -> Option<(Op, usize)> {
        let mut chars = self.rest().chars();
        let (first, second) = (chars.next()?, chars.next());
        Some(match (first, second) {
            ('!', Some('=')) => (Op::Differs, 2),
            ('!', Some('~')) => (Op::Misses, 2),
            ('<', Some('=')) => (Op::AtMost, 2),
            ('>', Some('=')) => (Op::AtLeast, 2),
            // Both are habits from elsewhere.
            ('=', Some('~')) => (Op::Matches, 2),
            ('=', Some('=')) => (Op::Equal, 2),
            ('<', _) => (Op::Below, 1),
            ('>', _) => (Op::Above, 1),
            ('=' | ':', _) => (Op::Equal, 1),
            ('~', _) => (Op::Matches, 1),
            _ => return None,
        })
    }

    /// Takes the operator that is next, white space before it too.
    pub(super) fn operator(&mut self) -> Option<Op> {
        let mut ahead = self.clone();
        ahead.skip_space();
        let (op, length) = ahead.operator_ahead()?;
        self.at = ahead.at + length;
        Some(op)
    }

    /// Takes a keyword, in any case, that no operator follows directly.
    pub(super) fn keyword(&mut self, keyword: &str) -> bool {
        let mut ahead = self.clone();
        let there = ahead.word().eq_ignore_ascii_case(keyword) && ahead.operator_ahead().is_none();
        if there {
            *self = ahead;
        }
        there
    }

    /// A mistake in a part of the text.
    pub(super) fn mistake(&self, at: Range<usize>, what: impl Into<String>, advice: impl Into<String>) -> Mistake {
        let character = self.slice(0..at.start).chars().count() + 1;
        Mistake { from: at.start, to: at.end, character, what: what.into(), advice: advice.into() }
    }
}
