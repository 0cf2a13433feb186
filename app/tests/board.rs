//! The board: nodes, links and switches have names, and lead where a person expects.

use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use fuseboard::View;
use fuseboard::app::App;
use fuseboard::testing::{self, Scene};
use fuseboard_api::change::OverrideAction;
use fuseboard_api::command::Action;
use fuseboard_api::graph::EdgeKey;

use crate::frame::console;

fn board() -> Harness<'static, App> {
    console(testing::app(View::Board))
}

fn charge() -> EdgeKey {
    EdgeKey::new("orders", "payments", "shop.Payments/Charge")
}

#[test]
fn nodes_links_and_switches_say_what_they_are() {
    let board = board();
    assert!(board.query_by_label("payments, 3 instances, 38% errors").is_some());
    assert!(board.query_by_label("orders-db, database · postgresql").is_some());
    assert!(
        board.query_by_label("orders → payments, 131/s, 38% errors, p95 797 of 800 ms, the linter's error").is_some()
    );
    assert!(board.query_by_label("breaker orders → payments, open").is_some());
    assert!(board.query_by_label("breaker gateway → pricing, shadow, would be open").is_some());
    assert!(board.query_by_label_contains("call graph, 11 nodes, 11 links").is_some());
}

#[test]
fn a_link_opens_its_breaker_timeout_and_forecast() {
    let mut board = board();
    board.get_by_label_contains("orders → payments, 131/s").click();
    board.run_steps(3);
    for said in ["Circuit breaker", "Attempt timeout", "Forecast", "open · probes in 3.2 s"] {
        assert!(board.query_all_by_label(said).next().is_some(), "{said} is not said");
    }
    board.get_by_label("Calls refused 995").click_accesskit();
    board.run_steps(3);
    assert_eq!(board.state().view(), View::Traces);
    let filter = board.get_by_label("Filter").value();
    assert_eq!(
        filter.as_deref(),
        Some("edge=orders>payments {span.resilience.outcome=refused}"),
        "the list is narrowed to the edge"
    );
}

#[test]
fn a_service_shows_the_release_that_fails() {
    let mut board = board();
    board.get_by_label_contains("payments, 3 instances").click();
    board.run_steps(3);
    assert!(board.query_by_label_contains("payments-3 2.14.1").is_some());
    assert!(
        board.query_by_label_contains("Called by").is_some()
            || board.query_by_label_contains("orders Charge").is_some()
    );
}

#[test]
fn a_switch_on_the_graph_asks_before_it_acts() {
    let (app, given) = testing::listening(View::Board, None);
    let mut board = console(app);
    board.get_by_label("breaker orders → inventory, closed").click();
    board.run_steps(3);
    assert!(board.query_by_label("Force open?").is_some(), "it asks");
    assert!(given.actions().is_empty(), "and sends nothing by itself");
}

#[test]
fn a_timeout_is_moved_with_the_arrow_keys_and_applied_for_ten_minutes() {
    let (app, given) = testing::listening(View::Board, Some(charge()));
    let mut board = console(app);
    board.get_by_label_contains("attempt timeout, cuts").focus();
    board.run_steps(2);
    for _ in 0..3 {
        board.key_press(Key::ArrowRight);
    }
    board.run_steps(3);
    board.get_by_label("Apply to 2 callers, revert in 10 min").click();
    board.run_steps(3);
    let given = given.actions();
    let [(Action::SetOverride { spec, ttl_ms: 600_000 }, reason)] = given.as_slice() else { panic!("not {given:?}") };
    let OverrideAction::Timeout { attempt_ms: Some(ms), overall_ms: None } = spec.action else {
        panic!("not {spec:?}")
    };
    assert!(ms > 800, "{ms}");
    assert_eq!(spec.selector.caller.as_deref(), Some("orders"));
    assert!(reason.contains("800"), "{reason}");
}

#[test]
fn arrow_keys_walk_along_the_calls() {
    let mut board = board();
    board.get_by_label_contains("clients, external").click();
    board.run_steps(3);
    board.key_press(Key::ArrowRight);
    board.run_steps(3);
    assert!(board.get_by_label_contains("gateway, 2 instances").accesskit_node().is_focused());
    board.key_press(Key::ArrowRight);
    board.run_steps(3);
    assert!(board.get_by_label_contains("orders, 2 instances").accesskit_node().is_focused());
}

#[test]
fn a_filter_hides_the_rest_and_says_when_nothing_is_left() {
    let mut board = board();
    let field = board.get_by_role_and_label(Role::TextInput, "Filter services and operations");
    field.focus();
    board.run_steps(2);
    board.get_by_role_and_label(Role::TextInput, "Filter services and operations").type_text("authorize");
    board.run_steps(3);
    assert!(board.query_by_label_contains("bank, external").is_some());
    assert!(board.query_by_label_contains("users, 1 instance").is_none());
    board.get_by_role_and_label(Role::TextInput, "Filter services and operations").type_text("zzz");
    board.run_steps(3);
    assert!(board.query_by_label("Nothing fits the filter").is_some());
    board.get_by_label("Show everything").click();
    board.run_steps(3);
    assert!(board.query_by_label_contains("users, 1 instance").is_some());
}

#[test]
fn operations_are_links_of_their_own() {
    let mut board = board();
    board.get_by_label("Group by: Operations").click();
    board.run_steps(3);
    assert!(board.query_by_label_contains("orders → inventory Reserve, 146/s").is_some());
    assert!(board.query_by_label_contains("orders → inventory Release, 12/s").is_some());
}

#[test]
fn g_brings_the_table_and_takes_it_away() {
    let mut board = board();
    assert!(board.query_by_role_and_label(Role::Table, "Links").is_none());
    board.key_press(Key::G);
    board.run_steps(3);
    assert!(board.query_by_role_and_label(Role::Table, "Links").is_some());
    assert!(board.query_by_label_contains("call graph").is_some(), "beside the graph first");
    board.key_press(Key::G);
    board.run_steps(3);
    assert!(board.query_by_label_contains("call graph").is_none(), "then instead of it");
    board.key_press(Key::G);
    board.run_steps(3);
    assert!(board.query_by_role_and_label(Role::Table, "Links").is_none());
}

#[test]
fn letters_with_control_are_not_the_boards() {
    let mut board = board();
    board.key_press_modifiers(Modifiers::COMMAND, Key::G);
    board.run_steps(3);
    assert!(board.query_by_role_and_label(Role::Table, "Links").is_none());
}

#[test]
fn sixty_services_are_all_on_the_board() {
    let board = console(testing::scene(Scene::Crowd(60), View::Board));
    assert!(board.query_by_label_contains("call graph, 60 nodes").is_some());
    for name in ["web-000,", "mail-052,", "ship-038,"] {
        assert!(board.query_all_by_label_contains(name).next().is_some(), "{name} is missing");
    }
}

#[test]
fn what_the_linter_finds_is_marked_on_its_edge_and_said_beside_it() {
    let mut console = console(testing::listening(View::Board, Some(charge())).0);
    assert!(console.query_all_by_label_contains("the linter's error").next().is_some());
    console.get_by_label_contains("Mend: the timeout of 800 ms cuts").click_accesskit();
    console.run_steps(4);
    assert!(console.query_by_label("Open as changeset").is_some());
}
