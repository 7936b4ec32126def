//! The commands `gnr train` and `gnr resume`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use gnr_study::compare::Comparison;
use gnr_train::{
    Existing, Outcome, Recipe, RecipeError, Team, TrainError, check, next_free,
    recipe::{BUILTIN, builtin},
};

use crate::{
    args,
    compare::DEMONSTRATION,
    progress::{Progress, Verbosity, parameters},
    signal::{INTERRUPTED, Stop},
};

pub(crate) fn train(arguments: args::Train, team: &Team) -> anyhow::Result<ExitCode> {
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

pub(crate) fn resume(arguments: &args::Resume, team: &Team) -> anyhow::Result<ExitCode> {
    let found = team.lead(|| {
        let before = gnr_train::recipe_of(&arguments.folder)?;
        let (recipe, words) =
            gnr_train::extended(&arguments.folder, &arguments.device.with(&arguments.sets))?;
        Ok((recipe.train.epochs != before.train.epochs, recipe, words))
    })?;
    if let Some((true, _, words)) = &found
        && !arguments.quiet
    {
        writeln!(std::io::stdout(), "{words}")?;
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
                writeln!(std::io::stdout(), "for comparison: {words}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Interrupted { .. } if !team.leads() => Ok(ExitCode::from(INTERRUPTED)),
        Outcome::Interrupted { step, epoch, checkpoint } => {
            eprintln!(
                "interrupted after step {step} ({epoch} epochs complete); checkpoint: {}\ncontinue with: gnr resume {}",
                checkpoint.display(),
                folder.display()
            );
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
