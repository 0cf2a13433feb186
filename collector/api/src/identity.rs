//! Who asks, and what they may do.
//!
//! People have a [`Role`]; agents have services that they may speak for. The collector alone decides: what is told here lets
//! a console grey out what would be refused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::UnixNanos;

/// What somebody is to the collector. People's roles include what the ones before them may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A program inside a service: sends telemetry and is steered, for the services it was given and no others.
    Agent,
    /// Looks at everything, changes nothing.
    #[default]
    Viewer,
    /// Also overrides, changes policies, records incidents.
    Operator,
    /// Also gives and takes tokens, switches the environment to read-only, and sets its bounds.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Viewer, Self::Operator, Self::Admin];

    /// As it is written in files, on the wire and for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role; there are viewer, operator, admin, and agent for programs")]
pub struct BadRole(String);

impl FromStr for Role {
    type Err = BadRole;

    fn from_str(text: &str) -> Result<Self, BadRole> {
        Self::ALL.into_iter().find(|role| role.word() == text).ok_or_else(|| BadRole(text.to_owned()))
    }
}

/// What can be done at a collector. What a role may do of it stands in the collector's one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Ask who one is.
    Whoami,
    /// Read: questions, what the collector tells by itself, exports.
    Read,
    /// Read the collector's own metrics and health.
    Scrape,
    /// Set, renew and end overrides.
    Override,
    /// Publish policies, go back to earlier ones, steer rollouts.
    Policy,
    /// Record incidents.
    Incident,
    /// Give and take tokens.
    Tokens,
    /// Switch the environment to read-only and back.
    Switch,
    /// Set the bounds that no policy may pass.
    Bounds,
    /// Send telemetry.
    Send,
    /// Open an agent's control stream.
    Steer,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Whoami,
        Self::Read,
        Self::Scrape,
        Self::Override,
        Self::Policy,
        Self::Incident,
        Self::Tokens,
        Self::Switch,
        Self::Bounds,
        Self::Send,
        Self::Steer,
    ];

    /// What it is, to go on after "may not".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Whoami => "ask who they are",
            Self::Read => "read",
            Self::Scrape => "read the collector's metrics",
            Self::Override => "set or end overrides",
            Self::Policy => "change policies",
            Self::Incident => "record incidents",
            Self::Tokens => "give or take tokens",
            Self::Switch => "switch read-only on or off",
            Self::Bounds => "set bounds",
            Self::Send => "send telemetry",
            Self::Steer => "open a control stream",
        }
    }
}

/// The answer to `GET /v1/whoami`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Whoami {
    /// The name that the audit will bear; empty where nobody is asked who they are.
    pub name: String,
    /// What one is; `admin` where nobody is asked.
    pub role: Role,
    /// False where the collector asks nobody: then whoever reaches it may do everything, and says their own name.
    pub asked: bool,
    /// The public part of the token; empty without one.
    pub token: String,
    /// When the token ends.
    pub expires: Option<UnixNanos>,
    /// For agents: the services they may speak for; `*` for all.
    pub services: Vec<String>,
    /// What one may do.
    pub may: Vec<Deed>,
    /// What one may not do, with the reason to show: the sentence that the collector would refuse with.
    pub may_not: Vec<(Deed, String)>,
}

/// A token as it is listed. The secret is known to its holder alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenInfo {
    /// Its public part.
    pub id: String,
    /// Whose: the name that the audit bears.
    pub name: String,
    /// For what.
    pub role: Role,
    /// For agents: the services that they may speak for; `*` for all.
    pub services: Vec<String>,
    /// When it was made.
    pub created: UnixNanos,
    /// By whom.
    pub created_by: String,
    /// When it ends; `None` for never.
    pub expires: Option<UnixNanos>,
    /// When it was revoked.
    pub revoked: Option<UnixNanos>,
    /// By whom.
    pub revoked_by: Option<String>,
    /// When it was used last, to the hour.
    pub last_used: Option<UnixNanos>,
}

/// The body of `POST /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NewToken {
    /// Whose: letters, digits and `. _ @ -`, at most 64.
    pub name: String,
    /// For what.
    pub role: Role,
    /// For agents: the services, or `*` for all of them.
    pub services: Vec<String>,
    /// How long it is good, in seconds; `None` for ever.
    pub ttl_secs: Option<u64>,
    /// Why, for the audit; may be empty.
    pub reason: String,
}

/// The answer to `POST /v1/tokens`: the only time that the secret is told.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MadeToken {
    /// The token, to be kept in a file that only its holder reads.
    pub token: String,
    /// What is known of it.
    pub info: TokenInfo,
}

/// Without the secret.
impl fmt::Debug for MadeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MadeToken").field("info", &self.info).finish_non_exhaustive()
    }
}

/// The body of `POST /v1/tokens/{id}/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RevokeToken {
    /// Why, for the audit; may be empty.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_written() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.word());
        }
        assert!("root".parse::<Role>().unwrap_err().to_string().contains("viewer, operator, admin"));
    }

    #[test]
    fn a_made_token_is_not_shown_by_accident() {
        let made = MadeToken { token: "fb_1_s3cret".into(), ..MadeToken::default() };
        assert!(!format!("{made:?}").contains("s3cret"));
    }
}
