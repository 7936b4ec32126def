//! The command `gnr reproduce`: trains and reports the paper's tables and figures.

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use gnr_study::{
    Shard,
    reproduce::{ReproduceRequest, Reproduced, Scale, check_recipes, write_recipes},
    runner::Workers,
};

use crate::{
    args::positive,
    compare::command_line,
    output::tell,
    signal::{INTERRUPTED, Stop},
    slurm,
};

/// Train what a table or figure of the paper needs, and report it
///
/// Finished runs are kept and begun ones continue, so the same command continues after an interruption. Exit code: 0
/// done, 130 interrupted, 1 error (runs that fail alone are reported; the others are trained and reported).
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr reproduce table1                                       minutes, nothing needed\n  \
    gnr reproduce table1 --scale small --data DATA --dry-run   what it would cost\n  \
    gnr reproduce table1 --scale small --data DATA --only cifar10-jpeg/resnet20/ --only cifar10-jpeg/wrn10_1/\n  \
    gnr reproduce table4 --scale small --data DATA\n  \
    gnr reproduce all --scale paper --data DATA --seeds 5 --shard $SLURM_ARRAY_TASK_ID/40 --out SHARED\n  \
    gnr reproduce figure2 --scale small --data DATA            trains, measures and draws\n  \
    gnr reproduce table1 --merge other/runs other2/runs        join folders and report, train nothing\n\n\
    In a checkout, `cargo xtask reproduce ...` builds the program and calls this.")]
pub(crate) struct Arguments {
    /// What to reproduce: table1, table2, table3, table4, figure1, figure2, figure3 or all
    #[arg(required_unless_present = "write_recipes")]
    what: Option<String>,
    /// The scale: smoke is the embedded digits in minutes, small a part of the real data in hours, paper the full
    /// experiments
    #[arg(long, default_value = "smoke", value_parser = scale())]
    scale: Scale,
    /// Folder of the data sets (not needed by smoke)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Number of seeds (0, 1, …) of each cell
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Train for this many epochs instead of the scale's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    epochs: Option<u64>,
    /// Runs at a time; the cores are shared among them [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = positive)]
    jobs: Option<usize>,
    /// Folder of the runs and the reports [default: runs/reproduce-SCALE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only the runs whose name (data/net/method/seed) contains this text; may be repeated (any of them)
    #[arg(long, value_name = "FILTER")]
    only: Vec<String>,
    /// Show what would be run, what is there already, what the rest costs, and about how long it takes here
    #[arg(long)]
    dry_run: bool,
    /// Train part i of n only, 1 ≤ i ≤ n. Parts may share --out on a common disk (a job array), or be merged afterwards
    #[arg(long, value_name = "I/N", conflicts_with = "merge")]
    shard: Option<Shard>,
    /// Write a Slurm job array of so many parts and a job that reports after them, and submit both where there is an
    /// sbatch
    #[arg(long, value_name = "PARTS", value_parser = positive, conflicts_with = "merge")]
    slurm: Option<usize>,
    /// Bring in the runs of these --out folders, report, and train nothing
    #[arg(long, value_name = "DIR", num_args = 1..)]
    merge: Vec<PathBuf>,
    /// Write the recipes of the tables' rows below this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["what", "merge", "shard", "dry_run"])]
    write_recipes: Option<PathBuf>,
    /// Write nothing; fail when a recipe is not what the plan says
    #[arg(long, requires = "write_recipes")]
    check: bool,
    #[command(flatten)]
    stop: Stop,
}

fn scale() -> impl clap::builder::TypedValueParser<Value = Scale> {
    PossibleValuesParser::new(Scale::ALL.map(Scale::name))
        .try_map(|text| text.parse::<Scale>().map_err(std::io::Error::other))
}

pub(crate) fn reproduce(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // A closed pipe is no reason to stop training.
    let mut say = |line: &str| drop(writeln!(std::io::stdout(), "{line}"));
    if let Some(folder) = &arguments.write_recipes {
        if arguments.check {
            say(&format!("{} recipes are what the plan says", check_recipes(folder)?));
        } else {
            let (all, changed) = write_recipes(folder)?;
            say(&format!("{all} recipes, {changed} written or removed"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let request = ReproduceRequest {
        what: arguments.what.unwrap_or_default(),
        scale: arguments.scale,
        data: arguments.data,
        seeds: arguments.seeds,
        epochs: arguments.epochs,
        workers: Workers::new(arguments.jobs, 0),
        out: arguments.out.unwrap_or_else(|| format!("runs/reproduce-{}", arguments.scale).into()),
        only: arguments.only,
        shard: arguments.shard,
        command: command_line(),
    };
    if arguments.dry_run {
        request.dry_run(&mut say)?;
    } else if let Some(parts) = arguments.slurm {
        request.check()?;
        return slurm::submit(parts, &request.out);
    } else if !arguments.merge.is_empty() {
        request.merge(&arguments.merge, &mut say)?;
    } else {
        let notice =
            "stopping: the runs end after their current step, with a checkpoint (again to stop at once)";
        let stop = arguments.stop.flag(notice)?;
        if request.run(&mut say, &stop)? == Reproduced::Interrupted {
            tell("interrupted; the same command continues where the runs stopped");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    Ok(ExitCode::SUCCESS)
}
