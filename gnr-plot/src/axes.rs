//! A frame with ticks and labels, and places within it.

use plotters_backend::DrawingBackend;

use crate::{
    Axis, Result,
    canvas::{Align, Canvas, Point},
    colour::{GREY, INK, PALE},
    scale::{Span, Tick},
    text,
};

pub(crate) const LABEL: f64 = 11.0;
pub(crate) const TICK: f64 = 10.0;

/// A rectangle of nominal pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Area {
    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }
    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }
}

/// The frame of a panel's axes, with the scales of both axes.
pub(crate) struct Frame {
    pub(crate) inner: Area,
    pub(crate) x: Span,
    pub(crate) y: Span,
}

impl Frame {
    /// Places the frame in `area`, so that the labels of the vertical axis fit, and draws it.
    pub(crate) fn draw<B: DrawingBackend>(
        canvas: &mut Canvas<'_, B>,
        area: Area,
        axes: (&Axis, &Axis),
        (x, y): (Span, Span),
        grid: bool,
    ) -> Result<Self> {
        let y_ticks = y.ticks(((area.height() / 42.0) as usize).clamp(2, 8));
        let widest = y_ticks.iter().map(|tick| text::width(&tick.label, TICK)).fold(0.0, f64::max);
        let described = |axis: &Axis| if axis.label.is_empty() { 0.0 } else { LABEL + 6.0 };
        let inner = Area {
            left: area.left + described(axes.1) + widest + 8.0,
            top: area.top + 4.0,
            right: area.right - 8.0,
            bottom: area.bottom - described(axes.0) - TICK - 8.0,
        };
        let frame = Self { inner, x, y };
        let x_ticks = fitting(&x, inner.width());
        if grid {
            for tick in &x_ticks {
                let at = frame.horizontal(tick.value);
                canvas.line(&[(at, inner.top), (at, inner.bottom)], PALE, 1.0, 0.6)?;
            }
            for tick in &y_ticks {
                let at = frame.vertical(tick.value);
                canvas.line(&[(inner.left, at), (inner.right, at)], PALE, 1.0, 0.6)?;
            }
        }
        frame.ticks(canvas, &x_ticks, &y_ticks)?;
        let middle = (inner.left + inner.right) / 2.0;
        canvas.text(&axes.0.label, (middle, area.bottom - LABEL / 2.0 - 1.0), LABEL, INK, Align::Centre)?;
        let side = (area.left + LABEL / 2.0 + 2.0, (inner.top + inner.bottom) / 2.0);
        canvas.upright_text(&axes.1.label, side, LABEL, INK)?;
        Ok(frame)
    }

    fn ticks<B: DrawingBackend>(&self, canvas: &mut Canvas<'_, B>, xs: &[Tick], ys: &[Tick]) -> Result<()> {
        let length = |tick: &Tick| if tick.label.is_empty() { 2.0 } else { 4.0 };
        let Area { left, bottom, .. } = self.inner;
        for tick in xs {
            let at = self.horizontal(tick.value);
            canvas.line(&[(at, bottom), (at, bottom + length(tick))], GREY, 1.0, 0.8)?;
            canvas.text(&tick.label, (at, bottom + 5.0 + TICK / 2.0), TICK, INK, Align::Centre)?;
        }
        for tick in ys {
            let at = self.vertical(tick.value);
            canvas.line(&[(left - length(tick), at), (left, at)], GREY, 1.0, 0.8)?;
            canvas.text(&tick.label, (left - 6.0, at), TICK, INK, Align::Right)?;
        }
        Ok(())
    }

    /// The four sides, drawn last so that nothing lies over them.
    pub(crate) fn border<B: DrawingBackend>(&self, canvas: &mut Canvas<'_, B>) -> Result<()> {
        let Area { left, top, right, bottom } = self.inner;
        let sides = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        canvas.line(&sides, GREY, 1.0, 0.8)
    }

    pub(crate) fn horizontal(&self, x: f64) -> f64 {
        self.inner.left + self.x.at(x) * self.inner.width()
    }

    pub(crate) fn vertical(&self, y: f64) -> f64 {
        self.inner.bottom - self.y.at(y) * self.inner.height()
    }

