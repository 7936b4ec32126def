//! Figures as data, drawn as SVG and PNG.
//!
//! A [`Figure`] is panels side by side: curves, histograms, counts, contours, surfaces. [`render`] draws it and gives
//! the data back as CSV and JSON; the JSON is the figure itself, so it can be drawn again, or changed first.
//!
//! PNG text comes from an embedded font (DejaVu Sans), so that no font need be installed. SVG text stays text.
//!
//! ```
//! use gnr_plot::{Axis, Content, Figure, Lines, Panel, Series, render};
//!
//! let theta: Vec<f64> = (0..=100).map(|i| f64::from(i) / 50.0 - 1.0).collect();
//! let loss = theta.iter().map(|t| (3.0 * t).cos()).collect();
//! let lines = Lines {
//!     x: Axis::linear("θ"),
//!     y: Axis::linear("loss"),
//!     series: vec![Series::line("cos 3θ", theta, loss)],
//!     marks: vec![],
//! };
//! let figure = Figure::new("A curve", vec![Panel::new("", Content::Lines(lines))]);
//! let drawn = render(&figure)?;
//! assert!(drawn.svg.contains("cos 3θ") && drawn.csv.starts_with("panel,series,x,y,z\n"));
//! # Ok::<(), gnr_plot::PlotError>(())
//! ```

mod axes;
mod bars;
mod canvas;
mod colour;
mod contour;
mod csv;
mod error;
mod figure;
mod holes;
mod layout;
mod lines;
mod raster;
mod scale;
mod surface;
mod text;

pub use error::{PlotError, Result};
pub use figure::{
    Axis, Content, Counts, Figure, Grid, Histogram, Lines, Mark, Panel, Route, Scale, Series, Style, Surface,
    Values,
};

/// Red, green and blue of the colour with this number, for words that belong to a series. There are eight colours,
/// which then repeat.
pub fn colour_of(number: usize) -> (u8, u8, u8) {
    colour::palette(number)
}

/// A colour of a series as CSS has it on a page, with an opacity. The black of [`colour_of`] is the page's ink, so that
/// it can be read in the dark as well.
pub fn page_colour((r, g, b): (u8, u8, u8)) -> (String, f64) {
    match colour::INKS.iter().find(|(ink, _)| *ink == (r, g, b)) {
        Some((_, share)) => ("currentColor".to_owned(), *share),
        None => (hex((r, g, b)), 1.0),
    }
}

fn hex((r, g, b): colour::Rgb) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// A figure in every form.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// Vector graphics; text is text, in the viewer's sans-serif font.
    pub svg: String,
    /// Pixels, at twice the figure's nominal size.
    pub png: Vec<u8>,
    /// The data in long form: `panel,series,x,y,z`.
    pub csv: String,
    /// The figure as JSON.
    pub json: String,
}

/// Draws a figure.
///
/// # Errors
/// A figure without panels or data, lists of different lengths, ranges that are empty.
///
/// # Cost
/// Tens of milliseconds a panel; memory of 16 times the nominal pixels while drawing.
pub fn render(figure: &Figure) -> Result<Rendered> {
    figure.check()?;
    let size = layout::size(figure);
    let svg = canvas::svg(size, |canvas| layout::draw(figure, canvas))?;
    let png = raster::png(size, |canvas| layout::draw(figure, canvas))?;
    let json = serde_json::to_string_pretty(figure).map_err(|error| PlotError::Drawing(error.to_string()))?;
    Ok(Rendered { svg, png, csv: csv::csv(figure), json })
}

/// The figure as an SVG element for a page: without a background, in the colours of the page's text, so that it can be
/// read in the dark as well.
///
/// # Errors
/// The errors of [`render`].
pub fn inline_svg(figure: &Figure) -> Result<String> {
    figure.check()?;
    let svg = canvas::svg(layout::size(figure), |canvas| layout::draw_bare(figure, canvas))?;
    // Ground behind words is the page's.
    let mut page = svg.replace(&format!("fill=\"{}\"", hex(colour::WHITE)), "fill=\"Canvas\"");
    for (colour, share) in colour::INKS {
        for what in ["stroke", "fill"] {
            let ink = format!("{what}=\"currentColor\" {what}-opacity=\"{share}\"");
            page = page.replace(&format!("{what}=\"{}\"", hex(colour)), &ink);
        }
    }
    Ok(page)
}

/// The example in README.md, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
