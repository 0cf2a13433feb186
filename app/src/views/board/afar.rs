//! A board with very many links, or seen from so far that words do not fit: links and cards as one mesh, kept for as long as
//! nothing moves.

use std::sync::Arc;

use egui::{Color32, Mesh, Pos2, Rect, Vec2, vec2};

use super::camera::Camera;
use super::merge::rank;
use super::scene::Scene;
use crate::model::bin;
use crate::widgets::theme::mix;
use crate::widgets::{Tokens, Tone};

/// Steps of a link shorter than this on the screen are left out, in points.
const STEP: f32 = 4.0;

/// The mesh, and what it was made for.
#[derive(Debug, Default)]
pub(crate) struct Afar {
    made: Option<(Arc<Scene>, Camera, Rect, bool, bool)>,
    mesh: Arc<Mesh>,
}

impl Afar {
    /// The mesh of all links, and of all cards when `cards` is set.
    pub(crate) fn mesh(
        &mut self,
        scene: &Arc<Scene>,
        camera: Camera,
        canvas: Rect,
        t: &Tokens,
        cards: bool,
    ) -> Arc<Mesh> {
        let fits = self.made.as_ref().is_some_and(|(s, c, r, dark, with)| {
            Arc::ptr_eq(s, scene) && *c == camera && *r == canvas && *dark == t.dark && *with == cards
        });
        if !fits {
            let mut mesh = Mesh::default();
            // About as large as the last one: growing step by step would copy it several times.
            mesh.vertices.reserve(self.mesh.vertices.len());
            mesh.indices.reserve(self.mesh.indices.len());
            paint(&mut mesh, scene, camera, canvas, t, cards);
            self.mesh = Arc::new(mesh);
            let old = self.made.replace((scene.clone(), camera, canvas, t.dark, cards));
            if let Some((old, ..)) = old.filter(|(old, ..)| !Arc::ptr_eq(old, scene)) {
                bin::discard(old);
            }
        }
        self.mesh.clone()
    }
}

fn paint(mesh: &mut Mesh, scene: &Scene, camera: Camera, canvas: Rect, t: &Tokens, cards: bool) {
    let view = canvas.expand(4.0);
    let links = &scene.merged.links;
    // The more there are, the quieter each: what failed must be seen through them.
    let quiet = (260.0 / links.len().max(1) as f32).sqrt().clamp(0.16, 0.6);
    let failed = links.iter().filter(|l| l.tone() == Tone::Failed).count();
    let loud = (120.0 / failed.max(1) as f32).sqrt().clamp(0.4, 0.85);
    let mut order: Vec<usize> = (0..links.len()).collect();
    order.sort_by_key(|i| rank(links[*i].tone()));
    for i in order {
        let (link, wire) = (&links[i], &scene.course.wires[i]);
        if !camera.rect(canvas, wire.bounds).intersects(view) {
            continue;
        }
        let (color, half) = match link.tone() {
            Tone::Failed => (t.failed.gamma_multiply(loud), 0.7),
            Tone::AtRisk => (t.at_risk.gamma_multiply(0.6), 0.6),
            Tone::Neutral => (t.line_strong.gamma_multiply(quiet), 0.5),
            _ if link.asynchronous => (t.accent.gamma_multiply(quiet), 0.5),
            tone => (t.tone(tone).gamma_multiply(quiet), 0.5),
        };
        thread(mesh, &wire.points, half, color, |p| camera.to_screen(canvas, p));
    }
    if cards {
        for (card, b) in scene.course.cards.iter().zip(&scene.merged.boxes) {
            let rect = camera.rect(canvas, *card);
            if rect.intersects(view) {
                let bad = matches!(b.tone, Tone::Failed | Tone::AtRisk);
                let fill = if bad { t.tone(b.tone) } else { mix(t.pressed, t.label, 0.55) };
                let least = vec2(rect.width().max(3.0), rect.height().max(2.0));
                mesh.add_colored_rect(Rect::from_center_size(rect.center(), least), fill);
            }
        }
    }
}

/// A line of two vertices a point.
fn thread(mesh: &mut Mesh, points: &[Pos2], half: f32, color: Color32, screen: impl Fn(Pos2) -> Pos2) {
    let Some((first, rest)) = points.split_first() else { return };
    let mut last = screen(*first);
    let mut begun = false;
    for (i, p) in rest.iter().enumerate() {
        let p = screen(*p);
        let way = p - last;
        if way.length() < STEP && i + 1 < rest.len() {
            continue;
        }
        let across = way.normalized().rot90() * half;
        if across.any_nan() || across == Vec2::ZERO {
            continue;
        }
        if !begun {
            mesh.colored_vertex(last + across, color);
            mesh.colored_vertex(last - across, color);
            begun = true;
        }
        let n = mesh.vertices.len() as u32;
        mesh.colored_vertex(p + across, color);
        mesh.colored_vertex(p - across, color);
        mesh.add_triangle(n - 2, n - 1, n);
        mesh.add_triangle(n - 1, n, n + 1);
        last = p;
    }
}
