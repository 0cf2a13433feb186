//! What an operator asks the collector to do.

use serde::{Deserialize, Serialize};

use crate::UnixNanos;
use crate::change::OverrideSpec;
use crate::rollout::Delivery;

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
        /// How it reaches the instances; default: all at once.
        #[serde(default)]
        delivery: Delivery,
    },
    /// Change single settings; rebased onto the revision in force unless that changed the same settings since `base`.
    EditPolicy {
        /// The revision that the operator saw.
        base: u64,
        /// The changes.
        edits: Vec<PolicyEdit>,
        /// How they reach the instances; default: all at once.
        #[serde(default)]
        delivery: Delivery,
    },
    /// Restore an earlier revision's content as a new revision. A rollout that is under way is aborted first.
    Rollback {
        /// The revision to restore.
        to: u64,
        /// How it reaches the instances; default: all at once.
        #[serde(default)]
        delivery: Delivery,
    },
    /// Stop a rollout where it is: nobody else is given the change. Its guards go on watching.
    PauseRollout {
        /// The revision that is rolled out.
        revision: u64,
    },
    /// Go on with a paused rollout: the time of its stage begins anew.
    ResumeRollout {
        /// The revision that is rolled out.
        revision: u64,
    },
    /// Take the change back from everyone who has it.
    AbortRollout {
        /// The revision that is rolled out.
        revision: u64,
    },
    /// Begin the next stage now, without waiting for the time or the calls of this one; from the last stage, finish.
    PromoteRollout {
        /// The revision that is rolled out.
        revision: u64,
        /// Also past a guard that fails; from then on no guard takes the change back.
        #[serde(default)]
        force: bool,
    },
    /// Keep a revision that was published with a time to confirm it.
    ConfirmRevision {
        /// The revision.
        revision: u64,
    },
    /// Override some edges for a time.
    SetOverride {
        /// What and where.
        spec: OverrideSpec,
        /// How long, in milliseconds; at most a day.
        ttl_ms: u64,
    },
    /// Let an override that is in force last longer; its author, its reason and what it does stay as they are.
    RenewOverride {
        /// Its id.
        id: u64,
        /// How long from now on, in milliseconds; at most a day, and not shorter than what is left of it.
        ttl_ms: u64,
    },
    /// End one override now.
    EndOverride {
        /// Its id.
        id: u64,
    },
    /// End all overrides now.
    EndAllOverrides,
    /// Take no change any more, or take changes again. While this is on, only what takes a change back is accepted: ending
    /// overrides, pausing or aborting a rollout. It stays on over restarts until somebody turns it off.
    SetReadOnly {
        /// Whether changes are refused from now on.
        on: bool,
    },
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

impl Action {
    /// [`Action::SetPolicy`] for everyone at once.
    #[must_use]
    pub fn set_policy(base: u64, document: impl Into<String>) -> Self {
        Self::SetPolicy { base, document: document.into(), delivery: Delivery::default() }
    }

    /// [`Action::EditPolicy`] for everyone at once.
    #[must_use]
    pub fn edit_policy(base: u64, edits: Vec<PolicyEdit>) -> Self {
        Self::EditPolicy { base, edits, delivery: Delivery::default() }
    }

    /// [`Action::Rollback`] for everyone at once.
    #[must_use]
    pub fn rollback(to: u64) -> Self {
        Self::Rollback { to, delivery: Delivery::default() }
    }
}

/// An action with its author.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Who. Where the collector asks for tokens, the token's name counts and this is not looked at.
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
    /// The revision it made, or steered.
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
