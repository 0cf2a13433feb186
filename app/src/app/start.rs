//! What stands in a view while there is nothing to see: where to send data, what to copy, the demo, a file.

use egui::Stroke;

use crate::command::{Command, Commands};
use crate::model::{Connection, Model, SourceKind};
use crate::widgets::button::{button, link, primary};
use crate::widgets::pill::paint_dot;
use crate::widgets::{Tone, space, text, tokens};

/// Whether the view has nothing to show yet.
pub(super) fn wanted(model: &Model) -> bool {
    model.is_empty() || (model.slots.totals.get().is_none() && model.connection != Connection::Up)
}

/// Paints it.
pub(super) fn show(ui: &mut egui::Ui, model: &Model, commands: &mut Commands) {
    egui::ScrollArea::vertical().id_salt("start").auto_shrink(false).show(ui, |ui| {
        let room = ui.available_size();
        let width = 560.0_f32.min(room.x - 40.0);
        ui.vertical_centered(|ui| {
            ui.add_space((room.y * 0.16).max(16.0));
            ui.allocate_ui_with_layout(egui::vec2(width, 0.0), egui::Layout::top_down(egui::Align::Min), |ui| {
                ui.set_width(width);
                match &model.connection {
                    Connection::Up => listening(ui, model, commands),
                    Connection::Connecting => {
                        text::title(ui, "Connecting…");
                        text::note(ui, format!("Asking {} for its data.", model.source));
                    }
                    Connection::Unknown { head, why } => barred(ui, model, head, why, commands),
                    Connection::Lost { why, tries } => lost(ui, model, why, *tries, commands),
                }
            });
        });
    });
}

fn listening(ui: &mut egui::Ui, model: &Model, commands: &mut Commands) {
    text::title(ui, "Nothing has arrived yet");
    ui.add_space(4.0);
    text::note(
        ui,
        "Fuseboard is listening. Point a service at it, start the demo shop, or drop an incident file here.",
    );
    ui.add_space(16.0);
    let totals = model.slots.totals.get();
    let address = |kind: &str| totals.and_then(|t| t.addresses.iter().find(|(k, _)| k == kind)).map(|(_, a)| a.clone());
    if let Some(totals) = totals {
        for (kind, address) in &totals.addresses {
            let words = match kind.as_str() {
                "otlp_grpc" => "OTLP over gRPC",
                "otlp_http" => "OTLP over HTTP",
                "control" => "control, for agents and consoles",
                "metrics" => "metrics of the collector itself",
                "zipkin" => "Zipkin",
                "jaeger_api" => "Jaeger's query API",
                other => other,
            };
            text::pair(ui, words, address);
        }
    }
    ui.add_space(16.0);
    let grpc = address("otlp_grpc").unwrap_or_else(|| "127.0.0.1:4317".to_owned());
    let control = address("control").unwrap_or_else(|| "127.0.0.1:4390".to_owned());
    let any = format!(
        "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{grpc}\nexport OTEL_EXPORTER_OTLP_PROTOCOL=grpc\nexport OTEL_SERVICE_NAME=my-service"
    );
    snippet(ui, "Any language, OpenTelemetry SDK", &any, commands);
    let agent = format!(
        "let agent = Agent::builder(\"my-service\")\n    .otlp(\"{grpc}\")\n    .control(\"{control}\")\n    .start()\n    .await?;"
    );
    snippet(ui, "Rust, with the agent: breakers and timeouts too", &agent, commands);
    ui.add_space(8.0);
    ui.horizontal(|ui| {
        if primary(ui, "Start the demo").clicked() {
            commands.push(Command::StartDemo);
        }
        if button(ui, "Open an incident file…").clicked() {
            commands.push(Command::ChooseFile);
        }
    });
}

/// Somebody answers, and there is no way in: what is wrong and what helps, in their words.
fn barred(ui: &mut egui::Ui, model: &Model, head: &str, why: &str, commands: &mut Commands) {
    ui.horizontal(|ui| {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(14.0, 20.0), egui::Sense::hover());
        paint_dot(ui.painter(), rect.center(), Tone::Failed, tokens(ui));
        text::title(ui, head);
    });
    ui.add_space(4.0);
    text::wrapped(ui, why, text::body_font(), tokens(ui).text);
    ui.add_space(4.0);
    let source = format!("{}. Once that is mended the data comes by itself.", model.source);
    text::note(ui, source);
    ui.add_space(16.0);
    if button(ui, "Open an incident file…").clicked() {
        commands.push(Command::ChooseFile);
    }
}

fn lost(ui: &mut egui::Ui, model: &Model, why: &str, tries: u32, commands: &mut Commands) {
    let t = tokens(ui);
    ui.horizontal(|ui| {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(14.0, 20.0), egui::Sense::hover());
        paint_dot(ui.painter(), rect.center(), Tone::Failed, t);
        text::title(ui, &format!("{} does not answer", model.source));
    });
    ui.add_space(4.0);
    text::note(
        ui,
        format!("{why}. Tried {tries} times; the console goes on trying and shows the data as soon as it comes."),
    );
    ui.add_space(16.0);
    ui.horizontal(|ui| {
        if model.source_kind != SourceKind::File && button(ui, "Open an incident file…").clicked() {
            commands.push(Command::ChooseFile);
        }
    });
}

fn snippet(ui: &mut egui::Ui, head: &str, lines: &str, commands: &mut Commands) {
    let t = tokens(ui);
    text::section_with(ui, head, |ui| {
        if link(ui, "Copy").clicked() {
            commands.push(Command::Copy(lines.to_owned(), head.to_owned()));
        }
    });
    ui.add_space(4.0);
    let frame =
        egui::Frame::new().fill(t.panel).stroke(Stroke::new(1.0, t.line)).corner_radius(space::RADIUS).inner_margin(12);
    frame.show(ui, |ui| {
        ui.set_width(ui.available_width());
        text::wrapped(ui, lines, text::mono_font(11.5), t.text_soft);
    });
    ui.add_space(12.0);
}
