//! Commands: what is refused, what conflicts, what is rebased, what is written down.

use fuseboard_api::ask::{Answer, Question};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::change::{ChangeState, OverrideAction, OverrideSpec, Selector};
use fuseboard_api::command::{Action, Command, PolicyEdit};
use fuseboard_api::policy::Policies;
use fuseboard_policy::settings::Fault;

use crate::agent::{audit, audit_actions, changes, command, document, force, set_policy, until};
use crate::common::{EVER, Stage};

fn edit(service: &str, path: &str, value: &str) -> PolicyEdit {
    PolicyEdit { caller: None, service: service.into(), operation: None, path: path.into(), value: Some(value.into()) }
}

async fn policies(stage: &Stage) -> Policies {
    match stage.ask_at(Question::Policies { range: EVER }, None).await.1 {
        Answer::Policies(policies) => policies,
        other => panic!("policies, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_and_leaves_no_trace() {
    let stage = Stage::start().await;
    let forced = |ttl_ms| Action::SetOverride { spec: force(None, BreakerMode::ForcedOpen), ttl_ms };
    let by = |actor: &str, reason: &str, action| Command { actor: actor.into(), reason: reason.into(), action };
    let fault = OverrideAction::Fault(Fault { delay_ratio: 1.5, ..Fault::default() });
    let fault = OverrideSpec { selector: Selector::default(), action: fault };
    let nothing = OverrideAction::Timeout { attempt_ms: None, overall_ms: None };
    let nothing = OverrideSpec { selector: Selector::default(), action: nothing };
    let bad = "[[edge]]\nservice = \"*\"\ntimeout = { attempt_ms = 900, overall_ms = 100 }\ntypo = 1\n";
    let refused = [
        (by("", "why", forced(1000)), "bad_request", "actor"),
        (by("ann", "  ", forced(1000)), "bad_request", "reason"),
        (by("ann", "why", forced(0)), "bad_request", "24 h"),
        (by("ann", "why", forced(24 * 3600 * 1000 + 1)), "bad_request", "24 h"),
        (by("ann", "why", Action::SetOverride { spec: fault, ttl_ms: 10 }), "bad_request", "delay_ratio"),
        (by("ann", "why", Action::SetOverride { spec: nothing, ttl_ms: 10 }), "bad_request", "attempt_ms"),
        (by("ann", "why", Action::set_policy(0, bad)), "bad_request", "typo"),
        (by("ann", "why", Action::set_policy(0, "x".repeat(300_000))), "bad_request", "bytes"),
        (by("ann", "why", Action::edit_policy(0, vec![])), "bad_request", "settings"),
        (by("ann", "why", Action::EndOverride { id: 7 }), "not_found", "no override 7"),
        (by("ann", "why", Action::rollback(9)), "not_found", "no revision 9"),
        (by("ann", "", Action::StopIncident { id: 3, to: None }), "not_found", "no incident 3"),
    ];
    for (command, code, word) in refused {
        let told = stage.handle.command(command.clone()).await.expect_err(&format!("{command:?}"));
        assert_eq!(told.code, code, "{told:?}");
        assert!(told.message.contains(word), "{word} in {told:?}");
    }
    assert_eq!(audit(&stage).await.entries, []);
    assert_eq!(changes(&stage).await.revisions, []);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_of_a_document_is_named() {
    let stage = Stage::start().await;
    let bad = "[[edge]]\nservice = \"a\"\ntimeout = { attempt_ms = 0 }\n[[edge]]\nservice = \"b\"\nbraker = {}\n";
    let told = command(&stage, Action::set_policy(0, bad)).await.expect_err("two problems");
    assert!(told.message.contains("attempt_ms") && told.message.contains("braker"), "{told}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_base_is_refused_and_edits_of_other_settings_are_rebased() {
    let stage = Stage::start().await;
    assert_eq!(set_policy(&stage, 0, 500).await.revision, Some(1));
    let stale = command(&stage, Action::set_policy(0, document(700))).await.expect_err("stale");
    assert_eq!(stale.code, "conflict");
    assert!(stale.message.contains("revision 1 by ann"), "{stale}");
    // Two people edit from revision 1.
    let first = Action::edit_policy(1, vec![edit("*", "timeout.attempt_ms", "600")]);
    assert_eq!(command(&stage, first.clone()).await.expect("on its base").revision, Some(2));
    let other = Action::edit_policy(1, vec![edit("*", "timeout.overall_ms", "8000")]);
    let rebased = command(&stage, other).await.expect("another setting");
    assert_eq!(rebased.revision, Some(3));
    assert!(rebased.note.contains("rebased from revision 1 onto 2"), "{}", rebased.note);
    let same = command(&stage, first).await.expect_err("the same setting");
    assert_eq!(same.code, "conflict");
    assert!(same.message.contains("timeout.attempt_ms of *"), "{same}");
    let now = policies(&stage).await;
    assert_eq!(now.revision.number, 3);
    assert_eq!(now.revision.base, 2);
    assert_eq!(now.document, document(600).replace("9000", "8000"), "comments and order stay");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_is_a_new_revision_with_old_content() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    set_policy(&stage, 1, 600).await;
    let receipt = command(&stage, Action::rollback(1)).await.expect("there is a revision 1");
    assert_eq!(receipt.revision, Some(3));
    let now = policies(&stage).await;
    assert_eq!((now.document, now.revision.restores), (document(500), Some(1)));
    let (_, first) = stage.ask_at(Question::Document(2), None).await;
    assert_eq!(first, Answer::Document(Some(document(600))), "what was replaced can still be read");
    let again = command(&stage, Action::rollback(3)).await.expect_err("in force already");
    assert_eq!(again.code, "bad_request");
    let told = changes(&stage).await.revisions;
    let states: Vec<(u64, ChangeState)> = told.iter().map(|c| (c.id, c.state)).collect();
    assert_eq!(states, [(3, ChangeState::Requested), (2, ChangeState::Ended), (1, ChangeState::Ended)]);
    assert_eq!(told[0].summary, "back to revision 1");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overrides_end_by_hand_by_time_and_by_being_replaced() {
    let stage = Stage::start().await;
    let set = |mode, ttl_ms| Action::SetOverride { spec: force(Some("orders"), mode), ttl_ms };
    let first = command(&stage, set(BreakerMode::ForcedOpen, 60_000)).await.expect("fine");
    let second = command(&stage, set(BreakerMode::ForcedClosed, 60_000)).await.expect("fine");
    assert_eq!((first.override_id, second.override_id), (Some(1), Some(2)));
    assert!(second.note.contains("no instance"), "{}", second.note);
    let brief = OverrideSpec {
        selector: Selector::default(),
        action: OverrideAction::Timeout { attempt_ms: Some(5), overall_ms: None },
    };
    command(&stage, Action::SetOverride { spec: brief, ttl_ms: 100 }).await.expect("fine");
    until(&stage, async || {
        let actions = audit(&stage).await;
        audit_actions(&actions).contains(&"override.expired").then_some(())
    })
    .await;
    command(&stage, Action::EndOverride { id: 2 }).await.expect("in force");
    let gone = command(&stage, Action::EndOverride { id: 2 }).await.expect_err("over");
    assert_eq!(gone.code, "not_found");
    let told = changes(&stage).await.overrides;
    let states: Vec<(u64, ChangeState)> = told.iter().map(|c| (c.id, c.state)).collect();
    assert_eq!(states, [(3, ChangeState::Expired), (2, ChangeState::Ended), (1, ChangeState::Ended)]);
    assert_eq!(told[0].ended, told[0].expires);
    assert_eq!(told[2].summary, "orders → payments: forced open");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_ends_all_overrides_and_a_restart_keeps_what_is_in_force() {
    let stage = Stage::start().await;
    for caller in ["a", "b", "c"] {
        let spec = force(Some(caller), BreakerMode::Shadow);
        command(&stage, Action::SetOverride { spec, ttl_ms: 60_000 }).await.expect("fine");
    }
    let stage = Stage::over(stage.stop().await).await;
    let before = changes(&stage).await.overrides;
    assert!(before.iter().all(|c| c.state == ChangeState::Requested && c.ended.is_none()), "{before:?}");
    let receipt = command(&stage, Action::EndAllOverrides).await.expect("fine");
    assert!(receipt.note.contains("3 overrides ended"), "{}", receipt.note);
    assert!(changes(&stage).await.overrides.iter().all(|c| c.state == ChangeState::Ended));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_says_who_did_what_and_verifies_after_a_restart() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    command(&stage, Action::edit_policy(1, vec![edit("bank", "timeout.attempt_ms", "50")])).await.expect("fine");
    let spec = force(None, BreakerMode::ForcedOpen);
    command(&stage, Action::SetOverride { spec, ttl_ms: 60_000 }).await.expect("fine");
    let stage = Stage::over(stage.stop().await).await;
    let told = audit(&stage).await;
    assert_eq!(audit_actions(&told), ["policy.set", "policy.edit", "override.set"]);
    assert_eq!(told.broken_at, None);
    assert_eq!(told.entries[1].detail, "bank timeout.attempt_ms: unset → 50");
    let (_, found) = stage.ask_at(Question::Audit { text: Some("FORCED".into()) }, None).await;
    assert!(matches!(found, Answer::Audit(a) if a.entries.len() == 1));
    stage.stop().await;
}
