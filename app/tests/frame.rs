//! The frame around the views.

use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use fuseboard::app::App;
use fuseboard::testing::{self, Scene};
use fuseboard::{ThemeChoice, View, shot};

/// A console in front of the canned shop.
pub(crate) fn console(app: App) -> Harness<'static, App> {
    let mut harness = Harness::builder().with_size([1440.0, 900.0]).with_max_steps(32).build_ui_state(
        |ui, app: &mut App| {
            app.step(ui.ctx());
            app.paint(ui);
        },
        app,
    );
    harness.run_steps(4);
    harness
}

#[test]
fn a_click_on_the_rail_and_a_digit_change_the_view() {
    let mut console = console(testing::app(View::Board));
    console.get_by_role_and_label(Role::Tab, "Fleet").click();
    console.run_steps(3);
    assert_eq!(console.state().view(), View::Fleet);
    console.key_press(Key::Num3);
    console.run_steps(3);
    assert_eq!(console.state().view(), View::Breakers);
}

#[test]
fn the_palette_runs_a_command_found_by_a_few_letters() {
    let mut console = console(testing::app(View::Board));
    console.key_press_modifiers(Modifiers::COMMAND, Key::K);
    console.run_steps(3);
    let field = console.get_by_role_and_label(Role::TextInput, "Search services, traces, commands");
    assert!(field.accesskit_node().is_focused(), "one can write at once");
    field.type_text("golog");
    console.run_steps(3);
    console.key_press(Key::Enter);
    console.run_steps(3);
    assert_eq!(console.state().view(), View::Logs);
    assert!(console.query_by_role_and_label(Role::TextInput, "Search services, traces, commands").is_none());
}

#[test]
fn space_toggles_between_following_and_paused() {
    let mut console = console(testing::app(View::Audit));
    assert_eq!(console.state().time_words(), "following at 14:04:36.2");
    console.key_press(Key::Space);
    console.run_steps(3);
    assert_eq!(console.state().time_words(), "paused at 14:04:36.2");
    console.key_press(Key::Space);
    console.run_steps(3);
    assert_eq!(console.state().time_words(), "following at 14:04:36.2");
}

#[test]
fn brackets_step_from_mark_to_mark() {
    let mut console = console(testing::app(View::Audit));
    console.key_press(Key::OpenBracket);
    console.run_steps(3);
    assert_eq!(console.state().time_words(), "paused at 14:02:36.2", "the override two minutes ago");
    console.key_press(Key::OpenBracket);
    console.key_press(Key::OpenBracket);
    console.run_steps(3);
    assert_eq!(console.state().time_words(), "paused at 14:01:20.2");
    console.key_press(Key::CloseBracket);
    console.run_steps(3);
    assert_eq!(console.state().time_words(), "paused at 14:01:26.2");
}

#[test]
fn letters_belong_to_the_field_that_is_written_in() {
    let mut console = console(testing::app(View::Gallery));
    console.get_by_role_and_label(Role::TextInput, "Reason").focus();
    console.run_steps(2);
    console.get_by_role_and_label(Role::TextInput, "Reason").type_text("1 2");
    console.key_press(Key::Num2);
    console.run_steps(3);
    assert_eq!(console.state().view(), View::Gallery);
}

#[test]
fn the_list_of_keys_opens_and_escape_closes_it() {
    let mut console = console(testing::app(View::Audit));
    console.key_press_modifiers(Modifiers::SHIFT, Key::Questionmark);
    console.run_steps(3);
    assert!(console.query_by_label("To the next control").is_some());
    console.key_press(Key::Escape);
    console.run_steps(3);
    assert!(console.query_by_label("To the next control").is_none());
}

#[test]
fn an_empty_source_says_where_it_listens() {
    let console = console(testing::scene(Scene::Empty, View::Board));
    assert!(console.query_by_label("Nothing has arrived yet").is_some());
    assert!(console.query_by_label("127.0.0.1:4317").is_some());
    assert!(console.query_by_role_and_label(Role::Button, "Start the demo").is_some());
}

#[test]
fn a_collector_that_does_not_answer_is_named() {
    let console = console(testing::scene(Scene::Gone, View::Board));
    assert!(console.query_by_label("live · this machine does not answer").is_some());
}

#[test]
fn the_gallery_names_the_states_of_a_breaker() {
    let console = console(testing::app(View::Gallery));
    for words in ["closed", "half open", "open", "forced open", "forced closed", "shadow, would be open", "disabled"] {
        let name = format!("breaker orders → payments, {words}");
        assert!(console.query_by_role_and_label(Role::Button, &name).is_some(), "{name}");
    }
}

#[test]
fn every_view_is_drawn_the_same_twice_and_not_blank() {
    for theme in [ThemeChoice::Dark, ThemeChoice::Light] {
        let picture = shot::Picture { size: [960, 600], theme, ..Default::default() };
        let once = shot::draw(&mut testing::app(View::Gallery), picture);
        let again = shot::draw(&mut testing::app(View::Gallery), picture);
        assert_eq!(once.size, [960, 600]);
        assert!(once.pixels == again.pixels, "two pictures of the same differ");
        let colours: std::collections::HashSet<_> = once.pixels.iter().collect();
        assert!(colours.len() > 200, "only {} colours", colours.len());
    }
}
