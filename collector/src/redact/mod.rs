//! Attributes dropped or masked by rule before anything is stored or logged.
//!
//! A TOML file has the rules. They are tried in the file's order on every attribute of every place that they name; the
//! first that names the attribute by its key decides about the whole value, rules that look for a pattern act on what they
//! find and let the next have its turn.
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```
//!
//! Without any file the default rules are in force; a file's rules come before them, and `--no-default-redaction` switches
//! them off:
//!
//! ```toml
#![doc = include_str!("defaults.toml")]
//! ```
//!
//! Keys are compared with a map's own keys, too, alone and with the keys around them (`user.address.street`). A rule with
//! a pattern and no key also looks at a span's name, status message and trace state, and at the names of events.

mod apply;
mod mention;
mod pattern;
mod rules;
mod value;

use std::fmt;
use std::path::Path;

use self::mention::mentions;
pub use self::rules::RedactError;

/// The rules of one file.
#[derive(Debug)]
pub struct Redactor {
    rules: Vec<rules::Rule>,
    key: HashKey,
    /// Bytes of the longest value that is searched for patterns; a longer one is masked whole.
    longest: usize,
    /// Whether only the default rules are in force: a request in protobuf that mentions nothing of what they look for then
    /// passes without being taken apart.
    standard: bool,
}

/// How often each rule acted on one request, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts(pub Vec<u64>);

/// What hashes are keyed with. Says nothing of itself.
#[derive(Clone, Copy)]
struct HashKey([u8; 32]);

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(…)")
    }
}

impl Redactor {
    /// Reads a file of rules.
    ///
    /// # Errors
    /// Which line is wrong and why; that the file or the key's file cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, RedactError> {
        rules::load(path.as_ref())
    }

    /// The rules of a file, if there is one, and behind them the default ones, if they are wanted; `None` without any.
    ///
    /// # Errors
    /// See [`Redactor::load`].
    pub fn of(path: Option<&Path>, defaults: bool) -> Result<Option<Self>, RedactError> {
        match (path, defaults) {
            (None, false) => Ok(None),
            (None, true) => Self::standard().map(Some),
            (Some(path), false) => Self::load(path).map(Some),
            (Some(path), true) => {
                let mut own = Self::load(path)?;
                own.rules.extend(rules::defaults()?);
                Ok(Some(own))
            }
        }
    }

    /// The default rules alone.
    ///
    /// # Errors
    /// None that a test would not have shown.
    pub fn standard() -> Result<Self, RedactError> {
        let rules = rules::defaults()?;
        Ok(Self { rules, key: HashKey([0; 32]), longest: rules::LONGEST, standard: true })
    }

    /// Whether a request in protobuf may hold anything that a rule is about. Texts stand in it as they are, so that what is
    /// not mentioned is not there.
    pub(crate) fn may_concern(&self, request: &[u8]) -> bool {
        !self.standard || mentions(request)
    }

    /// Each rule in a few words, with its line, in the order of the file.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.rules.iter().map(|rule| rule.name.clone()).collect()
    }
}
