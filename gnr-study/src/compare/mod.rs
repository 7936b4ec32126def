//! `gnr compare`: is a method worth it on this problem? One recipe is trained with several methods, paired over seeds.
//! The results say how much better each method is, how sure that is, what it costs, and how sharp the loss is at its
//! solutions.
//!
//! A comparison's folder:
//!
//! | file | what it holds |
//! |---|---|
//! | `runs/` | a run folder for each method and seed |
//! | `tuning/` | a run folder for each try, with `--tune` |
//! | `measures/` | curvature and sharpness at the weights of each run |
//! | `failed/` | why a run or try failed, which the other parts must know |
//! | `compare.json` | every number of the report |
//! | `compare.md`, `compare.html` | the report; the page is one file |
//! | `curves.svg`, `curves.png` | test accuracy over epochs |
//!
//! Every run is an ordinary run folder, so that the same command continues what was stopped and repeats nothing.

mod arm;
mod choices;
mod failed;
mod lines;
mod measure;
mod outcome;
mod report;
mod tries;
mod tune;

pub use arm::{Arm, known_methods};
pub use choices::{Choices, TunedIn};
pub(crate) use measure::measured_of;
pub use measure::{Setting, Sharpness};
pub use outcome::{ArmResult, Comparison, Difference, RunResult, Tuned};
pub use tune::{FIRST_SEED, Finalists, Try, Tuning};

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError, atomic::AtomicBool},
};

use gnr_train::{Recipe, RecipeError};

use crate::{
    cost::gradients_per_step,
    error::{Result, StudyError},
    lock::FolderLock,
    origin::Weights,
    report::several,
    results::is_finished,
    runner::{Failure, Follow, Run, StudyObserver, Trained, Workers, train_all_then},
    shard::Shard,
    sweep::SEED,
};
use measure::{Measuring, Solution, measure_all};
use tune::HALVES;

/// The options of a comparison.
#[derive(Clone, Debug)]
pub struct CompareRequest {
    /// The methods; differences are taken to the first.
    pub arms: Vec<Arm>,
    /// Number of seeds 0, 1, … of each method. At least 1.
    pub seeds: u64,
    /// The comparison's folder.
    pub folder: PathBuf,
    /// Number of runs at a time, and of their threads.
    pub workers: Workers,
    /// The part of the runs to train; `None` for all.
    pub shard: Option<Shard>,
    /// The tuning of every method before the comparison; `None` for no tuning.
    pub tuning: Option<Tuning>,
    /// The settings that tuning chose for every method in another comparison. Not together with `tuning`.
    pub choices: Option<Choices>,
    /// Whether to measure how sharp the loss is at each solution.
    pub sharpness: bool,
    /// The command as it was typed, for the report.
    pub command: String,
}

/// A phase of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Tries of the methods' own keys.
    TuningMethods,
    /// Tries of learning rate and weight decay.
    TuningOptimizers,
    /// Further seeds of the best tries.
    TuningFinalists,
    /// The runs that are compared.
    Training,
}

/// Lets a program watch a comparison.
pub trait CompareObserver: StudyObserver {
    /// A phase begins, with this process's runs and the index of each run's method.
    fn on_phase(&mut self, _phase: Phase, _runs: &[Run], _arms: &[usize]) {}
    /// After training, `done` solutions were measured, of `of` that had no measurement yet.
    fn on_measured(&mut self, _done: usize, _of: usize) {}
}

/// An observer that watches nothing.
impl CompareObserver for () {}

/// The end of a comparison.
#[derive(Clone, Debug)]
pub enum CompareOutcome {
    /// The comparison has a report, which is also in the folder.
    Done(Box<Comparison>),
    /// The comparison was asked to stop; an equal command continues.
    Interrupted,
    /// This part is done, and other parts are not: runs of the current phase are missing.
    Waiting {
        /// The phase that is not complete.
        phase: Phase,
        /// Number of finished runs.
        done: usize,
        /// Number of all runs of the phase.
        of: usize,
    },
}

