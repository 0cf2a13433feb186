//! Staged changes and what is held by hand: who has it, what the guards saw, and the hand on the brake.

use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use fuseboard::View;
use fuseboard::app::App;
use fuseboard::testing::{self, Given, Scene};
use fuseboard_api::command::Action;

use crate::frame::console;

fn at(scene: Scene, view: View) -> (Harness<'static, App>, Given) {
    let (app, given) = testing::listening_in(scene, view, None);
    (console(app), given)
}

#[test]
fn the_board_says_how_a_staged_change_fares_and_leads_to_it() {
    let (mut console, _) = at(Scene::Rolling, View::Board);
    let line = "r42 at 10%: 4 of 29 have it · errors 1.1% beside 0.9% · 50% in 1:12 · 26:50 left to confirm";
    assert!(console.query_by_label_contains(line).is_some());
    console.get_by_label("Details").click();
    console.run_steps(3);
    assert_eq!(console.state().view(), View::Policies);
    assert!(console.query_by_label("r42 over r41").is_some());
    assert!(console.query_by_label_contains("p99 changed: 412 ms of 480 calls").is_some());
    assert!(console.query_by_label_contains("2 of 24 instances of orders run it").is_some());
}

#[test]
fn a_staged_change_is_paused_aborted_and_confirmed_by_one_press_each() {
    let revision = 42;
    for (press, action) in [
        ("Pause the rollout", Action::PauseRollout { revision }),
        ("Abort the rollout", Action::AbortRollout { revision }),
        ("Next stage now", Action::PromoteRollout { revision, force: false }),
        ("Confirm r42", Action::ConfirmRevision { revision }),
    ] {
        let (mut console, given) = at(Scene::Rolling, View::Board);
        console.get_by_label("Details").click();
        console.run_steps(3);
        console.get_by_label(press).click();
        console.run_steps(3);
        let actions: Vec<Action> = given.actions().into_iter().map(|(action, _)| action).collect();
        assert_eq!(actions, [action], "{press}");
    }
}

#[test]
fn what_a_guard_took_back_is_told_with_its_numbers() {
    let (mut console, _) = at(Scene::Reverted, View::Board);
    assert!(console.query_by_label_contains("taken back by a guard: errors 12.4 % of 480 calls").is_some());
    assert!(console.query_by_label("Abort the rollout").is_none(), "there is nothing left to stop");
    console.get_by_label("Details").click();
    console.run_steps(3);
    assert!(console.query_by_label("r42 was taken back: everyone has r41 again").is_some());
    assert!(console.query_by_label("fails").is_some());
}

#[test]
fn overrides_are_counted_on_top_listed_and_ended() {
    let (mut console, given) = at(Scene::Trouble, View::Board);
    console.get_by_label_contains("2 overrides · until 14:08:48").click();
    console.run_steps(3);
    assert!(console.query_by_label_contains("override gateway → users forced open by op-2, 4:12 left").is_some());
    console.get_by_label("End gateway → users forced open").click();
    console.run_steps(3);
    console.get_by_label("End all…").click();
    console.run_steps(3);
    console.get_by_label("End 2 overrides now").click();
    console.run_steps(3);
    let actions: Vec<Action> = given.actions().into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, [Action::EndOverride { id: 7 }, Action::EndAllOverrides]);
}
