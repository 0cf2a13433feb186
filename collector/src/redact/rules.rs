//! The file of rules, read and checked.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::pattern::{self, Keys, NAMED, Pattern};
use super::{HashKey, Redactor};

/// Why a file of rules is refused.
#[derive(Debug, thiserror::Error)]
pub enum RedactError {
    /// A file cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A rule makes no sense.
    #[error("{}, line {line}: {reason}", path.display())]
    Rule {
        /// Which file.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// Where attributes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub(super) enum Place {
    Span = 1,
    Resource = 2,
    Event = 4,
    Link = 8,
    Log = 16,
    Metric = 32,
    Body = 64,
}

/// What happens to a value, or to the stretch of it that a pattern found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The attribute goes.
    Drop,
    /// `***` in its place.
    Mask,
    /// A keyed hash in its place.
    Hash,
    /// The first characters stay.
    Keep(usize),
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// In a few words, with its line.
    pub(super) name: String,
    /// `None` for every key, and for texts without one.
    pub(super) keys: Option<Keys>,
    /// `None` for the whole value.
    pub(super) pattern: Option<Pattern>,
    /// Empty for every service.
    services: Vec<Keys>,
    places: u8,
    pub(super) action: Action,
}

impl Rule {
    /// Whether it has a say about this place of this service.
    pub(super) fn concerns(&self, place: Place, service: &str) -> bool {
        self.places & place as u8 != 0 && (self.services.is_empty() || self.services.iter().any(|s| s.has(service)))
    }
}

/// Rules a file may have.
const MOST_RULES: usize = 500;

/// Bytes a file may have.
const MOST_BYTES: u64 = 1 << 20;

