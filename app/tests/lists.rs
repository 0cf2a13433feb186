//! Forecasts, incidents, logs, metrics, fleet and audit: what they say, and where they lead.

use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use fuseboard::app::App;
use fuseboard::{View, testing};
use fuseboard_api::command::Action;

use crate::frame::console;

fn view(view: View) -> Harness<'static, App> {
    console(testing::app(view))
}

#[test]
fn a_forecast_shows_its_track_record_and_folds_echoes() {
    let console = view(View::Forecasts);
    assert!(console.query_by_label_contains("18 of the last 20 held").is_some());
    assert!(console.query_by_label("Only echoes of it:").is_some());
    assert!(console.query_by_label_contains("forecast of orders → payments").is_some());
}

#[test]
fn a_line_of_the_story_leads_to_its_instant() {
    let mut console = view(View::Incidents);
    console.get_by_label_contains("breaker opened: show this instant").click();
    console.run_steps(3);
    assert!(console.state().time_words().starts_with("paused"), "{}", console.state().time_words());
}

#[test]
fn an_incident_is_recorded_from_some_minutes_ago() {
    let (app, given) = testing::listening(View::Incidents, None);
    let mut console = console(app);
    console.get_by_label("Name of the incident").focus();
    console.run_steps(2);
    console.get_by_label("Name of the incident").type_text("bank again");
    console.run_steps(3);
    // The frame has a button of that name, too: this one stands below it.
    let lowest = console
        .get_all_by_label("Record")
        .max_by(|a, b| a.rect().top().total_cmp(&b.rect().top()))
        .expect("the view's own button");
    lowest.click();
    console.run_steps(3);
    let given = given.actions();
    let Some((Action::StartIncident { name, from }, _)) = given.first() else { panic!("a recording, not {given:?}") };
    assert_eq!(name, "bank again");
    assert_eq!(testing::NOW.since(*from).as_secs(), 300);
}

#[test]
fn replay_plays_the_incident() {
    let mut console = view(View::Incidents);
    console.get_by_label("Replay").click();
    console.run_steps(3);
    assert!(console.state().time_words().starts_with("playing"), "{}", console.state().time_words());
}

#[test]
fn a_log_line_opens_its_details() {
    let mut console = view(View::Logs);
    let line = console.get_all_by_label_contains("WARN orders:").next().expect("a warning");
    line.click();
    console.run_steps(3);
    assert!(console.query_by_label("Attributes").is_some());
}

#[test]
fn the_fleet_says_who_refused_and_why() {
    let console = view(View::Fleet);
    assert!(console.query_by_label_contains("notifications-1 and 1 more: refused r41: timeout.attempt_ms").is_some());
    assert!(console.query_by_label_contains("pricing pricing-2, lost").is_some());
}

#[test]
fn five_hundred_instances_put_trouble_on_top_and_can_be_narrowed() {
    let mut console = console(testing::scene(testing::Scene::Crowd(500), View::Fleet));
    assert!(console.query_by_label("Show: All 500").is_some());
    assert!(console.get_all_by_label_contains("service-07-003 runs r41 with other").next().is_some(), "drift is told");
    assert!(console.query_by_label_contains(", up to date").is_none(), "the first page is those that are not well");
    console.get_by_label("Find an instance").focus();
    console.run_steps(2);
    console.get_by_label("Find an instance").type_text("service-33");
    console.run_steps(3);
    assert!(console.get_all_by_label_contains("service-33 service-33-").next().is_some());
    assert!(console.query_by_label_contains("service-07 service-07-003,").is_none(), "the others are left out");
}

#[test]
fn the_audit_says_whether_its_chain_holds() {
    let console = view(View::Audit);
    assert!(console.query_by_label("chain verified up to 411").is_some());
    assert!(console.query_by_label_contains("head 9e3779b97f4a7c15").is_some());
    assert!(console.query_by_label_contains("mira policy.set").is_some());
}

#[test]
fn a_broken_audit_is_loud_and_leads_to_its_entry() {
    let mut console = console(testing::scene(testing::Scene::Reverted, View::Audit));
    assert!(console.query_by_label("The audit cannot be trusted from entry 409 on").is_some());
    console.get_by_label("Show entry 409").click();
    console.run_steps(3);
    assert!(console.query_by_label_contains("409 · ").is_some(), "its details stand beside");
}

#[test]
fn the_first_metric_is_drawn_without_being_asked_for() {
    let console = view(View::Metrics);
    assert!(console.query_by_label("chart of db.client.connection.count").is_some());
}

#[test]
fn empty_views_say_what_fills_them() {
    for (at, head) in [
        (View::Policies, "No calls seen yet"),
        (View::Incidents, "Nothing recorded yet"),
        (View::Fleet, "No instance has been seen yet"),
        (View::Audit, "Nothing has been changed yet"),
    ] {
        let console = console(testing::scene(testing::Scene::Empty, at));
        assert!(console.query_by_label(head).is_some(), "{head}");
    }
}
