//! The tables and figures of the paper: the runs at each scale, and the reports on them.
//!
//! `plan` lists the cases to train, `recipe` makes a recipe of each, `data` finds the files that must be on disk
//! before. `runs` trains them by the [`runner`](crate::runner) (finished runs are never repeated), `results` reads the
//! run folders, `report` says what they support, `figures` measures and draws.

mod data;
mod estimate;
mod figures;
mod merge;
mod paper;
mod plan;
mod progress;
mod recipe;
mod recipes;
mod report;
mod results;
mod runs;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::{
    Shard,
    error::{Result, StudyError, io},
    lock::FolderLock,
    runner::{Failure, Workers},
};
use figures::Figure;
use plan::{Plan, Table};
use runs::Planned;

pub use figures::worked_example;
pub use plan::Scale;
pub use recipes::{check_recipes, write_recipes};

/// The folder below that of a reproduction, which has one folder for each run.
const RUNS: &str = "runs";

/// The receiver of the lines that the library has to say while it works; a program prints them.
pub type Say<'a> = &'a mut (dyn FnMut(&str) + Send);

/// The options of a reproduction.
#[derive(Clone, Debug)]
pub struct ReproduceRequest {
    /// `table1` to `table4`, `figure1` to `figure3`, or `all`.
    pub what: String,
    /// The size of the reproduction.
    pub scale: Scale,
    /// Folder of the data sets (not needed by [`Scale::Smoke`]).
    pub data: Option<PathBuf>,
    /// Number of seeds 0, 1, … of each cell. At least 1.
    pub seeds: u64,
    /// Number of epochs instead of the scale's own number.
    pub epochs: Option<u64>,
    /// Number of runs at a time, and of their threads.
    pub workers: Workers,
    /// Folder of the runs and the reports.
    pub out: PathBuf,
    /// Only the runs whose name (`data/net/method/seed`) contains one of these; empty: all.
    pub only: Vec<String>,
    /// The part of the runs to train; `None` for all. A command with a part writes no report: one without a part does
    /// when all parts are done.
    pub shard: Option<Shard>,
    /// The command in words, for the report.
    pub command: String,
}

/// The end of a reproduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reproduced {
    /// Everything was trained and reported.
    Done,
    /// The reproduction was asked to stop; an equal request continues what had begun.
    Interrupted,
}

/// The product of a plan's runs.
#[derive(Clone, Copy)]
enum Product {
    Table(Table),
    Figure(Figure),
}