/// Bytes of the longest value that is searched, unless the file says otherwise.
pub(super) const LONGEST: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    hash: Option<Spanned<HashFrom>>,
    #[serde(default)]
    longest_value_bytes: Option<Spanned<usize>>,
    #[serde(default)]
    rule: Vec<Spanned<Raw>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HashFrom {
    key_file: Option<PathBuf>,
    key_env: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: Option<String>,
    key: Option<Spanned<String>>,
    key_regex: Option<Spanned<String>>,
    value: Option<Spanned<String>>,
    value_regex: Option<Spanned<String>>,
    service: Option<Services>,
    #[serde(rename = "where")]
    places: Option<Spanned<Vec<Place>>>,
    action: Spanned<String>,
    first: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Services {
    One(String),
    Many(Vec<String>),
}

/// What is wrong, and at which byte of the file.
struct Wrong(usize, String);

/// The rules for what everyone has.
pub(super) const DEFAULTS: &str = include_str!("defaults.toml");

/// The rules for what everyone has, ready to act.
///
/// # Errors
/// None: a test reads them.
pub(super) fn defaults() -> Result<Vec<Rule>, RedactError> {
    let mut rules = compile(DEFAULTS, Path::new("the default rules"))?.rules;
    for rule in &mut rules {
        rule.name = rule.name.split_once(": ").map_or_else(String::new, |(_, name)| format!("default: {name}"));
    }
    Ok(rules)
}

pub(super) fn load(path: &Path) -> Result<Redactor, RedactError> {
    let text = read(path, MOST_BYTES)?;
    let text = String::from_utf8(text).map_err(|e| {
        let reason = format!("the file is not UTF-8 from byte {} on", e.utf8_error().valid_up_to());
        RedactError::Rule { path: path.to_owned(), line: 1, reason }
    })?;
    compile(&text, path)
}

fn compile(text: &str, path: &Path) -> Result<Redactor, RedactError> {
    let wrong = |Wrong(at, reason): Wrong| {
        let line = text.get(..at).unwrap_or(text).matches('\n').count() + 1;
        RedactError::Rule { path: path.to_owned(), line, reason }
    };
    let file: File = toml::from_str(text)
        .map_err(|e| wrong(Wrong(e.span().map_or(0, |s| s.start), e.message().replace('\n', "; "))))?;
    let mut rules = Vec::with_capacity(file.rule.len());
    for raw in file.rule {
        let at = raw.span().start;
        let line = text.get(..at).map_or(0, |t| t.matches('\n').count()) + 1;
        if rules.len() == MOST_RULES {
            return Err(wrong(Wrong(at, format!("there are more than {MOST_RULES} rules"))));
        }
        rules.push(rule(raw.into_inner(), at, line).map_err(wrong)?);
    }
    let key = match file.hash {
        Some(hash) => {
            let at = hash.span().start;
            let bytes = material(hash.into_inner(), path).map_err(|e| match e {
                Unusable::Io(e) => e,
                Unusable::Wrong(reason) => wrong(Wrong(at, reason)),
            })?;
            HashKey(blake3::derive_key("fuseboard redaction v1", &bytes))
        }
        None if rules.iter().any(|r| r.action == Action::Hash) => {
            let reason = "an action is hash, but there is no [hash] with a key_file or key_env to key it with";
            return Err(wrong(Wrong(text.len(), reason.to_owned())));
        }
        None => HashKey([0; 32]),
    };
    let longest = file.longest_value_bytes.map_or(LONGEST, Spanned::into_inner);
    Ok(Redactor { rules, key, longest, standard: false })
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, RedactError> {
    let failed = |cause| RedactError::Io { path: path.to_owned(), cause };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > most {
        return Err(failed(std::io::Error::other(format!("it is larger than {most} bytes"))));
    }
    std::fs::read(path).map_err(failed)
}

enum Unusable {
    Io(RedactError),
    Wrong(String),
}

/// What the hash's key is made from. A file's name is taken from beside the rules.
fn material(from: HashFrom, rules: &Path) -> Result<Vec<u8>, Unusable> {
    let bytes = match (from.key_file, from.key_env) {
        (Some(file), None) => {
            let file = rules.parent().map_or_else(|| file.clone(), |dir| dir.join(&file));
            read(&file, 4096).map_err(Unusable::Io)?
        }
        (None, Some(name)) => std::env::var_os(&name)
            .ok_or_else(|| Unusable::Wrong(format!("the environment has no variable {name}")))?
            .into_encoded_bytes(),
        _ => return Err(Unusable::Wrong("[hash] needs either key_file or key_env".to_owned())),
    };
    let bytes = bytes.trim_ascii().to_vec();
    if bytes.len() < 16 {
        return Err(Unusable::Wrong("the key of the hash is shorter than 16 bytes; make a longer one".to_owned()));
    }
    Ok(bytes)
}

fn rule(raw: Raw, at: usize, line: usize) -> Result<Rule, Wrong> {
    let (keys, key_words) = keys(raw.key, raw.key_regex)?;
    let (pattern, value_words) = pattern_of(raw.value, raw.value_regex)?;
    let places = raw.places.map(Spanned::into_inner);
    if keys.is_none() && pattern.is_none() && places.as_deref() != Some(&[Place::Body]) {
        let reason = "the rule says neither which keys (key, key_regex) nor what values contain (value, value_regex)";
        return Err(Wrong(at, reason.to_owned()));
    }
    let action_at = raw.action.span().start;
    let action = match (raw.action.get_ref().as_str(), &raw.first) {
        ("drop", None) => Action::Drop,
        ("mask", None) => Action::Mask,
        ("hash", None) => Action::Hash,
        ("keep", Some(first)) => Action::Keep(*first.get_ref()),
        ("keep", None) => return Err(Wrong(action_at, "keep needs first = how many characters stay".to_owned())),
        ("drop" | "mask" | "hash", Some(first)) => {
            return Err(Wrong(first.span().start, "first goes with action = \"keep\" only".to_owned()));
        }
        (other, _) => {
            return Err(Wrong(action_at, format!("no action is called {other:?}; use drop, mask, hash or keep")));
        }
    };
    let services = match raw.service {
        None => Vec::new(),
        Some(Services::One(one)) => vec![Keys::of(&one)],
        Some(Services::Many(many)) if many.is_empty() => {
            return Err(Wrong(at, "service is an empty list, so the rule never acts".to_owned()));
        }
        Some(Services::Many(many)) => many.iter().map(|s| Keys::of(s)).collect(),
    };
    let places = match places {
        None => u8::MAX,
        Some(list) if list.is_empty() => {
            return Err(Wrong(at, "where is an empty list, so the rule never acts".to_owned()));
        }
        Some(list) => list.into_iter().fold(0, |all, place| all | place as u8),
    };
    let what: Vec<String> = [key_words, value_words].into_iter().flatten().collect();
    let what = if what.is_empty() { "body".to_owned() } else { what.join(", ") };
    let what = raw.name.unwrap_or_else(|| format!("{} {what}", raw.action.get_ref()));
    let name = format!("line {line}: {what}");
    Ok(Rule { name, keys, pattern, services, places, action })
}

type Field = Option<Spanned<String>>;

fn keys(key: Field, regex: Field) -> Result<(Option<Keys>, Option<String>), Wrong> {
    Ok(match (key, regex) {
        (None, None) => (None, None),
        (Some(key), None) if key.get_ref().is_empty() => {
            return Err(Wrong(key.span().start, "key is empty; * means every key".to_owned()));
        }
        (Some(key), None) => (Some(Keys::of(key.get_ref())), Some(format!("key {}", key.get_ref()))),
        (None, Some(regex)) => {
            let compiled = pattern::regex(regex.get_ref()).map_err(|e| Wrong(regex.span().start, e))?;
            (Some(Keys::Regex(compiled)), Some(format!("key_regex {}", regex.get_ref())))
        }
        (Some(_), Some(regex)) => {
            return Err(Wrong(regex.span().start, "a rule has either key or key_regex".to_owned()));
        }
    })
}

fn pattern_of(value: Field, regex: Field) -> Result<(Option<Pattern>, Option<String>), Wrong> {
    Ok(match (value, regex) {
        (None, None) => (None, None),
        (Some(name), None) => {
            let at = name.span().start;
            let unknown = || {
                let names = NAMED.join(", ");
                Wrong(
                    at,
                    format!(
                        "no pattern is called {:?}; there are {names}; others are written as value_regex",
                        name.get_ref()
                    ),
                )
            };
            let pattern = Pattern::named(name.get_ref()).ok_or_else(unknown)?.map_err(|e| Wrong(at, e))?;
            (Some(pattern), Some(format!("value {}", name.get_ref())))
        }
        (None, Some(regex)) => {
            let pattern = Pattern::of_regex(regex.get_ref()).map_err(|e| Wrong(regex.span().start, e))?;
            (Some(pattern), Some(format!("value_regex {}", regex.get_ref())))
        }
        (Some(_), Some(regex)) => {
            return Err(Wrong(regex.span().start, "a rule has either value or value_regex".to_owned()));
        }
    })
}

#[cfg(test)]
pub(super) fn parse(text: &str) -> Result<Redactor, RedactError> {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("hash.key"), "0123456789abcdef").expect("written");
    let path = dir.path().join("rules.toml");
    std::fs::write(&path, text).expect("written");
    load(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let error = parse(text).expect_err("refused").to_string();
        error.split_once("rules.toml, ").map(|(_, rest)| rest.to_owned()).unwrap_or(error)
    }

    #[test]
    fn wrong_rules_are_refused_with_line_and_reason() {
        let cases = [
            (
                "[[rule]]\nkey = \"a\"\naction = \"mask\"\n\n[[rule]]\nkey = \"b\"\naction = \"burn\"\n",
                "line 7: no action is called \"burn\"",
            ),
            ("\n[[rule]]\naction = \"mask\"\n", "line 2: the rule says neither"),
            ("[[rule]]\nvalue_regex = \"a(\"\naction = \"mask\"\n", "line 2: regex parse error"),
            (
                "[[rule]]\nvalue = \"phone\"\naction = \"mask\"\n",
                "line 2: no pattern is called \"phone\"; there are card, bearer",
            ),
            ("[[rule]]\nkey = \"a\"\naction = \"keep\"\n", "line 3: keep needs first"),
            ("[[rule]]\nkey = \"a\"\naction = \"mask\"\nfirst = 2\n", "line 4: first goes with"),
            ("[[rule]]\nkey = \"a\"\naction = \"hash\"\n", "there is no [hash]"),
            ("[hash]\nkey_env = \"FUSEBOARD_NOT_SET\"\n", "line 1: the environment has no variable FUSEBOARD_NOT_SET"),
            ("[[rule]]\nkey = \"a\"\nkye = 3\naction = \"mask\"\n", "line 3: unknown field `kye`"),
            ("[[rule]]\nkey = \"a\"\nwhere = [\"spam\"]\naction = \"mask\"\n", "line 3: unknown variant `spam`"),
            (
                "[[rule]]\nkey = \"a\"\nkey_regex = \"b\"\naction = \"mask\"\n",
                "line 3: a rule has either key or key_regex",
            ),
        ];
        for (text, expected) in cases {
            let said = refused(text);
            assert!(said.contains(expected), "{expected:?} in {said:?}");
        }
    }

    #[test]
    fn the_example_of_the_docs_is_a_file_of_rules() {
        let redactor = parse(include_str!("example.toml")).expect("rules");
        assert_eq!(redactor.names().len(), 5);
        assert!(redactor.names()[0].ends_with("drop key http.request.header.authorization"), "{:?}", redactor.names());
    }

    #[test]
    fn the_default_rules_are_rules_and_come_after_those_of_a_file() {
        let redactor = Redactor::standard().expect("rules");
        let names = redactor.names();
        assert_eq!(names[0], "default: credentials in headers");
        assert_eq!(names.len(), 4, "{names:?}");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rules.toml");
        std::fs::write(&path, "[[rule]]\nname = \"mine\"\nkey = \"a\"\naction = \"drop\"\n").expect("written");
        let both = Redactor::of(Some(&path), true).expect("rules").expect("some");
        assert_eq!(both.names()[..2], ["line 1: mine".to_owned(), names[0].clone()]);
        assert_eq!(Redactor::of(Some(&path), false).expect("rules").expect("some").names().len(), 1);
        assert!(Redactor::of(None, false).expect("none").is_none());
    }

    #[test]
    fn the_default_rules_know_what_secrets_are_called() {
        let rules = defaults().expect("rules");
        let named = |key: &str| rules.iter().any(|r| r.keys.as_ref().is_some_and(|k| k.has(key)));
        for key in [
            "http.request.header.authorization",
            "http.request.header.proxy-authorization",
            "http.request.header.cookie",
            "http.response.header.set-cookie",
            "http.response.header.set_cookie",
            "http.request.header.x-api-key",
            "rpc.grpc.request.metadata.authorization",
            "rpc.request.metadata.x-auth-token",
            "password",
            "user.password",
            "db.client_secret",
            "access_token",
        ] {
            assert!(named(key), "{key}");
            assert!(super::super::mentions(key.as_bytes()), "{key} is looked for in requests");
        }
        for key in [
            "http.request.header.content-type",
            "aws.secretsmanager.secret.arn",
            "gen_ai.usage.input_tokens",
            "token",
            "api.key",
            "cookie.policy",
            "resilience.gave_up",
            "password.length",
        ] {
            assert!(!named(key), "{key}");
        }
        for text in ["https://a:b@c", "?sig=x", "GET /?access_token=1"] {
            assert!(super::super::mentions(text.as_bytes()), "{text} is looked for in requests");
        }
        for text in ["https://shop.example/a:b@c", "http.request.method", "GET /checkout?item=4"] {
            assert!(!super::super::mentions(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_key_is_read_from_beside_the_rules_and_never_shown() {
        let redactor =
            parse("[hash]\nkey_file = \"hash.key\"\n[[rule]]\nkey = \"a\"\naction = \"hash\"\n").expect("rules");
        assert!(redactor.key.0 != [0; 32]);
        assert!(format!("{redactor:?}").contains("HashKey(…)"));
        assert_eq!(redactor.names(), ["line 3: hash key a"]);
    }
}
