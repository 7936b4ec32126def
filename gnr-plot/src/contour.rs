//! Filled contours: each cell of the grid is cut into two triangles, on which the function is linear.

use plotters_backend::DrawingBackend;

use crate::{
    Axis, Grid, Result, Scale,
    axes::{Area, Frame, TICK},
    canvas::{Align, Canvas, Point},
    colour::{GREY, INK, Rgb, WHITE, viridis},
    lines::marks,
    scale::Span,
};

/// Number of bands of colour.
const BANDS: usize = 16;
const BAR: f64 = 12.0;

/// A corner: its place and its value from 0 to 1.
type Corner = (Point, f64);

pub(crate) fn draw<B: DrawingBackend>(canvas: &mut Canvas<'_, B>, area: Area, grid: &Grid) -> Result<()> {
    let z = span(grid);
    let bar = Area { left: area.right - 64.0, ..area };
    let plot = Area { right: area.right - 66.0, ..area };
    let x = Span::new(&grid.x, grid.xs.iter().copied(), 0.0);
    let y = Span::new(&grid.y, grid.ys.iter().copied(), 0.0);
    let frame = Frame::draw(canvas, plot, (&grid.x, &grid.y), (x, y), false)?;
    let triangles = triangles(grid, &frame, &z);
    // Triangles with a value that is not finite on the scale stay grey.
    let Area { left, top, right, bottom } = frame.inner;
    canvas.rectangle((left, top), (right, bottom), (210, 210, 210), 1.0)?;
    for band in 0..BANDS {
        let level = band as f64 / BANDS as f64;
        let colour = viridis((band as f64 + 0.5) / BANDS as f64);
        for triangle in &triangles {
            // The lowest band covers all triangles. Each further band lies over those below it, so that no gap shows.
            let above = if band == 0 { triangle.map(|c| c.0).to_vec() } else { above(triangle, level) };
            if above.len() > 2 {
                canvas.polygon(&above, colour, 1.0)?;
            }
        }
    }
    for band in 1..BANDS {
        for line in level_lines(&triangles, band as f64 / BANDS as f64) {
            canvas.line(&line, WHITE, 0.45, 0.6)?;
        }
    }
    for (index, route) in grid.routes.iter().enumerate() {
        let colour = route_colour(index);
        let points = || route.x.iter().zip(&route.y).map(|(x, y)| frame.point(*x, *y));
        for part in frame.clipped(points()) {
            canvas.line(&part, INK, 0.7, 2.6)?;
            canvas.line(&part, colour, 1.0, 1.4)?;
        }
        for point in points().filter(|point| frame.shows(*point)) {
            canvas.dot(point, 2.8, INK, 0.8)?;
            canvas.dot(point, 2.0, colour, 1.0)?;
        }
    }
    frame.border(canvas)?;
    marks(canvas, &frame, &grid.marks)?;
    colour_bar(canvas, Area { top, bottom, ..bar }, &grid.z, &z)
}

/// The colour of route number `index`, on the map and in the legend. Each shows on every colour of the map, with a dark
/// edge, and on the white of the legend.
pub(crate) fn route_colour(index: usize) -> Rgb {
    [(230, 60, 40), (255, 120, 200), (255, 150, 30)][index % 3]
}

/// The range of the values.
pub(crate) fn span(grid: &Grid) -> Span {
    Span::new(&grid.z, grid.zs.iter().flatten().copied(), 0.0)
}

fn triangles(grid: &Grid, frame: &Frame, z: &Span) -> Vec<[Corner; 3]> {
    let mut triangles = Vec::new();
    let corner = |i: usize, j: usize| -> Corner {
        (frame.point(grid.xs[i], grid.ys[j]), z.at(grid.zs[j][i]).clamp(0.0, 1.0))
    };
    for j in 0..grid.ys.len() - 1 {
        for i in 0..grid.xs.len() - 1 {
            let [a, b, c, d] = [corner(i, j), corner(i + 1, j), corner(i + 1, j + 1), corner(i, j + 1)];
            // The diagonal alternates, so that no direction is preferred.
            let halves = if (i + j) % 2 == 0 { [[a, b, c], [a, c, d]] } else { [[a, b, d], [b, c, d]] };
            triangles
                .extend(halves.into_iter().filter(|half| half.iter().all(|corner| corner.1.is_finite())));
        }
    }
    triangles
}

/// The part of a triangle where the value is at least `level`.
fn above(triangle: &[Corner; 3], level: f64) -> Vec<Point> {
    let mut part = Vec::new();
    for k in 0..3 {
        let (a, b) = (triangle[k], triangle[(k + 1) % 3]);
        if a.1 >= level {
            part.push(a.0);
        }
        if (a.1 >= level) != (b.1 >= level) {
            part.push(crossing(a, b, level));
        }
    }
    part
}

