//! The runs as a table, which is also the legend of the charts.

use std::time::SystemTime;

use gnr_study::follow::Activity;
use ratatui::{
    Frame,
    layout::{Constraint, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell, Row, Table},
};

use super::{
    charts::colour,
    state::{Dashboard, Watched},
};
use crate::progress::clock;

/// Heading and width of each column, and the width of the window from which the column is shown.
const COLUMNS: [(&str, u16, u16); 8] = [
    ("state", 9, 0),
    ("epoch", 11, 0),
    ("test %", 7, 50),
    ("loss", 8, 60),
    ("|grad|", 8, 96),
    ("lr", 9, 84),
    ("steps/s", 7, 76),
    ("left", 10, 66),
];

/// The number of rows of a table of so many runs, frame and heading included, if there is room for `room` rows.
pub(super) fn height(runs: usize, room: u16) -> u16 {
    u16::try_from(runs).unwrap_or(u16::MAX).saturating_add(3).min(room / 3).max(4)
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, dashboard: &Dashboard, now: SystemTime) {
    let room = usize::from(area.height.saturating_sub(3));
    let (selected, runs) = (dashboard.selected(), dashboard.runs());
    // The chosen run is always visible.
    let first = (selected + 1).saturating_sub(room.max(1));
    let drawn = dashboard.drawn();
    let shown = runs.iter().enumerate().skip(first).take(room);
    let there = |(_, _, from): &&(&str, u16, u16)| area.width >= *from;
    let rows = shown.map(|(index, watched)| {
        let style = match (index == selected, drawn.contains(&index)) {
            (true, _) => Style::new().add_modifier(Modifier::REVERSED),
            (false, true) => Style::new(),
            (false, false) => Style::new().fg(Color::DarkGray),
        };
        let mark =
            Span::styled(if drawn.contains(&index) { "■ " } else { "· " }, Style::new().fg(colour(index)));
        let name = Cell::from(Line::from(vec![mark, Span::raw(watched.name.clone())]));
        let values = values(watched, now);
        let cells = COLUMNS
            .iter()
            .zip(values)
            .filter(|(column, _)| there(column))
            .map(|(_, value)| Cell::from(value));
        Row::new(std::iter::once(name).chain(cells)).style(style)
    });
    let widths = std::iter::once(Constraint::Fill(1))
        .chain(COLUMNS.iter().filter(there).map(|(_, width, _)| Constraint::Length(*width)));
    let heading = std::iter::once("run").chain(COLUMNS.iter().filter(there).map(|(name, ..)| *name));
    let more = if runs.len() > room {
        format!(" {} to {} of {} ", first + 1, (first + room).min(runs.len()), runs.len())
    } else {
        String::new()
    };
    let block = Block::bordered().title(about(dashboard)).title_bottom(Line::from(more).right_aligned());
    let heading = Row::new(heading.map(Cell::from)).style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(rows, widths).header(heading).block(block), area);
}

/// The description of the chosen run.
fn about(dashboard: &Dashboard) -> String {
    let Some(watched) = dashboard.runs().get(dashboard.selected()) else { return String::new() };
    match watched.run.recipe() {
        Ok(recipe) => {
            format!(
                " {}: {} on {}, {} ",
                watched.name,
                recipe.model.name,
                recipe.data.name,
                recipe.method_name()
            )
        }
        Err(problem) => format!(" {}: {} ", watched.name, problem.lines().next().unwrap_or_default()),
    }
}

/// The text of each column.
pub(super) fn values(watched: &Watched, now: SystemTime) -> [String; 8] {
    let run = &watched.run;
    let none = || "-".to_owned();
    let of = run.epochs().map_or_else(|| "?".into(), |epochs| epochs.to_string());
    let last = run.log().epochs().last();
    let step = run.log().steps().last();
    let norm = last.map(|last| last.grad_norm).or(step.map(|step| step.grad_norm));
    let rate = last.map(|last| last.learning_rate).or(step.map(|step| step.learning_rate));
    let left = match run.activity() {
        Activity::Finished => none(),
        Activity::Training => run.seconds_left(now).map_or_else(none, clock),
        Activity::Stopped => run.written().map_or_else(none, |written| {
            format!("{} ago", clock(now.duration_since(written).unwrap_or_default().as_secs_f64()))
        }),
    };
    [
        run.word().to_owned(),
        format!("{}/{of}", run.epochs_done()),
        run.test_accuracy().map_or_else(none, |accuracy| format!("{:.2}", 100.0 * accuracy)),
        run.train_loss().map_or_else(none, |loss| format!("{loss:.4}")),
        norm.map_or_else(none, |norm| format!("{norm:.3}")),
        rate.map_or_else(none, |rate| format!("{rate:.2e}")),
        run.steps_per_second().map_or_else(none, |rate| format!("{rate:.1}")),
        left,
    ]
}
