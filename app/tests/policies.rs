//! Settings: the thumb on the distribution, the diff before anything is sent, the document and its history.

use egui::Key;
use egui::accesskit::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use fuseboard::View;
use fuseboard::app::App;
use fuseboard::testing::{self, Given};
use fuseboard_api::command::Action;
use fuseboard_api::graph::EdgeKey;

use crate::frame::console;

fn policies() -> (Harness<'static, App>, Given) {
    let edge = EdgeKey::new("orders", "payments", "shop.Payments/Charge");
    let (app, given) = testing::listening(View::Policies, Some(edge));
    (console(app), given)
}

const THUMB: &str = "attempt timeout of orders → payments";

#[test]
fn a_timeout_moved_by_keyboard_becomes_an_edit_of_its_rule() {
    let (mut console, given) = policies();
    let thumb = console.get_by_label_contains(THUMB);
    assert_eq!(thumb.accesskit_node().role(), Role::Slider);
    thumb.focus();
    console.run_steps(2);
    console.key_press(Key::ArrowRight);
    console.run_steps(3);
    assert!(console.query_by_label("Pending edit").is_some(), "the change is shown before it is sent");
    assert!(given.actions().is_empty());
    console.get_by_label_contains("Apply to 2 callers as r42").click();
    console.run_steps(3);
    assert!(given.actions().is_empty(), "not without a reason");
    give_reason(&mut console, "the bank is slow today");
    console.get_by_label_contains("Apply to 2 callers as r42").click();
    console.run_steps(3);
    let given = given.actions();
    let [(Action::EditPolicy { base: 41, edits, .. }, reason)] = given.as_slice() else {
        panic!("one edit, not {given:?}")
    };
    let [edit] = edits.as_slice() else { panic!("one setting, not {edits:?}") };
    assert_eq!((edit.service.as_str(), edit.operation.as_deref()), ("payments", Some("shop.Payments/Charge")));
    assert_eq!(edit.path, "timeout.attempt_ms");
    let value: u64 = edit.value.as_deref().and_then(|v| v.parse().ok()).expect("milliseconds");
    assert!(value > 800, "{value} lies right of the timeout in force");
    assert_eq!(reason, "the bank is slow today");
}

fn give_reason(console: &mut Harness<'static, App>, reason: &str) {
    console.get_by_role_and_label(Role::TextInput, "Reason").focus();
    console.run_steps(2);
    console.get_by_role_and_label(Role::TextInput, "Reason").type_text(reason);
    console.run_steps(3);
}

#[test]
fn one_click_stages_an_edit_with_guards_and_a_time_to_confirm() {
    let (mut console, given) = policies();
    console.get_by_label_contains(THUMB).focus();
    console.run_steps(2);
    console.key_press(Key::ArrowRight);
    console.run_steps(3);
    assert!(console.query_by_label_contains("1 edge · 2 instances of 1 service").is_some(), "whom it reaches");
    console.get_by_label("Delivery: Staged, safe").click();
    console.run_steps(3);
    assert!(console.query_by_label_contains("1 → 1 → 1 → 2 of 2 instances").is_some(), "who gets it when");
    give_reason(&mut console, "try a longer one");
    console.get_by_label("Begin rollout as r42").click();
    console.run_steps(3);
    let given = given.actions();
    let [(Action::EditPolicy { delivery, .. }, _)] = given.as_slice() else { panic!("one edit, not {given:?}") };
    assert_eq!(delivery.stages.len(), 4);
    assert_eq!((delivery.guards.len(), delivery.confirm_within_ms), (3, Some(1_800_000)));
}

#[test]
fn a_field_that_cannot_be_read_is_not_sent() {
    let (mut console, given) = policies();
    console.get_by_role_and_label(Role::TextInput, "overall").focus();
    console.run_steps(2);
    console.get_by_role_and_label(Role::TextInput, "overall").type_text("soon");
    console.run_steps(3);
    assert!(console.query_by_label_contains("a whole number of milliseconds is needed").is_some());
    console.get_by_label_contains("Apply to").click();
    console.run_steps(3);
    assert!(given.actions().is_empty());
}

#[test]
fn an_edit_can_be_discarded() {
    let (mut console, given) = policies();
    console.get_by_label_contains(THUMB).focus();
    console.run_steps(2);
    console.key_press(Key::ArrowLeft);
    console.run_steps(3);
    console.get_by_label("Discard").click();
    console.run_steps(3);
    assert!(console.query_by_label("Pending edit").is_none());
    assert!(console.query_by_label("r41 is in force").is_some());
    assert!(given.actions().is_empty());
}

