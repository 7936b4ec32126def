//! Charts of runs, with a colour for each run, or for each curve where one run is drawn.

use gnr_study::follow::Chart;
use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Style},
    symbols::Marker,
    text::Line,
    widgets::{Axis, Block, Chart as Drawing, Dataset, GraphType, LegendPosition, Paragraph},
};

use super::state::Dashboard;

/// Colours that every terminal has and that differ on light and on dark ground.
const COLOURS: [Color; 7] = [
    Color::LightBlue,
    Color::LightRed,
    Color::Green,
    Color::Yellow,
    Color::Magenta,
    Color::Cyan,
    Color::Gray,
];

pub(super) fn colour(index: usize) -> Color {
    COLOURS[index % COLOURS.len()]
}

/// The charts of the overview, most important first; as many are drawn as there is room for.
const OVERVIEW: [Chart; 4] = [Chart::Loss, Chart::Accuracy, Chart::Penalties, Chart::GradNorm];

/// The smallest size of a chart in the overview, in columns and rows.
const ROOM: (u16, u16) = (38, 9);

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard) {
    let Some(chart) = dashboard.chart() else { return overview(frame, area, dashboard) };
    one(frame, area, dashboard, chart);
}

fn overview(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard) {
    let columns = usize::from(area.width / ROOM.0).clamp(1, 2);
    let rows = usize::from(area.height / ROOM.1).clamp(1, 2);
    let shown = &OVERVIEW[..columns * rows];
    let lines = Layout::vertical(vec![Constraint::Fill(1); rows]).split(area);
    for (line, charts) in lines.iter().zip(shown.chunks(columns)) {
        let cells = Layout::horizontal(vec![Constraint::Fill(1); columns]).split(*line);
        for (cell, chart) in cells.iter().zip(charts) {
            one(frame, *cell, dashboard, *chart);
        }
    }
}

/// A curve as it is drawn: with its name in the legend, on the scale of the axis, within the window.
struct Shown {
    name: String,
    colour: Color,
    marker: Marker,
    points: Vec<(f64, f64)>,
}

fn one(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard, chart: Chart) {
    let logarithmic = dashboard.logarithmic();
    let horizontal = range(dashboard, chart);
    let shown = shown(dashboard, chart, horizontal);
    let scale = if logarithmic { ", log scale" } else { "" };
    let curve = dashboard.curve().filter(|name| dashboard.names(chart).iter().any(|other| other == name));
    let curve = curve.map_or_else(String::new, |name| format!(": {name}"));
    let block = Block::bordered().title(format!(" {}{curve}{scale} ", chart.title()));
    let values = || shown.iter().flat_map(|curve| curve.points.iter().map(|(_, y)| *y));
    let (low, high) =
        values().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
    if low > high {
        let words = if logarithmic { "no positive value here (l: linear scale)" } else { "nothing yet" };
        let words = Paragraph::new(words).alignment(Alignment::Center).block(block);
        frame.render_widget(words, area);
        return;
    }
    let margin = if high > low { 0.05 * (high - low) } else { (0.05 * high.abs()).max(0.05) };
    let vertical = [low - margin, high + margin];
    let several = dashboard.drawn().len() > 1;
    let datasets = shown.iter().map(|curve| {
        // The table below names the runs.
        let dataset =
            Dataset::default().marker(curve.marker).style(Style::new().fg(curve.colour)).data(&curve.points);
        let dataset = match curve.marker {
            Marker::Braille => dataset.graph_type(GraphType::Line),
            _ => dataset.graph_type(GraphType::Scatter),
        };
        if several { dataset } else { dataset.name(curve.name.clone()) }
    });
    let vertical_labels: Vec<String> = [0.0, 0.5, 1.0]
        .iter()
        .map(|t| vertical[0] + t * (vertical[1] - vertical[0]))
        .map(|y| label(if logarithmic { 10_f64.powf(y) } else { y }))
        .collect();
    let horizontal_labels: Vec<Line<'_>> =
        [horizontal[0], horizontal[1]].iter().map(|x| Line::from(label(*x))).collect();
    // The legend takes the corner that curves leave free when training goes well.
    let legend =
        if chart == Chart::Accuracy { LegendPosition::BottomRight } else { LegendPosition::TopRight };
    let drawing = Drawing::new(datasets.collect())
        .block(block)
        .x_axis(
            Axis::default().title(dashboard.across().title()).bounds(horizontal).labels(horizontal_labels),
        )
        .y_axis(Axis::default().bounds(vertical).labels(vertical_labels))
        .legend_position(Some(legend))
        .hidden_legend_constraints((Constraint::Percentage(60), Constraint::Percentage(60)));
    frame.render_widget(drawing, area);
}

/// The part of the horizontal axis that is visible.
fn range(dashboard: &Dashboard, chart: Chart) -> [f64; 2] {
    let runs = dashboard.drawn();
    let places = runs
        .iter()
        .flat_map(|index| dashboard.runs()[*index].curves(chart))
        .flat_map(|curve| curve.points.iter().map(|[x, _]| *x));
    let last = places.fold(0.0, f64::max);
    let last = if last > 0.0 { last } else { 1.0 };
    dashboard.window().map(|part| part * last)
}

fn shown(dashboard: &Dashboard, chart: Chart, [low, high]: [f64; 2]) -> Vec<Shown> {
    let (runs, names) = (dashboard.drawn(), dashboard.names(chart));
    let chosen = dashboard.curve().filter(|name| names.iter().any(|other| other == name));
    let mut shown = Vec::new();
    for index in &runs {
        let watched = &dashboard.runs()[*index];
        for curve in watched.curves(chart) {
            let at = names.iter().position(|name| *name == curve.name).unwrap_or_default();
            if chosen.is_some_and(|name| *name != curve.name) {
                continue;
            }
            let value = |y: f64| if dashboard.logarithmic() { y.log10() } else { y };
            let within = curve.points.iter().filter(|[x, _]| (low..=high).contains(x));
            let points: Vec<(f64, f64)> =
                within.map(|[x, y]| (*x, value(*y))).filter(|(_, y)| y.is_finite()).collect();
            // Over several runs the first curve is a line, and the others are dots in the run's colour.
            let line = (runs.len() == 1 || at == 0 || chosen.is_some()) && points.len() > 1;
            shown.push(Shown {
                name: curve.name.clone(),
                colour: colour(if runs.len() == 1 { at } else { *index }),
                marker: if line { Marker::Braille } else { Marker::Dot },
                points,
            });
        }
    }
    // The first curve lies on top.
    shown.reverse();
    shown
}

/// A number with three or four digits.
fn label(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value == 0.0 => "0".into(),
        s if !(1e-3..1e5).contains(&s) => format!("{value:.1e}"),
        s if s >= 100.0 => format!("{value:.0}"),
        s if s >= 10.0 => format!("{value:.1}"),
        s if s >= 1.0 => format!("{value:.2}"),
        s if s >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}
