//! The places of the title, the legend, the panels and the small print.

use plotters_backend::DrawingBackend;

use crate::{
    Content, Figure, Result, Style,
    axes::Area,
    bars,
    canvas::{Align, Canvas},
    colour::{GREY, INK, Rgb, WHITE, of_series, palette},
    contour, lines, surface, text,
};

const MARGIN: f64 = 8.0;
const TITLE: f64 = 14.0;
const PANEL_TITLE: f64 = 12.0;
const LEGEND: f64 = 11.0;
const NOTE: f64 = 9.0;
/// Length of a sample in the legend.
const SAMPLE: f64 = 20.0;

struct Entry {
    label: String,
    colour: Rgb,
    style: Sample,
}

#[derive(Clone, Copy, PartialEq)]
enum Sample {
    Stroke(Style),
    Patch,
}

/// Nominal width and height of the figure.
pub(crate) fn size(figure: &Figure) -> (u32, u32) {
    let layout = Layout::of(figure);
    (layout.width.ceil() as u32, layout.height.ceil() as u32)
}

struct Layout {
    width: f64,
    height: f64,
    columns: usize,
    title: Vec<String>,
    legend: Vec<Vec<Entry>>,
    note: Vec<String>,
    panel_titles: f64,
}

impl Layout {
    fn of(figure: &Figure) -> Self {
        let columns = figure.columns.unwrap_or(3).min(figure.panels.len());
        let rows = figure.panels.len().div_ceil(columns);
        let [w, h] = figure.panel_size.map(f64::from);
        let width = columns as f64 * w + 2.0 * MARGIN;
        let room = width - 2.0 * MARGIN;
        let (title, note) = (wrapped(&figure.title, TITLE, room), wrapped(&figure.note, NOTE, room));
        let legend = legend_rows(entries(figure), room);
        let titled = figure.panels.iter().any(|panel| !panel.title.is_empty());
        let panel_titles = if titled { PANEL_TITLE + 6.0 } else { 0.0 };
        let height = 2.0 * MARGIN
            + title.len() as f64 * (TITLE + 5.0)
            + legend.len() as f64 * (LEGEND + 7.0)
            + rows as f64 * (h + panel_titles)
            + note.len() as f64 * (NOTE + 4.0);
        Self { width, height, columns, title, legend, note, panel_titles }
    }
}

pub(crate) fn draw<B: DrawingBackend>(figure: &Figure, canvas: &mut Canvas<'_, B>) -> Result<()> {
    let (width, height) = canvas.size;
    canvas.rectangle((0.0, 0.0), (width, height), WHITE, 1.0)?;
    draw_bare(figure, canvas)
}

/// Draws a figure without a background.
pub(crate) fn draw_bare<B: DrawingBackend>(figure: &Figure, canvas: &mut Canvas<'_, B>) -> Result<()> {
    let layout = Layout::of(figure);
    let (width, _) = canvas.size;
    let mut top = MARGIN;
    for line in &layout.title {
        canvas.text(line, (width / 2.0, top + TITLE / 2.0 + 1.0), TITLE, INK, Align::Centre)?;
        top += TITLE + 5.0;
    }
    for row in &layout.legend {
        let length: f64 = row.iter().map(entry_width).sum();
        let mut left = (width - length) / 2.0;
        for entry in row {
            sample(canvas, entry, left, top + LEGEND / 2.0 + 1.0)?;
            let at = (left + SAMPLE + 5.0, top + LEGEND / 2.0 + 1.0);
            canvas.text(&entry.label, at, LEGEND, INK, Align::Left)?;
            left += entry_width(entry);
        }
        top += LEGEND + 7.0;
    }
    let [w, h] = figure.panel_size.map(f64::from);
    for (index, panel) in figure.panels.iter().enumerate() {
        let (row, column) = (index / layout.columns, index % layout.columns);
        let left = MARGIN + column as f64 * w;
        let upper = top + row as f64 * (h + layout.panel_titles);
        let middle = (left + w / 2.0, upper + PANEL_TITLE / 2.0 + 2.0);
        canvas.text(&panel.title, middle, PANEL_TITLE, INK, Align::Centre)?;
        let upper = upper + layout.panel_titles;
        let area = Area { left: left + 3.0, top: upper, right: left + w - 3.0, bottom: upper + h - 4.0 };
        match &panel.content {
            Content::Lines(content) => lines::draw(canvas, area, content)?,
            Content::Histogram(content) => bars::histogram(canvas, area, content)?,
            Content::Counts(content) => bars::tally(canvas, area, content)?,
            // Contours have a colour bar with a name above it.
            Content::Contour(content) => {
                contour::draw(canvas, Area { top: area.top + 12.0, ..area }, content)?;
            }
            Content::Surface(content) => surface::draw(canvas, area, content)?,
        }
    }
    let rows = figure.panels.len().div_ceil(layout.columns) as f64;
    let mut top = top + rows * (h + layout.panel_titles);
    for line in &layout.note {
        canvas.text(line, (MARGIN, top + NOTE / 2.0 + 2.0), NOTE, GREY, Align::Left)?;
        top += NOTE + 4.0;
    }
    Ok(())
}

