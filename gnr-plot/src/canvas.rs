//! The canvas on which everything is drawn: lines, areas and words at nominal pixels, on any backend of the plotters
//! family.
//!
//! Backends take whole numbers; everything is drawn [`DENSITY`] times larger, so that curves are smooth.

use plotters_backend::{
    BackendColor, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontFamily,
    FontTransform,
    text_anchor::{HPos, Pos, VPos},
};

use crate::{
    PlotError, Result,
    colour::{Rgb, backend},
};

/// Units of the backend in a nominal pixel.
pub(crate) const DENSITY: f64 = 4.0;

/// A point in nominal pixels, from the upper left.
pub(crate) type Point = (f64, f64);

/// The position of words relative to their point.
#[derive(Clone, Copy)]
pub(crate) enum Align {
    Left,
    Centre,
    Right,
}

pub(crate) struct Canvas<'a, B: DrawingBackend> {
    backend: &'a mut B,
    /// Nominal width and height.
    pub(crate) size: (f64, f64),
}

struct Stroke {
    colour: BackendColor,
    width: u32,
}

impl BackendStyle for Stroke {
    fn color(&self) -> BackendColor {
        self.colour
    }
    fn stroke_width(&self) -> u32 {
        self.width
    }
}

/// Words as backends of the plotters family take them.
struct Words {
    colour: BackendColor,
    size: f64,
    anchor: Pos,
    transform: FontTransform,
}

impl BackendTextStyle for Words {
    type FontError = std::fmt::Error;
    fn color(&self) -> BackendColor {
        self.colour
    }
    fn size(&self) -> f64 {
        self.size
    }
    fn transform(&self) -> FontTransform {
        self.transform.clone()
    }
    fn anchor(&self) -> Pos {
        self.anchor
    }
    fn family(&self) -> FontFamily<'_> {
        FontFamily::SansSerif
    }
    fn layout_box(&self, _: &str) -> Result<((i32, i32), (i32, i32)), Self::FontError> {
        Ok(((0, 0), (0, 0)))
    }
    fn draw<E, F: FnMut(i32, i32, BackendColor) -> Result<(), E>>(
        &self,
        _: &str,
        _: (i32, i32),
        _: F,
    ) -> Result<Result<(), E>, Self::FontError> {
        // Both backends draw words themselves and do not call this method.
        Err(std::fmt::Error)
    }
}

impl<'a, B: DrawingBackend> Canvas<'a, B> {
    pub(crate) fn new(backend: &'a mut B, size: (f64, f64)) -> Self {
        Self { backend, size }
    }

    pub(crate) fn line(&mut self, points: &[Point], colour: Rgb, alpha: f64, width: f64) -> Result<()> {
        if points.len() < 2 {
            return Ok(());
        }
        let width = (width * DENSITY).round().max(1.0) as u32;
        let stroke = Stroke { colour: backend(colour, alpha), width };
        let mut path: Vec<(i32, i32)> = points.iter().map(|p| at(*p)).collect();
        path.dedup();
        for part in without_reversals(&path) {
            told(self.backend.draw_path(part.iter().copied(), &stroke))?;
        }
        Ok(())
    }

