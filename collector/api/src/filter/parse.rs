//! From text to expressions.

use std::ops::Range;

use super::ast::{Expr, Op, Term};
use super::field::{Field, Kind, Known, Place};
use super::mistake::{Hint, Mistake, near};
use super::scan::Scanner;
use super::value::{self, Glob, Needle, Number, Pattern, Value};
use super::{MAX_DEPTH, MAX_LENGTH, MAX_TERMS};

/// What a text means.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// The condition.
    pub expr: Expr,
    /// What was hardly meant so.
    pub hints: Vec<Hint>,
}

/// Reads a filter.
///
/// # Errors
/// The first mistake in it.
pub fn parse(text: &str) -> Result<Parsed, Mistake> {
    let mut parser = Parser { scan: Scanner::new(text), depth: 0, terms: 0, hints: Vec::new() };
    if text.len() > MAX_LENGTH {
        let what = format!("the filter is longer than {MAX_LENGTH} bytes");
        return Err(parser.scan.mistake(0..text.len(), what, "; shorten it"));
    }
    parser.scan.skip_space();
    if parser.scan.rest().is_empty() {
        return Ok(Parsed::default());
    }
    let expr = parser.either()?;
    match parser.scan.peek() {
        None => Ok(Parsed { expr, hints: parser.hints }),
        // Words, quotes and opening brackets begin terms: only a closing bracket is left over.
        Some(c) => {
            let at = parser.scan.at();
            let advice = "; take it out, or put what belongs inside into brackets";
            Err(parser.scan.mistake(at..at + c.len_utf8(), format!("nothing is open that `{c}` could close"), advice))
        }
    }
}

struct Parser<'a> {
    scan: Scanner<'a>,
    depth: usize,
    terms: usize,
    hints: Vec<Hint>,
}

