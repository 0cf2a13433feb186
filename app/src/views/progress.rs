//! How far a change has come: *requested* until the data says *applied*, and who refused it why.

use fuseboard_api::change::{Change, ChangeState, Changes};
use fuseboard_api::command::{Action, Receipt};
use fuseboard_api::graph::Severity;

use crate::model::{Pending, PendingState};
use crate::widgets::format;

/// A change's way.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Progress {
    /// The collector has not answered yet.
    Sending,
    /// The collector said no, with its reason.
    NotAccepted(String),
    /// Published; so many of the targeted instances have it.
    Requested {
        /// Have it.
        applied: u32,
        /// Meant.
        targeted: u32,
    },
    /// Every targeted instance has it.
    Applied {
        /// How many.
        targeted: u32,
        /// 99th percentile from publishing to acknowledgement, in milliseconds.
        p99_ms: Option<f64>,
    },
    /// Some instance refused it: (instance, reason).
    Refused {
        /// Have it.
        applied: u32,
        /// Meant.
        targeted: u32,
        /// Who said no, and why.
        by: Vec<(String, String)>,
    },
    /// Its time ran out.
    Expired,
    /// Ended by hand.
    Ended,
}

/// How far `change` has come by the data.
pub(crate) fn of_change(change: &Change) -> Progress {
    let refusals: Vec<(String, String)> = change
        .acknowledgements
        .iter()
        .filter_map(|a| a.refused.as_ref().map(|why| (a.instance.clone(), why.clone())))
        .collect();
    let (applied, targeted) = (change.applied, change.targeted);
    match change.state {
        ChangeState::Expired => Progress::Expired,
        ChangeState::Ended | ChangeState::Reverted => Progress::Ended,
        _ if !refusals.is_empty() => Progress::Refused { applied, targeted, by: refusals },
        ChangeState::Refused => Progress::Refused { applied, targeted, by: Vec::new() },
        ChangeState::Applied => Progress::Applied { targeted, p99_ms: change.p99_ms() },
        ChangeState::Requested | ChangeState::Rolling => Progress::Requested { applied, targeted },
    }
}

/// How far a command given here has come: its own word first, then the data's.
pub(crate) fn of_pending(pending: &Pending, changes: Option<&Changes>) -> Progress {
    match &pending.state {
        PendingState::Sending => Progress::Sending,
        PendingState::Refused(why) => Progress::NotAccepted(why.clone()),
        PendingState::Requested(receipt) => match changes.and_then(|c| of_receipt(receipt, c)) {
            Some(change) => of_change(change),
            None => Progress::Requested { applied: 0, targeted: receipt.targeted },
        },
    }
}

/// The change that a receipt speaks of.
pub(crate) fn of_receipt<'a>(receipt: &Receipt, changes: &'a Changes) -> Option<&'a Change> {
    match (receipt.override_id, receipt.revision) {
        (Some(id), _) => changes.overrides.iter().find(|c| c.id == id),
        (None, Some(revision)) => changes.revisions.iter().find(|c| c.id == revision),
        (None, None) => None,
    }
}

/// How far a policy change that was given here has come. While it is pending its own word counts; afterwards the newest
/// revision above `base` with its reason does. `None` when neither knows of it.
pub(crate) fn of_policy(
    pending: &[Pending],
    changes: Option<&Changes>,
    action: &Action,
    base: u64,
    reason: &str,
) -> Option<Progress> {
    if let Some(pending) = newest(pending, |a| a == action) {
        return Some(of_pending(pending, changes));
    }
    let change = changes?.revisions.iter().filter(|c| c.id > base && c.reason == reason).max_by_key(|c| c.id)?;
    Some(of_change(change))
}

/// The newest command given here that `wanted` accepts.
pub(crate) fn newest(pending: &[Pending], wanted: impl Fn(&Action) -> bool) -> Option<&Pending> {
    pending.iter().rev().find(|p| wanted(&p.action))
}

impl Progress {
    /// `applied 2/2 in 31 ms`, `requested · 1 of 2 have it`, `refused by orders-2: …`.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Sending => "sending…".to_owned(),
            Self::NotAccepted(why) => format!("not accepted: {why}"),
            Self::Requested { targeted: 0, .. } => "requested · no instance is connected".to_owned(),
            Self::Requested { applied, targeted } => format!("requested · {applied} of {targeted} have it"),
            Self::Applied { targeted, p99_ms: Some(ms) } => {
                format!("applied {targeted}/{targeted} in {}", format::millis(ms.max(0.01)))
            }
            Self::Applied { targeted, p99_ms: None } => format!("applied {targeted}/{targeted}"),
            Self::Refused { applied, targeted, by } => match by.first() {
                Some((who, why)) if by.len() == 1 => format!("{applied} of {targeted} have it · {who} refused: {why}"),
                Some((who, why)) => {
                    format!("{applied} of {targeted} have it · {} refused, {who}: {why}", by.len())
                }
                None => format!("{applied} of {targeted} have it · the others refused"),
            },
            Self::Expired => "expired".to_owned(),
            Self::Ended => "ended".to_owned(),
        }
    }

    /// How bad it is; colour goes with it.
    pub(crate) fn severity(&self) -> Option<Severity> {
        match self {
            Self::NotAccepted(_) | Self::Refused { .. } => Some(Severity::Failed),
            Self::Applied { .. } => Some(Severity::Well),
            Self::Sending | Self::Requested { .. } => Some(Severity::AtRisk),
            Self::Expired | Self::Ended => None,
        }
    }

    /// Whether it is still on its way.
    pub(crate) fn on_its_way(&self) -> bool {
        matches!(self, Self::Sending | Self::Requested { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fuseboard_api::change::Acknowledgement;

    fn change(state: ChangeState, refused: Option<&str>) -> Change {
        let acknowledgement = |instance: &str, latency_ms, refused: Option<&str>| Acknowledgement {
            instance: instance.into(),
            latency_ms,
            refused: refused.map(str::to_owned),
            ..Acknowledgement::default()
        };
        Change {
            id: 7,
            state,
            targeted: 2,
            applied: 1,
            acknowledgements: vec![acknowledgement("o-1", 12.0, None), acknowledgement("o-2", 31.0, refused)],
            ..Change::default()
        }
    }

    #[test]
    fn a_wish_is_not_a_fact() {
        let receipt = Receipt { override_id: Some(7), targeted: 2, ..Receipt::default() };
        let pending = Pending {
            number: 1,
            action: Action::EndAllOverrides,
            reason: String::new(),
            state: PendingState::Requested(receipt),
        };
        assert_eq!(of_pending(&pending, None).sentence(), "requested · 0 of 2 have it");
        let mut changes = Changes { overrides: vec![change(ChangeState::Requested, None)], ..Changes::default() };
        assert_eq!(of_pending(&pending, Some(&changes)).sentence(), "requested · 1 of 2 have it");
        changes.overrides[0] = change(ChangeState::Applied, None);
        assert_eq!(of_pending(&pending, Some(&changes)).sentence(), "applied 2/2 in 31 ms");
    }

    #[test]
    fn refusals_name_the_instance_and_the_reason() {
        let refused = of_change(&change(ChangeState::Refused, Some("open_ms above 600000")));
        assert_eq!(refused.sentence(), "1 of 2 have it · o-2 refused: open_ms above 600000");
        assert_eq!(refused.severity(), Some(Severity::Failed));
    }
}