/// A planned comparison. `L` makes the recipe from assignments (over its own file and assignments).
pub struct Compare<L> {
    request: CompareRequest,
    load: L,
    /// The assignments over the recipe for each arm before tuning, with the choices of another comparison.
    over: Vec<Vec<String>>,
    recipe: Recipe,
    dropped: Vec<String>,
    /// The origin of the settings that another comparison chose.
    tuned_in: Option<TunedIn>,
    /// Checksums of the initial weights, which belong to the name of a run's folder.
    weights: Weights,
}

/// The settings that another comparison chose for an arm, none of which the arm itself may set.
fn chosen(choices: &Choices, arm: &Arm, averages: bool) -> Result<Vec<String>> {
    let settings = choices.settings_where(arm, averages)?;
    if let Some((own, setting)) = Choices::clash(&settings, &arm.assignments) {
        let (name, path) = (&arm.name, choices.path().display());
        return Err(StudyError::Request(format!(
            "method `{name}` sets {own}, and {path} chose {setting} for it: leave the first out"
        )));
    }
    Ok(settings)
}

/// The runs of a phase with the arm of each.
struct Planned {
    runs: Vec<Run>,
    arms: Vec<usize>,
}

impl Planned {
    /// The runs without those of the arms for which `lost` holds.
    fn without(self, lost: impl Fn(usize) -> bool) -> Self {
        let kept = self.runs.into_iter().zip(self.arms).filter(|(_, arm)| !lost(*arm));
        let (runs, arms) = kept.unzip();
        Self { runs, arms }
    }
}

impl<L: Fn(&[String]) -> Result<Recipe, RecipeError>> Compare<L> {
    /// Plans a comparison.
    ///
    /// # Errors
    /// No arm, two arms of one name or of one recipe, no seed, an arm that is no valid recipe or sets the seed; choices
    /// that lack an arm or set a key which the arm sets, too; a grid of a key that tuning varies for no arm.
    pub fn plan(request: CompareRequest, load: L) -> Result<Self> {
        let wrong = |problem: String| Err(StudyError::Request(problem));
        if request.arms.is_empty() || request.seeds == 0 {
            return wrong("a comparison needs a method and a seed".into());
        }
        if request.tuning.as_ref().is_some_and(|tuning| tuning.tries < 2 || tuning.seeds == 0) {
            return wrong("tuning needs at least two tries and a seed".into());
        }
        let finalists = request.tuning.as_ref().and_then(|tuning| tuning.finalists);
        if finalists.is_some_and(|finalists| finalists.count < 2 || finalists.seeds == 0) {
            return wrong(
                "a choice among the best tries needs at least two of them and a further seed".into(),
            );
        }
        if request.tuning.is_some() && request.choices.is_some() {
            return wrong(
                "methods are either tuned or get the choices of another comparison, not both".into(),
            );
        }
        if let Some(choices) = request.choices.as_ref().filter(|choices| choices.within(&request.folder)) {
            return wrong(format!(
                "{}: choices of this comparison's own folder, whose report would be lost; choose another --out",
                choices.path().display()
            ));
        }
        let recipe = load(&[])?;
        let (mut over, mut dropped, mut recipes) = (Vec::new(), Vec::new(), Vec::<Recipe>::new());
        for (index, arm) in request.arms.iter().enumerate() {
            if request.arms[..index].iter().any(|other| other.name == arm.name) {
                return wrong(format!("two methods are called `{}`", arm.name));
            }
            if let Some(own) = arm.assignments.iter().find(|word| word.split('=').next() == Some(SEED)) {
                return wrong(format!(
                    "method `{}` sets {own}, and every method is trained with the seeds 0, 1, …: leave it out",
                    arm.name
                ));
            }
            let (mut words, out) = arm.fitted(&recipe, &load);
            if let Some(choices) = &request.choices {
                words.extend(chosen(choices, arm, !out.iter().any(|key| key == arm::AVERAGE))?);
            }
            let own = match load(&words) {
                Ok(own) => own,
                Err(error) => {
                    let from = request.choices.as_ref();
                    let from = from.map_or_else(String::new, |from| {
                        format!(", with the settings chosen in {}", from.path().display())
                    });
                    return wrong(format!("method `{}`{from}: {error}", arm.name));
                }
            };
            if let Some(equal) = recipes.iter().position(|other| *other == own) {
                let (one, other) = (&request.arms[equal].name, &arm.name);
                return wrong(format!("methods `{one}` and `{other}` are one recipe: leave one of them out"));
            }
            recipes.push(own);
            over.push(words);
            let (average, keys): (Vec<_>, Vec<_>) = out.into_iter().partition(|key| key == arm::AVERAGE);
            let name = &arm.name;
            if !keys.is_empty() {
                let keys = keys.join(", ");
                dropped
                    .push(format!("{name}: without {keys} of the recipe, which its optimiser does not have"));
            }
            if !average.is_empty() {
                dropped.push(format!(
                    "{name}: without {} of the recipe; a method with +ema averages its weights, and one of your own (NAME: …) keeps \
                     the recipe's averaging",
                    arm::AVERAGE
                ));
            }
        }
        if let Some(tuning) = &request.tuning {
            tuning.check_grids(&recipes)?;
        }
        let mut planned =
            Self { request, load, over, recipe, dropped, tuned_in: None, weights: Weights::default() };
        if let Some(choices) = &planned.request.choices {
            planned.tuned_in = Some(choices.origin(&planned.request.arms, &planned.recipes()?)?);
        }
        Ok(planned)
    }