impl Parser<'_> {
    /// `a or b`
    fn either(&mut self) -> Result<Expr, Mistake> {
        let mut parts = vec![self.all()?];
        while self.scan.keyword("or") {
            parts.push(self.all()?);
        }
        Ok(Expr::either(parts))
    }

    /// `a b`, `a and b`
    fn all(&mut self) -> Result<Expr, Mistake> {
        let mut parts = vec![self.unary()?];
        loop {
            self.scan.skip_space();
            if self.scan.keyword("and") {
                parts.push(self.unary()?);
                continue;
            }
            let or = self.scan.clone().keyword("or");
            match self.scan.peek() {
                None | Some(')' | '}') => return Ok(Expr::all(parts)),
                Some(_) if or => return Ok(Expr::all(parts)),
                Some(_) => parts.push(self.unary()?),
            }
        }
    }

    /// `-a`, `not a`
    fn unary(&mut self) -> Result<Expr, Mistake> {
        self.scan.skip_space();
        let from = self.scan.at();
        let sign = self.scan.operator_ahead().is_none() && (self.scan.eat('-') || self.scan.eat('!'));
        if sign || self.scan.keyword("not") {
            self.deeper(from)?;
            let inner = self.unary()?;
            self.depth -= 1;
            return Ok(inner.not());
        }
        self.primary()
    }

    fn deeper(&mut self, from: usize) -> Result<(), Mistake> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let what = format!("groups lie in one another more than {MAX_DEPTH} deep");
            return Err(self.scan.mistake(from..self.scan.at(), what, "; write it flatter"));
        }
        Ok(())
    }

    fn primary(&mut self) -> Result<Expr, Mistake> {
        self.scan.skip_space();
        let from = self.scan.at();
        match self.scan.peek() {
            Some('(') => self.group(from, ')'),
            Some('{') => Ok(self.group(from, '}')?.somewhere()),
            Some(')' | '}') | None => {
                let advice = ", such as service=orders";
                Err(self.scan.mistake(from..from, "expected a term", advice))
            }
            Some(_) => {
                self.terms += 1;
                if self.terms > MAX_TERMS {
                    let what = format!("the filter has more than {MAX_TERMS} terms");
                    return Err(self.scan.mistake(
                        from..from,
                        what,
                        "; a regular expression can say many values at once",
                    ));
                }
                self.term(from)
            }
        }
    }

    fn group(&mut self, from: usize, close: char) -> Result<Expr, Mistake> {
        self.scan.bump();
        self.deeper(from)?;
        let inner = self.either()?;
        self.depth -= 1;
        self.scan.skip_space();
        if self.scan.eat(close) {
            return Ok(inner);
        }
        let open = if close == ')' { '(' } else { '{' };
        let what = format!("the `{open}`");
        Err(self.scan.mistake(
            from..from + 1,
            what,
            format!(" is never closed; put a `{close}` behind what belongs inside"),
        ))
    }

    fn term(&mut self, from: usize) -> Result<Expr, Mistake> {
        if matches!(self.scan.peek(), Some('"' | '\'')) {
            let text = self.quoted()?;
            let named = from..self.scan.at();
            return match self.scan.operator() {
                Some(op) => self.compare(Field::attribute(text), &named, op),
                None => self.text(&named, text),
            };
        }
        let word = self.scan.word();
        let named = from..self.scan.at();
        if word.is_empty() {
            let sign = self.scan.operator().map_or("=", Op::sign);
            let what = format!("expected a field before `{sign}`");
            return Err(self.scan.mistake(
                from..self.scan.at(),
                what,
                ", such as service; put text that begins so into quotes",
            ));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            // Addresses and times are no fields, whatever stands in them.
            self.scan.set(from);
            let text = self.scan.value().to_owned();
            return self.text(&(from..self.scan.at()), text);
        }
        let presence = word == "has" || word == "missing";
        if presence && self.scan.operator_ahead().is_some_and(|(op, _)| op == Op::Equal) {
            self.scan.operator();
            let field = self.present()?;
            let has = Expr::Term(Term::Has(field));
            return Ok(if word == "has" { has } else { has.not() });
        }
        let field = self.field(word, named.clone());
        match self.scan.operator() {
            Some(op) => {
                let field = field?;
                self.hint(&field, &named);
                self.compare(field, &(from..self.scan.at() - op.sign().len()), op)
            }
            None => self.text(&named, word.to_owned()),
        }
    }

    fn text(&self, at: &Range<usize>, text: String) -> Result<Expr, Mistake> {
        let too_long = || self.scan.mistake(at.clone(), "the text is too long to look for", "; shorten it");
        Needle::new(text).map(|needle| Expr::Term(Term::Text(needle))).ok_or_else(too_long)
    }

    /// The field that a word names, or that a word like `span.` and a quoted key name together.
    fn field(&mut self, word: &str, at: Range<usize>) -> Result<Field, Mistake> {
        let place = match word {
            "span." => Some(Place::Span),
            "resource." => Some(Place::Resource),
            "event." => Some(Place::Event),
            _ => None,
        };
        if let Some(place) = place.filter(|_| matches!(self.scan.peek(), Some('"' | '\''))) {
            return Ok(Field::Attribute(place, self.quoted()?));
        }
        Field::named(word).ok_or_else(|| {
            let advice = match near(word, Known::ALL.map(Known::name)) {
                Some(name) => format!("; did you mean `{name}`?"),
                None => format!("; an attribute of that name is written \"{word}\", in quotes"),
            };
            self.scan.mistake(at, format!("there is no field `{word}`"), advice)
        })
    }

    /// The field behind `has:`.
    fn present(&mut self) -> Result<Field, Mistake> {
        self.scan.skip_space();
        let from = self.scan.at();
        if matches!(self.scan.peek(), Some('"' | '\'')) {
            return Ok(Field::attribute(self.quoted()?));
        }
        let word = self.scan.word();
        let at = from..self.scan.at();
        if word.is_empty() {
            return Err(self.scan.mistake(at, "expected the name of a field", ", such as order.id"));
        }
        let field = self.field(word, at.clone())?;
        self.hint(&field, &at);
        Ok(field)
    }

    fn hint(&mut self, field: &Field, at: &Range<usize>) {
        if let Field::Attribute(Place::Anywhere, key) = field
            && let Some(name) = near(key, Known::ALL.map(Known::name))
            && self.scan.slice(at.clone()).chars().all(|c| c.is_alphanumeric())
        {
            let text = format!("`{key}` is taken as an attribute; did you mean `{name}`?");
            self.hints.push(Hint { from: at.start, to: at.end, text });
        }
    }

    fn quoted(&mut self) -> Result<String, Mistake> {
        let from = self.scan.at();
        let quoted = self.scan.quoted();
        if quoted.closed {
            return Ok(quoted.text);
        }
        let quote = self.scan.slice(from..from + 1);
        let advice = format!(" is never closed; put a {quote} at the end of the text");
        Err(self.scan.mistake(from..self.scan.at(), format!("the {quote}"), advice))
    }

    fn compare(&mut self, field: Field, named: &Range<usize>, op: Op) -> Result<Expr, Mistake> {
        self.scan.skip_space();
        let from = self.scan.at();
        let is_quoted = matches!(self.scan.peek(), Some('"' | '\''));
        let text = if is_quoted { self.quoted()? } else { self.scan.value().to_owned() };
        if text.is_empty() && !is_quoted {
            let begin = self.scan.slice(named.start..from).trim_end().to_owned();
            let what = format!("expected a value after `{begin}`");
            return Err(self.scan.mistake(from..from, what, format!(", such as {}", example(&field, op))));
        }
        let read = Typed { field: &field, op, text: &text, quoted: is_quoted };
        let value = match read.value() {
            Ok(value) => value,
            Err(Wrong::Unit) => match self.unit_apart(&text) {
                Some(nanos) => Value::Duration(nanos),
                None => {
                    let what = format!("`{text}` is no duration");
                    let advice = "; a duration is a number and a unit (ns, us, ms, s, m, h), such as 250ms";
                    return Err(self.scan.mistake(from..self.scan.at(), what, advice));
                }
            },
            Err(Wrong::Value(what, advice)) => return Err(self.scan.mistake(from..self.scan.at(), what, advice)),
            Err(Wrong::Op(what, advice)) => return Err(self.scan.mistake(named.start..self.scan.at(), what, advice)),
        };
        Ok(Expr::compare(field, op, value))
    }

    /// `250 ms`: the unit of a duration may stand apart.
    fn unit_apart(&mut self, number: &str) -> Option<u64> {
        let mut ahead = self.scan.clone();
        ahead.skip_space();
        let unit = ahead.value();
        let nanos = value::duration(&format!("{number}{unit}")).filter(|_| value::is_unit(unit))?;
        self.scan = ahead;
        Some(nanos)
    }
}

