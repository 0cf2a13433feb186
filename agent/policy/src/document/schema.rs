//! Which names a rule may hold, and which values.

use toml::{Table, Value};

use super::{Problem, Rule};
use crate::{codes, presets};

/// A day: no timeout or wait may be longer.
const DAY_MS: i64 = 86_400_000;
/// An hour: no window may be longer.
const HOUR_MS: i64 = 3_600_000;
/// Longest name of a service or operation, in bytes.
const LONGEST_NAME: usize = 256;

/// What a setting may be.
enum Kind {
    /// A whole number.
    Whole(i64, i64),
    /// A number.
    Number(f64, f64),
    Switch,
    Word(&'static [&'static str]),
    /// The name of a preset that fills this table; `None`: of any.
    Preset(Option<&'static str>),
    /// A list of outcomes.
    Codes,
    /// What a balancer hashes: `header:NAME`.
    HashKey,
    Table(&'static [Field]),
}

struct Field {
    name: &'static str,
    kind: Kind,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

const MS: Kind = Kind::Whole(1, DAY_MS);
const RATIO: Kind = Kind::Number(0.0, 1.0);
const COUNT: Kind = Kind::Whole(1, 1_000_000);
const PERCENT: Kind = Kind::Whole(0, 100);

const EDGE: &[Field] = &[
    field("preset", Kind::Preset(None)),
    field("criticality", Kind::Word(&["low", "medium", "high"])),
    field("timeout", Kind::Table(&[field("attempt_ms", MS), field("overall_ms", MS)])),
    field("rate", Kind::Table(RATE)),
    field("throttle", Kind::Table(THROTTLE)),
    field("concurrency", Kind::Table(CONCURRENCY)),
    field("retry", Kind::Table(RETRY)),
    field("breaker", Kind::Table(BREAKER)),
    field("balance", Kind::Table(BALANCE)),
    field("outlier", Kind::Table(OUTLIER)),
];

const BALANCE: &[Field] = &[
    field(
        "algorithm",
        Kind::Word(&[
            "round_robin",
            "weighted_round_robin",
            "random",
            "least_request",
            "p2c_peak_ewma",
            "consistent_hash",
        ]),
    ),
    field("default_rtt_ms", MS),
    field("decay_ms", MS),
    field("key", Kind::HashKey),
    field("max_load", Kind::Number(1.0, 100.0)),
];

const OUTLIER: &[Field] = &[
    field("interval_ms", MS),
    field("base_ejection_ms", MS),
    field("max_ejection_ms", MS),
    field("max_ejection_percent", PERCENT),
    field("consecutive_failures", COUNT),
    field(
        "success_rate",
        Kind::Table(&[
            field("stdev_factor", Kind::Number(0.0, 100.0)),
            field("enforcement_percent", PERCENT),
            field("min_hosts", COUNT),
            field("request_volume", COUNT),
        ]),
    ),
    field(
        "failure_percentage",
        Kind::Table(&[
            field("threshold", Kind::Number(0.0, 100.0)),
            field("enforcement_percent", PERCENT),
            field("min_hosts", COUNT),
            field("request_volume", COUNT),
        ]),
    ),
];

const RATE: &[Field] = &[
    field("algorithm", Kind::Word(&["token_bucket", "sliding_window"])),
    field("per_sec", Kind::Whole(1, 1_000_000_000)),
    field("burst", Kind::Whole(1, 1_000_000_000)),
    // An exact log keeps an entry a call.
    field("limit", COUNT),
    field("window_ms", Kind::Whole(1, HOUR_MS)),
];

const THROTTLE: &[Field] = &[
    field("kind", Kind::Word(&["sre"])),
    field("k", Kind::Number(1.0, 1_000.0)),
    field("window_ms", Kind::Whole(100, HOUR_MS)),
];

const CONCURRENCY: &[Field] = &[
    field("kind", Kind::Word(&["fixed", "aimd", "vegas", "gradient2"])),
    field("max", COUNT),
    field("initial", COUNT),
    field("min", COUNT),
    field("backoff_ratio", Kind::Number(0.01, 0.99)),
    field("timeout_ms", MS),
    field("smoothing", Kind::Number(0.001, 1.0)),
    field("probe_multiplier", Kind::Whole(1, 10_000)),
    field("queue", Kind::Whole(0, 1_000_000)),
    field("long_window", Kind::Whole(1, 100_000)),
    field("tolerance", Kind::Number(1.0, 100.0)),
];

const RETRY: &[Field] = &[
    field("preset", Kind::Preset(Some("retry"))),
    field("max_attempts", Kind::Whole(1, 100)),
    field("on", Kind::Codes),
    field("non_idempotent", Kind::Switch),
    field("backoff", Kind::Table(BACKOFF)),
    field("budget", Kind::Table(BUDGET)),
];

const BACKOFF: &[Field] = &[
    field("base_ms", MS),
    field("max_ms", MS),
    field("multiplier", Kind::Number(1.0, 1_000.0)),
    field("jitter", Kind::Word(&["none", "full", "equal", "decorrelated", "grpc"])),
];

const BUDGET: &[Field] = &[
    field("ratio", Kind::Number(0.0, 1_000.0)),
    field("min_per_sec", Kind::Number(0.0, 1_000_000.0)),
    field("ttl_ms", Kind::Whole(100, HOUR_MS)),
    field("max_tokens", COUNT),
    field("token_ratio", Kind::Number(0.001, 1_000.0)),
];

const BREAKER: &[Field] = &[
    field("preset", Kind::Preset(Some("breaker"))),
    field("window", Kind::Table(WINDOW)),
    field("min_calls", COUNT),
    field("failure_ratio", RATIO),
    field("failure_count", COUNT),
    field("consecutive_failures", COUNT),
    field("slow_ms", MS),
    field("slow_ratio", RATIO),
    field("inflight_slow", Kind::Switch),
    field("open_ms", MS),
    field("open_backoff", Kind::Table(&[field("multiplier", Kind::Number(1.0, 1_000.0)), field("max_ms", MS)])),
    field("half_open_permits", Kind::Whole(1, 1_000)),
    field("half_open_successes", Kind::Whole(1, 1_000)),
    field("probe_lease_ms", MS),
    field("mode", Kind::Word(&["auto", "forced_open", "forced_closed", "shadow", "disabled"])),
];

const WINDOW: &[Field] = &[
    field("kind", Kind::Word(&["count", "time"])),
    field("size", Kind::Whole(1, 100_000)),
    field("ms", Kind::Whole(1, HOUR_MS)),
    field("buckets", Kind::Whole(1, 1_000)),
];

/// Collects what is wrong in one rule.
struct Reader<'a> {
    index: usize,
    label: String,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, path: &str, message: String) {
        self.problems.push(at_rule(self.index, &self.label, path, message));
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
        if code == "ok" || !codes::is_known(code) {
            let known: Vec<&str> = codes::words().filter(|word| *word != "ok").collect();
            return Some(format!("{}, or an HTTP status such as `503`", unknown_word(code, &known)));
        }
        if words.iter().take(i).any(|before| before == word) {
            return Some(format!("`{code}` stands twice"));
        }
    }
    None
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
        problems.push(at_rule(index, "", "", "an edge is a table: `[[edge]]`".to_owned()));
        return rule;
    };
    let mut take = |name: &str| match table.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(expected("a name in quotes", &other)),
    };
    let names = ["caller", "service", "operation"].map(|name| (name, take(name)));
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
    let label = rule.to_string();
    problems.extend(wrong.into_iter().map(|(name, message)| at_rule(index, &label, name, message)));
    clean_rule(index, rule, problems)
}

