//! The dashboard as a picture of characters, a function of the watched runs and of the time.

use std::time::SystemTime;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};

use super::{charts, state::Dashboard, table};

/// The smallest window that is drawn in, in columns and rows.
const LEAST: (u16, u16) = (30, 10);

pub(crate) fn draw(frame: &mut Frame<'_>, dashboard: &Dashboard, now: SystemTime) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        frame.render_widget(Paragraph::new("the window is too small; q quits"), area);
        return;
    }
    let [head, middle, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(table::height(dashboard.runs().len(), area.height)),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(heading(dashboard), head);
    charts::draw(frame, middle, dashboard);
    table::draw(frame, below, dashboard, now);
    frame.render_widget(Line::from(KEYS).style(Style::new().add_modifier(Modifier::DIM)), foot);
    if dashboard.help() {
        help(frame, area);
    }
}

fn heading(dashboard: &Dashboard) -> Line<'static> {
    if let Some(problem) = dashboard.problem() {
        return Line::from(Span::styled(problem.to_owned(), Style::new().fg(Color::LightRed)));
    }
    let (all, drawn) = (dashboard.runs().len(), dashboard.drawn().len());
    let runs = if all == 1 { "1 run".to_owned() } else { format!("{all} runs") };
    let hidden = if drawn < all { format!(", {drawn} drawn") } else { String::new() };
    let training = dashboard.training();
    let training = if training > 0 { format!(", {training} training") } else { String::new() };
    let [low, high] = dashboard.window();
    let zoomed = if high - low < 1.0 {
        format!(", {:.0} to {:.0} % of the axis", 100.0 * low, 100.0 * high)
    } else {
        String::new()
    };
    Line::from(vec![
        Span::styled("gnr watch", Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(format!("  {runs}{hidden}{training}{zoomed}")),
    ])
}

const KEYS: &str =
    "q quit  ↑↓ run  space hide  o alone  tab chart  c curve  l log  x axis  +- zoom  ←→ move  0 all  ? help";

const HELP: [&str; 14] = [
    "q, Esc, Ctrl-C   quit; training goes on",
    "up, down, k, j   choose a run",
    "space            hide or show the chosen run",
    "o                only the chosen run, or all",
    "Tab, Shift-Tab   next chart, last chart",
    "1 2 3            loss, accuracy, regularisers",
    "4 5 6            gradient norm, learning rate, steps/s",
    "c                all curves of the chart, or one by one",
    "l                logarithmic or linear scale",
    "x                over epochs, steps or seconds",
    "+ -              zoom in, out",
    "left, right      move along the axis",
    "0                everything again",
    "any key          close this help",
];

fn help(frame: &mut Frame<'_>, area: Rect) {
    let width = HELP.iter().map(|line| line.len()).max().unwrap_or_default() as u16 + 4;
    let height = HELP.len() as u16 + 2;
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::from(format!(" {line}"))).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), place);
}