    /// The methods that go without keys of the recipe, in words.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// The resolved recipe of each method, before tuning, with its title.
    ///
    /// # Errors
    /// None beyond those of [`plan`](Self::plan).
    pub fn recipes(&self) -> Result<Vec<(String, Recipe)>> {
        let recipes = self.over.iter().map(|words| (self.load)(words)).collect::<Result<Vec<_>, _>>()?;
        Ok(arm::titles(&self.request.arms, &recipes).into_iter().zip(recipes).collect())
    }

    /// The tuning in words, a line for each method. If the choices come from another comparison, each difference to it
    /// has a line, too.
    ///
    /// # Errors
    /// None beyond those of [`plan`](Self::plan).
    pub fn tuning_in_words(&self) -> Result<Vec<String>> {
        if let Some(TunedIn { path, settings, differences, .. }) = &self.tuned_in {
            let arms = self.request.arms.iter().zip(settings);
            let one = |(arm, settings): (&Arm, &Vec<String>)| {
                format!("{}: {}, as chosen in {path}", arm.name, tune::in_words(settings))
            };
            let differences = differences.iter().map(|line| format!("differs from {path}: {line}"));
            return Ok(arms.map(one).chain(differences).collect());
        }
        let Some(tuning) = &self.request.tuning else { return Ok(Vec::new()) };
        let mut lines = Vec::new();
        for (arm, words) in self.request.arms.iter().zip(&self.over) {
            let recipe = (self.load)(words)?;
            let mut grids: Vec<String> =
                HALVES.iter().map(|&half| tune::grid_in_words(&tuning.axes(&recipe, half))).collect();
            grids.dedup();
            let mut line = format!("{}: {} tries of {}", arm.name, tuning.tries, grids.join(", then of "));
            if let Some(Finalists { count, seeds }) = tuning.finalists {
                let count = count.min(tuning.tries);
                line += &format!(", then {} of the best {count}", several(seeds, "more seed"));
            }
            lines.push(line);
        }
        Ok(lines)
    }

    /// The runs that are compared (before tuning), in the order in which they are trained, with the index of each one's
    /// method.
    ///
    /// # Errors
    /// None beyond those of [`plan`](Self::plan).
    pub fn runs(&self) -> Result<Vec<(Run, usize)>> {
        let Planned { runs, arms } = self.planned(&self.over)?;
        Ok(runs.into_iter().zip(arms).collect())
    }

    /// The compared runs that this part trains: all of them without a shard.
    ///
    /// # Errors
    /// None beyond those of [`plan`](Self::plan).
    pub fn mine(&self) -> Result<Vec<(Run, usize)>> {
        let planned = self.planned(&self.over)?;
        Ok(self.part(&planned))
    }

