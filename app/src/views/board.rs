//! The board: the live call graph. Services with their rates, errors and latencies; links with the timeout that limits them
//! and the breaker that guards them, as a switch at the caller's end.
//!
//! A picture becomes a [`scene`] (what is shown, where, with which words) once; each frame then only paints it at the
//! [`camera`]'s place. Large scenes are made beside the frame by a [`maker`].

mod afar;
mod camera;
mod canvas;
mod compare;
mod edge;
mod head;
mod ink;
mod labels;
mod layout;
mod maker;
mod merge;
mod minimap;
mod scene;
mod service;
mod start;
mod switches;
mod table;
mod wires;

use std::sync::Arc;

use egui::{Key, Rect, Ui, vec2};
use fuseboard_api::breaker::BreakerMode;
use fuseboard_api::change::{ChangeState, OverrideAction, OverrideSpec};
use fuseboard_api::command::Action;
use fuseboard_api::graph::EdgeKey;
use fuseboard_api::trace::TraceQuery;

use crate::command::{Command, Commands};
use crate::model::{Model, PendingState, View};
use crate::views::rollout;
use crate::widgets::{banner, space, tokens};
use camera::Camera;
use merge::Grouping;
use scene::{Focus, Source};

/// Whether the graph, its table, or both are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shown {
    /// The graph.
    #[default]
    Graph,
    /// The graph over the table.
    Both,
    /// The table.
    Table,
}

/// What this view keeps between two frames.
#[derive(Debug, Default)]
pub(crate) struct State {
    camera: Camera,
    grouping: Grouping,
    shown: Shown,
    text: String,
    only_changed: bool,
    /// How many calls from the selection are shown; 0 shows all.
    hops: u32,
    laid_out: u32,
    maker: maker::Maker,
    table: table::State,
    edge: edge::State,
    afar: afar::Afar,
}

/// Paints the view.
pub(crate) fn show(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    crate::widgets::view(ui, |ui| {
        head::show(ui, model, state, commands);
        let slot = &model.slots.board;
        let Some(board) = slot.value.clone() else {
            return start::without_picture(ui, model, commands);
        };
        if board.nodes.is_empty() && board.edges.is_empty() {
            return start::nothing_here(ui, commands);
        }
        if let Some(headline) = &board.headline
            && banner::banner(ui, headline.severity.into(), &headline.text, Some("Show suspects"))
        {
            commands.push(Command::Go(View::Incidents));
        }
        rollout::strip(ui, model, commands);
        keys(ui, state);
        let area = ui.available_rect_before_wrap();
        let (graph, below) = split(area, state.shown);
        if let Some(graph) = graph {
            the_graph(ui, graph, model, state, &board, commands);
        }
        if let Some(below) = below {
            ui.scope_builder(egui::UiBuilder::new().max_rect(below), |ui| {
                table::show(ui, model, &board, state.grouping, &state.text, &mut state.table, commands);
            });
        }
        ui.allocate_rect(area, egui::Sense::hover());
    });
}

/// Paints what stands beside it.
pub(crate) fn inspector(ui: &mut Ui, model: &Model, state: &mut State, commands: &mut Commands) {
    let selection = &model.selection;
    if let Some(key) = &selection.edge {
        edge::show(ui, model, key, &mut state.edge, commands);
    } else if let Some(name) = &selection.service {
        service::show(ui, model, name, commands);
    }
}

/// Whether there is something for the inspector to say.
pub(crate) fn has_inspector(model: &Model, _state: &State) -> bool {
    model.selection.edge.is_some() || model.selection.service.is_some()
}

fn keys(ui: &Ui, state: &mut State) {
    if ui.text_edit_focused() {
        return;
    }
    ui.input(|i| {
        if i.modifiers.any() {
            return;
        }
        if i.key_pressed(Key::G) {
            state.shown = match state.shown {
                Shown::Graph => Shown::Both,
                Shown::Both => Shown::Table,
                Shown::Table => Shown::Graph,
            };
        }
        if i.key_pressed(Key::F) {
            state.camera.fits = true;
        }
    });
}

/// The room of the graph and of the table.
fn split(area: Rect, shown: Shown) -> (Option<Rect>, Option<Rect>) {
    match shown {
        Shown::Graph => (Some(area), None),
        Shown::Table => (None, Some(area)),
        Shown::Both => {
            let y = area.top() + area.height() * 0.58;
            (Some(area.with_max_y(y - 6.0)), Some(area.with_min_y(y + 6.0)))
        }
    }
}