impl Product {
    fn all() -> impl Iterator<Item = Self> {
        Table::ALL.into_iter().map(Self::Table).chain(Figure::ALL.into_iter().map(Self::Figure))
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

/// A plan and the product of its runs.
struct Target {
    product: Product,
    plan: Plan,
}

impl ReproduceRequest {
    /// Trains the runs that are not finished, several at a time, and writes `WHAT.md` and `WHAT.html` for tables,
    /// `WHAT.md` and its pictures for figures. Setting `stop` ends all runs after their current step, with checkpoints.
    ///
    /// # Errors
    /// Unknown targets and missing data, before anything is trained; [`StudyError::Locked`]; a full disk; failed runs,
    /// after all others are done and reported.
    ///
    /// # Cost
    /// Minutes at the smoke scale, hours at the small one, weeks of a cluster at the paper's; see
    /// [`dry_run`](Self::dry_run).
    pub fn run(&self, say: Say<'_>, stop: &AtomicBool) -> Result<Reproduced> {
        let ended = self.train(say, stop);
        if matches!(ended, Err(StudyError::Interrupted)) { Ok(Reproduced::Interrupted) } else { ended }
    }

    fn train(&self, say: Say<'_>, stop: &AtomicBool) -> Result<Reproduced> {
        let targets = self.targets()?;
        let (located, out) = (self.locate(&targets)?, self.out()?);
        let _alone = FolderLock::take(&out, "reproduce", self.shard)?;
        let (mut failed, mut all) = (0, 0);
        for Target { product, plan } in &targets {
            if targets.len() > 1 {
                say(&format!("\n== {}", plan.title));
            }
            let mine = self.runs(plan, &located, &out)?;
            let failures = runs::train(&mine, self.workers, say, stop)?;
            match product {
                Product::Table(_) if self.shard.is_none() => {
                    self.report(plan, &mine, &failures, &out, say)?
                }
                Product::Figure(figure) if self.shard.is_none() && failures.is_empty() => {
                    let (runs, command) = (&mine[..], &self.command);
                    figures::Making { figure: *figure, plan, runs, out: &out, command, stop }.make(say)?;
                }
                _ => failures.iter().for_each(|f| say(&format!("failed: {}: {}", f.name, f.reason))),
            }
            failed += failures.len();
            all += mine.len();
        }
        if let Some(shard) = self.shard {
            say(&format!(
                "part {shard} is done; the same command without --shard reports when all parts are"
            ));
        }
        if failed > 0 {
            return Err(StudyError::Failed { failed, all });
        }
        Ok(Reproduced::Done)
    }

    /// Looks for the targets and their data, and trains nothing.
    ///
    /// # Errors
    /// Unknown targets and missing data.
    pub fn check(&self) -> Result<()> {
        self.locate(&self.targets()?).map(drop)
    }

    /// Says which runs there would be, which are finished already, the cost of the others, and their approximate time
    /// here.
    ///
    /// # Errors
    /// Unknown targets and missing data.
    ///
    /// # Cost
    /// A gradient of each net, a few times.
    pub fn dry_run(&self, say: Say<'_>) -> Result<()> {
        let targets = self.targets()?;
        let (located, out) = (self.locate(&targets)?, self.out()?);
        let mut all = Vec::new();
        for target in &targets {
            all.extend(self.runs(&target.plan, &located, &out)?);
        }
        // Every run is listed once, because a figure may use the runs of a table.
        let mut seen = BTreeSet::new();
        all.retain(|planned| seen.insert(planned.run.folder.clone()));
        estimate::show(&all, self.workers, say);
        Ok(())
    }

    /// Brings in the runs of other folders, reports on what is there, and trains nothing.
    ///
    /// # Errors
    /// Runs that were finished twice with different results, before anything is copied; files that cannot be read or
    /// written.
    pub fn merge(&self, from: &[PathBuf], say: Say<'_>) -> Result<()> {
        let (targets, out) = (self.targets()?, self.out()?);
        let _alone = FolderLock::take(&out, "reproduce", None)?;
        let merged = merge::merge(from, &out)?;
        say(&format!("merged: {} runs copied, {} were here already", merged.copied, merged.kept));
        for Target { product, plan } in &targets {
            // Nothing is trained, so it does not matter where the data lies.
            let runs = runs::prepare(plan, &data::Located::default(), &out)?;
            match product {
                // Measuring needs the data.
                Product::Figure(figure) => {
                    let what = figure.slug();
                    say(&format!("`reproduce {what}` without --merge makes the figure of these runs"));
                }
                Product::Table(_) => self.report(plan, &runs, &[], &out, say)?,
            }
        }
        Ok(())
    }

    /// The targets that the request names, without those of which the filters leave no run.
    fn targets(&self) -> Result<Vec<Target>> {
        let products: Vec<Product> =
            Product::all().filter(|product| self.what == "all" || product.slug() == self.what).collect();
        if products.is_empty() {
            let names: Vec<&str> = Product::all().map(Product::slug).collect();
            return Err(StudyError::Request(format!(
                "nothing to reproduce is called `{}`; available: {}, all",
                self.what,
                names.join(", ")
            )));
        }
        let (mut targets, mut filtered) = (Vec::new(), None);
        for product in products {
            let mut plan = product.plan(self.scale, self.seeds);
            if let Some(epochs) = self.epochs {
                plan.nets.iter_mut().for_each(|net| net.set_epochs(epochs));
            }
            match plan.keep(&self.only) {
                Ok(()) => targets.push(Target { product, plan }),
                Err(error) => filtered = filtered.or(Some(error)),
            }
        }
        match filtered {
            Some(error) if targets.is_empty() => Err(error),
            _ => Ok(targets),
        }
    }

    fn locate(&self, targets: &[Target]) -> Result<data::Located> {
        let (mut datasets, mut weights) = (BTreeSet::new(), BTreeSet::new());
        for target in targets {
            let (sets, files) = target.plan.needs();
            datasets.extend(sets);
            weights.extend(files);
        }
        data::locate(&datasets, &weights, self.data.as_deref().map(absolute).transpose()?.as_deref())
    }

    fn out(&self) -> Result<PathBuf> {
        absolute(&self.out)
    }

    fn runs(&self, plan: &Plan, located: &data::Located, out: &Path) -> Result<Vec<Planned>> {
        let mut runs = runs::prepare(plan, located, out)?;
        if let Some(shard) = self.shard {
            let all: Vec<_> = runs.iter().map(|planned| planned.run.clone()).collect();
            let mine: BTreeSet<PathBuf> = shard.of(&all).into_iter().map(|run| run.folder).collect();
            runs.retain(|planned| mine.contains(&planned.run.folder));
        }
        Ok(runs)
    }

    fn report(
        &self,
        plan: &Plan,
        runs: &[Planned],
        failures: &[Failure],
        out: &Path,
        say: Say<'_>,
    ) -> Result<()> {
        let results = results::read(runs)?;
        let paper = paper::Paper::read()?;
        let report =
            report::Report { plan, results: &results, failures, paper: &paper, command: &self.command };
        let document = report.document()?;
        say(&format!("\n{}", document.terminal()));
        for name in document.write(out, plan.target)? {
            say(&format!("written: {}", out.join(name).display()));
        }
        Ok(())
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(io(path, "resolve"))
}

/// Quotes a word for a shell, if it needs that.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
