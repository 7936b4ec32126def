//! A function of two variables in perspective: an orthographic view of its quadrilaterals, from the farthest to the
//! nearest.

use plotters_backend::DrawingBackend;

use crate::{
    Result, Surface,
    axes::{Area, LABEL, TICK},
    canvas::{Align, Canvas, Point},
    colour::{GREY, INK, PALE, mix, viridis},
    contour::{colour_bar, span},
    scale::Span,
    text,
};

/// A point of the unit cube, −½ to ½ in each direction, z upwards.
type Place = [f64; 3];

/// Height of the box, whose floor is 1 × 1.
const HEIGHT: f64 = 0.75;

struct View {
    centre: Point,
    size: f64,
    azimuth: f64,
    elevation: f64,
}

impl View {
    /// Projects a place: its point on the page, and its nearness to the eye.
    fn see(&self, [x, y, z]: Place) -> (Point, f64) {
        let (sin, cos) = self.azimuth.sin_cos();
        let (across, away) = (cos * y - sin * x, cos * x + sin * y);
        let (rise, flat) = self.elevation.sin_cos();
        let up = HEIGHT * z * flat - away * rise;
        let near = away * flat + HEIGHT * z * rise;
        ((self.centre.0 + self.size * across, self.centre.1 - self.size * up), near)
    }
}

pub(crate) fn draw<B: DrawingBackend>(
    canvas: &mut Canvas<'_, B>,
    area: Area,
    surface: &Surface,
) -> Result<()> {
    let grid = &surface.grid;
    let x = Span::new(&grid.x, grid.xs.iter().copied(), 0.0);
    let y = Span::new(&grid.y, grid.ys.iter().copied(), 0.0);
    let z = span(grid);
    let room = Area { right: area.right - 66.0, ..area };
    let view = View {
        centre: ((room.left + room.right) / 2.0, (room.top + room.bottom) / 2.0),
        size: (room.width() / 1.75).min(room.height() / 1.5),
        azimuth: surface.azimuth.to_radians(),
        elevation: surface.elevation.to_radians().clamp(0.05, 1.5),
    };
    box_of_axes(canvas, &view, surface, [&x, &y, &z], room.right)?;

    let place = |i: usize, j: usize| -> Place {
        [x.at(grid.xs[i]) - 0.5, y.at(grid.ys[j]) - 0.5, z.at(grid.zs[j][i]).clamp(0.0, 1.0) - 0.5]
    };
    let mut faces = Vec::new();
    for j in 0..grid.ys.len() - 1 {
        for i in 0..grid.xs.len() - 1 {
            let corners = [place(i, j), place(i + 1, j), place(i + 1, j + 1), place(i, j + 1)];
            if corners.iter().all(|corner| corner[2].is_finite()) {
                // Faces are ordered by their middles on the floor, where cells do not overlap, whatever their heights.
                let middle = |k: usize| corners.iter().map(|corner| corner[k]).sum::<f64>() / 4.0;
                let near = view.see([middle(0), middle(1), 0.0]).1;
                faces.push((near, corners));
            }
        }
    }
    faces.sort_by(|a, b| a.0.total_cmp(&b.0));
    let fine = grid.xs.len().max(grid.ys.len()) > 60;
    for (_, corners) in faces {
        let seen: Vec<Point> = corners.iter().map(|corner| view.see(*corner).0).collect();
        let value = corners.iter().map(|corner| corner[2] + 0.5).sum::<f64>() / 4.0;
        let colour = shaded(viridis(value), &corners);
        canvas.polygon(&seen, colour, 1.0)?;
        if !fine {
            let closed: Vec<Point> = seen.iter().copied().chain(seen.first().copied()).collect();
            canvas.line(&closed, mix(colour, (0, 0, 0), 0.35), 0.6, 0.4)?;
        }
    }
    let bar = Area { left: area.right - 64.0, top: area.top + 16.0, bottom: area.bottom - 30.0, ..area };
    colour_bar(canvas, bar, &grid.z, &z)
}

/// Shades a face by a little light from one side, so that slopes can be told apart.
fn shaded(colour: crate::colour::Rgb, corners: &[Place; 4]) -> crate::colour::Rgb {
    let edge = |a: Place, b: Place| [b[0] - a[0], b[1] - a[1], HEIGHT * (b[2] - a[2])];
    let (u, v) = (edge(corners[0], corners[2]), edge(corners[1], corners[3]));
    let normal = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    let length = normal.iter().map(|n| n * n).sum::<f64>().sqrt();
    let light = [-0.4, -0.3, 0.866];
    let cosine = normal.iter().zip(light).map(|(n, l)| n * l).sum::<f64>() / length.max(1e-12);
    if cosine > 0.0 { mix(colour, (255, 255, 255), 0.18 * cosine) } else { mix(colour, (0, 0, 0), 0.2) }
}

