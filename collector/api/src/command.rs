//! What an operator asks the collector to do.

use serde::{Deserialize, Serialize};

use crate::UnixNanos;
use crate::change::OverrideSpec;

/// One setting of one rule: written into the document, comments and order kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyEdit {
    /// The caller the rule names; `None` for a rule for every caller.
    #[serde(default)]
    pub caller: Option<String>,
    /// The service the rule names; `*` for the default.
    pub service: String,
    /// The operation the rule names; `None` for all operations.
    #[serde(default)]
    pub operation: Option<String>,
    /// Path of the setting inside the rule: `timeout.attempt_ms`.
    pub path: String,
    /// The new value in TOML (`800`, `"auto"`); `None` removes the setting.
    pub value: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Replace the whole document.
    SetPolicy {
        /// The revision it was edited from; refused as stale when that is no longer in force.
        base: u64,
        /// The document, TOML.
        document: String,
    },
    /// Change single settings; rebased onto the revision in force unless that changed the same settings since `base`.
    EditPolicy {
        /// The revision that the operator saw.
        base: u64,
        /// The changes.
        edits: Vec<PolicyEdit>,
    },
    /// Restore an earlier revision's content as a new revision.
    Rollback {
        /// The revision to restore.
        to: u64,
    },
    /// Override some edges for a time.
    SetOverride {
        /// What and where.
        spec: OverrideSpec,
        /// How long, in milliseconds; at most a day.
        ttl_ms: u64,
    },
    /// End one override now.
    EndOverride {
        /// Its id.
        id: u64,
    },
    /// End all overrides now.
    EndAllOverrides,
    /// Start to record an incident.
    StartIncident {
        /// Its name.
        name: String,
        /// From when; may lie in the past.
        from: UnixNanos,
    },
    /// Finish an incident.
    StopIncident {
        /// Its id.
        id: u64,
        /// Until when; `None` for now.
        #[serde(default)]
        to: Option<UnixNanos>,
    },
    /// Rename an incident.
    RenameIncident {
        /// Its id.
        id: u64,
        /// The new name.
        name: String,
    },
}

/// An action with its author.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Who.
    pub actor: String,
    /// Why; must not be empty for overrides and policy changes.
    pub reason: String,
    /// What.
    pub action: Action,
}

/// The collector has written the command down and published it. That agents have applied it is said by
/// [`crate::change::Changes`] alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// When.
    pub at: UnixNanos,
    /// The revision it made.
    pub revision: Option<u64>,
    /// The override it made.
    pub override_id: Option<u64>,
    /// The incident it started or stopped.
    pub incident: Option<u64>,
    /// Instances it is meant for.
    pub targeted: u32,
    /// What else there is to say: that an edit was rebased, that no instance is connected.
    pub note: String,
}