#[test]
fn the_edges_are_a_list_that_says_what_is_in_force() {
    let (console, _) = policies();
    assert!(console.query_by_label_contains("policy of gateway → users Users/Get, 300 / 900 ms").is_some());
    assert!(
        console
            .query_by_label_contains("policy of clients → gateway POST /checkout, no timeout, not steered")
            .is_some()
    );
}

#[test]
fn history_shows_what_a_revision_changed_and_leads_back() {
    let (mut console, given) = policies();
    console.get_by_label("Show: History").click();
    console.run_steps(3);
    console.get_by_label_contains("revision 40").click();
    console.run_steps(4);
    let reason = console.get_by_role_and_label(Role::TextInput, "Reason");
    reason.focus();
    console.run_steps(2);
    console.get_by_role_and_label(Role::TextInput, "Reason").type_text("the experiment is over");
    console.run_steps(3);
    console.get_by_label("Roll back to r40 as r42").click();
    console.run_steps(3);
    let given = given.actions();
    assert_eq!(given, [(Action::rollback(40), "the experiment is over".to_owned())]);
}

#[test]
fn a_document_is_written_to_and_read_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policies.toml");
    let (mut console, given) = policies();
    console.get_by_label("Show: Document").click();
    console.run_steps(3);
    let field = |console: &Harness<'static, App>| console.get_by_label("Path of a TOML file").focus();
    field(&console);
    console.run_steps(2);
    console.get_by_label("Path of a TOML file").type_text(&path.display().to_string());
    console.run_steps(3);
    console.get_by_label("Write file").click();
    until(&mut console, |c| c.query_by_label_contains("Written:").is_some());
    let written = std::fs::read_to_string(&path).expect("the file");
    assert!(written.contains("service = \"payments\""), "{written}");
    std::fs::write(&path, written.replace("2400", "2500")).expect("a changed file");
    console.get_by_label("Read file").click();
    until(&mut console, |c| c.query_by_label("Edited document").is_some());
    assert!(console.query_by_label("1 added, 1 removed against r41").is_some());
    console.get_by_label("Publish as r42").click();
    console.run_steps(3);
    let given = given.actions();
    let [(Action::SetPolicy { base: 41, document, .. }, reason)] = given.as_slice() else {
        panic!("a document, not {given:?}")
    };
    assert!(document.contains("2500"));
    assert!(reason.starts_with("import of"), "{reason}");
}

/// Runs frames until something holds; a thread does the reading and writing.
fn until(console: &mut Harness<'static, App>, holds: impl Fn(&Harness<'static, App>) -> bool) {
    let begun = std::time::Instant::now();
    while !holds(console) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "it never came");
        console.run_steps(1);
        std::thread::yield_now();
    }
}

#[test]
fn a_finding_opens_as_a_pending_edit_that_is_sent_by_hand() {
    let (mut console, given) = policies();
    console.get_by_label_contains("Findings 3").click();
    console.run_steps(4);
    console.get_by_label_contains("error: the timeout of 800 ms cuts").click();
    console.run_steps(4);
    assert!(console.query_by_label("Proposed fix").is_some());
    console.get_by_label("Open as changeset").click();
    console.run_steps(4);
    assert!(console.query_by_label("Pending edit").is_some(), "it opens where edits are made");
    assert!(given.actions().is_empty(), "and is not sent");
    console.get_by_label_contains("Apply to 2 callers as r42").click();
    console.run_steps(3);
    let given = given.actions();
    let [(Action::EditPolicy { base: 41, edits, .. }, reason)] = given.as_slice() else {
        panic!("one edit, not {given:?}")
    };
    let [edit] = edits.as_slice() else { panic!("one setting, not {edits:?}") };
    assert_eq!((edit.path.as_str(), edit.value.as_deref()), ("timeout.attempt_ms", Some("2120")));
    assert!(reason.contains("cuts 9.4 %"), "the finding is the reason: {reason}");
}

#[test]
fn a_finding_that_the_form_cannot_mend_gives_the_command_that_does() {
    let (mut console, _) = policies();
    console.get_by_label_contains("Findings 3").click();
    console.run_steps(4);
    console.get_by_label_contains("note: the rule legacy-billing").click();
    console.run_steps(4);
    assert!(console.query_by_label_contains("ctl policy lint --fix c20d9e55").is_some());
    assert!(console.query_by_label("Open as changeset").is_none());
}
