//! Reads rules: unknown names and impossible values are taken out and reported.

use toml::{Table, Value};

use super::fields::{EDGE, Field, Kind, LONGEST_NAME};
use super::spelling::{unknown, unknown_word};
use super::{Problem, Rule};
use crate::{codes, presets};

/// Which rule a problem is in.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// `edge[2] payments/Charge`, `service[1] orders`. Counted from 1.
    head: String,
    /// Which `[[edge]]`, counted from 0; `None` for a `[[service]]`.
    rule: Option<usize>,
}

impl Place {
    /// An `[[edge]]`.
    pub(super) fn edge(index: usize, label: &str) -> Self {
        Self { head: head("edge", index, label), rule: Some(index) }
    }

    /// A `[[service]]`.
    pub(super) fn service(index: usize, label: &str) -> Self {
        Self { head: head("service", index, label), rule: None }
    }

    /// A problem at a setting; at the rule itself without a path.
    pub(super) fn problem(&self, path: &str, message: String) -> Problem {
        let path = if path.is_empty() { self.head.clone() } else { format!("{}: {path}", self.head) };
        Problem { path, message, rule: self.rule }
    }
}

fn head(kind: &str, index: usize, label: &str) -> String {
    let space = if label.is_empty() { "" } else { " " };
    format!("{kind}[{}]{space}{label}", index + 1)
}

/// Takes out of a table of settings what is wrong by itself, and reports it.
pub(super) fn clean_table(table: &mut Table, fields: &[Field], place: &Place, problems: &mut Vec<Problem>) {
    Reader { place: place.clone(), problems }.clean(table, fields, "");
    // An empty table says nothing; without it, equal rules are equal.
    table.retain(|_, value| !matches!(value, Value::Table(table) if table.is_empty()));
}

/// Collects what is wrong in one rule.
struct Reader<'a> {
    place: Place,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, path: &str, message: String) {
        self.problems.push(self.place.problem(path, message));
    }

    /// Takes out of the table what is wrong, so that the rest can be looked at too.
    fn clean(&mut self, table: &mut Table, fields: &[Field], above: &str) {
        let names: Vec<String> = table.keys().cloned().collect();
        for name in names {
            let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            let Some(value) = table.get_mut(&name) else { continue };
            let wrong = match fields.iter().find(|field| field.name == name) {
                Some(field) => self.wrong(value, &field.kind, &path),
                None if above.is_empty() && name == "fault" => {
                    Some("a fault is never part of a policy; inject it as a temporary override".to_owned())
                }
                None => {
                    let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
                    Some(unknown(&name, &known))
                }
            };
            if let Some(message) = wrong {
                self.problem(&path, message);
                table.remove(&name);
            }
        }
    }

    fn wrong(&mut self, value: &mut Value, kind: &Kind, path: &str) -> Option<String> {
        match (kind, &mut *value) {
            (Kind::Whole(least, most), Value::Integer(n)) if (*least..=*most).contains(n) => None,
            (Kind::Whole(least, most), Value::Integer(n)) => {
                Some(format!("{n} is out of range; it must be a whole number from {least} to {most}"))
            }
            (Kind::Whole(..), _) => Some(expected("a whole number", value)),
            (Kind::Number(..), Value::Integer(n)) => {
                // One way to write a number, so that equal settings are equal bytes.
                *value = Value::Float(*n as f64);
                self.wrong(value, kind, path)
            }
            (Kind::Number(least, most), Value::Float(x)) if (*least..=*most).contains(x) => None,
            (Kind::Number(least, most), Value::Float(x)) => {
                Some(format!("{x} is out of range; it must be a number from {least} to {most}"))
            }
            (Kind::Number(..), _) => Some(expected("a number", value)),
            (Kind::Switch, Value::Boolean(_)) => None,
            (Kind::Switch, _) => Some(expected("true or false", value)),
            (Kind::Word(words), Value::String(word)) => {
                (!words.contains(&word.as_str())).then(|| unknown_word(word, words))
            }
            (Kind::Preset(part), Value::String(word)) => {
                let known = presets::names(*part);
                (!known.contains(&word.as_str())).then(|| unknown_word(word, &known))
            }
            (Kind::Word(_) | Kind::Preset(_), _) => Some(expected("a word in quotes", value)),
            (Kind::HashKey, Value::String(key)) => wrong_key(key),
            (Kind::HashKey, _) => Some(expected("a word in quotes", value)),
            (Kind::Codes, Value::Array(words)) => wrong_codes(words),
            (Kind::Codes, _) => Some(expected("a list of outcomes", value)),
            (Kind::Failure, Value::String(code)) => wrong_code(code, false),
            (Kind::Name, Value::String(name)) => wrong_name("name", name),
            (Kind::Failure | Kind::Name, _) => Some(expected("a word in quotes", value)),
            (Kind::Table(fields), Value::Table(table)) => {
                self.clean(table, fields, path);
                None
            }
            (Kind::Table(_), _) => Some(expected("a table", value)),
        }
    }
}

fn wrong_codes(words: &[Value]) -> Option<String> {
    for (i, word) in words.iter().enumerate() {
        let Value::String(code) = word else { return Some(expected("a list of words in quotes", word)) };
        if let Some(message) = wrong_code(code, true) {
            return Some(message);
        }
        if words.iter().take(i).any(|before| before == word) {
            return Some(format!("`{code}` stands twice"));
        }
    }
    None
}

