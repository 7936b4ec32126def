//! The command `gnr watch`: runs in a terminal while they train, or afterwards. The command reads run folders only, and
//! this module only draws.

mod charts;
mod draw;
mod lines;
mod screen;
mod state;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    io::{IsTerminal as _, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use clap::Args;
use gnr_study::follow::{FollowedRun, labels, runs_in};

use crate::signal::INTERRUPTED;
use screen::{Event, Screen};
use state::{Action, Dashboard};

/// Watch runs in the terminal while they train, or look at finished ones
///
/// A folder stands for all runs at or below it: those of a comparison, of a sweep, of runs/. Runs are drawn over each
/// other; new ones appear when they begin. It reads metrics.jsonl, recipe.toml and summary.json, takes no lock and
/// writes nothing, so that training does not notice. Where the output is no terminal it prints a line a run and ends.
#[derive(Args)]
#[command(
    after_help = "Keys: q quit, up and down choose a run, space hides it, o shows it alone, tab and 1 to 6 choose a chart, c a curve, \
    l logarithmic scale, x epochs, steps or seconds, + - left right zoom, 0 everything, ? help\n\n\
    Examples:\n  \
    gnr watch                                     all of runs/\n  \
    gnr watch runs/digits-1\n  \
    gnr watch runs/digits-1 runs/digits-2         over each other\n  \
    gnr watch runs/compare-digits-noisy           every run of a comparison\n  \
    gnr watch runs | cat                          a line a run"
)]
pub(crate) struct Arguments {
    /// Run folders, or folders of runs [default: runs]
    #[arg(value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
}

/// Time between two reads of the runs' files.
const READ_EVERY: Duration = Duration::from_millis(500);
/// Time between two searches for new runs.
const SEARCH_EVERY: Duration = Duration::from_secs(5);

pub(crate) fn watch(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let asked = if arguments.runs.is_empty() { vec![PathBuf::from("runs")] } else { arguments.runs };
    let mut dashboard = Dashboard::new(found(&asked)?);
    let now = SystemTime::now();
    dashboard.read(now);
    let mut stdout = std::io::stdout();
    if !stdout.is_terminal() {
        if let Some(problem) = dashboard.problem() {
            anyhow::bail!("{problem}");
        }
        for line in lines::lines(&dashboard, now) {
            writeln!(stdout, "{line}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut screen = Screen::open()?;
    let (mut read, mut searched) = (Instant::now(), Instant::now());
    loop {
        screen.draw(|frame| draw::draw(frame, &dashboard, SystemTime::now()))?;
        match screen.next(READ_EVERY.saturating_sub(read.elapsed()))? {
            Event::Key(key) => {
                if dashboard.press(key) == Action::Quit {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            Event::Stopped => return Ok(ExitCode::from(INTERRUPTED)),
            Event::Nothing => {}
        }
        if searched.elapsed() >= SEARCH_EVERY {
            searched = Instant::now();
            // A folder that is missing for a moment does not end the program; what is known of its runs stays.
            if let Ok(runs) = found(&asked) {
                dashboard.add(runs);
            }
        }
        if read.elapsed() >= READ_EVERY {
            read = Instant::now();
            dashboard.read(SystemTime::now());
        }
    }
}

/// The runs of the folders that were asked for, each once, also if it is named by different paths, with short names.
fn found(asked: &[PathBuf]) -> anyhow::Result<Vec<(String, FollowedRun)>> {
    let (mut folders, mut seen) = (Vec::new(), HashSet::new());
    for path in asked {
        for run in runs_in(path)? {
            if seen.insert(run.canonicalize().unwrap_or_else(|_| run.clone())) {
                folders.push(run);
            }
        }
    }
    let names = labels(&folders);
    Ok(names.into_iter().zip(folders.into_iter().map(FollowedRun::new)).collect())
}