    pub(crate) fn point(&self, x: f64, y: f64) -> Point {
        (self.horizontal(x), self.vertical(y))
    }

    /// The parts of a polyline that lie in the frame. Points that are not finite interrupt it.
    pub(crate) fn clipped(&self, points: impl Iterator<Item = Point>) -> Vec<Vec<Point>> {
        let mut parts: Vec<Vec<Point>> = Vec::new();
        let mut previous: Option<Point> = None;
        for point in points {
            let here = (point.0.is_finite() && point.1.is_finite()).then_some(point);
            if let (Some(from), Some(to)) = (previous, here)
                && let Some((a, b)) = clip(&self.inner, from, to)
            {
                match parts.last_mut() {
                    Some(part) if part.last() == Some(&a) => part.push(b),
                    _ => parts.push(vec![a, b]),
                }
            }
            previous = here;
        }
        parts
    }

    /// The part of a polygon that lies in the frame (Sutherland and Hodgman: side by side).
    pub(crate) fn inside(&self, polygon: &[Point]) -> Vec<Point> {
        let Area { left, top, right, bottom } = self.inner;
        // The distance of a point from each side, positive on the inner side.
        let sides: [&dyn Fn(Point) -> f64; 4] =
            [&|p| p.0 - left, &|p| right - p.0, &|p| p.1 - top, &|p| bottom - p.1];
        let mut kept = polygon.to_vec();
        for depth in sides {
            let corners = std::mem::take(&mut kept);
            for (i, &to) in corners.iter().enumerate() {
                let from = corners[(i + corners.len() - 1) % corners.len()];
                let (a, b) = (depth(from), depth(to));
                if (a < 0.0) != (b < 0.0) {
                    let t = a / (a - b);
                    kept.push((from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1)));
                }
                if b >= 0.0 {
                    kept.push(to);
                }
            }
        }
        kept
    }

    /// Whether a point lies in the frame.
    pub(crate) fn shows(&self, (x, y): Point) -> bool {
        let Area { left, top, right, bottom } = self.inner;
        (left - 0.5..=right + 0.5).contains(&x) && (top - 0.5..=bottom + 0.5).contains(&y)
    }
}

/// The ticks of a horizontal axis, as many as have room for their labels.
fn fitting(span: &Span, width: f64) -> Vec<Tick> {
    for count in (2..=8).rev() {
        let ticks = span.ticks(count);
        let labels = ticks.iter().filter(|tick| !tick.label.is_empty());
        let needed: f64 = labels.map(|tick| text::width(&tick.label, TICK) + 14.0).sum();
        if needed <= width {
            return ticks;
        }
    }
    span.ticks(1)
}

/// The part of a segment in a rectangle (Liang and Barsky).
fn clip(area: &Area, a: Point, b: Point) -> Option<(Point, Point)> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut first, mut last) = (0.0_f64, 1.0_f64);
    for (p, q) in
        [(-dx, a.0 - area.left), (dx, area.right - a.0), (-dy, a.1 - area.top), (dy, area.bottom - a.1)]
    {
        if p == 0.0 {
            if q < 0.0 {
                return None;
            }
        } else if p < 0.0 {
            first = first.max(q / p);
        } else {
            last = last.min(q / p);
        }
    }
    let at = |t: f64| (a.0 + t * dx, a.1 + t * dy);
    // An end that is not cut keeps its exact place, so that the parts of a polyline join.
    let (from, to) = (if first == 0.0 { a } else { at(first) }, if last == 1.0 { b } else { at(last) });
    (first <= last).then_some((from, to))
}

/// Words in the upper right corner, one line each.
pub(crate) fn corner<B: DrawingBackend>(
    canvas: &mut Canvas<'_, B>,
    inner: Area,
    lines: &[(String, crate::colour::Rgb)],
) -> Result<()> {
    let written = lines.iter().filter(|(line, _)| !line.is_empty());
    for (row, (line, colour)) in written.enumerate() {
        let at = (inner.right - 6.0, inner.top + 10.0 + 14.0 * row as f64);
        canvas.text(line, at, TICK, *colour, Align::Right)?;
    }
    Ok(())
}
