//! One value against another.

use std::cmp::Ordering;

use fuseboard_api::attr::AttrValue;
use fuseboard_api::filter::{Compare, Op, Value};

use crate::store::segment;

/// A text field.
pub(super) fn text(c: &Compare, text: &str) -> bool {
    match &c.value {
        Value::Text(wanted) => equals(c.op, text == wanted),
        Value::Glob(glob) => equals(c.op, glob.matches(text)),
        Value::Number(number) => match c.op {
            Op::Equal | Op::Differs => equals(c.op, text == number.as_str()),
            op => number.order_text(text).is_some_and(|o| op.accepts(o)),
        },
        Value::Pattern(pattern) => pattern.is_match(text) == (c.op == Op::Matches),
        Value::Duration(_) | Value::Edge(..) => false,
    }
}

/// What `=` or `!=` make of equality.
fn equals(op: Op, equal: bool) -> bool {
    equal == (op == Op::Equal)
}

/// A whole number.
pub(super) fn int(c: &Compare, int: i64) -> bool {
    match &c.value {
        Value::Number(number) => c.op.accepts(number.order_int(int)),
        _ => text(c, &int.to_string()),
    }
}

/// A double. What is no number differs from every number.
pub(super) fn double(c: &Compare, double: f64) -> bool {
    match &c.value {
        Value::Number(number) => match number.order_double(double) {
            Some(ordering) => c.op.accepts(ordering),
            None => c.op == Op::Differs,
        },
        _ => text(c, &double.to_string()),
    }
}

/// An attribute.
pub(super) fn attr(c: &Compare, value: &AttrValue) -> bool {
    match value {
        AttrValue::Str(s) => text(c, s),
        AttrValue::Int(i) => int(c, *i),
        AttrValue::Double(d) => double(c, *d),
        other => text(c, &other.to_string()),
    }
}

/// An attribute in its column.
pub(super) fn cell(c: &Compare, value: &segment::Value<'_>) -> bool {
    match value {
        segment::Value::Str(s) => text(c, s),
        segment::Value::Int(i) => int(c, *i),
        segment::Value::Double(d) => double(c, *d),
        other => text(c, &other.to_string()),
    }
}

/// A duration in nanoseconds.
pub(super) fn nanos(c: &Compare, nanos: u64) -> bool {
    matches!(c.value, Value::Duration(wanted) if c.op.accepts(nanos.cmp(&wanted)))
}

/// How many there are of something.
pub(super) fn count(c: &Compare, count: usize) -> bool {
    int(c, i64::try_from(count).unwrap_or(i64::MAX))
}

/// Whether some duration from `min` to `max` could satisfy it.
pub(super) fn some_between(c: &Compare, min: u64, max: u64) -> bool {
    let Value::Duration(wanted) = c.value else { return true };
    match c.op {
        Op::Equal => (min..=max).contains(&wanted),
        Op::Differs => min != wanted || max != wanted,
        Op::Below | Op::AtMost => c.op.accepts(min.cmp(&wanted)),
        Op::Above | Op::AtLeast => c.op.accepts(max.cmp(&wanted)),
        Op::Matches | Op::Misses => true,
    }
}

/// The texts of attributes that are equal to the value, as far as there are few; `None` when there may be others.
pub(super) fn equal_texts(c: &Compare) -> Option<Vec<String>> {
    if c.op != Op::Equal {
        return None;
    }
    match &c.value {
        Value::Text(text) => Some(vec![text.clone()]),
        Value::Number(number) => {
            let double = number.double();
            let mut texts = vec![number.as_str().to_owned(), double.to_string()];
            texts.extend(number.whole().map(|whole| whole.to_string()));
            if double.partial_cmp(&0.0) == Some(Ordering::Equal) {
                // Negative zero is shown so, and equal.
                texts.push("-0".to_owned());
            }
            // Beyond 2^53 many whole numbers are one double.
            (double.abs() < 9e15).then_some(texts)
        }
        Value::Glob(_) | Value::Duration(_) | Value::Pattern(_) | Value::Edge(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use fuseboard_api::filter::{Expr, Term, parse};

    use super::*;

    fn compare(text: &str) -> Compare {
        match parse(text).expect("a filter").expr {
            Expr::Term(Term::Compare(c)) => c,
            other => panic!("{other:?} is no comparison"),
        }
    }

    #[test]
    fn values_compare_as_the_language_says() {
        let (s, i, d) = (|s: &str| AttrValue::Str(s.into()), AttrValue::Int, AttrValue::Double);
        for (filter, value, fits) in [
            ("k=5", i(5), true),
            ("k=5.0", i(5), true),
            ("k=5.0", s("5"), false),
            ("k=5", s("5"), true),
            ("k=\"5\"", i(5), true),
            ("k!=5", i(6), true),
            ("k!=5", i(5), false),
            ("k=1.50", d(1.5), true),
            ("k>1.4", d(1.5), true),
            ("k>1.4", d(f64::NAN), false),
            ("k!=1", d(f64::NAN), true),
            ("k=NaN", d(f64::NAN), true),
            ("k=0", d(-0.0), true),
            ("k>=500", s("503"), true),
            ("k>=500", s("five"), false),
            ("k=true", AttrValue::Bool(true), true),
            ("k>0", AttrValue::Bool(true), false),
            ("k=de*", s("demo"), true),
            ("k!=de*", s("demo"), false),
            ("k~b", AttrValue::Array(vec![s("a"), s("b")]), true),
            ("k=\"[a, b]\"", AttrValue::Array(vec![s("a"), s("b")]), true),
            ("k=00ff", AttrValue::Bytes(vec![0, 255]), true),
            ("k!~x", AttrValue::Empty, true),
            ("k=9007199254740993", i(9_007_199_254_740_992), false),
        ] {
            assert_eq!(attr(&compare(filter), &value), fits, "{filter} on {value:?}");
        }
    }

    #[test]
    fn a_segment_is_passed_over_only_when_none_of_its_durations_fits() {
        for (filter, min, max, may) in [
            ("duration>10ns", 1, 10, false),
            ("duration>=10ns", 1, 10, true),
            ("duration<5ns", 5, 10, false),
            ("duration<=5ns", 5, 10, true),
            ("duration=7ns", 5, 10, true),
            ("duration=4ns", 5, 10, false),
            ("duration!=5ns", 5, 5, false),
        ] {
            assert_eq!(some_between(&compare(filter), min, max), may, "{filter}");
        }
    }

    #[test]
    fn equal_texts_are_all_texts_of_equal_values() {
        assert_eq!(equal_texts(&compare("k=1.50")).expect("few"), ["1.50", "1.5"]);
        assert!(equal_texts(&compare("k=0.0")).expect("few").contains(&"-0".to_owned()));
        assert_eq!(equal_texts(&compare("k=9007199254740993")), None);
        assert_eq!(equal_texts(&compare("k=a*")), None);
        assert_eq!(equal_texts(&compare("k!=a")), None);
    }
}