fn the_graph(
    ui: &mut Ui,
    area: Rect,
    model: &Model,
    state: &mut State,
    board: &Arc<fuseboard_api::graph::Board>,
    commands: &mut Commands,
) {
    const FOOT: f32 = 30.0;
    let canvas = area.with_max_y(area.bottom() - FOOT);
    let source = source(model, state, board, canvas);
    let Some(scene) = state.maker.scene(ui.ctx(), source) else {
        ui.scope_builder(egui::UiBuilder::new().max_rect(canvas), |ui| {
            banner::empty(
                ui,
                "Laying out the graph",
                "A picture this large is laid out beside the frame; it is here in a moment.",
                |_| {},
            );
        });
        return;
    };
    canvas::show(ui, canvas, model, state, &scene, commands);
    if scene.merged.boxes.is_empty() {
        ui.scope_builder(egui::UiBuilder::new().max_rect(canvas), |ui| {
            banner::empty(
                ui,
                "Nothing fits the filter",
                "No link has this text, or nothing changed against the earlier range.",
                |ui| {
                    if crate::widgets::button::button(ui, "Show everything").clicked() {
                        state.text.clear();
                        state.only_changed = false;
                        state.hops = 0;
                    }
                },
            );
        });
    }
    let size = vec2(132.0, 76.0);
    let corner = Rect::from_min_size(canvas.left_bottom() - vec2(0.0, size.y), size);
    let covers = |r: &Rect| state.camera.rect(canvas, *r).intersects(corner.expand(6.0));
    let crowded = scene.course.cards.iter().any(covers) || scene.labels.iter().flatten().any(|l| covers(&l.rect));
    let enough = scene.merged.boxes.len() > 3;
    if enough && canvas.height() > 260.0 && canvas.width() > 420.0 && (!crowded || !state.camera.fits) {
        minimap::show(ui, corner, canvas, state, &scene);
    }
    let slot = &model.slots.board;
    if slot.stale || slot.error.is_some() {
        let note = Rect::from_min_size(canvas.left_top() + vec2(0.0, 2.0), vec2(canvas.width(), 24.0));
        ui.scope_builder(egui::UiBuilder::new().max_rect(note), |ui| banner::stale(ui, slot.error.as_deref()));
    }
    let foot = Rect::from_min_max(canvas.left_bottom() + vec2(0.0, 6.0), area.right_bottom());
    ui.painter().hline(foot.x_range(), canvas.bottom() + 3.0, egui::Stroke::new(1.0, tokens(ui).line));
    ui.scope_builder(egui::UiBuilder::new().max_rect(foot), |ui| head::foot(ui, model, state, &scene, canvas));
    ui.spacing_mut().item_spacing.y = space::NEAR;
}

fn source(model: &Model, state: &State, board: &Arc<fuseboard_api::graph::Board>, canvas: Rect) -> Source {
    let compared = model.filters.board_before.and(model.slots.board_before.value.clone());
    let middle = match (&model.selection.edge, &model.selection.service) {
        (Some(edge), _) => vec![edge.caller.clone(), edge.callee.clone()],
        (None, Some(service)) => vec![service.clone()],
        (None, None) => Vec::new(),
    };
    let focus = (state.hops > 0 && !middle.is_empty()).then_some(Focus { middle, hops: state.hops });
    let room = (canvas.size() - vec2(24.0, 28.0)).max(vec2(80.0, 80.0));
    let key = scene::Key {
        version: model.slots.board.version,
        before: compared.is_some().then_some(model.slots.board_before.version),
        grouping: state.grouping,
        text: state.text.trim().to_lowercase(),
        only_changed: state.only_changed,
        focus,
        room: state.camera.fits.then_some(room.round()),
        laid_out: state.laid_out,
    };
    Source { key, board: board.clone(), before: compared }
}

/// The mode that somebody asked for on an edge's breaker and that not every instance has acknowledged.
fn requested(model: &Model, key: &EdgeKey) -> Option<BreakerMode> {
    let fits = |spec: &OverrideSpec| match spec.action {
        OverrideAction::Mode(mode) => {
            let s = &spec.selector;
            let same = |want: &Option<String>, have: &str| want.as_deref().is_none_or(|w| w == have);
            (same(&s.caller, &key.caller) && same(&s.service, &key.callee) && same(&s.operation, &key.operation))
                .then_some(mode)
        }
        OverrideAction::Timeout { .. } | OverrideAction::Fault(_) => None,
    };
    let told = model.slots.changes.get().map_or(&[][..], |c| c.overrides.as_slice());
    let known = |id: u64| told.iter().any(|c| c.id == id);
    let sent = model.pending.iter().rev().filter_map(|p| match (&p.action, &p.state) {
        (Action::SetOverride { spec, .. }, PendingState::Sending) => fits(spec),
        (Action::SetOverride { spec, .. }, PendingState::Requested(r)) if !r.override_id.is_some_and(known) => {
            fits(spec)
        }
        _ => None,
    });
    let open = told.iter().filter(|c| c.state == ChangeState::Requested);
    let open = open.filter_map(|c| c.override_spec.as_ref().and_then(fits));
    sent.chain(open).next()
}

/// The traces with a call over an edge.
fn open_traces(key: &EdgeKey, commands: &mut Commands) {
    let edge = Some((key.caller.clone(), key.callee.clone()));
    commands.push(Command::FilterTraces(TraceQuery { edge, ..TraceQuery::default() }));
    commands.push(Command::Go(View::Traces));
}
