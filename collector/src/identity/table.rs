//! Who may what: the one table, and which deed each command, question and route is.

use fuseboard_api::ask::Question;
use fuseboard_api::command::Action;
use fuseboard_api::identity::{Deed, Role};

/// Whether a role may do a deed. Nothing else in this program decides that.
pub(crate) const fn may(role: Role, deed: Deed) -> bool {
    //                                    agent  viewer operator admin
    let row: [bool; 4] = match deed {
        Deed::Whoami =>
        /*             */
        {
            [true, true, true, true]
        }
        Deed::Read =>
        /*               */
        {
            [false, true, true, true]
        }
        Deed::Scrape =>
        /*             */
        {
            [false, true, true, true]
        }
        Deed::Override =>
        /*           */
        {
            [false, false, true, true]
        }
        Deed::Policy =>
        /*             */
        {
            [false, false, true, true]
        }
        Deed::Incident =>
        /*           */
        {
            [false, false, true, true]
        }
        Deed::Tokens =>
        /*             */
        {
            [false, false, false, true]
        }
        Deed::Switch =>
        /*             */
        {
            [false, false, false, true]
        }
        Deed::Bounds =>
        /*             */
        {
            [false, false, false, true]
        }
        Deed::Send =>
        /*               */
        {
            [true, false, false, false]
        }
        Deed::Steer =>
        /*              */
        {
            [true, false, false, false]
        }
    };
    match role {
        Role::Agent => row[0],
        Role::Viewer => row[1],
        Role::Operator => row[2],
        Role::Admin => row[3],
    }
}

/// The least role that may do a deed.
pub(crate) fn least(deed: Deed) -> Role {
    Role::ALL.into_iter().find(|role| may(*role, deed)).unwrap_or(Role::Admin)
}

/// What a command is. Without a wildcard: a new action does not compile before somebody has said who may.
pub(crate) const fn of_action(action: &Action) -> Deed {
    match action {
        Action::SetPolicy { .. }
        | Action::EditPolicy { .. }
        | Action::Rollback { .. }
        | Action::PauseRollout { .. }
        | Action::ResumeRollout { .. }
        | Action::AbortRollout { .. }
        | Action::PromoteRollout { .. }
        | Action::ConfirmRevision { .. } => Deed::Policy,
        Action::SetOverride { .. }
        | Action::RenewOverride { .. }
        | Action::EndOverride { .. }
        | Action::EndAllOverrides => Deed::Override,
        Action::SetReadOnly { .. } => Deed::Switch,
        Action::StartIncident { .. } | Action::StopIncident { .. } | Action::RenameIncident { .. } => Deed::Incident,
    }
}

/// What a question is; see [`of_action`].
pub(crate) const fn of_question(question: &Question) -> Deed {
    match question {
        Question::Totals
        | Question::Strip { .. }
        | Question::Board { .. }
        | Question::Traces(_)
        | Question::Spans(_)
        | Question::Trace(_)
        | Question::Quantiles(_)
        | Question::Breakers { .. }
        | Question::Policies { .. }
        | Question::Document(_)
        | Question::Lint { .. }
        | Question::Changes { .. }
        | Question::Forecasts
        | Question::Incidents
        | Question::Logs(_)
        | Question::Metrics(_)
        | Question::Fleet { .. }
        | Question::Effective { .. }
        | Question::Audit(_)
        | Question::AuditChain { .. }
        | Question::Names => Deed::Read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_one_that_was_agreed_on() {
        let told: Vec<String> = Deed::ALL
            .iter()
            .map(|deed| {
                let who: Vec<&str> = Role::ALL.iter().filter(|r| may(**r, *deed)).map(|r| r.word()).collect();
                format!("{deed:?}: {}", who.join(" "))
            })
            .collect();
        assert_eq!(
            told,
            [
                "Whoami: agent viewer operator admin",
                "Read: viewer operator admin",
                "Scrape: viewer operator admin",
                "Override: operator admin",
                "Policy: operator admin",
                "Incident: operator admin",
                "Tokens: admin",
                "Switch: admin",
                "Bounds: admin",
                "Send: agent",
                "Steer: agent",
            ]
        );
    }

    #[test]
    fn a_higher_role_of_people_may_what_a_lower_one_may() {
        for deed in Deed::ALL {
            for pair in Role::ALL[1..].windows(2) {
                assert!(!may(pair[0], deed) || may(pair[1], deed), "{deed:?}");
            }
        }
    }

    #[test]
    fn the_least_role_is_the_first_that_may() {
        assert_eq!(least(Deed::Read), Role::Viewer);
        assert_eq!(least(Deed::Policy), Role::Operator);
        assert_eq!(least(Deed::Tokens), Role::Admin);
        assert_eq!(least(Deed::Send), Role::Agent);
    }
}
