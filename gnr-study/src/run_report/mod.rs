//! The page of one run, or of several runs over each other: curves, results, cost, what was measured of the trained
//! net, recipe, origin. The page is made from run folders alone, of runs that are finished, interrupted or training.
//! Missing parts are named.

mod figures;
mod measured;
mod one;
mod several;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use gnr_train::{is_run, write_atomically};

use crate::{
    error::{Result, StudyError},
    follow::{Activity, FollowedRun},
    report::Document,
};

/// A page, and the parts that it could not show.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The page as data.
    pub document: Document,
    /// The missing parts with the reasons, a sentence each.
    pub missing: Vec<String>,
}

impl RunReport {
    /// Reads run folders: one for its page, several for a page of all of them over each other. `now` is the time at
    /// which the page is made.
    ///
    /// # Errors
    /// No folder, a folder that holds no run, files that cannot be read.
    pub fn read(folders: &[PathBuf], now: SystemTime) -> Result<Self> {
        let mut runs = Vec::new();
        for folder in folders {
            if !is_run(folder) {
                let problem = format!("{}: expected a run folder, with a recipe.toml", folder.display());
                return Err(StudyError::Request(problem));
            }
            let mut run = FollowedRun::new(folder);
            run.refresh(now)?;
            runs.push(run);
        }
        match &runs[..] {
            [] => Err(StudyError::Request("a report needs a run".into())),
            [run] => one::report(run, now),
            runs => several::report(runs, now),
        }
    }

    /// Writes the page.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(write_atomically(path, self.document.html().as_bytes())?)
    }
}

/// A fraction in per cent.
fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "–".into(), |fraction| format!("{:.2}", 100.0 * fraction))
}

/// A number with four significant digits.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".into() };
    let size = value.abs();
    if value == 0.0 || (1e-3..1e5).contains(&size) {
        let digits = if value == 0.0 { 1 } else { (3 - size.log10().floor() as i32).clamp(0, 6) as usize };
        format!("{value:.digits$}")
    } else {
        format!("{value:.3e}")
    }
}

/// A duration in words.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6000.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The state of a run in words.
fn state(run: &FollowedRun, now: SystemTime) -> String {
    let of = run.epochs().map_or_else(String::new, |epochs| format!(" of {epochs}"));
    let done = format!("{}{of} epochs", run.epochs_done());
    match run.activity() {
        Activity::Finished => match run.collapsed_at_epoch() {
            Some(epoch) if run.epochs().is_some_and(|all| run.epochs_done() < all) => {
                format!("ended early, because it collapsed at epoch {epoch}: {done}")
            }
            Some(epoch) => format!("finished, {done}; collapsed from epoch {epoch} on"),
            None => format!("finished, {done}"),
        },
        Activity::Training => {
            let left = run
                .seconds_left(now)
                .map_or_else(String::new, |left| format!(", about {} left", duration(left)));
            format!("training when this page was made, {done} done{left}")
        }
        Activity::Stopped => {
            let since = run.written().map_or_else(String::new, |written| {
                let since = now.duration_since(written).unwrap_or_default().as_secs_f64();
                format!(", the last line {} before this page", duration(since))
            });
            format!("not finished: stopped after {done}{since}")
        }
    }
}
