//! The command `gnr compare`: trains one recipe with several methods and reports the comparison.

mod args;
mod live;

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::bail;
use gnr_study::{
    compare::{
        Arm, Choices, Compare, CompareOutcome, CompareRequest, Finalists, Phase, Tuning, known_methods,
    },
    report::several,
    reproduce::quoted,
    runner::Workers,
};
use gnr_train::{Recipe, RecipeError};

pub(crate) use args::Arguments;

use crate::{
    output::{patient, tell},
    signal::INTERRUPTED,
    slurm,
    train::load,
};
use live::Table;

/// The recipe of a comparison without arguments, and of `gnr train` without arguments.
pub(crate) const DEMONSTRATION: &str = "digits-noisy";

/// The default folder of a comparison of this recipe.
pub(crate) fn default_folder(recipe: &Recipe) -> PathBuf {
    PathBuf::from("runs").join(format!("compare-{}", recipe.name))
}

pub(crate) fn compare(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.list {
        let mut stdout = patient();
        for (name, what) in known_methods() {
            writeln!(stdout, "{name:12} {what}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let name = arguments.recipe.as_deref().unwrap_or(DEMONSTRATION);
    let sets = arguments.device.with(&arguments.sets);
    no_seed(&arguments.sets)?;
    let recipe = |assignments: &[String]| load(name, &[&sets[..], assignments].concat());
    let own = recipe(&[])?;
    let arms: Vec<Arm> = match (arguments.methods.is_empty(), name) {
        (false, _) => arguments.methods.iter().flat_map(|arms| arms.0.clone()).collect(),
        (true, DEMONSTRATION) if arguments.choices.is_none() => Arm::demonstration(),
        (true, _) => Arm::defaults(),
    };
    let folder = arguments.out.clone().unwrap_or_else(|| default_folder(&own));
    let tuning = arguments.tune.map(|tries| Tuning {
        tries: tries as usize,
        seeds: arguments.tune_seeds,
        finalists: arguments
            .tune_finalists
            .map(|count| Finalists { count: count as usize, seeds: arguments.tune_final_seeds }),
        validation: arguments.tune_validation,
        grids: arguments.grid.clone(),
    });
    let choices = choices(&arguments, &arms)?;
    let request = CompareRequest {
        arms,
        seeds: arguments.seeds,
        folder: folder.clone(),
        workers: Workers::new(arguments.jobs, arguments.threads),
        shard: arguments.shard,
        tuning,
        choices,
        sharpness: !arguments.no_sharpness,
        command: command_line(),
    };
    let workers = request.workers;
    let comparison = Compare::plan(request, recipe)?;
    if arguments.dry_run {
        return dry_run(&comparison);
    }
    if let Some(parts) = arguments.slurm {
        comparison.check()?;
        return slurm::submit(parts, &folder);
    }
    let titles: Vec<String> = comparison.recipes()?.into_iter().map(|(title, _)| title).collect();
    if !arguments.quiet {
        announce(&comparison, &own, titles.len(), &arguments, workers)?;
        writeln!(patient(), "  folder: {}", folder.display())?;
    }
    let stop = arguments
        .stop
        .flag("stopping: the runs end after their current step, with a checkpoint (again to stop at once)")?;
    let mut table = Table::new(arguments.quiet, titles, workers.jobs);
    let outcome = comparison.run(&mut table, &stop);
    table.clear();
    report(&outcome?, &folder, arguments.quiet)
}

/// Refuses an assignment of the seed, which a study replaces in each of its runs.
pub(crate) fn no_seed(sets: &[String]) -> anyhow::Result<()> {
    match sets.iter().find(|set| set.split('=').next().is_some_and(|key| key.trim() == "train.seed")) {
        Some(set) => bail!(
            "--set {set}: every method or combination is trained with the seeds 0, 1, …; expected their number (--seeds)"
        ),
        None => Ok(()),
    }
}

/// Reads the choices of another comparison. Fails if `--set` sets a key that the choices set for a method.
fn choices(arguments: &Arguments, arms: &[Arm]) -> anyhow::Result<Option<Choices>> {
    let Some(path) = &arguments.choices else { return Ok(None) };
    let choices = Choices::read(path)?;
    for arm in arms {
        let settings = choices.settings(arm)?;
        if let Some((set, setting)) = Choices::clash(&settings, &arguments.sets) {
            bail!(
                "--set {set}: {} chose {setting} for method `{}`; leave --set {} or --choices out",
                choices.path().display(),
                arm.name,
                set.split('=').next().unwrap_or_default()
            );
        }
    }
    Ok(Some(choices))
}

/// Says what is compared, on which data, and the grids of tuning.
fn announce<L: Fn(&[String]) -> Result<Recipe, RecipeError>>(
    comparison: &Compare<L>,
    own: &Recipe,
    methods: usize,
    arguments: &Arguments,
    workers: Workers,
) -> anyhow::Result<()> {
    let mut stdout = patient();
    let plan = comparison.check()?;
    let epochs: BTreeSet<u64> = comparison.recipes()?.iter().map(|(_, recipe)| recipe.train.epochs).collect();
    let epochs = match (epochs.first(), epochs.last()) {
        (Some(least), Some(most)) if least < most => format!("{least} to {most} epochs"),
        (_, most) => several(most.copied().unwrap_or_default(), "epoch"),
    };
    writeln!(
        stdout,
        "{}: {}, {}, {epochs} each; {} at a time on {}",
        own.name,
        several(methods as u64, "method"),
        several(arguments.seeds, "seed"),
        workers.jobs,
        several(workers.threads as u64, "thread"),
    )?;
    for line in &plan.data {
        writeln!(stdout, "  {line}")?;
    }
    for line in comparison.dropped() {
        writeln!(stdout, "  {line}")?;
    }
    for line in comparison.tuning_in_words()? {
        writeln!(stdout, "  tuning {line}")?;
    }
    Ok(())
}

/// Says how the comparison ended, and where its files are.
fn report(outcome: &CompareOutcome, folder: &Path, quiet: bool) -> anyhow::Result<ExitCode> {
    let mut stdout = patient();
    match outcome {
        CompareOutcome::Interrupted => {
            tell("interrupted; every run that had begun left a checkpoint: the same command continues");
            Ok(ExitCode::from(INTERRUPTED))
        }
        CompareOutcome::Waiting { phase, done, of } => {
            let what = match phase {
                Phase::TuningMethods | Phase::TuningOptimizers | Phase::TuningFinalists => "tries",
                Phase::Training => "runs",
            };
            writeln!(
                stdout,
                "this part is done; {done} of {of} {what} are finished. The same command continues when the other parts are done \
                 (without --shard it trains what is left and reports)"
            )?;
            Ok(ExitCode::SUCCESS)
        }
        CompareOutcome::Done(found) => {
            if !quiet {
                write!(stdout, "\n{}", found.terminal())?;
            }
            for name in ["compare.html", "compare.md", "compare.json", "curves.svg", "curves.png"] {
                writeln!(stdout, "written: {}", folder.join(name).display())?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn dry_run<L: Fn(&[String]) -> Result<Recipe, RecipeError>>(
    comparison: &Compare<L>,
) -> anyhow::Result<ExitCode> {
    let mut stdout = patient();
    let (plan, steps) = comparison.check_with_steps()?;
    for line in comparison.dropped() {
        writeln!(stdout, "{line}")?;
    }
    for (title, recipe) in comparison.recipes()? {
        let cost = gnr_study::gradients_per_step(&recipe);
        writeln!(stdout, "{title}: about {cost:.1} gradients a step")?;
    }
    for line in comparison.tuning_in_words()? {
        writeln!(stdout, "tuning {line}")?;
    }
    let (all, mine) = (comparison.runs()?.len(), comparison.mine()?);
    for (run, _) in &mine {
        let state = if Compare::<L>::is_finished(run) { "finished" } else { "to train" };
        writeln!(stdout, "{state}  {}  {}", run.name, run.folder.display())?;
    }
    let gradients: f64 = mine.iter().map(|(run, arm)| run.cost * steps[*arm] as f64).sum();
    for line in &plan.data {
        writeln!(stdout, "{line}")?;
    }
    let runs = match mine.len() {
        part if part < all => format!("{part} of {all} runs"),
        _ => format!("{all} runs"),
    };
    writeln!(stdout, "{runs} beside tuning, about {gradients:.0} gradients in all; nothing was trained")?;
    Ok(ExitCode::SUCCESS)
}

/// The command as it was typed, for a report. Bytes that are not UTF-8 become replacement characters.
pub(crate) fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    format!("gnr {}", words.collect::<Vec<_>>().join(" "))
}
