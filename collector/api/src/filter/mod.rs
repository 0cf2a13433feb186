//! The language in which spans are looked for.
//!
//! A filter is a condition on one span; an empty one lets every span pass. A list of *spans* shows those that fit, a list
//! of *traces* shows the traces of which at least one span fits.
//!
//! # Terms
//!
//! | term | holds for a span |
//! |---|---|
//! | `timeout`, `"card declined"` | with that text in its name, status message, an attribute's value, or an event's name or attribute; upper and lower case are the same |
//! | `service=orders`, `service:orders` | whose field is exactly that; a `*` outside quotes stands for any text |
//! | `service!=web` | that has the field, with another value (`-service=web` also lets spans pass that lack it) |
//! | `duration>250ms`, `>=`, `<`, `<=` | whose field is a number beyond; text that is written like a number counts as one |
//! | `name~"^GET /"`, `!~` | whose field, as text, has (has, but without) a match of the regular expression |
//! | `has:order.id`, `missing:order.id` | that has (lacks) the field |
//!
//! Terms side by side must all hold *on the same span*; `and` may stand between them. `or` binds less, `not`, `-` or `!`
//! before a term turns it around, and parentheses group. `{ … }` holds when *some* span of the same trace, this one or
//! another, fits what is inside: `service=web {service=payments status=error}` are the spans of web in traces in which a
//! span of payments failed.
//!
//! # Fields
//!
//! The names of [`Known`] are built in: of the span (`name` or `operation`, `kind`, `status`, `message`, `duration`,
//! `peer`, `event`, `link`, `parent`, `span.id`, `trace.id`), of who sent it (`service`, `instance`, `version`, `scope`),
//! of its place among calls (`edge=orders>payments`), and of its trace (`root.service`, `root.name`, `trace.duration`,
//! `trace.spans`, `trace.errors`). What belongs to a trace holds for each of its spans.
//!
//! Every other name is an attribute: the span's, or, where the span has none of that name, its resource's. Attributes that
//! begin with `exception.` are looked for in the span's events before the resource. `span.KEY`, `resource.KEY` and
//! `event.KEY` look in one place only. A name in quotes is always an attribute: `"version"=2`.
//!
//! A field with several values (events, links) fits when one of them does. Attributes are compared as they are shown:
//! lists as `[a, b]`, maps as `{k: v}`, bytes in hexadecimal. A number that is no text also equals one of the same value,
//! however that is written: `=1.50` finds 1.5.
//!
//! # Values
//!
//! A value ends at white space, or at a `)` or `}` that was not opened in it; quotes, `"` or `'`, hold anything. In
//! quotes `\"`, `\\`, `\n` and `\t` stand for one character, any other `\` stands for itself, so that
//! `"\d+"` needs no second one. Durations have a unit: `ns`, `us` or `µs`, `ms`, `s`, `m`, `h`. Regular expressions are those
//! of the crate `regex`: they need linear time and know neither look-around nor back-references; `(?i)` in front makes
//! upper and lower case the same.

mod ast;
mod complete;
mod field;
mod mistake;
mod parse;
mod print;
mod scan;
mod value;

#[cfg(test)]
mod tests;

pub use self::ast::{Compare, Expr, Op, Term};
pub use self::complete::{Expected, expected, written_key, written_value};
pub use self::field::{Field, Kind, Known, Place};
pub use self::mistake::{Hint, Mistake};
pub use self::parse::{Parsed, parse};
pub use self::value::{Glob, Needle, Number, Pattern, Value};

/// A filter has at most so many bytes.
pub const MAX_LENGTH: usize = 8192;

/// A filter has at most so many terms.
pub const MAX_TERMS: usize = 128;

/// Groups lie in one another at most so deep.
pub const MAX_DEPTH: usize = 32;

/// The language on one screen, for `--help`.
pub const HELP: &str = "\
A filter is a condition on one span; a trace fits when one of its spans does.
  timeout  \"card declined\"          text in a name, status message, attribute or event
  service=orders  name=GET*         exactly; * outside quotes is any text (: is the same as =)
  service!=web                      the field is there and differs
  duration>250ms  order.id>=100     compared as numbers; durations have a unit: ns us ms s m h
  name~\"^GET /\"  name!~health       a regular expression matches, or does not
  has:order.id  missing:order.id    the field is there, or is not
  a b   a and b   a or b   -a   not a   (a or b)      all on the same span
  {service=payments status=error}   some span of the same trace fits
Fields: service instance version scope name (operation) kind status message duration peer event link
  parent span.id trace.id edge=CALLER>CALLEE root.service root.name trace.duration trace.spans
  trace.errors; any other name is an attribute of the span, else of its resource.
  span.KEY resource.KEY event.KEY look in one place; \"version\"=2 in quotes is always an attribute.
  kind: server client producer consumer internal unspecified; status: ok error unset
Example: service=orders operation:\"POST /orders\" status=error duration>250ms -customer.tier=test";