/// Checks a rule by itself; what is wrong is left out of the answer and reported.
pub(super) fn clean_rule(index: usize, mut rule: Rule, problems: &mut Vec<Problem>) -> Rule {
    let mut reader = Reader { index, label: rule.to_string(), problems };
    let names = [
        ("caller", rule.caller.as_deref()),
        ("service", Some(&rule.service)),
        ("operation", rule.operation.as_deref()),
    ];
    for (name, value) in names {
        if let Some(message) = value.and_then(|value| wrong_name(name, value)) {
            reader.problem(name, message);
        }
    }
    if rule.service == "*" && rule.operation.is_some() {
        reader.problem("operation", "an operation belongs to a service; name the service".to_owned());
    }
    let mut table = std::mem::take(&mut rule.table);
    reader.clean(&mut table, EDGE, "");
    // An empty table says nothing; without it, equal rules are equal.
    table.retain(|_, value| !matches!(value, Value::Table(table) if table.is_empty()));
    if let Some(Value::Table(breaker)) = table.get_mut("breaker")
        && let Some(Value::Table(window)) = breaker.get("window")
        && !window.contains_key("kind")
    {
        reader.problem("breaker.window", "names no kind; write `kind = \"time\"` or `kind = \"count\"`".to_owned());
        breaker.remove("window");
    }
    rule.table = table;
    rule
}

fn wrong_name(name: &str, value: &str) -> Option<String> {
    let separators: &[char] = if name == "operation" { &[] } else { &['/', ':'] };
    if value.is_empty() {
        Some("is empty".to_owned())
    } else if value.len() > LONGEST_NAME {
        Some(format!("is longer than {LONGEST_NAME} bytes"))
    } else if value.chars().any(char::is_control) {
        Some("holds control characters".to_owned())
    } else if let Some(c) = value.chars().find(|c| separators.contains(c)) {
        Some(format!("`{value}` holds `{c}`, which separates caller, service and operation"))
    } else if value == "*" && name != "service" {
        Some(format!("`*` is not needed; leave {name} out to mean every one"))
    } else {
        None
    }
}

/// A problem at a setting of a rule.
pub(super) fn at_rule(index: usize, label: &str, path: &str, message: String) -> Problem {
    let mut text = format!("edge[{}]", index + 1);
    if !label.is_empty() {
        text = format!("{text} {label}");
    }
    if !path.is_empty() {
        text = format!("{text}: {path}");
    }
    Problem { path: text, message, rule: Some(index) }
}

fn expected(what: &str, got: &Value) -> String {
    format!("must be {what}, not {} {got}", article(got.type_str()))
}

fn article(name: &str) -> String {
    let an = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if an { "an" } else { "a" })
}

/// `unknown setting; did you mean …`.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("unknown setting; did you mean `{near}`?"),
        None => format!("unknown setting; known here: {}", known.join(", ")),
    }
}

fn unknown_word(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("unknown word `{word}`; did you mean `{near}`?"),
        None => format!("unknown word `{word}`; known here: {}", known.join(", ")),
    }
}

/// The known name that a third of the letters or fewer separate from this one.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|k| (distance(name, k), *k)).min_by_key(|(d, _)| *d);
    near.filter(|(d, k)| *d <= (k.len().max(name.len()) / 3).max(1)).map(|(_, k)| k)
}

/// Levenshtein's distance, in bytes; names longer than 64 bytes are never near.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let best = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            (diagonal, *cell, left) = (*cell, best, best);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered() {
        assert_eq!(distance("min_cals", "min_calls"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("min_cals", &["min_calls", "mode"]), Some("min_calls"));
        assert_eq!(nearest("zebra", &["min_calls", "mode"]), None);
    }
}
