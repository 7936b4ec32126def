//! The commands `gnr train` and `gnr resume`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use gnr_study::compare::Comparison;
use gnr_train::{
    Existing, Outcome, Recipe, RecipeError, Team, TrainError, check, next_free,
    recipe::{BUILTIN, builtin},
};

use crate::{
    compare::DEMONSTRATION,
    device::OnDevice,
    output::{patient, tell},
    progress::{Progress, Verbosity, parameters},
    signal::{INTERRUPTED, Stop},
};

const TRAIN_EXAMPLES: &str = "Examples:\n  \
    gnr train\n  \
    gnr train my.toml --out runs/mine\n  \
    gnr train digits --set train.epochs=5 --set optimizer.lr=0.05 --set method.sam=true\n  \
    gnr train --set method.gnr.hvp=forward-difference\n  \
    gnr train --set method.gnr.from_epoch=20 --set train.average.kind=swa\n  \
    gnr train --set method.gnr=false --set method.sam=true --set method.group=16\n  \
    gnr train --set optimizer.name=adamw --set schedule.name=step\n  \
    gnr train my.toml --set model.weights=published.pth --set model.load=new-head --set model.freeze=backbone\n  \
    gnr train cifar10-resnet18 --dry-run          print the whole recipe, check the data, train nothing";

/// Train by a recipe
///
/// Without a recipe: ResNet-8 with SGD + GNR on the embedded digits of which 40 % have wrong labels. Ctrl-C ends after
/// the current step, with a checkpoint. Exit code: 0 finished, 130 interrupted, 1 error, 2 usage.
#[derive(Args)]
#[command(after_help = crate::methods::named(TRAIN_EXAMPLES))]
pub(crate) struct Train {
    /// A TOML file, or the name of a built-in recipe (see `gnr train --list`) [default: digits-noisy]
    pub(crate) recipe: Option<String>,
    /// Set a key of the recipe, in TOML syntax or as a bare string; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Run folder [default: runs/RECIPE-N]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Continue the run in --out if there is one
    #[arg(long, requires = "out")]
    pub(crate) resume: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) stop: Stop,
    /// Print the complete recipe and what it would do, check data and model, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// List the built-in recipes
    #[arg(long, exclusive = true)]
    pub(crate) list: bool,
}

/// Continue a run that was stopped, or give a finished one more epochs
///
/// The result is that of a run that never stopped, bit for bit. More epochs change the learning rate of schedules that
/// end with the run, such as the cosine: the program says how, and summary.json records it. A run whose images changed
/// since it began is refused, with what changed.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    gnr resume runs/digits-1\n  \
    gnr resume runs/digits-1 --set train.epochs=60\n  \
    gnr resume runs/mine-1 --set data.dir=/new/place")]
