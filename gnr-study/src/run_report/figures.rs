//! Curves of runs as drawings of a page.

use gnr_plot::{Axis, Content, Figure, Lines, Panel, Series, Style, inline_svg};

use crate::{
    error::Result,
    follow::{Across, Chart, Curve, FollowedRun},
    report::Block,
};

/// Width and height of a drawing in nominal pixels: on a page of two columns, letters keep nearly their size.
const SIZE: [u32; 2] = [420, 270];

/// Colour and style of a curve of a single run: the same images have the same colour in every drawing.
fn dress(curve: &Curve, index: usize) -> (usize, Style) {
    match curve.name.as_str() {
        "test" => (0, Style::Line),
        "train" => (1, Style::Line),
        "train, steps" => (1, Style::Thin),
        "validation" => (2, Style::Line),
        "test, averaged weights" => (3, Style::Line),
        "wrong labels fitted" => (4, Style::Line),
        "steps" => (index, Style::Thin),
        _ => (index, Style::Line),
    }
}

/// A curve of a single point needs a dot to be seen.
fn visible(style: Style, points: usize) -> Style {
    if points == 1 { Style::Points } else { style }
}

fn series(label: &str, curve: &Curve, (colour, style): (usize, Style)) -> Series {
    let (x, y) = curve.points.iter().map(|[x, y]| (*x, *y)).unzip();
    Series::line(label, x, y).styled(visible(style, curve.points.len())).coloured(colour)
}

/// The vertical axis: logarithmic if all values are positive and span more than two decades, otherwise linear.
fn vertical(title: &str, curves: &[&Curve]) -> Axis {
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|[_, y]| *y));
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    if low > 0.0 && high > 100.0 * low { Axis::log(title) } else { Axis::linear(title) }
}

fn figure(
    caption: String,
    chart: Chart,
    across: Across,
    curves: &[&Curve],
    series: Vec<Series>,
) -> Result<Block> {
    let (x, y) = (Axis::linear(across.title()), vertical(chart.title(), curves));
    let lines = Lines { x, y, series, marks: Vec::new() };
    let mut figure = Figure::new("", vec![Panel::new("", Content::Lines(lines))]);
    figure.panel_size = SIZE;
    Ok(Block::Figure { caption, svg: inline_svg(&figure)? })
}

/// The horizontal axis: epochs, or steps as long as no epoch has ended.
pub(super) fn across(runs: &[FollowedRun]) -> Across {
    if runs.iter().any(|run| run.epochs_done() > 0) { Across::Epoch } else { Across::Step }
}

/// A drawing for each chart, with all curves of a run.
pub(super) fn of_one(run: &FollowedRun) -> Result<Vec<Block>> {
    let across = across(std::slice::from_ref(run));
    let mut blocks = Vec::new();
    for chart in Chart::ALL {
        let curves = chart.curves(run.log(), across);
        if curves.is_empty() {
            continue;
        }
        // Pale curves lie below the others.
        let mut dressed: Vec<_> =
            curves.iter().enumerate().map(|(index, curve)| (curve, dress(curve, index))).collect();
        dressed.sort_by_key(|(_, (_, style))| *style != Style::Thin);
        let name = |curve: &Curve| if curves.len() == 1 { String::new() } else { curve.name.clone() };
        let series = dressed.iter().map(|(curve, dress)| series(&name(curve), curve, *dress)).collect();
        let caption = match &curves[..] {
            [only] if chart == Chart::Penalties => format!("{}: {}", chart.title(), only.name),
            _ => chart.title().to_owned(),
        };
        blocks.push(figure(caption, chart, across, &curves.iter().collect::<Vec<_>>(), series)?);
    }
    Ok(blocks)
}

/// A drawing for each curve that some run has, with all runs. A [`Block::Key`] names the runs.
pub(super) fn of_several(runs: &[FollowedRun]) -> Result<Vec<Block>> {
    let across = across(runs);
    let mut blocks = Vec::new();
    for chart in Chart::ALL {
        let curves: Vec<Vec<Curve>> = runs.iter().map(|run| chart.curves(run.log(), across)).collect();
        let mut names: Vec<&str> = curves.iter().flatten().map(|curve| curve.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        // Curves of steps are left out, because curves of epochs' means say as much.
        let epochs = names.iter().any(|name| !name.ends_with("steps"));
        for name in names.into_iter().filter(|name| !epochs || !name.ends_with("steps")) {
            let of = |(index, curves): (usize, &'_ Vec<Curve>)| {
                curves.iter().position(|curve| curve.name == name).map(|at| (index, at))
            };
            let found: Vec<(usize, &Curve)> = (curves.iter().enumerate())
                .filter_map(|(index, of_run)| of((index, of_run)).map(|(index, at)| (index, &of_run[at])))
                .collect();
            let series =
                found.iter().map(|(index, curve)| series("", curve, (*index, style_of(*index)))).collect();
            let curves: Vec<&Curve> = found.iter().map(|(_, curve)| *curve).collect();
            let caption = match chart {
                Chart::GradNorm | Chart::LearningRate | Chart::StepRate => chart.title().to_owned(),
                _ => format!("{}: {name}", chart.title()),
            };
            blocks.push(figure(caption, chart, across, &curves, series)?);
        }
    }
    Ok(blocks)
}

/// The style of a run's curves. There are eight colours, so the curves of the ninth run are dashed.
fn style_of(index: usize) -> Style {
    if (index / 8).is_multiple_of(2) { Style::Line } else { Style::Dashed }
}

/// Colours and names of runs.
pub(super) fn key(names: &[String]) -> Block {
    let entry = |(index, name): (usize, &String)| {
        let dashed = if style_of(index) == Style::Dashed { " (dashed)" } else { "" };
        (gnr_plot::colour_of(index), format!("{name}{dashed}"))
    };
    Block::Key(names.iter().enumerate().map(entry).collect())
}