    /// The runs of a phase that this part trains, with the index of each one's method.
    fn part(&self, planned: &Planned) -> Vec<(Run, usize)> {
        let mine = self.request.shard.map_or_else(|| planned.runs.clone(), |shard| shard.of(&planned.runs));
        let arm_of = |run: &Run| {
            let index = planned.runs.iter().position(|other| other.folder == run.folder);
            index.map_or(0, |index| planned.arms[index])
        };
        let with_arm = |run: Run| {
            let arm = arm_of(&run);
            (run, arm)
        };
        mine.into_iter().map(with_arm).collect()
    }

    /// Whether a run is finished.
    pub fn is_finished(run: &Run) -> bool {
        is_finished(&run.folder)
    }

    /// Opens images and models of every method, so that missing files are errors before any training. Returns the plan
    /// of the first method, with the lines of all plans as its data, each once. A line that only some methods have
    /// names these.
    ///
    /// # Errors
    /// The errors of [`check`](gnr_train::check).
    pub fn check(&self) -> Result<gnr_train::Plan> {
        Ok(self.check_with_steps()?.0)
    }

    /// The plan of [`check`](Self::check), and the number of steps of an epoch of each method.
    ///
    /// # Errors
    /// The errors of [`check`](gnr_train::check).
    pub fn check_with_steps(&self) -> Result<(gnr_train::Plan, Vec<u64>)> {
        let (mut first, mut told, mut steps) = (None, Vec::new(), Vec::new());
        for (title, recipe) in self.recipes()? {
            let plan = gnr_train::check(recipe)?;
            told.push((title, plan.data.clone()));
            steps.push(plan.steps_per_epoch);
            first.get_or_insert(plan);
        }
        let plan = first.ok_or_else(|| StudyError::Request("a comparison needs a method".into()))?;
        Ok((gnr_train::Plan { data: lines::merged(&told), ..plan }, steps))
    }

    /// Trains the runs that are not finished, measures, and writes the report. Setting `stop` ends the runs after their
    /// current step, with checkpoints.
    ///
    /// # Errors
    /// [`StudyError::Locked`] when another process compares in the folder, an error of the disk, no run that could
    /// be trained to its end. A run that fails, and a method of which every try or seed fails, is in the report.
    pub fn run(
        &self,
        observer: &mut (dyn CompareObserver + Send),
        stop: &AtomicBool,
    ) -> Result<CompareOutcome> {
        let _alone = FolderLock::take(&self.request.folder, "compare", self.request.shard)?;
        let plan = self.check()?;
        let mut over = self.over.clone();
        let mut tuned = Vec::new();
        if let Some(tuning) = &self.request.tuning {
            match self.tune(tuning, observer, stop)? {
                Ok(found) => tuned = found,
                Err(outcome) => return Ok(outcome),
            }
            for (words, tuned) in over.iter_mut().zip(&tuned) {
                words.extend(tuned.chosen().iter().cloned());
            }
        }
        if let Some(choices) = &self.request.choices {
            let of = |arm| choices.tuning(arm).cloned();
            tuned = self.request.arms.iter().map(of).collect::<Result<_>>()?;
        }
        let lost = |arm: usize| tuned.get(arm).is_some_and(|tuned| tuned.failure.is_some());
        let planned = self.planned(&over)?.without(lost);
        // A run is measured when it ends. A comparison that takes days then has the sharpness of every finished run.
        let setting = Setting::of(plan.training_images);
        let measuring = Measuring { folder: &self.request.folder, setting, stop };
        let then: &dyn Follow = if self.request.sharpness { &measuring } else { &() };
        let failures = match self.train(Phase::Training, &planned, then, observer, stop)? {
            Ok(failures) => failures,
            Err(outcome) => return Ok(outcome),
        };
        let mut found = self.collect(&planned, &over, tuned, &failures, &plan)?;
        found.tuned_in.clone_from(&self.tuned_in);
        match self.measure(&planned, setting, observer, stop)? {
            None => return Ok(CompareOutcome::Interrupted),
            Some(measured) => found.sharpness(&measured),
        }
        // Several parts may come here at the same time.
        let Some(_writer) = FolderLock::wait(&self.request.folder, "report", stop)? else {
            return Ok(CompareOutcome::Interrupted);
        };
        report::write(&found, &self.request.folder)?;
        Ok(CompareOutcome::Done(Box::new(found)))
    }

