//! The panel of switches: found by name, flipped by hand or key, and never believed before the data says so.

use egui::Key;
use egui::accesskit::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use fuseboard::View;
use fuseboard::app::App;
use fuseboard::testing::{self, Given};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::change::OverrideAction;
use fuseboard_api::command::Action;

use crate::frame::console;

fn breakers() -> (Harness<'static, App>, Given) {
    let (app, given) = testing::listening(View::Breakers, None);
    (console(app), given)
}

fn mode_of(action: &Action) -> Option<(BreakerMode, Option<&str>, Option<&str>, u64)> {
    match action {
        Action::SetOverride { spec, ttl_ms } => match spec.action {
            OverrideAction::Mode(mode) => {
                Some((mode, spec.selector.caller.as_deref(), spec.selector.service.as_deref(), *ttl_ms))
            }
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn a_switch_is_found_by_its_name_and_two_presses_flip_it() {
    let (mut console, given) = breakers();
    console.get_by_label("payments → bank, force open").click();
    console.run_steps(3);
    assert!(console.query_by_label("Force open?").is_some(), "it asks before it acts");
    assert!(given.actions().is_empty(), "and has sent nothing yet");
    console.get_by_label("Force open for 5 min").click();
    console.run_steps(3);
    let given = given.actions();
    let [(action, reason)] = given.as_slice() else { panic!("one command, not {given:?}") };
    assert_eq!(mode_of(action), Some((BreakerMode::ForcedOpen, Some("payments"), Some("bank"), 300_000)));
    assert!(reason.starts_with("stop calls payments → bank"), "{reason}");
    assert!(console.query_by_label("Force open?").is_none(), "the question is answered");
    assert!(
        console.query_by_label("requested: forced open · 0 of 2").is_some(),
        "a wish, until the data says otherwise"
    );
    assert!(console.query_by_label("breaker payments → bank, half open").is_some(), "the switch itself has not moved");
}

#[test]
fn keys_choose_ask_and_send() {
    let (mut console, given) = breakers();
    console.key_press(Key::ArrowDown);
    console.run_steps(3);
    console.key_press(Key::S);
    console.run_steps(3);
    console.key_press(Key::T);
    console.run_steps(3);
    console.key_press(Key::Enter);
    console.run_steps(3);
    let given = given.actions();
    let [(action, _)] = given.as_slice() else { panic!("one command, not {given:?}") };
    let (mode, _, _, ttl) = mode_of(action).expect("a mode");
    assert_eq!((mode, ttl), (BreakerMode::Shadow, 900_000), "T went from 5 to 15 minutes");
}

#[test]
fn high_criticality_asks_for_the_name_of_the_service() {
    let (mut console, given) = breakers();
    console.get_by_label("orders → payments, force open").click();
    console.run_steps(3);
    console.key_press(Key::Enter);
    console.run_steps(3);
    assert!(given.actions().is_empty(), "nothing goes without the name");
    let field = console.get_by_role_and_label(Role::TextInput, "Type payments to confirm");
    assert!(field.accesskit_node().is_focused(), "the keyboard is there already");
    field.type_text("payments");
    console.run_steps(3);
    console.key_press(Key::Enter);
    console.run_steps(3);
    assert_eq!(given.actions().len(), 1);
}

#[test]
fn escape_drops_the_question() {
    let (mut console, given) = breakers();
    console.get_by_label("payments → bank, shadow").click();
    console.run_steps(3);
    console.key_press(Key::Escape);
    console.run_steps(3);
    assert!(console.query_by_label("Only shadow?").is_none());
    assert!(given.actions().is_empty());
}

#[test]
fn auto_ends_the_override_in_force() {
    let (mut console, given) = breakers();
    console.get_by_label("gateway → users, auto").click();
    console.run_steps(3);
    console.get_by_label("End the override now").click();
    console.run_steps(3);
    let given = given.actions();
    assert!(matches!(given.as_slice(), [(Action::EndOverride { .. }, _)]), "{given:?}");
    assert!(console.query_by_label("Back to automatic?").is_none());
}

#[test]
fn filters_count_and_narrow() {
    let (mut console, _) = breakers();
    assert!(console.query_by_label("orders → inventory Inventory/Reserve, force open").is_some());
    console.get_by_label("Show: Overridden 2").click();
    console.run_steps(3);
    assert!(console.query_by_label("orders → inventory Inventory/Reserve, force open").is_none());
    assert!(console.query_by_label("gateway → users, force open").is_some());
}

#[test]
fn all_overrides_end_only_when_it_is_pressed_twice() {
    let (mut console, given) = breakers();
    console.get_by_label("End all overrides…").click();
    console.run_steps(3);
    assert!(given.actions().is_empty());
    console.get_by_label("End 2 overrides now").click();
    console.run_steps(3);
    assert!(matches!(given.actions().as_slice(), [(Action::EndAllOverrides, _)]), "{:?}", given.actions());
}

#[test]
fn without_breakers_it_says_where_they_come_from() {
    let console = console(testing::scene(testing::Scene::Empty, View::Breakers));
    assert!(
        console.query_by_label("Nothing has arrived yet").is_some()
            || console.query_by_label("No breakers yet").is_some()
    );
}
