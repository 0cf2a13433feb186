//! Commands: checked, written down with their audit in one transaction, then published.

use fuseboard_api::ask::Refusal;
use fuseboard_api::command::{Action, Command, Receipt};
use fuseboard_api::live::Touched;
use fuseboard_api::{UnixNanos, change::OverrideSpec};
use rusqlite::Transaction;

use super::refusal::{bad_request, internal, opened_file, unavailable};
use super::revisions::{self, Author};
use super::{Control, overrides, read_only, rollout};
use crate::incident;
use crate::store::StoreError;

/// Longest name of an operator, in bytes.
const MAX_ACTOR: usize = 200;
/// Longest reason, in bytes.
const MAX_REASON: usize = 2_000;

/// Why a transaction is given up: nothing of it is written.
#[derive(Debug)]
pub(crate) enum Deny {
    /// The command was refused.
    Refused(Refusal),
    /// The store failed.
    Store(StoreError),
}

impl From<Refusal> for Deny {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Deny {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<rusqlite::Error> for Deny {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The refusal that says why the store could not.
fn store_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::ReadOnly => opened_file(),
        e if e.may_pass() => unavailable(e.to_string()),
        e => internal(e.to_string()),
    }
}

impl From<Deny> for Refusal {
    fn from(deny: Deny) -> Self {
        match deny {
            Deny::Refused(refusal) => refusal,
            Deny::Store(error) => store_refusal(&error),
        }
    }
}

/// For whom a change is.
enum Meant {
    Everyone,
    /// Those that are given the revision, by stages or at once.
    Given,
    Some(OverrideSpec),
    Nobody,
}

impl Control {
    /// Does what an operator asks, or says why not.
    ///
    /// # Errors
    /// `bad_request`, `not_found`, `conflict`, `read_only` or `unavailable`, each with a sentence for people.
    pub(crate) async fn execute(&self, command: Command) -> Result<Receipt, Refusal> {
        let author = author(&command)?;
        let (touched, meant) = effect(&command.action);
        let changed = self.change(&touched, move |tx, at| perform(tx, at, &author, command.action));
        let mut receipt = changed.await.map_err(Refusal::from)?;
        receipt.targeted = match meant {
            Meant::Everyone => self.fleet.connected(|_, _| true),
            Meant::Given => {
                let desired = self.desired.borrow().clone();
                self.fleet
                    .connected(|service, instance| Some(desired.given(service, instance).revision) == receipt.revision)
            }
            Meant::Some(spec) => self.fleet.connected(|service, instance| {
                let s = &spec.selector;
                s.caller.as_deref().is_none_or(|c| c == service) && s.instance.as_deref().is_none_or(|i| i == instance)
            }),
            Meant::Nobody => return Ok(receipt),
        };
        if receipt.targeted == 0 {
            let nobody = "no instance that it is meant for is connected; those that connect later get it";
            receipt.note =
                [receipt.note.as_str(), nobody].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join("; ");
        }
        Ok(receipt)
    }
}

fn author(command: &Command) -> Result<Author, Refusal> {
    let (actor, reason) = (command.actor.trim(), command.reason.trim());
    if actor.is_empty() || actor.len() > MAX_ACTOR {
        return Err(bad_request(format!("say who acts: actor must have 1 to {MAX_ACTOR} bytes")));
    }
    if reason.len() > MAX_REASON {
        return Err(bad_request(format!("the reason has more than {MAX_REASON} bytes")));
    }
    let about_incidents = matches!(
        command.action,
        Action::StartIncident { .. } | Action::StopIncident { .. } | Action::RenameIncident { .. }
    );
    if reason.is_empty() && !about_incidents {
        return Err(bad_request("say why: whatever changes what runs needs a reason"));
    }
    Ok(Author { actor: actor.to_owned(), reason: reason.to_owned() })
}

fn effect(action: &Action) -> (Vec<Touched>, Meant) {
    let changes = vec![Touched::Changes, Touched::Audit];
    match action {
        Action::SetPolicy { .. } | Action::EditPolicy { .. } | Action::Rollback { .. } => (changes, Meant::Given),
        Action::SetOverride { spec, .. } => (changes, Meant::Some(spec.clone())),
        Action::PauseRollout { .. }
        | Action::ResumeRollout { .. }
        | Action::AbortRollout { .. }
        | Action::PromoteRollout { .. }
        | Action::ConfirmRevision { .. } => (changes, Meant::Given),
        Action::RenewOverride { .. } | Action::EndOverride { .. } | Action::EndAllOverrides => {
            (changes, Meant::Everyone)
        }
        Action::SetReadOnly { .. } => (changes, Meant::Nobody),
        Action::StartIncident { .. } | Action::StopIncident { .. } | Action::RenameIncident { .. } => {
            (vec![Touched::Incidents, Touched::Audit], Meant::Nobody)
        }
    }
}

fn perform(tx: &Transaction<'_>, at: UnixNanos, author: &Author, action: Action) -> Result<Receipt, Deny> {
    read_only::check(tx, at, &action)?;
    let mut receipt = Receipt { at, ..Receipt::default() };
    let made = match action {
        Action::SetPolicy { base, document, delivery } => {
            Some(revisions::set(tx, at, author, base, &document, &delivery)?)
        }
        Action::EditPolicy { base, edits, delivery } => Some(revisions::edit(tx, at, author, base, &edits, &delivery)?),
        Action::Rollback { to, delivery } => Some(revisions::rollback(tx, at, author, to, &delivery)?),
        Action::SetOverride { spec, ttl_ms } => {
            receipt.override_id = Some(overrides::set(tx, at, author, &spec, ttl_ms)?);
            None
        }
        Action::RenewOverride { id, ttl_ms } => {
            overrides::renew(tx, at, author, id, ttl_ms)?;
            receipt.override_id = Some(id);
            None
        }
        Action::SetReadOnly { on } => {
            receipt.note = read_only::set(tx, at, author, on)?;
            None
        }
        Action::EndOverride { id } => {
            overrides::end(tx, at, author, id)?;
            receipt.override_id = Some(id);
            None
        }
        Action::EndAllOverrides => {
            receipt.note = match overrides::end_all(tx, at, author)? {
                0 => "no override was in force".to_owned(),
                1 => "1 override ended".to_owned(),
                n => format!("{n} overrides ended"),
            };
            None
        }
        Action::StartIncident { name, from } => {
            receipt.incident = Some(incident::start(tx, at, author, &name, from)?);
            None
        }
        Action::StopIncident { id, to } => {
            incident::stop(tx, at, author, id, to)?;
            receipt.incident = Some(id);
            None
        }
        Action::RenameIncident { id, name } => {
            incident::rename(tx, at, author, id, &name)?;
            receipt.incident = Some(id);
            None
        }
        Action::PauseRollout { revision } => Some(rollout::pause(tx, at, author, revision)?),
        Action::ResumeRollout { revision } => Some(rollout::resume(tx, at, author, revision)?),
        Action::AbortRollout { revision } => Some(rollout::abort(tx, at, author, revision)?),
        Action::PromoteRollout { revision, force } => Some(rollout::promote(tx, at, author, revision, force)?),
        Action::ConfirmRevision { revision } => Some(rollout::confirm(tx, at, author, revision)?),
    };
    if let Some(made) = made {
        receipt.revision = Some(made.number);
        receipt.note = made.note;
    }
    Ok(receipt)
}
