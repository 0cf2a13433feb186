//! How far a change has come: *requested* until the data says *applied*, and who refused it why.

use fuseboard_api::change::{Change, ChangeState, Changes};
use fuseboard_api::command::{Action, Receipt};
use fuseboard_api::fleet::{Fleet, Member};
use fuseboard_api::graph::Severity;

use crate::model::{Pending, PendingState};
use crate::views::rollout;
use crate::widgets::{Tone, format};

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
    /// By stages, or waiting to be confirmed; so many of all instances have it.
    Rolling {
        /// Have it.
        running: usize,
        /// All.
        all: usize,
    },
    /// Taken back from everyone, with the reason.
    Reverted(String),
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
        ChangeState::Ended => Progress::Ended,
        ChangeState::Reverted => Progress::Reverted(change.rollout.as_ref().map(|r| r.why.clone()).unwrap_or_default()),
        _ if !refusals.is_empty() => Progress::Refused { applied, targeted, by: refusals },
        ChangeState::Refused => Progress::Refused { applied, targeted, by: Vec::new() },
        ChangeState::Applied => Progress::Applied { targeted, p99_ms: change.p99_ms() },
        ChangeState::Rolling => {
            let (running, _, all) = change.rollout.as_ref().map(rollout::words::counts).unwrap_or_default();
            Progress::Rolling { running, all }
        }
        ChangeState::Requested => Progress::Requested { applied, targeted },
    }
}

/// Instance by instance what became of a change: those that refused, those that have not said a word, those that have it.
/// The silent ones are named as far as `fleet` knows them.
pub(crate) fn by_instance(change: &Change, fleet: Option<&Fleet>) -> Vec<(String, String, Tone)> {
    let mut out: Vec<(String, String, Tone)> = Vec::with_capacity(change.acknowledgements.len());
    let refused = change.acknowledgements.iter().filter_map(|a| Some((a, a.refused.as_ref()?)));
    out.extend(refused.map(|(a, why)| (a.instance.clone(), format!("refused: {why}"), Tone::Failed)));
    let is_over = matches!(change.state, ChangeState::Ended | ChangeState::Expired | ChangeState::Reverted);
    let meant = |m: &&Member| {
        let selector = change.override_spec.as_ref().map(|s| &s.selector);
        selector.is_none_or(|s| {
            let fits = |want: &Option<String>, have: &str| want.as_deref().is_none_or(|w| w == have);
            fits(&s.caller, &m.service) && fits(&s.instance, &m.instance)
        })
    };
    let silent =
        |m: &&Member| !change.acknowledgements.iter().any(|a| a.instance == m.instance && a.service == m.service);
    // Who came later and runs it already has nothing left to say.
    let lacks = |m: &&Member| change.override_spec.is_some() || m.running < change.id;
    if !is_over && change.rollout.is_none() {
        let members = fleet.map(|f| f.members.as_slice()).unwrap_or_default();
        let connected = members.iter().filter(|m| m.connected == Some(true));
        let laggards = connected.filter(meant).filter(silent).filter(lacks);
        out.extend(laggards.map(|m| (m.instance.clone(), "has not answered".to_owned(), Tone::AtRisk)));
    }
    let has = change.acknowledgements.iter().filter(|a| a.refused.is_none());
    out.extend(has.map(|a| {
        (a.instance.clone(), format!("has it, after {}", format::millis(a.latency_ms.max(0.01))), Tone::Well)
    }));
    out
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
            Self::Rolling { running, all } => format!("rolling out · {running} of {all} have it"),
            Self::Reverted(why) if why.is_empty() => "taken back".to_owned(),
            Self::Reverted(why) => format!("taken back: {why}"),
            Self::Expired => "expired".to_owned(),
            Self::Ended => "ended".to_owned(),
        }
    }

    /// How bad it is; colour goes with it.
    pub(crate) fn severity(&self) -> Option<Severity> {
        match self {
            Self::NotAccepted(_) | Self::Refused { .. } | Self::Reverted(_) => Some(Severity::Failed),
            Self::Applied { .. } => Some(Severity::Well),
            Self::Sending | Self::Requested { .. } | Self::Rolling { .. } => Some(Severity::AtRisk),
            Self::Expired | Self::Ended => None,
        }
    }

    /// Whether some instance has not got it, or said no.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.on_its_way() || matches!(self, Self::Refused { .. })
    }

    /// Whether it is still on its way.
    pub(crate) fn on_its_way(&self) -> bool {
        matches!(self, Self::Sending | Self::Requested { .. } | Self::Rolling { .. })
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
    fn who_refused_and_who_is_silent_stands_before_those_that_have_it() {
        let member = |instance: &str, running| Member {
            instance: instance.into(),
            connected: Some(true),
            running,
            ..Member::default()
        };
        let fleet = Fleet { members: vec![member("o-1", 7), member("o-3", 6), member("o-4", 7)], ..Fleet::default() };
        let list = by_instance(&change(ChangeState::Refused, Some("too long")), Some(&fleet));
        let said: Vec<(&str, &str)> = list.iter().map(|(who, what, _)| (who.as_str(), what.as_str())).collect();
        assert_eq!(said, [("o-2", "refused: too long"), ("o-3", "has not answered"), ("o-1", "has it, after 12 ms")]);
    }

    #[test]
    fn refusals_name_the_instance_and_the_reason() {
        let refused = of_change(&change(ChangeState::Refused, Some("open_ms above 600000")));
        assert_eq!(refused.sentence(), "1 of 2 have it · o-2 refused: open_ms above 600000");
        assert_eq!(refused.severity(), Some(Severity::Failed));
    }
}
