//! `cargo xtask reproduce`: from a table of the paper to runs of the `gnr` program, and from their folders to a report.
//!
//! [`plan`] says what to train, [`recipe`] how that is written for `gnr`, [`data`] what must be on disk before, [`runner`]
//! trains it (finished runs are never repeated), [`results`] reads the run folders, [`report`] says what they support.

mod child;
mod data;
mod lock;
mod plan;
mod recipe;
mod report;
mod results;
mod runner;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{interrupt, machine, workspace};
use plan::{Plan, Scale};

/// Options of `cargo xtask reproduce`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to reproduce. Available: table1.
    #[arg(value_name = "WHAT")]
    what: String,
    /// How large: `smoke` is the embedded digits in minutes, `small` a taste of the real data in hours, `paper` the real
    /// thing.
    #[arg(long, value_enum, default_value_t = Scale::Smoke)]
    scale: Scale,
    /// Folder of the data sets (not needed by `smoke`).
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Number of seeds (0, 1, …) of each cell. Default: 3.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Train for this many epochs instead of the scale's own number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    epochs: Option<u64>,
    /// Runs at a time, each on one thread. Default: as many as there are cores.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
    /// Folder of the runs and the report. Default: runs/WHAT-SCALE in the workspace.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only the runs whose name (`data/net/method/seed`) contains this text (repeatable: any of them). `--only 'lenet/'`.
    #[arg(long, value_name = "FILTER")]
    only: Vec<String>,
    /// Show what would be run, and what is there already.
    #[arg(long)]
    dry_run: bool,
    /// The `gnr` program. Default: the environment's GNR_PROGRAM, else built from this workspace in release.
    #[arg(long, value_name = "PATH")]
    gnr: Option<PathBuf>,
}

/// The paper's other tables and figures: known by name, so that the error can say "not yet" and not "unknown".
const NOT_YET: [&str; 7] = ["table2", "table3", "table4", "figure1", "figure2", "figure3", "all"];

/// Trains and reports.
///
/// # Errors
/// Unknown or unavailable targets and missing data, before anything is trained; failed runs, after all others are done.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let what = arguments.what.as_str();
    if NOT_YET.contains(&what) {
        bail!("`{what}` is not available yet; `table1` is the only reproduction so far");
    }
    if what != "table1" {
        bail!("nothing to reproduce is called `{what}`; available: table1 (not yet: {})", NOT_YET.join(", "));
    }
    let jobs = arguments.jobs.map_or_else(machine::cores, |jobs| jobs as usize);
    let out = match &arguments.out {
        Some(out) => std::path::absolute(out).with_context(|| format!("--out {}", out.display()))?,
        None => workspace::root().join("runs").join(format!("{what}-{}", arguments.scale)),
    };
    let data = match &arguments.data {
        Some(dir) => Some(std::path::absolute(dir).with_context(|| format!("--data {}", dir.display()))?),
        None => None,
    };

    let mut plan = Plan::table1(arguments.scale, arguments.seeds);
    if let Some(epochs) = arguments.epochs {
        plan.nets.iter_mut().for_each(|net| net.epochs = epochs);
    }
    plan.keep(&arguments.only)?;
    let located = data::locate(&plan.datasets(), data.as_deref())?;
    let runs = runner::prepare(&plan, &located, &out)?;
    if arguments.dry_run {
        runner::show(&runs, jobs);
        return Ok(());
    }
    let given = arguments.gnr.clone().or_else(|| std::env::var_os("GNR_PROGRAM").map(PathBuf::from));
    let gnr = match given {
        Some(path) => std::path::absolute(&path).with_context(|| format!("--gnr {}", path.display()))?,
        None => workspace::build_gnr()?,
    };
    let _alone = lock::FolderLock::take(&out)?;
    interrupt::listen()?;
    let failures = runner::train(&runs, &gnr, jobs)?;
    if interrupt::asked() != interrupt::Asked::Nothing {
        return Err(interrupt::Interrupted.into());
    }

    let results = results::read(&plan, &runs)?;
    let report = report::Report::new(&plan, &results, &failures, machine::Machine::here(), command_line());
    println!("\n{}", report.terminal());
    for (name, text) in [("table1.md", report.markdown()), ("table1.html", report.html()?)] {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("written: {}", path.display());
    }
    if !failures.is_empty() {
        bail!("{} of {} runs failed; run the command again to retry them", failures.len(), runs.len());
    }
    Ok(())
}

/// The command as it was typed, for the report.
fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).map(|word| workspace::quoted(&word)).collect();
    format!("cargo xtask {}", words.join(" "))
}