fn sample<B: DrawingBackend>(canvas: &mut Canvas<'_, B>, entry: &Entry, left: f64, y: f64) -> Result<()> {
    let ends = [(left, y), (left + SAMPLE, y)];
    match entry.style {
        Sample::Patch => {
            canvas.rectangle((left, y - 5.0), (left + SAMPLE, y + 5.0), entry.colour, 0.25)?;
            let corners =
                [(left, y - 5.0), (left + SAMPLE, y - 5.0), (left + SAMPLE, y + 5.0), (left, y + 5.0)];
            let outline = [&corners[..], &corners[..1]].concat();
            canvas.line(&outline, entry.colour, 1.0, 1.3)
        }
        Sample::Stroke(Style::Dashed) => canvas.dashed(&ends, entry.colour, 1.0, 1.8),
        Sample::Stroke(Style::Points) => canvas.dot((left + SAMPLE / 2.0, y), 2.8, entry.colour, 1.0),
        Sample::Stroke(Style::Both) => {
            canvas.line(&ends, entry.colour, 1.0, 1.8)?;
            canvas.dot((left + SAMPLE / 2.0, y), 2.8, entry.colour, 1.0)
        }
        Sample::Stroke(Style::Line | Style::Thin) => canvas.line(&ends, entry.colour, 1.0, 1.8),
    }
}

/// The entries of the legend. Equal names in one colour and style are one entry, whatever the panel. An area also
/// stands for lines of its name and colour.
fn entries(figure: &Figure) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut add = |label: &str, colour: Rgb, style: Sample| {
        let known = |e: &Entry| {
            let same_style = e.style == style || e.style == Sample::Patch;
            e.label == label && e.colour == colour && same_style
        };
        if !label.is_empty() && !entries.iter().any(known) {
            entries.push(Entry { label: label.to_owned(), colour, style });
        }
    };
    for panel in &figure.panels {
        match &panel.content {
            Content::Lines(content) => {
                for (index, series) in content.series.iter().enumerate() {
                    let colour = of_series(series, index);
                    add(&series.label, colour, Sample::Stroke(series.style));
                }
            }
            Content::Histogram(crate::Histogram { groups, .. })
            | Content::Counts(crate::Counts { groups, .. }) => {
                for (index, group) in groups.iter().enumerate() {
                    add(&group.label, palette(group.colour.unwrap_or(index)), Sample::Patch);
                }
            }
            Content::Contour(grid) => {
                for (index, route) in grid.routes.iter().enumerate() {
                    add(&route.label, contour::route_colour(index), Sample::Stroke(Style::Both));
                }
            }
            Content::Surface(_) => {}
        }
    }
    entries
}

fn entry_width(entry: &Entry) -> f64 {
    SAMPLE + 5.0 + text::width(&entry.label, LEGEND) + 18.0
}

fn legend_rows(entries: Vec<Entry>, room: f64) -> Vec<Vec<Entry>> {
    let mut rows: Vec<Vec<Entry>> = Vec::new();
    let mut used = f64::INFINITY;
    for entry in entries {
        let width = entry_width(&entry);
        if used + width > room {
            rows.push(Vec::new());
            used = 0.0;
        }
        used += width;
        if let Some(row) = rows.last_mut() {
            row.push(entry);
        }
    }
    rows
}

/// Breaks words into lines that fit.
fn wrapped(words: &str, em: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text::width(&format!("{line} {word}"), em) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
