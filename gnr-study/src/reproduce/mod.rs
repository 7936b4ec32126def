//! `cargo xtask reproduce`: from a table or figure of the paper to runs of the `gnr` program, and from their folders to a report.
//!
//! [`plan`] says what to train, [`recipe`] how that is written for `gnr`, [`data`] what must be on disk before, [`runner`]
//! trains it (finished runs are never repeated), [`results`] reads the run folders, [`report`] says what they support.

mod child;
mod data;
mod estimate;
mod figures;
mod lock;
mod merge;
mod paper;
mod plan;
mod progress;
mod recipe;
pub(crate) mod recipes;
mod report;
mod results;
mod runner;
mod shard;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{interrupt, machine, workspace};
use figures::Figure;
use plan::{Plan, Scale, Table};

/// Options of `cargo xtask reproduce`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    cargo xtask reproduce table1                                       minutes, nothing needed\n  \
    cargo xtask reproduce table1 --scale small --data DATA --dry-run   what it would cost\n  \
    cargo xtask reproduce table1 --scale small --data DATA --only cifar10-jpeg/resnet20/ --only cifar10-jpeg/wrn10_1/\n  \
    cargo xtask reproduce table4 --scale small --data DATA\n  \
    cargo xtask reproduce all --scale paper --data DATA --seeds 5 --shard $SLURM_ARRAY_TASK_ID/40 --out SHARED\n  \
    cargo xtask reproduce figure2 --scale small --data DATA            trains, measures and draws\n  \
    cargo xtask reproduce table1 --merge other/runs other2/runs        join folders and report, train nothing")]
pub(crate) struct Arguments {
    /// What to reproduce: table1, table2, table3, table4, figure1, figure2, figure3 or all.
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
    /// Runs at a time; the cores are shared among them. Default: as many as there are cores, each on one thread.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: Option<u64>,
    /// Folder of the runs and the reports. Default: runs/reproduce-SCALE in the workspace.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only the runs whose name (`data/net/method/seed`) contains this text (repeatable: any of them). `--only 'lenet/'`.
    #[arg(long, value_name = "FILTER")]
    only: Vec<String>,
    /// Show what would be run, what is there already, what the rest costs, and about how long it takes here.
    #[arg(long)]
    dry_run: bool,
    /// Train part i of n only, 1 ≤ i ≤ n. Parts may share --out on a common disk (a job array), or be merged afterwards.
    #[arg(long, value_name = "I/N", conflicts_with = "merge")]
    shard: Option<shard::Shard>,
    /// Bring in the runs of these --out folders, report, and train nothing.
    #[arg(long, value_name = "DIR", num_args = 1..)]
    merge: Vec<PathBuf>,
    /// The `gnr` program. Default: the environment's GNR_PROGRAM, else built from this workspace in release.
    #[arg(long, value_name = "PATH")]
    gnr: Option<PathBuf>,
}

/// What is made of the runs of a plan.
#[derive(Clone, Copy)]
enum Product {
    Table(Table),
    Figure(Figure),
}

impl Product {
    fn all() -> impl Iterator<Item = Self> {
        Table::ALL.into_iter().map(Self::Table).chain(Figure::ALL.into_iter().map(Self::Figure))
    }

    /// What a name on the command line stands for.
    fn named(what: &str) -> Result<Vec<Self>> {
        let found: Vec<Self> =
            Self::all().filter(|product| what == "all" || product.slug() == what).collect();
        if found.is_empty() {
            let names: Vec<&str> = Self::all().map(Self::slug).collect();
            bail!("nothing to reproduce is called `{what}`; available: {}, all", names.join(", "));
        }
        Ok(found)
    }

    fn slug(self) -> &'static str {
        match self {
            Self::Table(table) => table.slug(),
            Self::Figure(figure) => figure.slug(),
        }
    }

    fn plan(self, scale: Scale, seeds: u64) -> Plan {
        match self {
            Self::Table(table) => Plan::table(table, scale, seeds),
            Self::Figure(figure) => figure.plan(scale, seeds),
        }
    }
}

/// A plan and what is made of its runs.
struct Target {
    product: Product,
    plan: Plan,
}

/// Trains and reports.
///
/// # Errors
/// Unknown targets and missing data, before anything is trained; failed runs, after all others are done.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let absolute = |option: &str, path: &Path| {
        std::path::absolute(path).with_context(|| format!("{option} {}", path.display()))
    };
    let mut targets: Vec<Target> = Product::named(&arguments.what)?
        .into_iter()
        .map(|product| Target { product, plan: product.plan(arguments.scale, arguments.seeds) })
        .collect();
    if let Some(epochs) = arguments.epochs {
        targets.iter_mut().flat_map(|target| &mut target.plan.nets).for_each(|net| net.set_epochs(epochs));
    }
    keep(&mut targets, &arguments.only)?;
    let out = match &arguments.out {
        Some(out) => absolute("--out", out)?,
        None => workspace::root().join("runs").join(format!("reproduce-{}", arguments.scale)),
    };
    let data = arguments.data.as_deref().map(|dir| absolute("--data", dir)).transpose()?;
    let session = Session { arguments, out, data };
    if arguments.merge.is_empty() { session.train(&targets) } else { session.merge(&targets) }
}

