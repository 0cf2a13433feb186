//! Every widget in every state, for those who change them.

use egui::Ui;
use fuseboard_api::breaker::{BreakerMode, BreakerState, WindowCall};
use fuseboard_api::histogram::LatencyHistogram;
use fuseboard_api::{UnixNanos, graph::Severity};

use crate::command::Commands;
use crate::model::Model;
use crate::widgets::breaker::{self, Glyph};
use crate::widgets::button::{self, Button, Kind};
use crate::widgets::card::{Card, card};
use crate::widgets::chart::{self, Band, Line, LineChart};
use crate::widgets::histogram::Histogram;
use crate::widgets::icon::{self, Icon};
use crate::widgets::table::{Column, Table};
use crate::widgets::{self, Tone, banner, field, pill, text, tokens};

/// What this view keeps between two frames.
#[derive(Debug)]
pub(crate) struct State {
    words: String,
    segment: u8,
    on: bool,
    limit_ms: u64,
    row: Option<usize>,
}

impl Default for State {
    fn default() -> Self {
        Self { words: "bank incident, stop the bleeding".to_owned(), segment: 1, on: true, limit_ms: 400, row: Some(1) }
    }
}

const TONES: [(Tone, &str); 6] = [
    (Tone::Neutral, "neutral"),
    (Tone::Accent, "accent"),
    (Tone::Well, "well"),
    (Tone::AtRisk, "at risk"),
    (Tone::Failed, "failed"),
    (Tone::Probing, "probing"),
];

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, _model: &Model, state: &mut State, _commands: &mut Commands) {
    widgets::view(ui, |ui| {
        widgets::view_head(ui, "Gallery", "every widget in every state", |_| {});
        egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            for (severity, sentence) in [
                (Severity::Failed, "orders → payments: 38% of calls fail since 14:02:19."),
                (Severity::AtRisk, "payments → bank slowed at 14:02:11 (p95 180 → 1,420 ms)."),
            ] {
                banner::banner(ui, severity.into(), sentence, Some("Show suspects"));
            }
            ui.columns(3, |columns| {
                if let [a, b, c] = columns {
                    controls(a, state);
                    breakers(b);
                    charts(c, state);
                }
            });
        });
    });
}

/// There is nothing to say beside it.
pub(crate) fn inspector(_ui: &mut Ui, _model: &Model, _state: &mut State, _commands: &mut Commands) {}

/// There is nothing to say beside it.
pub(crate) fn has_inspector(_model: &Model, _state: &State) -> bool {
    false
}

