//! Who one is: what a role may not do is grey and says why, and whoever is not let in reads what helps.

use egui::accesskit::Role;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use fuseboard::View;
use fuseboard::app::App;
use fuseboard::testing::{self, Given, Scene};
use fuseboard_api::graph::EdgeKey;

use crate::frame::console;

fn viewer(view: View) -> (Harness<'static, App>, Given) {
    let edge = EdgeKey::new("orders", "payments", "shop.Payments/Charge");
    let (app, given) = testing::listening_in(Scene::Viewer, view, Some(edge));
    (console(app), given)
}

fn is_barred(console: &Harness<'static, App>, button: &str) -> bool {
    console.get_by_role_and_label(Role::Button, button).accesskit_node().is_disabled()
}

#[test]
fn a_viewer_is_told_so_and_finds_every_hand_on_the_board_barred() {
    let (console, _) = viewer(View::Board);
    assert!(console.query_by_label("viewer").is_some(), "the role stands in the top bar");
    assert!(is_barred(&console, "Force open") && is_barred(&console, "Record"));
    assert!(console.query_by_label_contains("vera is a viewer and may not set or end overrides").is_some());
}

#[test]
fn a_viewer_finds_policies_barred_and_what_is_asked_for_is_not_sent() {
    let (mut console, given) = viewer(View::Policies);
    assert!(console.query_by_label_contains("vera is a viewer and may not change policies").is_some());
    console.get_by_label_contains("Overrides 2").click();
    console.run_steps(3);
    assert!(is_barred(&console, "End all…"));
    console.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::R);
    console.run_steps(3);
    assert!(given.actions().is_empty(), "a key does not reach further than a button");
}

#[test]
fn whoever_is_not_let_in_reads_why_in_every_view() {
    for view in [View::Board, View::Policies, View::Audit] {
        let console = console(testing::scene(Scene::Stranger, view));
        assert!(console.query_by_label("The collector does not know who you are").is_some(), "{view:?}");
        assert!(
            console.query_by_label("the token ended on 2026-11-19: ask an admin for another one").is_some(),
            "{view:?}"
        );
    }
}
