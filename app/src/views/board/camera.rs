//! Where the window onto the board stands. Pan and zoom are ours, in screen coordinates, so that text stays sharp and what
//! can be clicked lies where it is seen.

use egui::{Pos2, Rect, Vec2, vec2};

/// Smallest and largest zoom.
pub(crate) const ZOOM: (f32, f32) = (0.02, 2.5);

/// The window onto the board.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Camera {
    /// Screen points for each point of the board.
    pub(crate) zoom: f32,
    /// The board's origin, from the canvas' upper left corner.
    pub(crate) offset: Vec2,
    /// Whether it follows the whole board.
    pub(crate) fits: bool,
}

impl Default for Camera {
    fn default() -> Self {
        Self { zoom: 1.0, offset: Vec2::ZERO, fits: true }
    }
}

impl Camera {
    /// Shows all of `bounds`, centred in a canvas of `size`, at `zoom`.
    pub(crate) fn fit(&mut self, bounds: Rect, size: Vec2, zoom: f32) {
        self.zoom = zoom.clamp(ZOOM.0, ZOOM.1);
        self.offset = (size / 2.0 - bounds.center().to_vec2() * self.zoom).round();
    }

    /// Zooms by `factor` around a point of the canvas.
    pub(crate) fn zoom_at(&mut self, at: Vec2, factor: f32) {
        let zoom = (self.zoom * factor).clamp(ZOOM.0, ZOOM.1);
        self.offset = at - (at - self.offset) * (zoom / self.zoom);
        self.zoom = zoom;
        self.fits = false;
    }

    /// Moves the board.
    pub(crate) fn pan(&mut self, by: Vec2) {
        if by != Vec2::ZERO {
            self.offset += by;
            self.fits = false;
        }
    }

    /// Moves as little as needed to show `rect` (of the board) in a canvas of `size`.
    pub(crate) fn reveal(&mut self, rect: Rect, size: Vec2) {
        let seen = Rect::from_min_max(
            (rect.min.to_vec2() * self.zoom + self.offset).to_pos2(),
            (rect.max.to_vec2() * self.zoom + self.offset).to_pos2(),
        );
        let push = |low: f32, high: f32, room: f32| {
            if low < 12.0 {
                12.0 - low
            } else if high > room - 12.0 {
                room - 12.0 - high
            } else {
                0.0
            }
        };
        self.pan(vec2(push(seen.left(), seen.right(), size.x), push(seen.top(), seen.bottom(), size.y)));
    }

    /// Where a point of the board is on the screen.
    pub(crate) fn to_screen(self, canvas: Rect, p: Pos2) -> Pos2 {
        canvas.min + self.offset + p.to_vec2() * self.zoom
    }

    /// Where a rectangle of the board is on the screen.
    pub(crate) fn rect(self, canvas: Rect, r: Rect) -> Rect {
        Rect::from_min_max(self.to_screen(canvas, r.min), self.to_screen(canvas, r.max))
    }

    /// Which point of the board is at a point of the screen.
    pub(crate) fn to_board(self, canvas: Rect, p: Pos2) -> Pos2 {
        ((p - canvas.min - self.offset) / self.zoom).to_pos2()
    }
}

#[cfg(test)]
mod tests {
    use egui::pos2;

    use super::*;

    #[test]
    fn zooming_keeps_what_is_under_the_pointer() {
        let canvas = Rect::from_min_size(pos2(50.0, 80.0), vec2(800.0, 600.0));
        let mut camera = Camera { zoom: 0.7, offset: vec2(30.0, -20.0), fits: true };
        let pointer = pos2(400.0, 300.0);
        let under = camera.to_board(canvas, pointer);
        camera.zoom_at(pointer - canvas.min, 1.5);
        assert!((camera.to_screen(canvas, under) - pointer).length() < 0.01);
        assert!(!camera.fits);
    }

    #[test]
    fn fitting_centres() {
        let mut camera = Camera::default();
        camera.fit(Rect::from_min_size(pos2(100.0, 100.0), vec2(200.0, 100.0)), vec2(800.0, 600.0), 2.0);
        let canvas = Rect::from_min_size(Pos2::ZERO, vec2(800.0, 600.0));
        assert_eq!(camera.to_screen(canvas, pos2(200.0, 150.0)), pos2(400.0, 300.0));
    }
}