/// Draws the floor, the two walls behind, and ticks and names along the near edges.
fn box_of_axes<B: DrawingBackend>(
    canvas: &mut Canvas<'_, B>,
    view: &View,
    surface: &Surface,
    [x, y, z]: [&Span; 3],
    right: f64,
) -> Result<()> {
    let floor = |px: f64, py: f64| view.see([px, py, -0.5]);
    // The axes lie along the edges of the floor's nearest corner, the walls along the two other edges.
    let corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)];
    let nearest = corners.into_iter().max_by(|a, b| floor(a.0, a.1).1.total_cmp(&floor(b.0, b.1).1));
    let (nx, ny) = nearest.unwrap_or((-0.5, -0.5));
    for tick in x.ticks(4) {
        let px = x.at(tick.value) - 0.5;
        let line = [[px, ny, -0.5], [px, -ny, -0.5], [px, -ny, 0.5]].map(|place| view.see(place).0);
        canvas.line(&line, PALE, 1.0, 0.6)?;
    }
    for tick in y.ticks(4) {
        let py = y.at(tick.value) - 0.5;
        let line = [[nx, py, -0.5], [-nx, py, -0.5], [-nx, py, 0.5]].map(|place| view.see(place).0);
        canvas.line(&line, PALE, 1.0, 0.6)?;
    }
    for tick in z.ticks(4) {
        let pz = z.at(tick.value) - 0.5;
        let line = [[nx, -ny, pz], [-nx, -ny, pz], [-nx, ny, pz]].map(|place| view.see(place).0);
        canvas.line(&line, PALE, 1.0, 0.6)?;
    }
    let outline = [[nx, -ny, -0.5], [nx, ny, -0.5], [-nx, ny, -0.5]].map(|place| view.see(place).0);
    canvas.line(&outline, GREY, 1.0, 0.8)?;

    // Moves a point away from the middle of the floor, by so many nominal pixels.
    let middle = floor(0.0, 0.0).0;
    let outside = |from: Point, along: (Point, Point), by: f64| -> Point {
        let (dx, dy) = (along.1.0 - along.0.0, along.1.1 - along.0.1);
        let length = dx.hypot(dy).max(1e-9);
        let (mut ox, mut oy) = (-dy / length, dx / length);
        if ox * (from.0 - middle.0) + oy * (from.1 - middle.1) < 0.0 {
            (ox, oy) = (-ox, -oy);
        }
        (from.0 + by * ox, from.1 + by * oy)
    };
    let x_edge = (floor(-0.5, ny).0, floor(0.5, ny).0);
    let y_edge = (floor(nx, -0.5).0, floor(nx, 0.5).0);
    for tick in x.ticks(4).iter().filter(|tick| !tick.label.is_empty()) {
        let at = outside(floor(x.at(tick.value) - 0.5, ny).0, x_edge, 11.0);
        canvas.text(&tick.label, at, TICK, INK, Align::Centre)?;
    }
    // Where the two edges meet there is room for one number.
    let apart = |py: f64| (py - ny).abs() > 0.06;
    for tick in y.ticks(4).iter().filter(|tick| !tick.label.is_empty() && apart(y.at(tick.value) - 0.5)) {
        let at = outside(floor(nx, y.at(tick.value) - 0.5).0, y_edge, 11.0);
        canvas.text(&tick.label, at, TICK, INK, Align::Centre)?;
    }
    let half = |edge: (Point, Point)| ((edge.0.0 + edge.1.0) / 2.0, (edge.0.1 + edge.1.1) / 2.0);
    for (axis, edge) in [(&surface.grid.x, x_edge), (&surface.grid.y, y_edge)] {
        let at = outside(half(edge), edge, 28.0);
        let width = text::width(&axis.label, LABEL);
        let left = if at.0 < middle.0 { at.0 - width } else { at.0.min(right - width) };
        let below = if left < at.0 - 1.0 && at.0 > middle.0 { 14.0 } else { 0.0 };
        canvas.text(&axis.label, (left, at.1 + below), LABEL, INK, Align::Left)?;
    }
    Ok(())
}