/// The point between two corners at which the value is `level`. The result does not depend on their order, so that
/// neighbours agree bit for bit.
fn crossing(a: Corner, b: Corner, level: f64) -> Point {
    let (a, b) = if (a.0.0, a.0.1) <= (b.0.0, b.0.1) { (a, b) } else { (b, a) };
    let t = (level - a.1) / (b.1 - a.1);
    (a.0.0 + t * (b.0.0 - a.0.0), a.0.1 + t * (b.0.1 - a.0.1))
}

/// The lines of a level, with segments joined end to end.
fn level_lines(triangles: &[[Corner; 3]], level: f64) -> Vec<Vec<Point>> {
    use std::collections::HashMap;
    let key = |p: Point| (p.0.to_bits(), p.1.to_bits());
    let mut segments: Vec<Option<(Point, Point)>> = Vec::new();
    let mut ends: HashMap<(u64, u64), Vec<usize>> = HashMap::new();
    for triangle in triangles {
        let crossings: Vec<Point> = (0..3)
            .map(|k| (triangle[k], triangle[(k + 1) % 3]))
            .filter(|(a, b)| (a.1 >= level) != (b.1 >= level))
            .map(|(a, b)| crossing(a, b, level))
            .collect();
        if let [a, b] = crossings[..] {
            ends.entry(key(a)).or_default().push(segments.len());
            ends.entry(key(b)).or_default().push(segments.len());
            segments.push(Some((a, b)));
        }
    }
    let mut lines = Vec::new();
    for start in 0..segments.len() {
        let Some((a, b)) = segments[start].take() else { continue };
        let mut line = std::collections::VecDeque::from([a, b]);
        for forward in [true, false] {
            loop {
                let end = if forward { line[line.len() - 1] } else { line[0] };
                let next = ends[&key(end)].iter().find(|index| segments[**index].is_some());
                let Some((a, b)) = next.and_then(|index| segments[*index].take()) else { break };
                let far = if key(a) == key(end) { b } else { a };
                if forward { line.push_back(far) } else { line.push_front(far) }
            }
        }
        lines.push(line.into());
    }
    lines
}

/// Draws the bar of colours beside their values.
pub(crate) fn colour_bar<B: DrawingBackend>(
    canvas: &mut Canvas<'_, B>,
    area: Area,
    axis: &Axis,
    z: &Span,
) -> Result<()> {
    let (left, right) = (area.left, area.left + BAR);
    let at = |t: f64| area.bottom - t * area.height();
    for band in 0..BANDS {
        let (low, high) = (band as f64 / BANDS as f64, (band + 1) as f64 / BANDS as f64);
        let colour = viridis((low + high) / 2.0);
        canvas.rectangle((left, at(high)), (right, at(low)), colour, 1.0)?;
    }
    let sides = [(left, at(1.0)), (right, at(1.0)), (right, at(0.0)), (left, at(0.0)), (left, at(1.0))];
    canvas.line(&sides, GREY, 1.0, 0.8)?;
    for tick in z.ticks(if axis.scale == Scale::Log { 6 } else { 5 }) {
        let y = at(z.at(tick.value));
        canvas.line(
            &[(right, y), (right + if tick.label.is_empty() { 2.0 } else { 4.0 }, y)],
            GREY,
            1.0,
            0.8,
        )?;
        canvas.text(&tick.label, (right + 6.0, y), TICK, INK, Align::Left)?;
    }
    canvas.text(&axis.label, (left, area.top - 9.0), TICK, INK, Align::Left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_triangle_is_cut_at_its_level() {
        let triangle = [((0.0, 0.0), 0.0), ((1.0, 0.0), 1.0), ((0.0, 1.0), 0.0)];
        assert_eq!(above(&triangle, 0.5), [(0.5, 0.0), (1.0, 0.0), (0.5, 0.5)]);
        assert_eq!(above(&triangle, 1.5), []);
        assert_eq!(above(&triangle, 0.0).len(), 3);
    }

    /// The level line of a cone is one closed curve at the right distance.
    #[test]
    fn the_level_line_of_a_cone_is_a_circle() {
        let n = 21;
        let place = |i: usize| i as f64 - 10.0;
        let corner =
            |i: usize, j: usize| -> Corner { ((place(i), place(j)), place(i).hypot(place(j)) / 15.0) };
        let mut triangles = Vec::new();
        for j in 0..n - 1 {
            for i in 0..n - 1 {
                let [a, b, c, d] = [corner(i, j), corner(i + 1, j), corner(i + 1, j + 1), corner(i, j + 1)];
                triangles.extend([[a, b, c], [a, c, d]]);
            }
        }
        let lines = level_lines(&triangles, 0.47);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].first(), lines[0].last(), "closed");
        for (x, y) in &lines[0] {
            // Linear interpolation of a cone over cells of size 1 at radius 7 errs by 1/(8·7).
            assert!((x.hypot(*y) - 0.47 * 15.0).abs() < 0.05, "{x} {y}");
        }
    }
}
