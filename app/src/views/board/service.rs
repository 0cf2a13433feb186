//! Beside the board: the chosen service. Its instances, where a bad one or a bad release stands out; its operations; whom it
//! calls and who calls it.

use egui::{Sense, Ui, vec2};
use fuseboard_api::graph::{Board, Edge, InstanceStats, Node, NodeKind};
use fuseboard_api::stats::Stats;
use fuseboard_api::trace::TraceQuery;

use super::ink::kind_words;
use crate::command::{Command, Commands};
use crate::model::{Model, View};
use crate::widgets::button::link;
use crate::widgets::{Tone, chart, format, pill, rule, space, text, tokens};

/// Rows of each list at most.
const MOST: usize = 12;

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, name: &str, commands: &mut Commands) {
    let Some(board) = model.slots.board.get() else { return };
    let node = board.nodes.iter().find(|n| n.name == name);
    text::inspector_title(ui, name);
    let (kind, system) = node.map_or((NodeKind::External, ""), |n| (n.kind, n.system.as_str()));
    text::secondary(ui, kind_words(kind, system));
    ui.add_space(space::NEAR);
    if let Some(node) = node {
        figures(ui, &node.stats);
        spark(ui, node);
        if !node.instances.is_empty() {
            rule(ui);
            instances(ui, node);
        }
        if !node.operations.is_empty() {
            rule(ui);
            operations(ui, node, commands);
        }
    }
    for (head, calls) in [("Called by", callers(board, name)), ("Calls", callees(board, name))] {
        if !calls.is_empty() {
            rule(ui);
            edges(ui, head, &calls, name, commands);
        }
    }
    rule(ui);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 16.0;
        if link(ui, "Traces").clicked() {
            commands
                .push(Command::FilterTraces(TraceQuery { service: Some(name.to_owned()), ..TraceQuery::default() }));
            commands.push(Command::Go(View::Traces));
        }
        if link(ui, "Logs").clicked() {
            let query = fuseboard_api::log::LogQuery { service: Some(name.to_owned()), ..Default::default() };
            commands.push(Command::FilterLogs(query));
            commands.push(Command::Go(View::Logs));
        }
        if link(ui, "Fleet").clicked() {
            commands.push(Command::Go(View::Fleet));
        }
    });
}

fn tone(ratio: f64) -> Option<Tone> {
    match ratio {
        r if r >= 0.1 => Some(Tone::Failed),
        r if r >= 0.01 => Some(Tone::AtRisk),
        _ => None,
    }
}

fn figures(ui: &mut Ui, stats: &Stats) {
    let ratio = stats.error_ratio();
    let quantile = |q| stats.quantile(q).map_or_else(|| "–".to_owned(), format::latency);
    text::figures(
        ui,
        &[
            ("rate", format::rate(stats.rate()), None),
            ("errors", format::percent(ratio), tone(ratio)),
            ("p50", quantile(0.5), None),
            ("p95", quantile(0.95), None),
        ],
    );
}

fn spark(ui: &mut Ui, node: &Node) {
    if node.spark.len() < 2 {
        return;
    }
    ui.add_space(space::NEAR);
    let size = vec2(ui.available_width(), 34.0);
    let rate: Vec<f32> = node.spark.iter().map(|p| p.rate).collect();
    chart::sparkline(ui, size, &rate, Tone::Accent, "rate over the last minutes");
    let errors: Vec<f32> = node.spark.iter().map(|p| p.error_ratio).collect();
    if errors.iter().any(|e| *e > 0.001) {
        let size = vec2(ui.available_width(), 22.0);
        chart::sparkline(ui, size, &errors, Tone::Failed, "share of errors over the last minutes");
        text::label(ui, "rate, and errors below it");
    } else {
        text::label(ui, "rate");
    }
}

