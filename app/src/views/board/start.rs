//! What stands in the place of the graph while there is none: what to do about it.

use egui::Ui;

use crate::command::{Command, Commands};
use crate::model::{Connection, Model};
use crate::widgets::button::{Button, Kind, button};
use crate::widgets::{banner, text};

/// No picture has come.
pub(crate) fn without_picture(ui: &mut Ui, model: &Model, commands: &mut Commands) {
    match (&model.connection, &model.slots.board.error) {
        (Connection::Lost { why, tries }, _) => {
            let words = format!("{why}. Tried {tries} times; it goes on trying by itself.");
            banner::empty(ui, "The collector does not answer", &words, |ui| other_sources(ui, commands));
        }
        (_, Some(error)) => banner::empty(ui, "No picture of the calls", error, |_| {}),
        (Connection::Connecting | Connection::Up, None) => {
            banner::empty(ui, "Asking for the call graph", "The first picture is on its way.", |_| {});
        }
    }
}

/// Nothing was recorded in the range, or nothing at all.
pub(crate) fn nothing_yet(ui: &mut Ui, model: &Model, commands: &mut Commands) {
    if !model.is_empty() {
        return banner::empty(ui, "No calls in this range", "Choose a longer range on the time strip, or follow the newest.", |ui| {
            if button(ui, "Follow").clicked() {
                commands.push(Command::Choose(None));
                commands.push(Command::Follow);
            }
        });
    }
    let sentence = "Send OpenTelemetry to this machine: any SDK does, and services that embed the agent can be steered too. \
                    Set these where a service starts:";
    banner::empty(ui, "Nothing has been sent yet", sentence, |ui| {
        let lines = environment(model);
        for line in &lines {
            text::styled(ui, line, text::mono_font(11.5), crate::widgets::tokens(ui).text);
        }
        ui.add_space(12.0);
        let room = ui.available_width();
        ui.horizontal(|ui| {
            ui.add_space(((room - 330.0) / 2.0).max(0.0));
            if Button::new("Start the demo shop").kind(Kind::Primary).show(ui).clicked() {
                commands.push(Command::StartDemo);
            }
            if button(ui, "Copy the lines").clicked() {
                commands.push(Command::Copy(lines.join("\n"), "environment variables".to_owned()));
            }
            if button(ui, "Open a file").clicked() {
                commands.push(Command::ChooseFile);
            }
        });
        ui.add_space(8.0);
        text::secondary(ui, "or drop an incident file here");
    });
}

fn other_sources(ui: &mut Ui, commands: &mut Commands) {
    if button(ui, "Open an incident file").clicked() {
        commands.push(Command::ChooseFile);
    }
}

/// What a service needs to know, from the addresses that the collector says it listens on.
fn environment(model: &Model) -> Vec<String> {
    let addresses = model.slots.totals.get().map_or(&[][..], |t| t.addresses.as_slice());
    let find = |what: &str| addresses.iter().find(|(kind, _)| kind == what).map(|(_, a)| a.as_str());
    let url = |a: &str| if a.contains("://") { a.to_owned() } else { format!("http://{a}") };
    let mut lines = vec![format!("OTEL_EXPORTER_OTLP_ENDPOINT={}", url(find("otlp_grpc").unwrap_or("127.0.0.1:4317")))];
    if let Some(http) = find("otlp_http") {
        lines.push(format!("# or, over HTTP: OTEL_EXPORTER_OTLP_ENDPOINT={}", url(http)));
    }
    lines.push("OTEL_SERVICE_NAME=my-service".to_owned());
    if let Some(control) = find("control") {
        lines.push(format!("FUSEBOARD_CONTROL={}", url(control)));
    }
    lines
}
