//! Draws egui's meshes on the CPU: no driver, no display, the same bytes on every machine of one kind.
//!
//! It follows what egui's painters do on a graphics card: premultiplied colours in gamma space, vertex colour times texture,
//! blended one by one-minus-alpha; a pixel belongs to a triangle when its centre lies inside, left and upper edges included.

use std::collections::HashMap;

use egui::epaint::{ClippedPrimitive, ImageDelta, Mesh, Primitive, TextureId, Vertex, WHITE_UV};
use egui::{Color32, ColorImage, ImageData, Rect, TextureFilter, TexturesDelta};

/// The textures that a console has made so far.
#[derive(Debug, Default)]
pub struct Textures {
    all: HashMap<TextureId, Texture>,
}

#[derive(Debug)]
struct Texture {
    width: usize,
    height: usize,
    pixels: Vec<Color32>,
    linear: bool,
}

impl Textures {
    /// Takes over what a frame changed. Call [`Textures::free`] with the same delta once the frame is drawn.
    pub fn set(&mut self, delta: &TexturesDelta) {
        for (id, changes) in &delta.set {
            for change in changes {
                self.change(*id, change);
            }
        }
    }

    /// Forgets what the frame was the last to need.
    pub fn free(&mut self, delta: &TexturesDelta) {
        for id in &delta.free {
            self.all.remove(id);
        }
    }

    fn change(&mut self, id: TextureId, change: &ImageDelta) {
        let ImageData::Color(image) = &change.image;
        let [width, height] = image.size;
        let Some([x, y]) = change.pos else {
            let linear = change.options.magnification == TextureFilter::Linear;
            self.all.insert(id, Texture { width, height, pixels: image.pixels.clone(), linear });
            return;
        };
        let Some(texture) = self.all.get_mut(&id) else { return };
        for (row, source) in image.pixels.chunks_exact(width.max(1)).enumerate() {
            let at = (y + row) * texture.width + x;
            if let Some(target) = texture.pixels.get_mut(at..at + width) {
                target.copy_from_slice(source);
            }
        }
    }
}

impl Texture {
    fn texel(&self, x: i64, y: i64) -> [f32; 4] {
        let x = x.clamp(0, self.width as i64 - 1) as usize;
        let y = y.clamp(0, self.height as i64 - 1) as usize;
        let c = self.pixels.get(y * self.width + x).copied().unwrap_or(Color32::TRANSPARENT);
        [f32::from(c.r()), f32::from(c.g()), f32::from(c.b()), f32::from(c.a())]
    }

    /// The colour at (u, v), 0…255 a channel.
    fn sample(&self, u: f32, v: f32) -> [f32; 4] {
        let (x, y) = (u * self.width as f32 - 0.5, v * self.height as f32 - 0.5);
        if !self.linear {
            return self.texel(x.round() as i64, y.round() as i64);
        }
        let (fx, fy) = (x - x.floor(), y - y.floor());
        let (x, y) = (x.floor() as i64, y.floor() as i64);
        // Glyphs stand on whole pixels, so that most samples fall on one texel.
        if fx < 1e-3 && fy < 1e-3 {
            return self.texel(x, y);
        }
        let [a, b, c, d] = [self.texel(x, y), self.texel(x + 1, y), self.texel(x, y + 1), self.texel(x + 1, y + 1)];
        std::array::from_fn(|i| {
            let top = a[i] + (b[i] - a[i]) * fx;
            let low = c[i] + (d[i] - c[i]) * fx;
            top + (low - top) * fy
        })
    }
}

/// Draws a frame's primitives, as [`egui::Context::tessellate`] gives them, over `background`.
pub fn draw(
    primitives: &[ClippedPrimitive],
    textures: &Textures,
    size: [usize; 2],
    pixels_per_point: f32,
    background: Color32,
) -> ColorImage {
    let mut canvas = Canvas { width: size[0], height: size[1], pixels: vec![background; size[0] * size[1]] };
    for primitive in primitives {
        let Primitive::Mesh(mesh) = &primitive.primitive else { continue };
        canvas.mesh(mesh, textures, primitive.clip_rect, pixels_per_point);
    }
    ColorImage::new(size, canvas.pixels)
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Color32>,
}

/// Whole pixels, ends not included.
#[derive(Clone, Copy)]
struct Clip {
    x0: i64,
    y0: i64,
    x1: i64,
    y1: i64,
}

/// A value that changes linearly over a triangle.
#[derive(Clone, Copy)]
struct Plane {
    at: f32,
    dx: f32,
    dy: f32,
}

impl Plane {
    fn value(self, x: f32, y: f32) -> f32 {
        self.at + self.dx * x + self.dy * y
    }
}

