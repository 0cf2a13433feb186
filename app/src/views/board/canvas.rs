//! The graph as a place to point at: pan, zoom, choose, flip.

use std::collections::HashMap;
use std::sync::Arc;

use egui::{EventFilter, Id, Key, Pos2, Rect, Response, Role, Sense, Ui, Vec2, WidgetInfo, vec2};
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::lint::LintSeverity;

use super::ink::{self, Ink, Look, kind_words};
use super::merge::Link;
use super::scene::Scene;
use super::{State, switches};
use crate::command::{Command, Commands};
use crate::model::{Model, Selection};
use crate::views::findings;
use crate::widgets::pill::paint_dot_sized;
use crate::widgets::{focus_ring, format, text, tokens};

/// With more boxes in sight than this only what is under the pointer or chosen is a widget of its own; the table has them
/// all.
const MANY: usize = 250;
/// Below this zoom cards are marks without words.
const AFAR: f32 = 0.3;
/// With more links in sight than this they are painted as one mesh.
const MANY_LINKS: usize = 700;

/// Paints the graph into `canvas` and takes what the person does there.
pub(crate) fn show(
    ui: &mut Ui,
    canvas: Rect,
    model: &Model,
    state: &mut State,
    scene: &Arc<Scene>,
    commands: &mut Commands,
) {
    let id = ui.scope_id().with("graph");
    let background = ui.interact(canvas, id, Sense::click_and_drag());
    background.widget_info(|| {
        let words = format!(
            "call graph, {}, {}",
            format::plural(scene.merged.boxes.len() as u64, "node"),
            format::plural(scene.merged.links.len() as u64, "link")
        );
        WidgetInfo::labeled(Role::Group, true, words)
    });
    move_camera(ui, canvas, &background, state);
    if state.camera.fits
        && let Some(bounds) = scene.course.bounds
    {
        state.camera.fit(bounds, canvas.size(), scene.zoom);
    }
    let ui = &mut ui.new_child(egui::UiBuilder::new().max_rect(canvas));
    ui.set_clip_rect(canvas.intersect(ui.clip_rect()));
    let pointer = background.hover_pos();
    let view = View { canvas, scene, selection: &model.selection, found: findings::worst(model), pointer };
    let hovered = if background.dragged() { Hit::Nothing } else { view.hit(state) };
    if view.is_afar(state) || scene.merged.links.len() > MANY_LINKS {
        let mesh = state.afar.mesh(scene, state.camera, canvas, tokens(ui), view.is_afar(state));
        ui.painter().add(egui::Shape::Mesh(mesh));
    }
    view.paint_links(ui, state, &hovered, commands);
    view.paint_cards(ui, state, &hovered, id, commands);
    if !view.is_afar(state) {
        switches::show(ui, canvas, model, state.camera, scene, commands);
    }
    if background.clicked() {
        match hovered {
            Hit::Link(i) => view.choose_link(i, commands),
            Hit::Card(i) => commands.push(Command::SelectService(scene.merged.boxes.get(i).map(|b| b.name.clone()))),
            Hit::Nothing => commands.push(Command::SelectEdge(None)),
        }
        background.request_focus();
    }
    if background.double_clicked() {
        state.camera.fits = true;
    }
    view.keys(ui, &background, state, commands);
    focus_ring(ui, &background, 0);
    view.tell(state, &background, hovered);
}

fn move_camera(ui: &Ui, canvas: Rect, background: &Response, state: &mut State) {
    state.camera.pan(background.drag_delta());
    if let Some(pointer) = background.hover_pos() {
        let (zoom, scroll, shift) = ui.input(|i| (i.zoom_delta(), i.smooth_scroll_delta(), i.modifiers.shift));
        let at = pointer - canvas.min;
        if zoom != 1.0 {
            state.camera.zoom_at(at, zoom);
        } else if shift {
            state.camera.pan(scroll);
        } else if scroll.y != 0.0 {
            state.camera.zoom_at(at, (scroll.y * 0.0025).exp());
            state.camera.pan(vec2(scroll.x, 0.0));
        }
    }
    if ui.input(|i| i.pointer.any_down()) || background.hovered() {
        // A press in the canvas keeps the focus that its own widgets ask for.
        background.ctx.set_cursor_icon(if background.dragged() {
            egui::CursorIcon::Grabbing
        } else {
            egui::CursorIcon::Default
        });
    }
}

/// What is under the pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hit {
    Nothing,
    Card(usize),
    Link(usize),
}

struct View<'a> {
    canvas: Rect,
    scene: &'a Arc<Scene>,
    selection: &'a Selection,
    /// What the linter finds on edges.
    found: HashMap<&'a EdgeKey, LintSeverity>,
    pointer: Option<Pos2>,
}