/// Keeps what the filters name, in all plans together.
fn keep(targets: &mut Vec<Target>, only: &[String]) -> Result<()> {
    let mut errors = Vec::new();
    targets.retain_mut(|target| {
        target.plan.keep(only).inspect_err(|error| errors.push(error.to_string())).is_ok()
    });
    match errors.into_iter().next() {
        Some(error) if targets.is_empty() => bail!(error),
        _ => Ok(()),
    }
}

/// Every run once: a figure may look at the runs of a table.
fn distinct(runs: Vec<runner::Run>) -> Vec<runner::Run> {
    let mut seen = BTreeSet::new();
    runs.into_iter().filter(|run| seen.insert(run.folder.clone())).collect()
}

/// One call of the command.
struct Session<'a> {
    arguments: &'a Arguments,
    out: PathBuf,
    data: Option<PathBuf>,
}

impl Session<'_> {
    fn train(&self, targets: &[Target]) -> Result<()> {
        let (mut datasets, mut weights) = targets[0].plan.needs();
        for target in &targets[1..] {
            let (more, files) = target.plan.needs();
            datasets.extend(more);
            weights.extend(files);
        }
        let located = data::locate(&datasets, &weights, self.data.as_deref())?;
        let runs = |plan| {
            let runs = runner::prepare(plan, &located, &self.out)?;
            Ok(self.arguments.shard.map_or(runs.clone(), |shard| shard.of(&runs)))
        };
        let cores = machine::cores();
        let jobs = self.arguments.jobs.map_or(cores, |jobs| jobs as usize);
        let gnr = self.gnr();
        if self.arguments.dry_run {
            let schedule = gnr.as_deref().map(|gnr| estimate::schedule(gnr, jobs, cores));
            let all: Vec<runner::Run> =
                targets.iter().map(|target| runs(&target.plan)).collect::<Result<Vec<_>>>()?.concat();
            estimate::show(&distinct(all), schedule.as_ref().map_err(|error| anyhow::anyhow!("{error:#}")));
            return Ok(());
        }
        let gnr = gnr?;
        let _alone = lock::FolderLock::take(&self.out, self.arguments.shard)?;
        interrupt::listen()?;
        let (mut failed, mut all) = (0, 0);
        for Target { product, plan } in targets {
            if targets.len() > 1 {
                println!("\n== {}", plan.title);
            }
            let mine = runs(plan)?;
            let failures = runner::train(&mine, &estimate::schedule(&gnr, jobs, cores))?;
            if interrupt::asked() != interrupt::Asked::Nothing {
                return Err(interrupt::Interrupted.into());
            }
            match product {
                Product::Table(_) if self.arguments.shard.is_none() => self.report(plan, &mine, &failures)?,
                Product::Figure(figure) if self.arguments.shard.is_none() && failures.is_empty() => {
                    self.draw(*figure, plan, &mine, &gnr)?;
                }
                _ => failures
                    .iter()
                    .for_each(|failure| println!("failed: {}: {}", failure.name, failure.reason)),
            }
            failed += failures.len();
            all += mine.len();
        }
        if let Some(shard) = self.arguments.shard {
            println!("part {shard} is done; the same command without --shard reports when all parts are");
        }
        if failed > 0 {
            bail!("{failed} of {all} runs failed; run the command again to retry them");
        }
        Ok(())
    }

    /// Reports on what other folders and this one have.
    fn merge(&self, targets: &[Target]) -> Result<()> {
        let _alone = lock::FolderLock::take(&self.out, None)?;
        let merged = merge::merge(&self.arguments.merge, &self.out)?;
        println!("merged: {} runs copied, {} were here already", merged.copied, merged.kept);
        for Target { product, plan } in targets {
            // Nothing is trained, so it does not matter where the data lies.
            let runs = runner::prepare(plan, &data::Located::default(), &self.out)?;
            match product {
                // Measuring needs the data.
                Product::Figure(figure) => {
                    println!(
                        "`cargo xtask reproduce {}` without --merge makes the figure of these runs",
                        figure.slug()
                    );
                }
                Product::Table(_) => self.report(plan, &runs, &[])?,
            }
        }
        Ok(())
    }

    fn draw(&self, figure: Figure, plan: &Plan, runs: &[runner::Run], gnr: &Path) -> Result<()> {
        let (out, command) = (self.out.as_path(), command_line());
        figures::Making { figure, plan, runs, gnr, out, command }.make()
    }

    fn gnr(&self) -> Result<PathBuf> {
        let given = self.arguments.gnr.clone().or_else(|| std::env::var_os("GNR_PROGRAM").map(PathBuf::from));
        match given {
            Some(path) => std::path::absolute(&path).with_context(|| format!("--gnr {}", path.display())),
            None => workspace::build_gnr(),
        }
    }

    fn report(&self, plan: &Plan, runs: &[runner::Run], failures: &[runner::Failure]) -> Result<()> {
        let results = results::read(plan, runs)?;
        let report = report::Report {
            plan,
            results: &results,
            failures,
            paper: &paper::Paper::read()?,
            machine: machine::Machine::here(),
            command: command_line(),
        };
        let document = report.document()?;
        println!("\n{}", document.terminal());
        let name = plan.target;
        for (name, text) in
            [(format!("{name}.md"), document.markdown()), (format!("{name}.html"), document.html())]
        {
            let path = self.out.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("written: {}", path.display());
        }
        Ok(())
    }
}

/// The command as it was typed, for the report.
fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).map(|word| workspace::quoted(&word)).collect();
    format!("cargo xtask {}", words.join(" "))
}