/// One row of a list: a mark, words, and three figures.
fn row(ui: &mut Ui, name: &str, aside: &str, stats: &Stats, mark: Tone, clickable: bool) -> bool {
    let t = tokens(ui);
    let width = ui.available_width();
    let sense = if clickable { Sense::click() } else { Sense::hover() };
    let (rect, response) = ui.allocate_exact_size(vec2(width, 26.0), sense);
    let ratio = stats.error_ratio();
    response.widget_info(|| {
        let role = if clickable { egui::Role::Button } else { egui::Role::Row };
        let words = format!("{name} {aside}, {}, {} errors", format::rate(stats.rate()), format::percent(ratio));
        egui::WidgetInfo::labeled(role, true, words)
    });
    if clickable && response.hovered() {
        ui.painter().rect_filled(rect.expand2(vec2(6.0, 0.0)), 4, t.raised);
        ui.set_cursor_icon(egui::CursorIcon::PointingHand);
    }
    let y = rect.center().y;
    pill::paint_dot_sized(ui.painter(), egui::pos2(rect.left() + 4.0, y), 3.0, mark, t.tone(mark));
    let mut right = rect.right();
    let p95 = stats.quantile(0.95).map_or_else(|| "–".to_owned(), format::latency);
    let figure = |words: String, color, room: f32, right: f32| {
        ui.painter().text(egui::pos2(right, y), egui::Align2::RIGHT_CENTER, words, text::mono_font(11.0), color);
        right - room
    };
    right = figure(p95, t.text, 72.0, right);
    right = figure(format::percent(ratio), tone(ratio).map_or(t.text, |tone| t.tone(tone)), 50.0, right);
    right = figure(format::rate(stats.rate()), t.text, 58.0, right);
    let aside_width = if aside.is_empty() { 0.0 } else { text::width(ui, aside, text::mono_font(10.5)) + 10.0 };
    let left = egui::pos2(rect.left() + 14.0, y);
    let taken = text::paint(
        ui.painter(),
        left,
        egui::Align2::LEFT_CENTER,
        name,
        text::body_font(),
        t.text,
        right - left.x - aside_width,
    );
    if !aside.is_empty() {
        let at = egui::pos2(taken.right() + 8.0, y + 0.5);
        let color = if mark == Tone::AtRisk || mark == Tone::Failed { t.tone(mark) } else { t.label };
        text::paint(ui.painter(), at, egui::Align2::LEFT_CENTER, aside, text::mono_font(10.5), color, right - at.x);
    }
    crate::widgets::focus_ring(ui, &response, 4);
    let hint = response.on_hover_text(name);
    hint.clicked()
}

/// The heads over the three figures.
fn heads(ui: &mut Ui, words: &str) {
    let t = tokens(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 20.0), Sense::hover());
    let y = rect.center().y;
    ui.painter().text(egui::pos2(rect.left(), y), egui::Align2::LEFT_CENTER, words, text::section_font(), t.text);
    for (head, from_right) in [("p95", 0.0), ("errors", 72.0), ("rate", 122.0)] {
        let at = egui::pos2(rect.right() - from_right, y);
        ui.painter().text(at, egui::Align2::RIGHT_CENTER, head, text::label_font(), t.label);
    }
}

fn instances(ui: &mut Ui, node: &Node) {
    heads(ui, &format::plural(node.instances.len() as u64, "instance"));
    let mut list: Vec<(&InstanceStats, Tone)> =
        node.instances.iter().map(|i| (i, standing(i, &node.instances))).collect();
    list.sort_by_key(|(i, tone)| (std::cmp::Reverse(super::merge::rank(*tone)), i.instance.clone()));
    for (instance, tone) in list.iter().take(MOST) {
        row(ui, &instance.instance, &instance.version, &instance.stats, *tone, false);
    }
    if list.len() > MOST {
        text::note(ui, format!("and {} more; Fleet has all", list.len() - MOST));
    }
    if let Some(words) = contrast(&node.instances) {
        ui.add_space(4.0);
        text::wrapped(ui, words, text::secondary_font(), tokens(ui).tone(Tone::AtRisk));
    }
}

/// How an instance stands out among its sisters: it fails, or is slow, where they are not.
fn standing(one: &InstanceStats, all: &[InstanceStats]) -> Tone {
    let mut others = Stats::default();
    all.iter().filter(|o| o.instance != one.instance).for_each(|o| others.merge(&o.stats));
    let (ratio, rest) = (one.stats.error_ratio(), others.error_ratio());
    let p95 = |s: &Stats| s.quantile(0.95).map_or(0.0, |d| d.as_secs_f64());
    let slow =
        others.calls > 20 && one.stats.calls > 20 && p95(&one.stats) > 2.0 * p95(&others) && p95(&one.stats) > 0.005;
    match ratio {
        _ if one.stats.calls == 0 => Tone::Neutral,
        r if r >= 0.1 && r > 2.0 * rest => Tone::Failed,
        r if r >= 0.1 => Tone::Failed,
        r if r >= 0.01 && r > 2.0 * rest => Tone::AtRisk,
        _ if slow => Tone::AtRisk,
        r if r >= 0.01 => Tone::AtRisk,
        _ => Tone::Well,
    }
}