    /// Draws a line with dashes of 5 and gaps of 3 nominal pixels.
    pub(crate) fn dashed(&mut self, points: &[Point], colour: Rgb, alpha: f64, width: f64) -> Result<()> {
        const PERIOD: [f64; 2] = [5.0, 3.0];
        let (mut phase, mut left) = (0, PERIOD[0]);
        let mut dash: Vec<Point> = points.first().copied().into_iter().collect();
        for pair in points.windows(2) {
            let (mut from, to) = (pair[0], pair[1]);
            loop {
                let length = (to.0 - from.0).hypot(to.1 - from.1);
                if length <= left || !length.is_finite() {
                    left -= length;
                    dash.push(to);
                    break;
                }
                let t = left / length;
                from = (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1));
                dash.push(from);
                if phase == 0 {
                    self.line(&dash, colour, alpha, width)?;
                }
                phase = 1 - phase;
                left = PERIOD[phase];
                dash = vec![from];
            }
        }
        if phase == 0 { self.line(&dash, colour, alpha, width) } else { Ok(()) }
    }

    pub(crate) fn polygon(&mut self, points: &[Point], colour: Rgb, alpha: f64) -> Result<()> {
        let style = Stroke { colour: backend(colour, alpha), width: 1 };
        told(self.backend.fill_polygon(points.iter().map(|p| at(*p)), &style))
    }

    pub(crate) fn rectangle(&mut self, from: Point, to: Point, colour: Rgb, alpha: f64) -> Result<()> {
        let style = Stroke { colour: backend(colour, alpha), width: 1 };
        let (a, b) = (at((from.0.min(to.0), from.1.min(to.1))), at((from.0.max(to.0), from.1.max(to.1))));
        told(self.backend.draw_rect(a, b, &style, true))
    }

    pub(crate) fn dot(&mut self, centre: Point, radius: f64, colour: Rgb, alpha: f64) -> Result<()> {
        let style = Stroke { colour: backend(colour, alpha), width: 1 };
        told(self.backend.draw_circle(at(centre), (radius * DENSITY).round().max(1.0) as u32, &style, true))
    }

    /// Writes words of `size` nominal pixels (of the em square), vertically centred on their point.
    pub(crate) fn text(
        &mut self,
        text: &str,
        point: Point,
        size: f64,
        colour: Rgb,
        align: Align,
    ) -> Result<()> {
        self.words(text, point, size, colour, align, FontTransform::None)
    }

    /// Writes a text that is rotated and read from below.
    pub(crate) fn upright_text(&mut self, text: &str, point: Point, size: f64, colour: Rgb) -> Result<()> {
        self.words(text, point, size, colour, Align::Centre, FontTransform::Rotate270)
    }

    fn words(
        &mut self,
        text: &str,
        point: Point,
        size: f64,
        colour: Rgb,
        align: Align,
        transform: FontTransform,
    ) -> Result<()> {
        let h_pos = match align {
            Align::Left => HPos::Left,
            Align::Centre => HPos::Center,
            Align::Right => HPos::Right,
        };
        let anchor = Pos::new(h_pos, VPos::Center);
        // The family takes 1.24 em for the size of a font.
        let style = Words { colour: backend(colour, 1.0), size: 1.24 * size * DENSITY, anchor, transform };
        told(self.backend.draw_text(text, &style, at(point)))
    }
}

/// The path, cut where it turns by more than a right angle: backends would draw the inner side of such a corner far
/// away from it.
fn without_reversals(path: &[(i32, i32)]) -> impl Iterator<Item = &[(i32, i32)]> {
    let along =
        |a: (i32, i32), b: (i32, i32)| (f64::from(b.0) - f64::from(a.0), f64::from(b.1) - f64::from(a.1));
    let turns_back = move |i: &usize| {
        let (u, v) = (along(path[i - 1], path[*i]), along(path[*i], path[i + 1]));
        u.0 * v.0 + u.1 * v.1 < 0.0
    };
    let last = path.len().saturating_sub(1);
    let mut from = 0;
    let cuts = (1..last).filter(turns_back).chain((last > 0).then_some(last));
    cuts.map(move |to| {
        let part = &path[from..=to];
        from = to;
        part
    })
}

/// The backend's coordinates of a point. Points far outside, which are not seen, are moved to where every backend can
/// take them.
fn at(point: Point) -> (i32, i32) {
    let of = |x: f64| (x * DENSITY).round().clamp(-1e6, 1e6) as i32;
    (of(point.0), of(point.1))
}

fn told<T, E: std::error::Error + Send + Sync>(result: Result<T, DrawingErrorKind<E>>) -> Result<T> {
    result.map_err(|error| PlotError::Drawing(error.to_string()))
}

/// An SVG of that nominal size.
pub(crate) fn svg(
    size: (u32, u32),
    draw: impl FnOnce(&mut Canvas<'_, plotters_svg::SVGBackend<'_>>) -> Result<()>,
) -> Result<String> {
    let density = DENSITY as u32;
    let (width, height) = (size.0 * density, size.1 * density);
    let mut text = String::new();
    {
        let mut backend = plotters_svg::SVGBackend::with_string(&mut text, (width, height));
        told(backend.ensure_prepared())?;
        draw(&mut Canvas::new(&mut backend, (f64::from(size.0), f64::from(size.1))))?;
        told(backend.present())?;
    }
    // Coordinates in the SVG stay as they are, and the picture is shown at its nominal size.
    let large = format!("width=\"{width}\" height=\"{height}\"");
    Ok(text.replacen(&large, &format!("width=\"{}\" height=\"{}\"", size.0, size.1), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_where_it_turns_back() {
        let parts = |path: &[(i32, i32)]| without_reversals(path).map(<[_]>::to_vec).collect::<Vec<_>>();
        assert_eq!(
            parts(&[(0, 0), (4, 0), (4, 4)]),
            [[(0, 0), (4, 0), (4, 4)]],
            "a right angle is drawn whole"
        );
        let sharp = [(0, 0), (40, 0), (0, 1), (-1, 9)];
        assert_eq!(parts(&sharp), [vec![(0, 0), (40, 0)], vec![(40, 0), (0, 1), (-1, 9)]]);
        assert!(parts(&[(1, 1)]).is_empty() && parts(&[]).is_empty(), "a point is no line");
    }
}
