//! Commands: what is refused, what conflicts, what is rebased, what is written down.

use fuseboard_api::ask::{Answer, Question, SettingConflict};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::change::{ChangeState, OverrideAction, OverrideSpec, Selector};
use fuseboard_api::command::{Action, Command, PolicyEdit};
use fuseboard_api::fleet::AuditQuery;
use fuseboard_api::policy::Policies;
use fuseboard_policy::document::PolicyDocument;
use fuseboard_policy::set::{PolicySet, hash_all};
use fuseboard_policy::settings::Fault;

use crate::agent::{FakeAgent, audit, audit_actions, changes, command, document, force, set_policy, until};
use crate::common::{CLIENT, EVER, Stage, With as _, request, span};

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
    assert!(same.message.contains("* timeout.attempt_ms: was 500, is 600, you want 600"), "{same}");
    let conflict = |base: &str, theirs: &str, yours: &str| SettingConflict {
        rule: "*".into(),
        path: "timeout.attempt_ms".into(),
        base: Some(base.into()),
        theirs: Some(theirs.into()),
        yours: Some(yours.into()),
    };
    assert_eq!(same.conflicts, [conflict("500", "600", "600")]);
    let whole = command(&stage, Action::set_policy(2, document(700))).await.expect_err("stale");
    assert_eq!(whole.conflicts.len(), 1, "{whole:?}");
    assert!(whole.message.contains("* timeout.overall_ms: was 9000, is 8000, you want 9000"), "{whole}");
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
    let (_, found) = stage.ask_at(Question::Audit(AuditQuery::containing(Some("FORCED".into()))), None).await;
    assert!(matches!(found, Answer::Audit(a) if a.entries.len() == 1));
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_override_lasts_longer_and_stays_the_same() {
    let stage = Stage::start().await;
    let mut agent = FakeAgent::connect(&stage, "orders", "orders-1").await;
    agent.next_overrides().await;
    let spec = force(Some("orders"), BreakerMode::ForcedOpen);
    command(&stage, Action::SetOverride { spec, ttl_ms: 60_000 }).await.expect("fine");
    let before = agent.next_overrides().await;
    (agent.status.overrides_generation, agent.status.overrides) = (before.generation, vec![1]);
    agent.tell().await;
    let applied = async || changes(&stage).await.overrides.into_iter().find(|c| c.state == ChangeState::Applied);
    let first = until(&stage, applied).await;
    for (ttl_ms, code) in [(30_000, "bad_request"), (0, "bad_request"), (25 * 3_600_000, "bad_request")] {
        let told = command(&stage, Action::RenewOverride { id: 1, ttl_ms }).await.expect_err("too short or too long");
        assert_eq!(told.code, code, "{told}");
    }
    let none = command(&stage, Action::RenewOverride { id: 2, ttl_ms: 1 }).await.expect_err("there is none");
    assert_eq!(none.code, "not_found");
    let (asked, _) = stage.ask_at(Question::Changes { range: EVER }, None).await;
    let receipt = command(&stage, Action::RenewOverride { id: 1, ttl_ms: 3_600_000 }).await.expect("in force");
    assert_eq!((receipt.override_id, receipt.targeted), (Some(1), 1));
    let after = agent.next_overrides().await;
    assert_eq!(after.overrides.iter().map(|o| o.id).collect::<Vec<_>>(), [1]);
    assert!(after.overrides[0].remaining_ms > 3_500_000, "{after:?}");
    // Who has not said that it knows does not count.
    let told = changes(&stage).await.overrides.remove(0);
    assert_eq!((told.state, told.applied, told.targeted), (ChangeState::Requested, 0, 1));
    assert!(told.renewed.is_some() && told.expires > first.expires && told.at == first.at, "{told:?}");
    assert_eq!((told.actor, told.reason), (first.actor.clone(), first.reason.clone()));
    agent.status.overrides_generation = after.generation;
    agent.tell().await;
    until(&stage, applied).await;
    // As of an instant before, it ends when it would have ended then.
    let range = EVER;
    let (_, then) = stage.ask_at(Question::Changes { range }, Some(asked)).await;
    let Answer::Changes(then) = then else { panic!("changes, not {then:?}") };
    assert_eq!(then.overrides[0].expires, first.expires, "as of {asked:?}: {then:?}");
    let told = audit(&stage).await;
    let expected = ["override.set", "agent.applied", "override.renewed", "agent.applied"];
    assert_eq!(audit_actions(&told), expected);
    let stage = Stage::over(stage.stop().await).await;
    let kept = changes(&stage).await.overrides.remove(0);
    assert!(kept.expires > first.expires && kept.ended.is_none(), "{kept:?}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_switch_is_on_only_what_takes_changes_back_is_accepted() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let forced = || Action::SetOverride { spec: force(None, BreakerMode::ForcedOpen), ttl_ms: 60_000 };
    command(&stage, forced()).await.expect("fine");
    command(&stage, forced()).await.expect("replaces it");
    let by = Command { actor: "olga".into(), reason: "black friday".into(), action: Action::SetReadOnly { on: true } };
    let no_reason = Command { reason: " ".into(), ..by.clone() };
    assert_eq!(stage.handle.command(no_reason).await.expect_err("no reason").code, "bad_request");
    stage.handle.command(by).await.expect("fine");
    let stage = Stage::over(stage.stop().await).await;
    let state = changes(&stage).await.read_only.expect("it outlasts a restart");
    assert_eq!((state.actor.as_str(), state.reason.as_str()), ("olga", "black friday"));
    let changing = [
        Action::set_policy(1, document(600)),
        Action::edit_policy(1, vec![edit("*", "timeout.attempt_ms", "600")]),
        Action::rollback(0),
        forced(),
        Action::RenewOverride { id: 2, ttl_ms: 3_600_000 },
    ];
    for action in changing {
        let told = command(&stage, action.clone()).await.expect_err(&format!("{action:?}"));
        assert_eq!(told.code, "read_only");
        assert!(told.message.contains("olga") && told.message.contains("black friday"), "{told}");
    }
    command(&stage, Action::EndOverride { id: 2 }).await.expect("what takes back is accepted");
    command(&stage, Action::EndAllOverrides).await.expect("what takes back is accepted");
    let from = fuseboard_api::UnixNanos::now();
    command(&stage, Action::StartIncident { name: "x".into(), from }).await.expect("changes nothing that runs");
    let again = command(&stage, Action::SetReadOnly { on: true }).await.expect("no harm");
    assert!(again.note.contains("olga"), "{}", again.note);
    command(&stage, Action::SetReadOnly { on: false }).await.expect("fine");
    assert_eq!(changes(&stage).await.read_only, None);
    command(&stage, Action::set_policy(1, document(600))).await.expect("changes are taken again");
    let told = audit(&stage).await;
    let switched: Vec<&str> = audit_actions(&told).into_iter().filter(|a| a.starts_with("control.")).collect();
    assert_eq!(switched, ["control.read_only", "control.writable"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_can_be_followed_from_outside_and_against_a_hash_kept_elsewhere() {
    let stage = Stage::start().await;
    for base in 0..3 {
        set_policy(&stage, base, 500 + base).await;
    }
    let chain =
        async |stage: &Stage, expect: Option<String>| match stage.ask_at(Question::AuditChain { expect }, None).await.1
        {
            Answer::AuditChain(chain) => chain,
            other => panic!("the chain, not {other:?}"),
        };
    let told = chain(&stage, None).await;
    assert!(told.holds() && told.length == 3, "{told:?}");
    set_policy(&stage, 3, 900).await;
    let later = chain(&stage, Some(told.last_hash.clone())).await;
    assert_eq!((later.length, later.expected_at), (4, Some(3)));
    assert_eq!(chain(&stage, Some("00".into())).await.expected_at, None);
    // The same from the file, while the collector runs.
    let offline = fuseboard_collector::audit::verify_file(&stage.file(), Some(&told.last_hash)).expect("a data file");
    assert_eq!(offline, later);
    let file = stage.file();
    let dir = stage.stop().await;
    let conn = rusqlite::Connection::open(&file).expect("the file");
    conn.execute_batch("DROP TRIGGER audit_keeps_words; UPDATE audit SET reason = 'x' WHERE sequence = 2")
        .expect("forged");
    let broken = fuseboard_collector::audit::verify_file(&file, Some(&told.last_hash)).expect("a data file");
    assert_eq!((broken.broken_at, broken.expected_at), (Some(2), None));
    drop(dir);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_force_on_an_instance_is_what_it_says_it_obeys() {
    let stage = Stage::start().await;
    set_policy(&stage, 0, 500).await;
    let mut agents = Vec::new();
    for instance in ["orders-1", "orders-2"] {
        let mut agent = FakeAgent::connect(&stage, "orders", instance).await;
        agent.obey().await;
        agent.obey().await;
        agents.push(agent);
    }
    let call = span(1, 1, 0, CLIENT, "Charge").with("resilience.operation", "Charge");
    stage.send(request("orders", vec![call.with("service.peer.name", "payments")])).await;
    set_policy(&stage, 1, 600).await;
    let spec = force(Some("orders"), BreakerMode::ForcedOpen);
    command(&stage, Action::SetOverride { spec, ttl_ms: 60_000 }).await.expect("fine");
    // The first obeys both; the second has not said so.
    agents[0].obey().await;
    let document = PolicyDocument::parse(&document(600)).expect("a document");
    let runs = PolicySet::new(2, &document).effective("orders", "payments", "Charge");
    agents[0].obey().await;
    let selector = Selector { caller: Some("orders".into()), ..Selector::default() };
    let effective = async |selector: &Selector| {
        let question = Question::Effective { range: EVER, selector: selector.clone() };
        match stage.ask_at(question, None).await.1 {
            Answer::Effective(edges) => edges,
            other => panic!("what is in force, not {other:?}"),
        }
    };
    let edges =
        until(&stage, async || Some(effective(&selector).await).filter(|e| e.iter().any(|e| !e.overrides.is_empty())))
            .await;
    let [first, second] = edges.as_slice() else { panic!("one edge on each of two instances, not {edges:?}") };
    assert_eq!((first.instance.as_str(), first.running, first.overrides.as_slice()), ("orders-1", 2, [1].as_slice()));
    assert_eq!(first.settings.timeout.as_ref().and_then(|t| t.attempt_ms), Some(600));
    assert_eq!(first.settings.breaker.as_ref().and_then(|b| b.mode), Some(BreakerMode::ForcedOpen));
    assert!(first.provenance.values().any(|from| from == "override 1"), "{:?}", first.provenance);
    assert_eq!((second.instance.as_str(), second.running, second.overrides.len()), ("orders-2", 1, 0));
    assert_eq!(second.settings.timeout.as_ref().and_then(|t| t.attempt_ms), Some(500));
    assert!(edges.iter().all(|e| e.connected && !e.verified), "neither told the hash of its settings: {edges:?}");
    // With the override over and the hash of these settings told, the collector can vouch for them.
    command(&stage, Action::EndAllOverrides).await.expect("fine");
    agents[0].status.effective_hash = hash_all([b"payments/Charge".as_slice(), &runs.hash()]).to_vec();
    agents[0].obey().await;
    let selector = Selector { instance: Some("orders-1".into()), ..selector };
    let verified =
        until(&stage, async || Some(effective(&selector).await).filter(|e| e.iter().any(|e| e.verified))).await;
    let [only] = verified.as_slice() else { panic!("the selected instance alone, not {verified:?}") };
    assert_eq!((&only.settings, only.overrides.len()), (&runs.settings, 0));
    let other = Selector { caller: Some("billing".into()), ..Selector::default() };
    assert!(effective(&other).await.is_empty());
    stage.stop().await;
}