/// The sentence about a release or an instance that is worse than the others; `None` when they are alike.
fn contrast(all: &[InstanceStats]) -> Option<String> {
    let by = |key: &dyn Fn(&InstanceStats) -> &str| {
        let mut groups: std::collections::BTreeMap<String, Stats> = std::collections::BTreeMap::new();
        all.iter().for_each(|i| groups.entry(key(i).to_owned()).or_default().merge(&i.stats));
        groups
    };
    let worse = |groups: &std::collections::BTreeMap<String, Stats>| {
        let (name, bad) = groups.iter().max_by(|a, b| a.1.error_ratio().total_cmp(&b.1.error_ratio()))?;
        let mut rest = Stats::default();
        groups.iter().filter(|(n, _)| *n != name).for_each(|(_, s)| rest.merge(s));
        let clear = rest.calls > 20
            && bad.calls > 20
            && bad.error_ratio() >= 0.02
            && bad.error_ratio() > 3.0 * rest.error_ratio();
        clear.then(|| (name.clone(), bad.error_ratio(), rest.error_ratio()))
    };
    let say = |what: String, bad: f64, rest: f64| {
        format!("{what} fails {} of its calls, the others {}.", format::percent(bad), format::percent(rest))
    };
    let versions = by(&|i| i.version.as_str());
    if let Some((version, bad, rest)) = worse(&versions) {
        return Some(say(format!("Version {version}"), bad, rest));
    }
    worse(&by(&|i| i.instance.as_str())).map(|(instance, bad, rest)| say(instance, bad, rest))
}

fn operations(ui: &mut Ui, node: &Node, commands: &mut Commands) {
    heads(ui, &format::plural(node.operations.len() as u64, "operation"));
    let mut list: Vec<_> = node.operations.iter().collect();
    list.sort_by_key(|o| std::cmp::Reverse(o.stats.calls));
    for o in list.iter().take(MOST) {
        if row(ui, &o.operation, "", &o.stats, tone(o.stats.error_ratio()).unwrap_or(Tone::Well), true) {
            let query = TraceQuery {
                service: Some(node.name.clone()),
                operation: Some(o.operation.clone()),
                ..TraceQuery::default()
            };
            commands.push(Command::FilterTraces(query));
            commands.push(Command::Go(View::Traces));
        }
    }
    if list.len() > MOST {
        text::note(ui, format!("and {} more", list.len() - MOST));
    }
}

fn callers<'a>(board: &'a Board, name: &str) -> Vec<&'a Edge> {
    board.edges.iter().filter(|e| e.key.callee == name && e.key.caller != name).collect()
}

fn callees<'a>(board: &'a Board, name: &str) -> Vec<&'a Edge> {
    board.edges.iter().filter(|e| e.key.caller == name && e.key.callee != name).collect()
}

fn edges(ui: &mut Ui, head: &str, calls: &[&Edge], me: &str, commands: &mut Commands) {
    heads(ui, head);
    let mut list = calls.to_vec();
    list.sort_by_key(|e| std::cmp::Reverse(e.stats.calls));
    for edge in list.iter().take(MOST) {
        let other = if edge.key.caller == me { &edge.key.callee } else { &edge.key.caller };
        let operation = super::scene::short_operation(&edge.key.operation);
        if row(ui, other, &operation, &edge.stats, tone(edge.stats.error_ratio()).unwrap_or(Tone::Well), true) {
            commands.push(Command::SelectEdge(Some(edge.key.clone())));
        }
    }
    if list.len() > MOST {
        text::note(ui, format!("and {} more", list.len() - MOST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str, version: &str, calls: u64, errors: u64) -> InstanceStats {
        let stats = Stats { seconds: 60.0, calls, errors, ..Stats::default() };
        InstanceStats { instance: name.to_owned(), version: version.to_owned(), stats }
    }

    #[test]
    fn a_bad_release_is_named() {
        let all = [instance("a", "1.0", 100, 0), instance("b", "1.0", 100, 1), instance("c", "1.1", 100, 30)];
        assert_eq!(contrast(&all).as_deref(), Some("Version 1.1 fails 30% of its calls, the others 0.5%."));
        assert_eq!(standing(&all[2], &all), Tone::Failed);
    }

    #[test]
    fn a_bad_instance_of_the_same_release_is_named() {
        let all = [instance("a", "1.0", 100, 0), instance("b", "1.0", 100, 25)];
        assert_eq!(contrast(&all).as_deref(), Some("b fails 25% of its calls, the others 0%."));
    }

    #[test]
    fn alike_says_nothing() {
        assert_eq!(contrast(&[instance("a", "1.0", 100, 20), instance("b", "1.1", 100, 22)]), None);
        assert_eq!(contrast(&[instance("a", "1.0", 100, 50)]), None);
    }
}
