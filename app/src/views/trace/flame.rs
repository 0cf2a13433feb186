//! The flame graph: time across, callers over what they called. Spans that overlap share a depth's lanes.

use egui::{Align2, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};

use super::built::Built;
use super::ending::{on_bar, title, tone};
use super::palette::ON_BAR;
use super::strips::{self, Scale};
use super::{State as View, palette};
use crate::command::{Command, Commands};
use crate::model::Model;
use crate::widgets::theme::mix;
use crate::widgets::{Tone, format, text, tokens};

const LANE: f32 = 20.0;

/// Lanes, for as long as the trace is the same.
#[derive(Debug, Default)]
pub(crate) struct State {
    lanes: Option<(usize, u64, Vec<Vec<u32>>)>,
}

/// For each lane its spans by begin. A span lies under its parent, in the first lane that is free then.
fn lanes(built: &Built) -> Vec<Vec<u32>> {
    let mut lane_of = vec![0_u32; built.times.len()];
    let mut lanes: Vec<Vec<u32>> = Vec::new();
    let mut ends: Vec<i64> = Vec::new();
    let mut order = built.tree.order.clone();
    let mut place = vec![0_u32; order.len()];
    order.iter().zip(0..).for_each(|(i, p)| place[*i as usize] = p);
    // By begin, parents before their children.
    order.sort_by_key(|i| (built.times[*i as usize].0, place[*i as usize]));
    for i in order {
        let (begin, end) = built.times[i as usize];
        let mut lane = built.tree.parent(i).map_or(0, |p| lane_of[p as usize] + 1) as usize;
        while ends.get(lane).is_some_and(|e| *e > begin) {
            lane += 1;
        }
        if lanes.len() <= lane {
            lanes.resize(lane + 1, Vec::new());
            ends.resize(lane + 1, i64::MIN);
        }
        lanes[lane].push(i);
        ends[lane] = ends[lane].max(end);
        lane_of[i as usize] = lane as u32;
    }
    lanes
}

/// Paints it.
pub(crate) fn show(ui: &mut Ui, model: &Model, built: &Built, state: &mut View, commands: &mut Commands) {
    let colors = palette::colors(&built.services);
    let map = Rect::from_min_size(ui.available_rect_before_wrap().min, vec2(ui.available_width(), 36.0));
    ui.allocate_rect(map, Sense::hover());
    strips::minimap(ui, map, built, &colors, state);
    let (from, to) = state.stretch.unwrap_or((0, built.length.max(1)));
    let scale = Scale { left: map.left(), right: map.right(), from, to };
    let axis = Rect::from_min_size(map.left_bottom() + vec2(0.0, 2.0), vec2(map.width(), 20.0));
    ui.allocate_rect(axis, Sense::hover());
    strips::axis(ui, axis, axis, &scale);
    let known = (built.times.len(), built.version);
    let made = match state.flame.lanes.take() {
        Some((n, version, lanes)) if (n, version) == known => lanes,
        _ => lanes(built),
    };
    let chosen = state.chosen(model, built);
    egui::ScrollArea::vertical().id_salt("flame").auto_shrink(false).show_viewport(ui, |ui, seen| {
        let height = made.len() as f32 * LANE;
        let (rect, background) =
            ui.allocate_exact_size(vec2(ui.available_width(), height.max(seen.height())), Sense::hover());
        background.widget_info(|| WidgetInfo::labeled(Role::Group, true, format!("flame graph, {} deep", made.len())));
        let first = (seen.top() / LANE).floor().max(0.0) as usize;
        let last = ((seen.bottom() / LANE).ceil() as usize).min(made.len());
        for (i, lane) in made.iter().enumerate().take(last).skip(first) {
            let top = rect.top() + i as f32 * LANE;
            let row = Rect::from_min_max(pos2(rect.left(), top), pos2(rect.right(), top + LANE - 1.0));
            paint_lane(ui, row, lane, built, &colors, &scale, chosen, state, commands);
        }
    });
    state.flame.lanes = Some((known.0, known.1, made));
}