impl Canvas {
    fn mesh(&mut self, mesh: &Mesh, textures: &Textures, clip: Rect, scale: f32) {
        let edge = |v: f32, end: usize| (v * scale).round().clamp(0.0, end as f32) as i64;
        let clip = Clip {
            x0: edge(clip.min.x, self.width),
            y0: edge(clip.min.y, self.height),
            x1: edge(clip.max.x, self.width),
            y1: edge(clip.max.y, self.height),
        };
        if clip.x0 >= clip.x1 || clip.y0 >= clip.y1 {
            return;
        }
        let texture = textures.all.get(&mesh.texture_id);
        for corners in mesh.indices.chunks_exact(3) {
            let corner = |i: usize| corners.get(i).and_then(|i| mesh.vertices.get(*i as usize)).copied();
            let (Some(a), Some(b), Some(c)) = (corner(0), corner(1), corner(2)) else { continue };
            let place = |v: Vertex| Vertex { pos: (v.pos.to_vec2() * scale).to_pos2(), ..v };
            self.triangle([place(a), place(b), place(c)], texture, clip);
        }
    }

    fn triangle(&mut self, v: [Vertex; 3], texture: Option<&Texture>, clip: Clip) {
        if v.iter().all(|v| v.color == Color32::TRANSPARENT) {
            return;
        }
        let origin = v[0].pos;
        let (ab, ac) = (v[1].pos - origin, v[2].pos - origin);
        let area = ab.x * ac.y - ab.y * ac.x;
        if area == 0.0 || !area.is_finite() {
            return;
        }
        let plane = |f: &dyn Fn(&Vertex) -> f32| {
            let (a, b, c) = (f(&v[0]), f(&v[1]), f(&v[2]));
            let dx = ((b - a) * ac.y - (c - a) * ab.y) / area;
            let dy = ((c - a) * ab.x - (b - a) * ac.x) / area;
            Plane { at: a, dx, dy }
        };
        let flat = v[0].color == v[1].color && v[0].color == v[2].color;
        let white = v.iter().all(|v| v.uv == WHITE_UV) || texture.is_none();
        let channels: [Plane; 4] = std::array::from_fn(|i| plane(&|v: &Vertex| f32::from(v.color.to_array()[i])));
        let uv = [plane(&|v: &Vertex| v.uv.x), plane(&|v: &Vertex| v.uv.y)];
        let (top, bottom) =
            v.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), v| (lo.min(v.pos.y), hi.max(v.pos.y)));
        let first = ((top - 0.5).ceil() as i64).max(clip.y0);
        let last = ((bottom - 0.5).ceil() as i64).min(clip.y1);
        for y in first..last {
            let center = y as f32 + 0.5;
            let Some((left, right)) = span(&v, center) else { continue };
            let x0 = ((left - 0.5).ceil() as i64).max(clip.x0);
            let x1 = ((right - 0.5).ceil() as i64).min(clip.x1);
            if x0 >= x1 {
                continue;
            }
            let row = y as usize * self.width;
            let Some(pixels) = self.pixels.get_mut(row + x0 as usize..row + x1 as usize) else { continue };
            if flat && white {
                fill(pixels, v[0].color);
                continue;
            }
            let dy = center - origin.y;
            for (i, pixel) in pixels.iter_mut().enumerate() {
                let dx = (x0 + i as i64) as f32 + 0.5 - origin.x;
                let mut color: [f32; 4] = std::array::from_fn(|c| channels[c].value(dx, dy).clamp(0.0, 255.0));
                if let Some(texture) = texture.filter(|_| !white) {
                    let texel = texture.sample(uv[0].value(dx, dy), uv[1].value(dx, dy));
                    color = std::array::from_fn(|c| color[c] * texel[c] / 255.0);
                }
                blend(pixel, color.map(|c| (c + 0.5) as u8));
            }
        }
    }
}

/// Where the line at height `y` enters and leaves a triangle. Shared edges give the same number on both sides.
fn span(v: &[Vertex; 3], y: f32) -> Option<(f32, f32)> {
    let (mut left, mut right) = (f32::INFINITY, f32::NEG_INFINITY);
    for (a, b) in [(0, 1), (1, 2), (2, 0)] {
        let (mut a, mut b) = (v[a].pos, v[b].pos);
        if (a.y, a.x) > (b.y, b.x) {
            std::mem::swap(&mut a, &mut b);
        }
        if a.y <= y && y < b.y {
            let x = a.x + (b.x - a.x) * ((y - a.y) / (b.y - a.y));
            (left, right) = (left.min(x), right.max(x));
        }
    }
    (left < right).then_some((left, right))
}