/// What is wrong with the name of a failure; classes of them only where there may be `classes`.
fn wrong_code(code: &str, classes: bool) -> Option<String> {
    if codes::is_failure(code) || (classes && codes::is_class(code)) {
        return None;
    }
    let digits = code.len() == 3 && code.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if code == "ok" || (digits && code.starts_with(['1', '2', '3'])) {
        return Some(format!("`{code}` is no failure"));
    }
    if digits && code.to_ascii_lowercase().ends_with("xx") {
        return Some(match (classes, code.starts_with('4')) {
            (false, _) => format!("`{code}` is many statuses; name one, such as `503`"),
            // Refused whatever it is asked again, but for a few that pass.
            (true, true) => format!("`{code}` are mistakes of the caller; list those that pass: `408`, `425`, `429`"),
            (true, false) => format!("unknown class `{code}`; did you mean `5xx`?"),
        });
    }
    let known: Vec<&str> = codes::words().filter(|word| *word != "ok").collect();
    let or = if classes { "(or an HTTP status such as `503`, or `5xx`)" } else { "(or an HTTP status such as `503`)" };
    Some(format!("{} {or}", unknown_word(code, &known)))
}

/// Header names are HTTP's tokens, in lower case as HTTP/2 and gRPC send them.
fn wrong_key(key: &str) -> Option<String> {
    let name = key.strip_prefix("header:").unwrap_or_default();
    let token = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "!#$%&'*+-.^_`|~".contains(c);
    (name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(token))
        .then(|| format!("`{key}` names no header; write `header:x-user-id`, in lower case"))
}

/// Reads the value of one `[[edge]]`; what is wrong is left out of the rule and reported.
pub(super) fn read_rule(index: usize, edge: Value, problems: &mut Vec<Problem>) -> Rule {
    let mut rule = Rule { caller: None, service: "*".to_owned(), operation: None, table: Table::new() };
    let Value::Table(mut table) = edge else {
        problems.push(Place::edge(index, "").problem("", "an edge is a table: `[[edge]]`".to_owned()));
        return rule;
    };
    let names = ["caller", "service", "operation"].map(|name| (name, take_name(&mut table, name)));
    rule.table = table;
    let mut wrong = Vec::new();
    let mut has_service = false;
    for (name, value) in names {
        match (name, value) {
            (_, Err(message)) => wrong.push((name, message)),
            ("caller", Ok(value)) => rule.caller = value,
            ("operation", Ok(value)) => rule.operation = value,
            (_, Ok(Some(value))) => (rule.service, has_service) = (value, true),
            (_, Ok(None)) => {}
        }
    }
    if !has_service && !wrong.iter().any(|(name, _)| *name == "service") {
        wrong.push(("service", "is missing; name the callee, or `*` for every one".to_owned()));
    }
    let place = Place::edge(index, &rule.to_string());
    problems.extend(wrong.into_iter().map(|(name, message)| place.problem(name, message)));
    clean_rule(index, rule, problems)
}

/// Takes a name out of the table of a rule.
pub(super) fn take_name(table: &mut Table, name: &str) -> Result<Option<String>, String> {
    match table.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(expected("a name in quotes", &other)),
    }
}

/// Checks a rule by itself; what is wrong is left out of the answer and reported.
pub(super) fn clean_rule(index: usize, mut rule: Rule, problems: &mut Vec<Problem>) -> Rule {
    let place = Place::edge(index, &rule.to_string());
    let names = [
        ("caller", rule.caller.as_deref()),
        ("service", Some(&rule.service)),
        ("operation", rule.operation.as_deref()),
    ];
    for (name, value) in names {
        if let Some(message) = value.and_then(|value| wrong_name(name, value)) {
            problems.push(place.problem(name, message));
        }
    }
    if rule.service == "*" && rule.operation.is_some() {
        let message = "an operation belongs to a service; name the service".to_owned();
        problems.push(place.problem("operation", message));
    }
    clean_table(&mut rule.table, EDGE, &place, problems);
    if let Some(Value::Table(breaker)) = rule.table.get_mut("breaker")
        && let Some(Value::Table(window)) = breaker.get("window")
        && !window.contains_key("kind")
    {
        let message = "names no kind; write `kind = \"time\"` or `kind = \"count\"`".to_owned();
        problems.push(place.problem("breaker.window", message));
        breaker.remove("window");
    }
    rule
}

/// What is wrong with a name, if anything.
pub(super) fn wrong_name(name: &str, value: &str) -> Option<String> {
    let separators: &[char] = if matches!(name, "caller" | "service") { &['/', ':'] } else { &[] };
    if value.is_empty() {
        Some("is empty".to_owned())
    } else if value.len() > LONGEST_NAME {
        Some(format!("is longer than {LONGEST_NAME} bytes"))
    } else if value.chars().any(char::is_control) {
        Some("holds control characters".to_owned())
    } else if let Some(c) = value.chars().find(|c| separators.contains(c)) {
        Some(format!("`{value}` holds `{c}`, which separates caller, service and operation"))
    } else if value == "*" && matches!(name, "caller" | "operation") {
        Some(format!("`*` is not needed; leave {name} out to mean every one"))
    } else {
        None
    }
}

fn expected(what: &str, got: &Value) -> String {
    format!("must be {what}, not {} {got}", article(got.type_str()))
}

fn article(name: &str) -> String {
    let an = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if an { "an" } else { "a" })
}