    /// Trains this process's runs of a phase; `then` follows each finished one. The inner error is an outcome that ends
    /// the comparison for now.
    fn train(
        &self,
        phase: Phase,
        planned: &Planned,
        then: &dyn Follow,
        observer: &mut (dyn CompareObserver + Send),
        stop: &AtomicBool,
    ) -> Result<Result<Vec<Failure>, CompareOutcome>> {
        let (mine, arms): (Vec<Run>, Vec<usize>) = self.part(planned).into_iter().unzip();
        observer.on_phase(phase, &mine, &arms);
        failed::forget(&self.request.folder, &mine)?;
        match train_all_then(&mine, self.request.workers, observer, stop, then)? {
            Trained::Interrupted => return Ok(Err(CompareOutcome::Interrupted)),
            Trained::All(failures) => failed::tell(&self.request.folder, &mine, &failures)?,
        }
        let failures = failed::told(&self.request.folder, &planned.runs)?;
        let done = planned.runs.iter().filter(|run| is_finished(&run.folder)).count();
        if self.request.shard.is_some() && done + failures.len() < planned.runs.len() {
            return Ok(Err(CompareOutcome::Waiting { phase, done, of: planned.runs.len() }));
        }
        Ok(Ok(failures))
    }

    /// The runs of every arm at every seed. Seeds are outermost, so that an interrupted comparison has all methods of a
    /// seed. Within a seed the longest run comes first, so that it does not keep a single core busy at the end.
    fn planned(&self, over: &[Vec<String>]) -> Result<Planned> {
        let mut all = Vec::new();
        for seed in 0..self.request.seeds {
            let mut of_seed = Vec::new();
            for (index, (arm, words)) in self.request.arms.iter().zip(over).enumerate() {
                let mut recipe = (self.load)(words)?;
                recipe.train.seed = seed;
                of_seed.push((self.at("runs", format!("{}-{seed}", arm.name), recipe)?, index));
            }
            of_seed.sort_by(|(a, _), (b, _)| b.cost.total_cmp(&a.cost));
            all.extend(of_seed);
        }
        let (runs, arms) = all.into_iter().unzip();
        Ok(Planned { runs, arms })
    }

    fn at(&self, below: &str, name: String, mut recipe: Recipe) -> Result<Run> {
        recipe.name.clone_from(&name);
        let mut deciding = self.weights.deciding(&recipe)?;
        // The recipe's name decides nothing: an equal run of two comparisons in one folder is one run.
        deciding.name = "run".into();
        let checksum = crc32c::crc32c(deciding.to_toml()?.as_bytes());
        let plain = name.replace(['+', ' '], "_");
        Ok(Run {
            folder: self.request.folder.join(below).join(format!("{plain}-{checksum:08x}")),
            name,
            cost: gradients_per_step(&recipe) * recipe.train.epochs as f64,
            recipe,
        })
    }

    /// The sharpness of every finished run, with its arm and seed; empty if it is not asked for. Runs that other
    /// processes trained may have to be measured. `None`: the work was asked to stop.
    fn measure(
        &self,
        planned: &Planned,
        setting: Setting,
        observer: &mut (dyn CompareObserver + Send),
        stop: &AtomicBool,
    ) -> Result<Option<Vec<(usize, u64, Sharpness)>>> {
        let finished = planned.runs.iter().zip(&planned.arms).filter(|(run, _)| is_finished(&run.folder));
        let finished: Vec<_> = finished.filter(|_| self.request.sharpness).collect();
        let solutions: Vec<Solution> =
            finished.iter().map(|(run, _)| Solution::of(run, &self.request.folder)).collect();
        let watcher = Mutex::new(observer);
        let told = |done, of| {
            watcher.lock().unwrap_or_else(PoisonError::into_inner).on_measured(done, of);
        };
        let measured = measure_all(&solutions, setting, self.request.workers, &told, stop)?;
        Ok(measured.map(|measured| {
            let of =
                |((run, arm), found): (&(&Run, &usize), Sharpness)| (**arm, run.recipe.train.seed, found);
            finished.iter().zip(measured).map(of).collect()
        }))
    }
}