fn fill(pixels: &mut [Color32], color: Color32) {
    if color.a() == 255 {
        pixels.fill(color);
    } else {
        pixels.iter_mut().for_each(|p| blend(p, color.to_array()));
    }
}

fn blend(pixel: &mut Color32, source: [u8; 4]) {
    let rest = 255 - u32::from(source[3]);
    let target = pixel.to_array();
    let mixed: [u8; 4] =
        std::array::from_fn(|i| (u32::from(source[i]) + (u32::from(target[i]) * rest + 127) / 255).min(255) as u8);
    *pixel = Color32::from_rgba_premultiplied(mixed[0], mixed[1], mixed[2], mixed[3]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use egui::{Pos2, pos2};

    fn mesh(points: &[(Pos2, Color32)]) -> ClippedPrimitive {
        let vertices = points.iter().map(|(pos, color)| Vertex { pos: *pos, uv: WHITE_UV, color: *color }).collect();
        let indices = (0..points.len() as u32).collect();
        let mesh = Mesh { vertices, indices, texture_id: TextureId::default() };
        ClippedPrimitive { clip_rect: Rect::EVERYTHING, primitive: Primitive::Mesh(mesh) }
    }

    fn drawn(primitives: &[ClippedPrimitive]) -> Vec<Vec<u8>> {
        let image = draw(primitives, &Textures::default(), [4, 4], 1.0, Color32::BLACK);
        image.pixels.chunks(4).map(|row| row.iter().map(|p| p.r()).collect()).collect()
    }

    #[test]
    fn a_triangle_covers_the_pixels_whose_centres_it_holds() {
        let w = Color32::WHITE;
        let picture = drawn(&[mesh(&[(pos2(0.0, 0.0), w), (pos2(4.0, 0.0), w), (pos2(0.0, 4.0), w)])]);
        assert_eq!(picture, [[255, 255, 255, 0], [255, 255, 0, 0], [255, 0, 0, 0], [0, 0, 0, 0]]);
    }

    #[test]
    fn two_triangles_share_an_edge_without_gap_or_overlap() {
        let half = Color32::from_rgba_premultiplied(128, 128, 128, 128);
        let corners = [pos2(0.3, 0.2), pos2(3.9, 0.3), pos2(3.6, 3.8), pos2(0.1, 3.6)].map(|p| (p, half));
        let [a, b, c, d] = corners;
        let picture = drawn(&[mesh(&[a, b, c, a, c, d])]);
        assert!(picture.iter().flatten().all(|v| *v == 128), "{picture:?}");
    }

    #[test]
    fn clip_and_scale_are_kept() {
        let w = Color32::WHITE;
        let mut quarter = mesh(&[(pos2(0.0, 0.0), w), (pos2(8.0, 0.0), w), (pos2(0.0, 8.0), w)]);
        quarter.clip_rect = Rect::from_min_max(pos2(0.5, 0.5), pos2(1.0, 1.5));
        let image = draw(&[quarter], &Textures::default(), [4, 4], 2.0, Color32::BLACK);
        let white: Vec<usize> = (0..16).filter(|i| image.pixels[*i] == w).collect();
        assert_eq!(white, [5, 9], "from (1,1) to (2,3) in pixels");
    }

    #[test]
    fn colour_runs_between_corners_and_text_takes_its_cover_from_the_texture() {
        let grey = |v| Color32::from_rgb(v, v, v);
        let quad = [
            (pos2(0.0, 0.0), grey(0)),
            (pos2(4.0, 0.0), grey(200)),
            (pos2(4.0, 4.0), grey(200)),
            (pos2(0.0, 0.0), grey(0)),
            (pos2(4.0, 4.0), grey(200)),
            (pos2(0.0, 4.0), grey(0)),
        ];
        assert_eq!(drawn(&[mesh(&quad)])[2], [25, 75, 125, 175]);
        let mut textures = Textures::default();
        let cover = ColorImage::new([2, 1], vec![Color32::WHITE, Color32::TRANSPARENT]);
        textures.change(TextureId::default(), &ImageDelta::full(cover, egui::TextureOptions::NEAREST));
        let mut text = mesh(&quad);
        if let Primitive::Mesh(mesh) = &mut text.primitive {
            for v in &mut mesh.vertices {
                v.color = Color32::WHITE;
                v.uv = pos2(v.pos.x / 4.0, v.pos.y / 4.0);
            }
        }
        let image = draw(&[text], &textures, [4, 4], 1.0, Color32::BLACK);
        let row: Vec<u8> = image.pixels[..4].iter().map(|p| p.r()).collect();
        assert_eq!(row, [255, 255, 0, 0]);
    }
}