/// A value that fits what stands before it.
fn example(field: &Field, op: Op) -> &'static str {
    match (field.kind(), op) {
        (_, Op::Matches | Op::Misses) => "\"^GET /\"",
        (Kind::Duration, _) => "250ms",
        (Kind::Number, _) => "3",
        (Kind::Edge, _) => "orders>payments",
        (Kind::Words(words), _) => words.last().copied().unwrap_or("error"),
        (Kind::Hex(_), _) => "4bf92f3577b34da6*",
        (Kind::Text, _) => "orders",
        (Kind::Any, Op::Equal | Op::Differs) => "\"some text\"",
        (Kind::Any, _) => "100",
    }
}

/// A value as it was typed, and where.
struct Typed<'a> {
    field: &'a Field,
    op: Op,
    text: &'a str,
    quoted: bool,
}

/// What is wrong with it: in words, and what to do.
enum Wrong {
    /// The value.
    Value(String, String),
    /// How it is compared.
    Op(String, String),
    /// It is no duration as it stands.
    Unit,
}

impl Typed<'_> {
    fn value(&self) -> Result<Value, Wrong> {
        let equals = matches!(self.op, Op::Equal | Op::Differs);
        let kind = self.field.kind();
        if matches!(self.op, Op::Matches | Op::Misses) {
            return self.pattern(kind);
        }
        match kind {
            Kind::Duration => value::duration(self.text).map(Value::Duration).ok_or(Wrong::Unit),
            Kind::Number => self.number("a whole number, such as 3"),
            Kind::Any if !equals => self.number("a number, such as 100, for attributes have no unit"),
            Kind::Edge if self.op == Op::Equal => self.edge(),
            Kind::Edge => Err(self.unordered("-edge=CALLER>CALLEE leaves an edge out")),
            _ if !equals => Err(self.unordered("use = or ~")),
            Kind::Words(words) => self.word(words),
            Kind::Hex(digits) => self.hex(digits),
            Kind::Text => Ok(self.text()),
            Kind::Any => Ok(match Number::parse(self.text).filter(|_| !self.quoted) {
                Some(number) => Value::Number(number),
                None => self.text(),
            }),
        }
    }

    fn text(&self) -> Value {
        match self.quoted || !self.text.contains('*') {
            true => Value::Text(self.text.to_owned()),
            false => Value::Glob(Glob::new(self.text)),
        }
    }

    fn unordered(&self, advice: &str) -> Wrong {
        let what = format!("`{}` cannot be compared with `{}`", self.field, self.op.sign());
        Wrong::Op(what, format!("; {advice}"))
    }

    fn number(&self, wanted: &str) -> Result<Value, Wrong> {
        Number::parse(self.text).map(Value::Number).ok_or_else(|| {
            let what = format!("`{}` is no number", self.text);
            Wrong::Value(what, format!("; after `{}{}` comes {wanted}", self.field, self.op.sign()))
        })
    }

    fn pattern(&self, kind: Kind) -> Result<Value, Wrong> {
        if matches!(kind, Kind::Duration | Kind::Number | Kind::Edge) {
            let advice =
                if kind == Kind::Edge { "* stands for any name: edge=*>payments" } else { "use = > >= < or <=" };
            return Err(self.unordered(advice));
        }
        Pattern::new(self.text).map(Value::Pattern).map_err(|why| {
            let advice = format!(": {why}; put \\ before characters that are meant as they are");
            Wrong::Value(format!("`{}` is no regular expression", self.text), advice)
        })
    }

    fn word(&self, words: &[&str]) -> Result<Value, Wrong> {
        let typed = self.text.to_lowercase();
        if words.contains(&typed.as_str()) {
            return Ok(Value::Text(typed));
        }
        let what = format!("`{}` has no value `{}`", self.field, self.text);
        let advice = match near(self.text, words.iter().copied()) {
            Some(word) => format!("; did you mean `{word}`?"),
            None => format!("; it is one of {}", words.join(", ")),
        };
        Err(Wrong::Value(what, advice))
    }

    fn hex(&self, digits: usize) -> Result<Value, Wrong> {
        let text = self.text.to_lowercase();
        let is_glob = !self.quoted && text.contains('*');
        let sound = text.chars().all(|c| c.is_ascii_hexdigit() || (is_glob && c == '*'));
        if sound && (is_glob || text.len() == digits) {
            return Ok(if is_glob { Value::Glob(Glob::new(text)) } else { Value::Text(text) });
        }
        let advice = format!("; it has {digits} hexadecimal digits, or fewer and a * for the rest");
        Err(Wrong::Value(format!("`{}` is no id", self.text), advice))
    }

    fn edge(&self) -> Result<Value, Wrong> {
        let halves = ["->", "→", ">"].iter().find_map(|sign| self.text.split_once(sign));
        match halves.map(|(caller, callee)| (caller.trim(), callee.trim())) {
            Some((caller, callee)) if !caller.is_empty() && !callee.is_empty() => {
                Ok(Value::Edge(Glob::new(caller), Glob::new(callee)))
            }
            _ => {
                let advice = "; write CALLER>CALLEE, such as orders>payments, where * stands for any name";
                Err(Wrong::Value(format!("`{}` is no edge", self.text), advice.to_owned()))
            }
        }
    }
}
