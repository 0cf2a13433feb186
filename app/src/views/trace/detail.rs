//! Beside the trace: the chosen span. Why it ended, what it carries, what happened inside, and where others like it are.

use egui::{Stroke, Ui, vec2};
use fuseboard_api::attr::{AttrValue, Attributes};
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::span::{Span, SpanKind};
use fuseboard_api::trace::TraceQuery;
use fuseboard_policy::names;

use super::built::{Built, peer};
use super::ending::{ending, title};
use super::facts::End;
use crate::command::{Command, Commands};
use crate::model::{Model, View};
use crate::widgets::button::link;
use crate::widgets::card::Card;
use crate::widgets::{Tone, format, rule, space, text, tokens};

/// Attributes, events and logs listed at most; the JSON has all.
const MOST: usize = 60;

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, built: &Built, i: u32, commands: &mut Commands) {
    let Some(span) = built.span(i) else { return };
    text::inspector_title(ui, &title(built, i)).on_hover_text(&span.name);
    let kind = match span.kind {
        SpanKind::Server => "server span",
        SpanKind::Client => "client span",
        SpanKind::Producer => "producer span",
        SpanKind::Consumer => "consumer span",
        SpanKind::Internal => "internal span",
        SpanKind::Unspecified => "span",
    };
    let id = span.span_id.to_string();
    let began = model.zone.milli(span.start);
    text::mono_soft(ui, format!("{} · {kind} · {} · {began}", span.origin.service, &id[..8])).on_hover_text(&id);
    ui.add_space(12.0);
    times(ui, built, i);
    ui.add_space(space::FAR);
    why(ui, built, i, span, commands);
    ui.add_space(space::FAR);
    attributes(ui, span, commands);
    happenings(ui, model, built, i, span);
    links(ui, span, commands);
    origin(ui, span);
    rule(ui);
    others(ui, span, commands);
}

fn times(ui: &mut Ui, built: &Built, i: u32) {
    let (begin, end) = built.times[i as usize];
    let left = built.facts[i as usize].left_ms;
    let mut list = vec![
        ("took", format::nanos((end - begin).unsigned_abs()), None),
        ("own time", format::nanos(built.self_time(i).unsigned_abs()), None),
    ];
    if let Some(left) = left {
        let short = (end - begin) as f32 / 1e6 >= left * 0.95;
        list.push(("deadline left", format::millis(f64::from(left)), short.then_some(Tone::AtRisk)));
    }
    text::figures(ui, &list);
}

fn why(ui: &mut Ui, built: &Built, i: u32, span: &Span, commands: &mut Commands) {
    let Some(ending) = ending(built, i) else { return };
    text::section(ui, "Why it ended");
    ui.add_space(4.0);
    let plain = ending.tone == Tone::Well && ending.more.is_empty();
    let card = if plain { Card::new() } else { Card::new().tone(ending.tone).tinted() };
    card.show(ui, |ui| {
        text::body(ui, &ending.sentence);
        for more in &ending.more {
            text::note(ui, more);
        }
        if let Some(key) = edge_of(built, i, span) {
            ui.spacing_mut().item_spacing.x = 16.0;
            ui.horizontal_wrapped(|ui| {
                let words = match built.facts[i as usize].end {
                    End::Timeout => "Open this edge's timeout",
                    End::Refused => "Open this edge's breaker",
                    _ => "Open this edge",
                };
                if link(ui, words).clicked() {
                    commands.push(Command::SelectEdge(Some(key)));
                    commands.push(Command::Go(View::Board));
                }
            });
        }
    });
}

/// The edge that a client span belongs to, as the board knows it.
fn edge_of(built: &Built, i: u32, span: &Span) -> Option<EdgeKey> {
    let asks = matches!(span.kind, SpanKind::Client | SpanKind::Producer);
    let server =
        built.tree.children(i).iter().filter_map(|c| built.span(*c)).find(|c| c.origin.service != span.origin.service);
    let callee = server.map(|s| s.origin.service.as_str()).or_else(|| peer(span)).filter(|_| asks)?;
    let operation = span.attr(names::OPERATION).and_then(AttrValue::as_str).unwrap_or(&span.name);
    Some(EdgeKey::new(&span.origin.service, callee, operation))
}

fn attributes(ui: &mut Ui, span: &Span, commands: &mut Commands) {
    text::section_with(ui, "Attributes", |ui| {
        if link(ui, "copy as JSON").clicked() {
            let json = serde_json::to_string_pretty(span).unwrap_or_else(|e| format!("not written: {e}"));
            commands.push(Command::Copy(json, "span".to_owned()));
        }
    });
    list(ui, &span.attributes);
    if span.attributes.is_empty() {
        text::note(ui, "It carries none.");
    }
    if span.dropped_attributes > 0 {
        text::note(
            ui,
            format!("{} were left out by the sender.", format::plural(span.dropped_attributes.into(), "attribute")),
        );
    }
}