fn controls(ui: &mut Ui, state: &mut State) {
    card(ui, |ui| {
        text::section(ui, "Type");
        text::title(ui, "Title 18");
        text::inspector_title(ui, "Inspector title 15");
        text::body(ui, "Body 12.5: the quick brown fox, 敏捷的棕色狐狸 → ▲ ● ✔ ½");
        text::secondary(ui, "Secondary 11.5");
        text::label(ui, "Label 10.5");
        text::mono(ui, "4f2a91c0 14:02:11.204 0O1lI");
        text::pair(ui, "rpc.method", "payments.v1.Payments/Charge");
        text::pair(ui, "server.port", "41873");
        ui.add_space(8.0);
        text::figures(
            ui,
            &[
                ("rate", "131/s".into(), None),
                ("errors", "38%".into(), Some(Tone::Failed)),
                ("p95", "800 ms".into(), Some(Tone::AtRisk)),
            ],
        );
    });
    ui.add_space(12.0);
    card(ui, |ui| {
        text::section_with(ui, "Buttons", |ui| {
            button::link(ui, "A link");
        });
        ui.horizontal_wrapped(|ui| {
            for (words, kind) in
                [("Primary", Kind::Primary), ("Quiet", Kind::Quiet), ("Danger", Kind::Danger), ("Chosen", Kind::Chosen)]
            {
                Button::new(words).kind(kind).show(ui);
            }
            Button::new("Dead").enabled(false).show(ui);
        });
        ui.horizontal_wrapped(|ui| {
            Button::new("auto").key("A").small().show(ui);
            Button::new("open").key("O").small().show(ui);
            button::key_hint(ui, "Ctrl+K");
            button::icon_button(ui, Icon::Play, "Play");
            button::icon_button(ui, Icon::Close, "Close");
        });
        Button::new("Apply to 2 callers, revert in 10 min").kind(Kind::Primary).wide().show(ui);
        ui.add_space(4.0);
        button::segmented(ui, "Mode", &mut state.segment, &[(0, "Services"), (1, "Operations"), (2, "Instances")]);
        button::toggle(ui, "only what changed", &mut state.on);
        let mut off = false;
        button::toggle(ui, "with echoes", &mut off);
        ui.add_space(4.0);
        field::labelled(ui, "Reason", |ui| field::text_field(ui, "Reason", "why", &mut state.words));
        let mut empty = String::new();
        field::labelled(ui, "Find", |ui| field::text_field(ui, "Find", "find in trace", &mut empty));
    });
    ui.add_space(12.0);
    card(ui, |ui| {
        text::section(ui, "Icons");
        let t = tokens(ui);
        ui.horizontal_wrapped(|ui| {
            for picture in [
                Icon::Graph,
                Icon::Bars,
                Icon::Switch,
                Icon::Sliders,
                Icon::Trend,
                Icon::Record,
                Icon::Lines,
                Icon::Gauge,
                Icon::Tiles,
                Icon::Sheet,
                Icon::Pause,
                Icon::Play,
                Icon::Next,
                Icon::Last,
                Icon::Close,
                Icon::Down,
                Icon::Right,
                Icon::Theme,
                Icon::Loop,
                Icon::Search,
            ] {
                let (rect, _) = ui.allocate_exact_size(egui::vec2(20.0, 20.0), egui::Sense::hover());
                icon::paint(ui.painter(), rect, picture, t.text_soft);
            }
        });
    });
}

fn breakers(ui: &mut Ui) {
    card(ui, |ui| {
        text::section(ui, "Breakers");
        let glyphs = [
            (BreakerState::Closed, BreakerMode::Auto),
            (BreakerState::HalfOpen, BreakerMode::Auto),
            (BreakerState::Open, BreakerMode::Auto),
            (BreakerState::Closed, BreakerMode::ForcedOpen),
            (BreakerState::Open, BreakerMode::ForcedClosed),
            (BreakerState::Open, BreakerMode::Shadow),
            (BreakerState::Closed, BreakerMode::Disabled),
        ];
        for (state, mode) in glyphs {
            let glyph = Glyph::new(state, mode);
            ui.horizontal(|ui| {
                breaker::switch(ui, egui::vec2(28.0, 20.0), glyph, "orders → payments");
                breaker::switch(ui, egui::vec2(92.0, 40.0), glyph, "orders → payments, large");
                text::toned(ui, glyph.words(), glyph.tone());
                if glyph.overridden() {
                    pill::pill(ui, "override", Tone::Accent);
                }
            });
        }
    });
    ui.add_space(12.0);
    card(ui, |ui| {
        text::section(ui, "Windows");
        let call = |i: u32| WindowCall {
            at: UnixNanos::default(),
            failed: i % 3 == 1,
            slow: i.is_multiple_of(5),
            micros: 1000 * i,
            trace_id: None,
        };
        let calls: Vec<WindowCall> = (0..18).map(call).collect();
        breaker::window_cells(ui, &calls, 18, "window");
        ui.add_space(4.0);
        breaker::window_cells(ui, calls.get(..6).unwrap_or_default(), 16, "window filling");
        ui.add_space(4.0);
        let ratio: Vec<f32> = (0..60).map(|i| if i > 30 { 0.58 } else { 0.06 }).collect();
        let width = ui.available_width();
        chart::ratio_line(ui, egui::vec2(width, 36.0), &ratio, Some(0.5), Tone::Failed, "failure ratio");
    });
    ui.add_space(12.0);
    card(ui, |ui| {
        text::section(ui, "Tones");
        for (tone, words) in TONES {
            ui.horizontal(|ui| {
                pill::dot(ui, tone, words);
                pill::pill(ui, words, tone);
                pill::status(ui, words, tone);
            });
        }
    });
    ui.add_space(12.0);
    for (tone, words) in
        [(Tone::Failed, "131 calls a second will be refused."), (Tone::AtRisk, "The attempt timeout (800 ms) cut it.")]
    {
        Card::new().tone(tone).tinted().show(ui, |ui| {
            text::body(ui, words);
            text::note(ui, "Callers get an error at once, until it expires or is ended.");
        });
        ui.add_space(8.0);
    }
}