impl View<'_> {
    fn ink<'b>(&self, ui: &'b Ui, state: &State) -> Ink<'b> {
        Ink { painter: ui.painter(), t: tokens(ui), canvas: self.canvas, camera: state.camera }
    }

    /// Whether everything is too small for cards of its own.
    fn is_afar(&self, state: &State) -> bool {
        state.camera.zoom < AFAR
    }

    /// The card or link under the pointer; a link within six points of it.
    fn hit(&self, state: &State) -> Hit {
        let Some(pointer) = self.pointer else { return Hit::Nothing };
        let at = state.camera.to_board(self.canvas, pointer);
        let course = &self.scene.course;
        if let Some(i) = course.cards.iter().position(|c| c.contains(at)) {
            return Hit::Card(i);
        }
        if self.is_afar(state) && course.wires.len() > MANY_LINKS {
            // They lie too close to be meant.
            return Hit::Nothing;
        }
        let label = |i: &usize| {
            self.scene.labels[*i].is_some_and(|l| state.camera.zoom * self.scene.scale >= 0.62 && l.rect.contains(at))
        };
        if let Some(i) = (0..self.scene.labels.len()).find(label) {
            return Hit::Link(i);
        }
        let reach = 6.0 / state.camera.zoom;
        let near = course.wires.iter().enumerate().filter_map(|(i, w)| {
            w.bounds.expand(reach).contains(at).then(|| (i, distance(&w.points, at))).filter(|(_, d)| *d <= reach)
        });
        near.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(Hit::Nothing, |(i, _)| Hit::Link(i))
    }

    fn link_chosen(&self, link: &Link) -> bool {
        let Some(chosen) = &self.selection.edge else { return false };
        link.edges.iter().any(|e| self.scene.board.edges.get(*e as usize).is_some_and(|e| e.key == *chosen))
    }

    fn look(&self, i: usize, hovered: &Hit) -> Look {
        let link = &self.scene.merged.links[i];
        let faded = match hovered {
            Hit::Card(c) => link.from as usize != *c && link.to as usize != *c,
            Hit::Link(l) => *l != i,
            Hit::Nothing => false,
        };
        Look { chosen: self.link_chosen(link), hovered: *hovered == Hit::Link(i), faded }
    }

    fn paint_links(&self, ui: &Ui, state: &State, hovered: &Hit, commands: &mut Commands) {
        let ink = self.ink(ui, state);
        let (links, wires) = (&self.scene.merged.links, &self.scene.course.wires);
        if links.len() > MANY_LINKS {
            for (i, (link, wire)) in links.iter().zip(wires).enumerate() {
                let look = self.look(i, hovered);
                if look.chosen || look.hovered || matches!(hovered, Hit::Card(_)) && !look.faded {
                    ink.wire(link, wire, Look { hovered: true, ..look });
                }
            }
        } else if !self.is_afar(state) {
            // What is chosen lies on top.
            let mut order: Vec<usize> = (0..links.len()).collect();
            order.sort_by_key(|i| (self.look(*i, hovered).chosen, super::merge::rank(links[*i].tone())));
            for i in order {
                ink.wire(&links[i], &wires[i], self.look(i, hovered));
            }
        }
        let named = links.len() <= MANY_LINKS;
        for (i, link) in links.iter().enumerate() {
            let look = self.look(i, hovered);
            if self.is_afar(state) {
                continue;
            }
            if let Some(label) = &self.scene.labels[i] {
                ink.label(link, &self.scene.words[i], label, self.scene.scale, look);
            }
            self.paint_finding(&ink, state, i, look);
            if named || look.chosen {
                self.link_widget(ui, state, i, commands);
            }
        }
    }

    /// The worst that the linter finds on a link.
    fn finding(&self, i: usize) -> Option<LintSeverity> {
        if self.found.is_empty() {
            return None;
        }
        let edges = self.scene.merged.links[i].edges.iter();
        edges.filter_map(|e| self.found.get(&self.scene.board.edges.get(*e as usize)?.key)).max().copied()
    }

    /// A small mark at the corner of the label, or on the middle of a link without one.
    fn paint_finding(&self, ink: &Ink<'_>, state: &State, i: usize, look: Look) {
        let Some(tone) = self.finding(i).map(findings::tone) else { return };
        let Some(rect) = self.place(state, i) else { return };
        let at = if self.scene.labels[i].is_some() { rect.right_top() } else { rect.center() };
        let color = ink.t.tone(tone).gamma_multiply(if look.faded { 0.3 } else { 1.0 });
        ink.painter.circle_filled(at, 6.0, ink.t.window);
        paint_dot_sized(ink.painter, at, 3.5, tone, color);
    }

    /// Where a link can be pointed at: its label, or its middle.
    fn place(&self, state: &State, i: usize) -> Option<Rect> {
        let wire = &self.scene.course.wires[i];
        let middle = || wire.points.get(wire.points.len() / 2).map(|p| Rect::from_center_size(*p, vec2(10.0, 10.0)));
        let place = self.scene.labels[i].map(|l| l.rect).or_else(middle)?;
        Some(state.camera.rect(self.canvas, place)).filter(|r| self.canvas.intersects(*r))
    }

    /// The label (or the middle of a link without one) as something that can be reached and named.
    fn link_widget(&self, ui: &Ui, state: &State, i: usize, commands: &mut Commands) {
        let Some(rect) = self.place(state, i) else { return };
        let link = &self.scene.merged.links[i];
        let Some(key) = link.key(&self.scene.board) else { return };
        let response = ui.interact(rect, link_id(ui, key, link.edges.len()), Sense::click());
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, self.link_chosen(link), self.link_name(i)));
        focus_ring(ui, &response, 4);
        if response.clicked() {
            self.choose_link(i, commands);
        }
        if response.double_clicked() {
            super::open_traces(key, commands);
        }
        if response.hovered() {
            ui.set_cursor_icon(egui::CursorIcon::PointingHand);
        }
    }

    fn link_name(&self, i: usize) -> String {
        let (link, words) = (&self.scene.merged.links[i], &self.scene.words[i]);
        let pair = pair_name(self.scene, link);
        let operation = if words.operation.is_empty() { String::new() } else { format!(" {}", words.operation) };
        let errors = if words.errors.is_empty() { String::new() } else { format!(", {} errors", words.errors) };
        let limit = if words.limit.is_empty() { String::new() } else { format!(" of {}", words.limit) };
        let p95 = if words.p95.is_empty() { String::new() } else { format!(", {}{limit}", words.p95) };
        let found = self.finding(i).map(|s| format!(", the linter's {}", s.as_str())).unwrap_or_default();
        format!("{pair}{operation}, {}{errors}{p95}{found}", words.rate)
    }

    fn choose_link(&self, i: usize, commands: &mut Commands) {
        if let Some(link) = self.scene.merged.links.get(i) {
            commands.push(Command::SelectEdge(link.key(&self.scene.board).cloned()));
        }
    }

    fn paint_cards(&self, ui: &Ui, state: &State, hovered: &Hit, canvas_id: Id, commands: &mut Commands) {
        let ink = self.ink(ui, state);
        let scene = self.scene;
        let seen: Vec<usize> = (0..scene.course.cards.len())
            .filter(|i| state.camera.rect(self.canvas, scene.course.cards[*i]).intersects(self.canvas))
            .collect();
        let many = seen.len() > MANY;
        for i in seen {
            let b = &scene.merged.boxes[i];
            let rect = state.camera.rect(self.canvas, scene.course.cards[i]);
            let chosen = self.selection.service.as_deref() == Some(b.name.as_str());
            let look = Look { chosen, hovered: *hovered == Hit::Card(i), faded: false };
            if self.is_afar(state) && !look.chosen && !look.hovered {
                continue;
            }
            ink.card(b, rect, &scene.board, scene.key.grouping, look);
            if many && !chosen {
                continue;
            }
            let response = ui.interact(rect, canvas_id.with(("card", b.name.as_str())), Sense::click());
            response.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, self.card_name(i)));
            focus_ring(ui, &response, 8);
            if response.clicked() {
                response.request_focus();
                commands.push(Command::SelectService(Some(b.name.clone())));
            }
            if response.double_clicked() {
                commands.push(Command::SelectService(Some(b.name.clone())));
                commands.push(Command::FilterTraces(fuseboard_api::trace::TraceQuery {
                    service: Some(b.name.clone()),
                    ..Default::default()
                }));
                commands.push(Command::Go(crate::model::View::Traces));
            }
            if response.hovered() {
                ui.set_cursor_icon(egui::CursorIcon::PointingHand);
            }
        }
    }

    fn card_name(&self, i: usize) -> String {
        let b = &self.scene.merged.boxes[i];
        let node = b.node.and_then(|n| self.scene.board.nodes.get(n as usize));
        let what = match (b.kind, node) {
            (fuseboard_api::graph::NodeKind::Service, Some(n)) => format::plural(n.instances.len() as u64, "instance"),
            (kind, n) => kind_words(kind, n.map_or("", |n| n.system.as_str())),
        };
        let errors = node.map_or(0.0, |n| n.stats.error_ratio());
        let errors = if errors >= 0.001 { format!(", {} errors", format::percent(errors)) } else { String::new() };
        format!("{}, {what}{errors}", b.name)
    }

    /// Arrow keys go to the next box in their direction, plus and minus zoom.
    fn keys(&self, ui: &Ui, background: &Response, state: &mut State, commands: &mut Commands) {
        let focused = ui.memory(egui::Memory::focused);
        let card_focused =
            self.scene.merged.boxes.iter().any(|b| focused == Some(background.id.with(("card", b.name.as_str()))));
        if !background.has_focus() && !card_focused {
            return;
        }
        if let Some(id) = focused {
            let lock = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
            ui.memory_mut(|m| m.set_focus_lock_filter(id, lock));
        }
        let ways = [
            (Key::ArrowRight, vec2(1.0, 0.0)),
            (Key::ArrowLeft, vec2(-1.0, 0.0)),
            (Key::ArrowDown, vec2(0.0, 1.0)),
            (Key::ArrowUp, vec2(0.0, -1.0)),
        ];
        for (key, way) in ways {
            if ui.input(|i| i.key_pressed(key) && i.modifiers.is_none())
                && let Some(i) = self.next(way)
            {
                let name = &self.scene.merged.boxes[i].name;
                commands.push(Command::SelectService(Some(name.clone())));
                ui.memory_mut(|m| m.request_focus(background.id.with(("card", name.as_str()))));
                if !state.camera.fits {
                    state.camera.reveal(self.scene.course.cards[i], self.canvas.size());
                }
            }
        }
        for (key, factor) in [(Key::Plus, 1.2), (Key::Equals, 1.2), (Key::Minus, 1.0 / 1.2)] {
            if ui.input(|i| i.key_pressed(key) && i.modifiers.is_none()) {
                state.camera.zoom_at(self.canvas.size() / 2.0, factor);
            }
        }
    }

    /// The box to go to from the chosen one: the nearest in a cone of a right angle.
    fn next(&self, way: Vec2) -> Option<usize> {
        let scene = self.scene;
        let from = self.selection.service.as_ref().and_then(|s| scene.merged.boxes.iter().position(|b| b.name == *s));
        let Some(from) = from else { return (!scene.merged.boxes.is_empty()).then_some(0) };
        let here = scene.course.cards[from].center();
        let ahead = scene.course.cards.iter().enumerate().filter_map(|(i, c)| {
            let d = c.center() - here;
            let along = d.dot(way);
            let aside = (d - way * along).length();
            (i != from && along > 1.0 && aside <= along * 1.6).then_some((i, along + aside * 1.5))
        });
        ahead.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i)
    }

    /// What is under the pointer, in words: a link, or a card that is too small to say it.
    fn tell(&self, state: &State, background: &Response, hovered: Hit) {
        let Some(pointer) = self.pointer else { return };
        let small = state.camera.zoom < ink::NEAR;
        let place = egui::PopupAnchor::Position(pointer + vec2(14.0, 14.0));
        let id = background.id.with("tell");
        let tip = || egui::Tooltip::always_open(background.ctx.clone(), background.layer_id, id, place);
        match hovered {
            Hit::Link(i) => _ = tip().show(|ui| self.tell_link(ui, i)),
            Hit::Card(i) if small => _ = tip().show(|ui| text::body(ui, self.card_name(i))),
            Hit::Card(_) | Hit::Nothing => {}
        }
    }

    fn tell_link(&self, ui: &mut Ui, i: usize) {
        let (link, board) = (&self.scene.merged.links[i], &self.scene.board);
        text::body(ui, pair_name(self.scene, link));
        for e in link.edges.iter().take(6).filter_map(|e| board.edges.get(*e as usize)) {
            let p95 = e.stats.quantile(0.95).map(|d| format!(" · p95 {}", format::latency(d))).unwrap_or_default();
            let errors = format::percent(e.stats.error_ratio());
            let rate = format::rate(e.stats.rate());
            text::note(ui, format!("{} · {rate} · {errors} errors{p95}", e.key.operation));
        }
        if link.edges.len() > 6 {
            text::note(ui, format!("and {} more", link.edges.len() - 6));
        }
    }
}

fn link_id(ui: &Ui, key: &EdgeKey, edges: usize) -> Id {
    ui.scope_id().with((
        "link",
        key.caller.as_str(),
        key.callee.as_str(),
        if edges == 1 { key.operation.as_str() } else { "" },
    ))
}

/// `orders → payments`.
pub(crate) fn pair_name(scene: &Scene, link: &Link) -> String {
    let name = |i: u32| scene.merged.boxes.get(i as usize).map_or("", |b| b.name.as_str());
    format!("{} → {}", name(link.from), name(link.to))
}

fn distance(points: &[Pos2], p: Pos2) -> f32 {
    let to_piece = |a: Pos2, b: Pos2| {
        let d = b - a;
        let t = ((p - a).dot(d) / d.length_sq().max(f32::EPSILON)).clamp(0.0, 1.0);
        (a + d * t).distance(p)
    };
    points.windows(2).map(|w| to_piece(w[0], w[1])).fold(f32::INFINITY, f32::min)
}
