//! The command `gnr report`: writes the page of a run, or of several runs.

use std::{collections::HashSet, io::Write, path::PathBuf, process::ExitCode, time::SystemTime};

use clap::Args;
use gnr_study::{follow::runs_in, run_report::RunReport};

/// Write the page of a run, or of several runs over each other
///
/// Writes one HTML file without scripts and without files beside it: curves, results, cost, recipe and origin, and what
/// `gnr spectrum`, `trace`, `density`, `sharpness`, `landscape` and `minima` measured into the run's folder. For a run
/// that is training or was interrupted, the page shows what there is and says what is missing. Several runs, or a
/// folder of runs, make one page on which they lie over each other.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr report runs/digits-1                      writes runs/digits-1/report.html\n  \
    gnr report runs/digits-1 runs/digits-2        writes report.html with both over each other\n  \
    gnr report runs/compare-digits-noisy/runs     every run of a comparison, without the tries of its tuning\n  \
    for run in runs/*-*; do gnr report \"$run\"; done")]
pub(crate) struct Arguments {
    /// Run folders, or folders of runs
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The page [default: RUN/report.html; for several runs, report.html in the folder that was given, or in the
    /// working folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) fn report(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut runs: Vec<PathBuf> = Vec::new();
    // A run that is named twice, also by different paths, is on the page once.
    let mut seen = HashSet::new();
    for path in &arguments.runs {
        for run in runs_in(path)? {
            if seen.insert(run.canonicalize().unwrap_or_else(|_| run.clone())) {
                runs.push(run);
            }
        }
    }
    let out = match (&arguments.out, &arguments.runs[..]) {
        (Some(out), _) => out.clone(),
        (None, [folder]) => folder.join("report.html"),
        (None, _) => PathBuf::from("report.html"),
    };
    let page = RunReport::read(&runs, SystemTime::now())?;
    page.write(&out)?;
    if !arguments.quiet {
        let mut stdout = std::io::stdout();
        for what in &page.missing {
            writeln!(stdout, "not on the page: {what}")?;
        }
        writeln!(stdout, "written: {}", out.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