pub(crate) struct Resume {
    /// The run folder
    pub(crate) folder: PathBuf,
    /// More epochs (train.epochs), another train.backend, or keys that decide nothing, such as data.dir and
    /// train.workers; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    #[command(flatten)]
    pub(crate) device: OnDevice,
    /// Continue although the images are not those that the run began with
    #[arg(long)]
    pub(crate) accept_changed_data: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

pub(crate) fn train(arguments: Train, team: &Team) -> anyhow::Result<ExitCode> {
    let mut stdout = std::io::stdout();
    if arguments.list && !team.leads() {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.list {
        for recipe in BUILTIN {
            writeln!(stdout, "{:26} {}", recipe.name, recipe.summary())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let recipe =
        load(arguments.recipe.as_deref().unwrap_or(DEMONSTRATION), &arguments.device.with(&arguments.sets));
    let recipe = team.agree(recipe.map_err(TrainError::from))?;
    if arguments.dry_run && !team.leads() {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.dry_run {
        write!(stdout, "{}", recipe.to_toml()?)?;
        let epochs = recipe.train.epochs;
        let method = recipe.method_name();
        let plan = check(recipe)?;
        writeln!(stdout, "\n# {method}, {}", parameters(plan.parameters, plan.learned))?;
        for line in plan.data {
            writeln!(stdout, "# {line}")?;
        }
        for line in plan.weights.iter().flat_map(|report| report.lines()) {
            writeln!(stdout, "# {line}")?;
        }
        writeln!(stdout, "# {epochs} epochs of {} steps; nothing was trained", plan.steps_per_epoch)?;
        return Ok(ExitCode::SUCCESS);
    }
    let existing = if arguments.resume { Existing::Resume } else { Existing::Refuse };
    if let Some(folder) = arguments.out {
        return run(team, recipe, &folder, existing, arguments.quiet, arguments.stop);
    }
    let folder = team.share_text(|| Ok(next_free(Path::new("runs"), &recipe.name)?.display().to_string()))?;
    let folder = PathBuf::from(folder);
    run(team, recipe, &folder, existing, arguments.quiet, arguments.stop).inspect_err(|_| {
        // A reserved folder is removed if the run did not come to write into it.
        if team.leads() {
            let _ = std::fs::remove_dir(&folder);
        }
    })
}

pub(crate) fn resume(arguments: &Resume, team: &Team) -> anyhow::Result<ExitCode> {
    let found = team.lead(|| {
        let before = gnr_train::recipe_of(&arguments.folder)?;
        let (recipe, words) =
            gnr_train::extended(&arguments.folder, &arguments.device.with(&arguments.sets))?;
        Ok((recipe.train.epochs != before.train.epochs, recipe, words))
    })?;
    if let Some((true, _, words)) = &found
        && !arguments.quiet
    {
        writeln!(patient(), "{words}")?;
    }
    // The folder may be on the first rank's machine only.
    let text = team.share_text(|| match &found {
        Some((epochs, recipe, _)) => Ok(format!("# {epochs}\n{}", recipe.to_toml()?)),
        None => Ok(String::new()),
    })?;
    let epochs = text.starts_with("# true");
    let recipe =
        team.agree(Recipe::parse("the run's recipe", "run", &text, &[]).map_err(TrainError::from))?;
    let existing = Existing::ResumeChanged { epochs, data: arguments.accept_changed_data };
    run(team, recipe, &arguments.folder, existing, arguments.quiet, Stop::default())
}

/// Reads a file, or a built-in recipe if there is no such file and the name does not look like a path.
pub(crate) fn load(name: &str, sets: &[String]) -> Result<Recipe, RecipeError> {
    let path = PathBuf::from(name);
    let looks_like_a_file = name.ends_with(".toml") || name.contains(std::path::MAIN_SEPARATOR);
    if looks_like_a_file || path.is_file() { Recipe::load(&path, sets) } else { builtin(name, sets) }
}

fn run(
    team: &Team,
    recipe: Recipe,
    folder: &Path,
    existing: Existing,
    quiet: bool,
    stop: Stop,
) -> anyhow::Result<ExitCode> {
    let stop = stop.flag("stopping after this step (again to stop at once)")?;
    let quiet = quiet || !team.leads();
    let verbosity = if quiet { Verbosity::Quiet } else { Verbosity::Normal };
    let mut progress = Progress::new(verbosity);
    let baseline = baseline(&recipe, folder).filter(|_| !quiet);
    let outcome = gnr_train::train_in(team, recipe, folder, existing, &mut progress, &stop);
    progress.clear();
    match outcome? {
        Outcome::Finished(_) => {
            if let Some(words) = baseline {
                writeln!(patient(), "for comparison: {words}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Interrupted { .. } if !team.leads() => Ok(ExitCode::from(INTERRUPTED)),
        Outcome::Interrupted { step, epoch, checkpoint } => {
            tell(&format!(
                "interrupted after step {step} ({epoch} epochs complete); checkpoint: {}\ncontinue with: gnr resume {}",
                checkpoint.display(),
                folder.display()
            ));
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// The comparison that is part of the program, made by `gnr compare` without arguments.
const MEASURED: &str = include_str!("digits-noisy.compare.json");

/// The result of the optimiser alone in the last comparison of this recipe beside the run, or in the one that is part
/// of the program. `None` where no comparison is about this recipe. A file that cannot be read does not prevent
/// training.
fn baseline(recipe: &Recipe, folder: &Path) -> Option<String> {
    recipe.method.gnr()?;
    let beside = folder.parent()?.join(format!("compare-{}", recipe.name)).join("compare.json");
    let last = Comparison::read(&beside).ok().or_else(|| serde_json::from_str(MEASURED).ok())?;
    last.is_about(recipe).ok().filter(|same| *same)?;
    last.baseline()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_comparison_is_about_the_recipe_that_gnr_train_trains() {
        let measured: Comparison = serde_json::from_str(MEASURED).unwrap();
        let recipe = builtin(DEMONSTRATION, &[]).unwrap();
        assert!(measured.is_about(&recipe).unwrap());
        let words = baseline(&recipe, Path::new("nowhere/run")).unwrap();
        assert!(words.starts_with("SGD alone reaches"), "{words}");
        let other = builtin(DEMONSTRATION, &["train.epochs=3".into()]).unwrap();
        assert_eq!(baseline(&other, Path::new("nowhere/run")), None);
    }
}