fn list(ui: &mut Ui, attributes: &Attributes) {
    for (key, value) in attributes.iter().take(MOST) {
        text::pair(ui, key, &value.to_string());
    }
    if attributes.len() > MOST {
        text::note(ui, format!("and {} more in the JSON", attributes.len() - MOST));
    }
}

/// Events and logs in one list by time.
fn happenings(ui: &mut Ui, model: &Model, built: &Built, i: u32, span: &Span) {
    let events = span.events.iter().map(|e| {
        let details: Vec<String> = e.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
        (e.time, "EVENT".to_owned(), Tone::Accent, format!("{} {}", e.name, details.join(" ")))
    });
    let logs = built.logs.get(&i).into_iter().flatten().filter_map(|n| built.trace.logs.get(*n as usize));
    let logs = logs.map(|l| {
        let (words, tone) = match l.severity {
            21.. => ("FATAL", Tone::Failed),
            17.. => ("ERROR", Tone::Failed),
            13.. => ("WARN", Tone::AtRisk),
            9.. => ("INFO", Tone::Neutral),
            _ => ("DEBUG", Tone::Neutral),
        };
        (l.time, words.to_owned(), tone, l.body.to_string())
    });
    let mut all: Vec<_> = events.chain(logs).collect();
    if all.is_empty() {
        return;
    }
    all.sort_by_key(|h| h.0);
    ui.add_space(space::FAR);
    text::section(ui, &format!("Events and logs {}", all.len()));
    ui.add_space(4.0);
    let t = tokens(ui);
    for (time, kind, tone, words) in all.iter().take(MOST) {
        ui.horizontal_top(|ui| {
            text::mono_soft(ui, model.zone.milli(*time));
            ui.allocate_ui(vec2(44.0, 16.0), |ui| {
                ui.set_min_width(44.0);
                text::styled(ui, kind, text::mono_font(10.5), t.tone(*tone));
            });
            text::wrapped(ui, words.trim(), text::secondary_font(), t.text);
        });
    }
    if all.len() > MOST {
        text::note(ui, format!("and {} more", all.len() - MOST));
    }
}

fn links(ui: &mut Ui, span: &Span, commands: &mut Commands) {
    if span.links.is_empty() {
        return;
    }
    ui.add_space(space::FAR);
    text::section(ui, &format!("Links {}", span.links.len()));
    for l in span.links.iter().take(12) {
        let own = l.trace_id == span.trace_id;
        let words = if own { format!("span {} of this trace", l.span_id) } else { format!("trace {}", l.trace_id) };
        if link(ui, &words).clicked() {
            commands.push(if own { Command::SelectSpan(Some(l.span_id)) } else { Command::OpenTrace(l.trace_id) });
        }
    }
}

fn origin(ui: &mut Ui, span: &Span) {
    let o = &span.origin;
    if o.resource.is_empty() && o.instance.is_empty() {
        return;
    }
    ui.add_space(space::FAR);
    let t = tokens(ui);
    egui::CollapsingHeader::new(egui::RichText::new("Sent by").font(text::section_font()).color(t.text))
        .id_salt("sent by")
        .show(ui, |ui| {
            text::pair(ui, "service.name", &o.service);
            text::pair(ui, "service.instance.id", &o.instance);
            text::pair(ui, "service.version", &o.version);
            let shown = ["service.name", "service.instance.id", "service.version"];
            let rest: Attributes = o.resource.iter().filter(|(k, _)| !shown.contains(&k.as_str())).cloned().collect();
            list(ui, &rest);
            if !o.scope.is_empty() {
                text::pair(ui, "scope", &format!("{} {}", o.scope, o.scope_version));
            }
        });
    ui.painter().hline(ui.max_rect().x_range(), ui.min_rect().bottom() + 1.0, Stroke::new(1.0, t.line));
}

fn others(ui: &mut Ui, span: &Span, commands: &mut Commands) {
    text::section(ui, "Others like it");
    let mut go = |query: TraceQuery| {
        commands.push(Command::FilterTraces(query));
        commands.push(Command::Go(View::Traces));
    };
    let same = TraceQuery {
        service: Some(span.origin.service.clone()),
        operation: Some(span.name.clone()),
        ..TraceQuery::default()
    };
    ui.spacing_mut().item_spacing.x = 16.0;
    ui.horizontal_wrapped(|ui| {
        if link(ui, "same operation").clicked() {
            go(same.clone());
        }
        if link(ui, "failed ones").clicked() {
            go(TraceQuery { errors_only: true, ..same.clone() });
        }
        let outcome = span.attr(names::OUTCOME).filter(|o| o.as_str() != Some("success"));
        if let Some(outcome) = outcome
            && link(ui, &format!("also {outcome}")).clicked()
        {
            let attributes = vec![(names::OUTCOME.to_owned(), outcome.to_string())];
            go(TraceQuery { attributes, ..same.clone() });
        }
    });
}
