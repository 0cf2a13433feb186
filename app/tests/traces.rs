//! The list of traces and one trace.

use egui::Key;
use egui::accesskit::{Role, Toggled};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use fuseboard::View;
use fuseboard::app::App;
use fuseboard::testing::{self, Scene};
use fuseboard_api::TraceId;

use crate::frame::console;

const CHECKOUT: TraceId = TraceId([0x4f, 0x2a, 0x91, 0xc0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x7b, 0xe3]);

fn trace(scene: Scene) -> Harness<'static, App> {
    console(testing::chosen(scene, View::Trace, None, None, Some(CHECKOUT)))
}

fn lines(trace: &Harness<'static, App>) -> Vec<String> {
    trace.query_all_by_role(Role::TreeItem).filter_map(|n| n.accesskit_node().label()).collect()
}

#[test]
fn a_click_on_a_line_opens_the_trace() {
    let mut list = console(testing::app(View::Traces));
    list.get_all_by_label_contains("2,004 ms").next().expect("the slow one").click();
    list.run_steps(4);
    assert_eq!(list.state().view(), View::Trace);
    assert!(list.query_by_label("POST /checkout").is_some());
}

#[test]
fn arrow_keys_choose_and_enter_opens() {
    let mut list = console(testing::app(View::Traces));
    list.get_by_role_and_label(Role::Table, "Traces").focus();
    list.run_steps(2);
    list.key_press(Key::ArrowDown);
    list.run_steps(3);
    assert_eq!(list.state().view(), View::Traces, "choosing does not open");
    list.key_press(Key::Enter);
    list.run_steps(4);
    assert_eq!(list.state().view(), View::Trace);
}

#[test]
fn conditions_narrow_the_list() {
    let mut list = console(testing::app(View::Traces));
    assert!(list.query_by_label_contains("180 traces and more").is_some());
    list.get_by_label("errors only").click();
    list.run_steps(4);
    assert!(list.query_by_label_contains("180 traces and more").is_none());
    list.get_by_label("clear").click();
    list.run_steps(4);
    assert!(list.query_by_label_contains("180 traces and more").is_some());
}

#[test]
fn the_failing_attempt_is_chosen_and_says_why_it_ended() {
    let trace = trace(Scene::Trouble);
    assert!(trace.query_by_label("The attempt timeout (800 ms) cut it.").is_some());
    assert!(trace.query_by_label("The callee went on for 741 ms more: wasted work.").is_some());
    let chosen: Vec<String> = trace
        .query_all_by_role(Role::TreeItem)
        .filter(|n| n.accesskit_node().toggled() == Some(Toggled::True))
        .filter_map(|n| n.accesskit_node().label())
        .collect();
    assert_eq!(chosen, ["orders attempt 1 → payments-1, 802 ms · timeout 800 ms"]);
}

#[test]
fn attempts_backoff_and_refusal_stand_in_their_order() {
    let all = lines(&trace(Scene::Trouble));
    let place = |part: &str| {
        all.iter().position(|l| l.contains(part)).unwrap_or_else(|| panic!("{part} is not among {all:#?}"))
    };
    let order =
        ["1,693 ms call · 3 attempts", "attempt 1 →", "backoff 43 ms", "attempt 2 →", "attempt 3", "Inventory/Release"];
    let places: Vec<usize> = order.iter().map(|p| place(p)).collect();
    assert!(places.is_sorted(), "{places:?} in {all:#?}");
    assert!(all[place("attempt 3")].contains("refused in 0.02 ms · breaker open"));
    assert!(all.iter().any(|l| l.contains("1,535 ms server · given up after 794 ms")), "{all:#?}");
}

#[test]
fn arrow_keys_walk_fold_and_unfold() {
    let mut trace = trace(Scene::Trouble);
    trace.get_by_role(Role::Tree).focus();
    trace.run_steps(2);
    trace.key_press(Key::Home);
    trace.run_steps(3);
    let before = lines(&trace).len();
    trace.key_press(Key::ArrowDown);
    trace.run_steps(3);
    trace.key_press(Key::ArrowLeft);
    trace.run_steps(3);
    assert_eq!(lines(&trace).len(), 2, "of {before} lines only the root and its folded child stay");
    trace.key_press(Key::ArrowRight);
    trace.run_steps(3);
    assert_eq!(lines(&trace).len(), before);
}

#[test]
fn finding_goes_from_hit_to_hit() {
    let mut trace = trace(Scene::Trouble);
    trace.get_by_role_and_label(Role::TextInput, "Find in trace").focus();
    trace.run_steps(2);
    trace.get_by_role_and_label(Role::TextInput, "Find in trace").type_text("select stock");
    trace.run_steps(3);
    assert!(trace.query_by_label("0/1").is_some());
    trace.key_press(Key::Enter);
    trace.run_steps(4);
    assert!(trace.query_by_label("1/1").is_some());
    assert!(trace.query_by_label_contains("inventory · client span").is_some(), "the hit is chosen");
}

#[test]
fn flame_and_table_show_the_same_spans() {
    let mut trace = trace(Scene::Trouble);
    trace.get_by_label("Show as: Flame").click();
    trace.run_steps(3);
    assert!(trace.query_by_label_contains("flame graph, 9 deep").is_some());
    assert!(lines(&trace).iter().any(|l| l.starts_with("payments shop.Payments/Charge")));
    trace.get_by_label("Show as: Table").click();
    trace.run_steps(3);
    assert!(trace.query_by_role_and_label(Role::Table, "Spans").is_some());
}

#[test]
fn only_the_lines_in_sight_of_a_large_trace_exist() {
    let trace = trace(Scene::Crowd(10_000));
    let seen = lines(&trace).len();
    assert!((10..60).contains(&seen), "{seen} lines");
    assert!(trace.query_by_label_contains("waterfall, 10,000 spans").is_some());
}
