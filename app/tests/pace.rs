//! How often the console paints, on a clock that is set by hand.

use std::time::Duration;

use egui::Key;
use fuseboard::View;
use fuseboard::testing::pace::Pace;

const SECOND: Duration = Duration::from_secs(1);
const VIEWS: [View; 11] = [
    View::Board,
    View::Traces,
    View::Breakers,
    View::Policies,
    View::Forecasts,
    View::Incidents,
    View::Logs,
    View::Metrics,
    View::Fleet,
    View::Audit,
    View::Gallery,
];

/// A console whose pictures have come, with every countdown of the canned shop but the override's at its end.
fn settled(view: View) -> Pace {
    let mut pace = Pace::new(view);
    assert!(pace.run(SECOND * 60, 0) > 0, "{view:?} was never painted");
    pace
}

#[test]
fn without_news_nothing_is_painted() {
    for view in VIEWS {
        let frames = settled(view).run(SECOND * 10, 0);
        // The breakers count an override's last minutes down.
        let most = if view == View::Breakers { 10 } else { 0 };
        assert!(frames <= most, "{view:?}: {frames} frames in ten idle seconds");
    }
}

#[test]
fn a_flood_of_news_is_painted_ten_times_a_second() {
    for view in VIEWS {
        let mut pace = settled(view);
        pace.run(SECOND / 2, 1000);
        let frames = pace.run(SECOND * 3, 1000);
        let most = if view == View::Breakers { 33 } else { 30 };
        assert!(frames <= most, "{view:?}: {frames} frames in three seconds");
        assert!(frames >= 2, "{view:?} shows nothing of it: {frames} frames");
    }
}

#[test]
fn when_the_news_end_so_do_the_frames_as_soon_as_all_has_left_the_strip() {
    let mut pace = settled(View::Board);
    pace.run(SECOND * 2, 100);
    let minute = pace.run(SECOND * 60, 0);
    assert!(minute <= 75, "rates fall once a second, not {minute} times a minute");
    pace.run(SECOND * 60 * 130, 0);
    assert_eq!(pace.run(SECOND * 60, 0), 0);
}

#[test]
fn playing_paints_what_can_be_seen_to_move() {
    let mut pace = settled(View::Audit);
    pace.press(Key::OpenBracket);
    pace.run(SECOND, 0);
    assert!(pace.time_words().starts_with("paused"));
    assert_eq!(pace.run(SECOND * 10, 0), 0, "a cursor that stands needs no frames");
    pace.press(Key::P);
    pace.run(SECOND, 0);
    assert!(pace.time_words().starts_with("playing"), "{}", pace.time_words());
    let frames = pace.run(SECOND * 10, 0);
    // A tenth of a second is the smallest step that is written, and the answers of each come a moment after it.
    assert!((100..=202).contains(&frames), "{frames} frames in ten seconds");
}