#[expect(clippy::too_many_arguments, reason = "one lane needs everything that all lanes share")]
fn paint_lane(
    ui: &Ui,
    row: Rect,
    lane: &[u32],
    built: &Built,
    colors: &[egui::Color32],
    scale: &Scale,
    chosen: Option<u32>,
    state: &mut View,
    commands: &mut Commands,
) {
    let t = tokens(ui);
    let painter = ui.painter().with_clip_rect(row.expand(1.0).intersect(ui.clip_rect()));
    // A lane's spans do not overlap, so what is left of the stretch can be passed over at once.
    let first = lane.partition_point(|i| built.times[*i as usize].1 < scale.from);
    let mut filled = f32::NEG_INFINITY;
    for i in lane[first..].iter().take_while(|i| built.times[**i as usize].0 <= scale.to) {
        let (begin, end) = built.times[*i as usize];
        let (x0, x1) = (scale.x(begin).max(row.left()), scale.x(end).min(row.right()));
        if x1 < filled + 0.5 {
            continue;
        }
        filled = x1.max(x0 + 0.5);
        let bar = Rect::from_min_max(pos2(x0, row.top()), pos2(filled, row.bottom()));
        let color = colors.get(usize::from(built.service_of[*i as usize])).copied().unwrap_or(t.label);
        let faded = state.find.is_on() && !state.find.has(*i, built);
        painter.rect_filled(bar, 2, if faded { mix(t.window, color, 0.3) } else { color });
        let bad = tone(built.facts[*i as usize].end);
        if bad != Tone::Well {
            painter.rect_filled(bar.with_min_y(bar.bottom() - 3.0), 0, t.tone(bad));
        }
        if chosen == Some(*i) {
            painter.rect_stroke(bar, 2, Stroke::new(2.0, t.text), StrokeKind::Inside);
        }
        if bar.width() > 40.0 {
            let words = format!("{} {}", built.service(*i), title(built, *i));
            text::paint(
                &painter,
                bar.left_center() + vec2(6.0, 0.0),
                Align2::LEFT_CENTER,
                words,
                text::medium(11.0),
                ON_BAR,
                bar.width() - 10.0,
            );
        }
        if bar.width() >= 3.0 {
            let response = ui.interact(bar, ui.scope_id().with(("flame", *i)), Sense::click());
            response.widget_info(|| {
                WidgetInfo::selected(
                    Role::TreeItem,
                    true,
                    chosen == Some(*i),
                    format!("{} {}, {}", built.service(*i), title(built, *i), on_bar(built, *i)),
                )
            });
            if response.clicked()
                && let Some(span) = built.span(*i)
            {
                state.chosen = Some((span.span_id, *i));
                commands.push(Command::SelectSpan(Some(span.span_id)));
            }
            if response.double_clicked() {
                state.stretch = Some((begin, end.max(begin + 1)));
            }
            let own = format::nanos(built.self_time(*i).unsigned_abs());
            response.on_hover_text(format!(
                "{} {}\n{} · own {own}",
                built.service(*i),
                title(built, *i),
                on_bar(built, *i)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fuseboard_api::span::Span;
    use fuseboard_api::trace::Trace;
    use fuseboard_api::{SpanId, UnixNanos};

    use super::*;

    #[test]
    fn children_lie_under_their_parents_and_nothing_overlaps() {
        let id = |n: u8| SpanId([3, 0, 0, 0, 0, 0, 0, n]);
        let span = |n: u8, parent: u8, from: i64, to: i64| Span {
            span_id: id(n),
            parent: (parent > 0).then(|| id(parent)),
            start: UnixNanos(from),
            end: UnixNanos(to),
            ..Span::default()
        };
        let spans =
            vec![span(1, 0, 0, 100), span(2, 1, 10, 60), span(3, 1, 20, 80), span(4, 3, 30, 70), span(5, 1, 85, 95)];
        let built = Built::new(Arc::new(Trace { spans, ..Trace::default() }));
        assert_eq!(lanes(&built), [vec![0], vec![1, 4], vec![2], vec![3]]);
    }
}