fn charts(ui: &mut Ui, state: &mut State) {
    let t = tokens(ui);
    card(ui, |ui| {
        text::section_with(ui, "Attempt timeout", |ui| {
            text::mono(ui, format!("{} ms", state.limit_ms));
        });
        let mut latency = LatencyHistogram::default();
        for i in 0..2000_u64 {
            let hump = if i % 3 == 0 { 520 } else { 120 };
            latency.record((hump + (i * i * 31) % 160) * 1_000_000);
        }
        Histogram::new(&latency, "attempts of Charge").now(Some(300)).show(ui, &mut state.limit_ms);
    });
    ui.add_space(12.0);
    card(ui, |ui| {
        text::section(ui, "Forecast");
        let seen: Vec<(f64, f64)> =
            (-60..=0).map(|i| (f64::from(i), 30.0 + 8.0 * (f64::from(i) / 7.0).sin())).collect();
        let ahead: Vec<(f64, f64)> = (0..=30).map(|i| (f64::from(i), 30.0 + 0.7 * f64::from(i))).collect();
        let band: Vec<(f64, f64, f64)> = ahead.iter().map(|(x, y)| (*x, y - 0.3 * x, y + 0.4 * x)).collect();
        LineChart {
            name: "forecast of the failure ratio",
            height: 132.0,
            x: (-60.0, 30.0),
            y: None,
            bands: vec![Band { points: &band, color: t.tint(Tone::AtRisk) }],
            lines: vec![
                Line { points: &seen, color: t.text, dashed: false },
                Line { points: &ahead, color: t.at_risk, dashed: true },
            ],
            limits: vec![(50.0, "threshold 50%".to_owned(), Tone::Failed)],
            marks: vec![(0.0, "now".to_owned())],
            x_words: &|x| format!("{x:+.0} s"),
            y_words: &|y| format!("{y:.0}%"),
        }
        .show(ui);
        ui.add_space(8.0);
        let values: Vec<f32> = (0..48_u16).map(|i| 3.0 + (f32::from(i) / 4.0).sin()).collect();
        ui.horizontal(|ui| {
            for (tone, words) in TONES.into_iter().skip(2) {
                chart::sparkline(ui, egui::vec2(60.0, 20.0), &values, tone, words);
            }
        });
    });
    ui.add_space(12.0);
    card(ui, |ui| {
        text::section(ui, "Table");
        ui.allocate_ui(egui::vec2(ui.available_width(), 148.0), |ui| {
            let columns = [Column::words("service", 0.0), Column::figures("rate", 64.0), Column::figures("p95", 72.0)];
            let table = Table::new("gallery table", &columns, 40).chosen(state.row).sorted(Some((1, true)));
            let touched = table.show(
                ui,
                |row| format!("service {row}"),
                |ui, row, column| {
                    match column {
                        0 => text::styled(ui, format!("service-{row}"), text::body_font(), t.text),
                        1 => text::mono(ui, format!("{}/s", 400 - row * 9)),
                        _ => text::mono_soft(ui, format!("{} ms", 12 + row)),
                    };
                },
            );
            state.row = touched.chosen.or(state.row);
        });
    });
    ui.add_space(12.0);
    card(ui, |ui| {
        ui.set_height(150.0);
        banner::empty(ui, "No breaker has opened", "Trips of the chosen range would stand here, newest first.", |ui| {
            button::button(ui, "Show the last hour");
        });
    });
    banner::stale(ui, None);
}
