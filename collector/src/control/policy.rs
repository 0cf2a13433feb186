//! Documents and overrides in the words of the policy crate, and on the agents' wire.

use fuseboard_api::UnixNanos;
use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::overrides::Override;
use fuseboard_policy::set::PolicySet;
use fuseboard_policy::wire::{self, v1};

use super::overrides::Stored;

/// Reads and checks a document.
///
/// # Errors
/// All its problems, one a line.
pub(crate) fn parse(document: &str) -> Result<PolicyDocument, String> {
    PolicyDocument::parse(document)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// A stored document as a set; the empty set when it can no longer be read.
pub(crate) fn set(number: u64, document: &str) -> PolicySet {
    parse(document).map(|d| PolicySet::new(number, &d)).unwrap_or_default()
}

/// A document on the wire.
///
/// # Errors
/// Its problems.
pub(crate) fn wire(number: u64, document: &str) -> Result<v1::Policy, String> {
    Ok(wire::policy(number, &parse(document)?))
}

/// An override in the policy crate's words, with what is left of it at `now`.
pub(crate) fn as_override(stored: &Stored, now: UnixNanos) -> Override {
    Override {
        id: stored.id,
        selector: stored.spec.selector.clone(),
        action: stored.spec.action.clone(),
        remaining_ms: u64::try_from(stored.expires.since(now).as_millis()).unwrap_or(u64::MAX),
        expires_unix_nanos: stored.expires.0,
        actor: stored.actor.clone(),
        reason: stored.reason.clone(),
    }
}

/// An override on the wire.
pub(crate) fn wire_override(stored: &Stored, now: UnixNanos) -> v1::Override {
    (&as_override(stored, now)).into()
}
