//! Curves and points.

use plotters_backend::DrawingBackend;

use crate::{
    Lines, Mark, Result, Series, Style,
    axes::{Area, Frame, TICK},
    canvas::{Align, Canvas, Point},
    colour::{INK, Rgb, WHITE, of_series},
    scale::Span,
    text,
};

pub(crate) fn draw<B: DrawingBackend>(canvas: &mut Canvas<'_, B>, area: Area, lines: &Lines) -> Result<()> {
    let all = |of: fn(&Series) -> &Vec<f64>| lines.series.iter().flat_map(move |s| of(s).iter().copied());
    let x = Span::new(&lines.x, all(|s| &s.x), 0.0);
    let edges = || lines.series.iter().flat_map(|s| s.band.iter().flatten().copied());
    let y = Span::new(&lines.y, all(|s| &s.y).chain(edges()), 0.05);
    let frame = Frame::draw(canvas, area, (&lines.x, &lines.y), (x, y), true)?;
    for (index, series) in lines.series.iter().enumerate() {
        band(canvas, &frame, series, of_series(series, index))?;
    }
    for (index, series) in lines.series.iter().enumerate() {
        let colour = of_series(series, index);
        let points = || series.x.iter().zip(&series.y).map(|(x, y)| frame.point(*x, *y));
        let (width, alpha) = match series.style {
            Style::Line | Style::Dashed | Style::Both => (1.6, 1.0),
            Style::Thin => (0.8, 0.35),
            Style::Points => (0.0, 1.0),
        };
        if series.style != Style::Points {
            for part in frame.clipped(points()) {
                if series.style == Style::Dashed {
                    canvas.dashed(&part, colour, alpha, width)?;
                } else {
                    canvas.line(&part, colour, alpha, width)?;
                }
            }
        }
        if matches!(series.style, Style::Points | Style::Both) {
            for point in points().filter(|point| frame.shows(*point)) {
                canvas.dot(point, 2.4, colour, alpha)?;
            }
        }
    }
    frame.border(canvas)?;
    marks(canvas, &frame, &lines.marks)
}

/// Draws the band of a series, under every line. The band is interrupted where an edge is not finite.
fn band<B: DrawingBackend>(
    canvas: &mut Canvas<'_, B>,
    frame: &Frame,
    series: &Series,
    colour: Rgb,
) -> Result<()> {
    let edges = |(x, [low, high]): (&f64, &[f64; 2])| {
        let (low, high) = (frame.point(*x, *low), frame.point(*x, *high));
        (low.0.is_finite() && low.1.is_finite() && high.1.is_finite()).then_some((low, high))
    };
    let edges: Vec<Option<(Point, Point)>> = series.x.iter().zip(&series.band).map(edges).collect();
    for part in edges.split(Option::is_none) {
        let (low, mut high): (Vec<Point>, Vec<Point>) = part.iter().flatten().copied().unzip();
        high.reverse();
        let area = frame.inside(&[low, high].concat());
        if area.len() > 2 {
            canvas.polygon(&area, colour, 0.15)?;
        }
    }
    Ok(())
}

/// Draws words beside dots, within the frame.
pub(crate) fn marks<B: DrawingBackend>(
    canvas: &mut Canvas<'_, B>,
    frame: &Frame,
    marks: &[Mark],
) -> Result<()> {
    for mark in marks {
        let at = frame.point(mark.x, mark.y);
        if !frame.shows(at) {
            continue;
        }
        canvas.dot(at, 3.6, WHITE, 1.0)?;
        canvas.dot(at, 2.6, INK, 1.0)?;
        let width = text::width(&mark.text, TICK);
        let fits_right = at.0 + 8.0 + width < frame.inner.right;
        let (place, align) =
            if fits_right { ((at.0 + 7.0, at.1), Align::Left) } else { ((at.0 - 7.0, at.1), Align::Right) };
        let place = (place.0, place.1.clamp(frame.inner.top + 8.0, frame.inner.bottom - 8.0));
        let (left, right) = if fits_right { (place.0, place.0 + width) } else { (place.0 - width, place.0) };
        canvas.rectangle((left - 2.0, place.1 - 7.0), (right + 2.0, place.1 + 7.0), WHITE, 0.85)?;
        canvas.text(&mark.text, place, TICK, INK, align)?;
    }
    Ok(())
}
