//! What a filter is made of.

use super::field::Field;
use super::value::{Needle, Value};

/// A condition on a span.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Expr {
    /// Every span fits.
    #[default]
    Any,
    /// One condition.
    Term(Term),
    /// What is inside does not hold.
    Not(Box<Self>),
    /// All hold; two at least, none of them an `All`.
    All(Vec<Self>),
    /// At least one holds; two at least, none of them an `Either`.
    Either(Vec<Self>),
    /// Some span of the same trace fits what is inside.
    Somewhere(Box<Self>),
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// This text stands in the span.
    Text(Needle),
    /// The field is there.
    Has(Field),
    /// The field compares so.
    Compare(Compare),
}

/// A field against a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Compare {
    /// Which field.
    pub field: Field,
    /// How.
    pub op: Op,
    /// Against what.
    pub value: Value,
}

/// How a field compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `=` or `:`.
    Equal,
    /// `!=`: there, and different.
    Differs,
    /// `<`.
    Below,
    /// `<=`.
    AtMost,
    /// `>`.
    Above,
    /// `>=`.
    AtLeast,
    /// `~`.
    Matches,
    /// `!~`: there, and without a match.
    Misses,
}

impl Op {
    /// As it is written.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Differs => "!=",
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Matches => "~",
            Self::Misses => "!~",
        }
    }

    /// Whether an ordering of a field to the value satisfies it.
    #[must_use]
    pub fn accepts(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Differs => ordering.is_ne(),
            Self::Below => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::Above => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Matches | Self::Misses => false,
        }
    }
}

impl Expr {
    /// All of these; [`Expr::Any`] when there are none.
    #[must_use]
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Any => {}
                Self::All(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.pop() {
            None => Self::Any,
            Some(only) if flat.is_empty() => only,
            Some(last) => {
                flat.push(last);
                Self::All(flat)
            }
        }
    }

    /// At least one of these.
    pub(super) fn either(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Either(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.pop() {
            None => Self::Any,
            Some(only) if flat.is_empty() => only,
            Some(last) => {
                flat.push(last);
                Self::Either(flat)
            }
        }
    }

    /// Its opposite.
    pub(super) fn not(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Some span of the same trace fits this.
    #[must_use]
    pub fn somewhere(self) -> Self {
        match self {
            Self::Any | Self::Somewhere(_) => self,
            other => Self::Somewhere(Box::new(other)),
        }
    }

    /// `field op value` as an expression.
    #[must_use]
    pub fn compare(field: Field, op: Op, value: Value) -> Self {
        Self::Term(Term::Compare(Compare { field, op, value }))
    }

    /// Whether it asks for more than the span itself and who sent it: other spans of its trace.
    #[must_use]
    pub fn needs_trace(&self) -> bool {
        match self {
            Self::Any => false,
            Self::Term(Term::Text(_)) => false,
            Self::Term(Term::Has(field) | Term::Compare(Compare { field, .. })) => field.needs_trace(),
            Self::Not(inner) => inner.needs_trace(),
            Self::All(parts) | Self::Either(parts) => parts.iter().any(Self::needs_trace),
            Self::Somewhere(_) => true,
        }
    }
}
