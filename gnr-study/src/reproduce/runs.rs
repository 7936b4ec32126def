//! The runs of a plan: where they lie and how they are trained. A run's folder is addressed by its recipe, so a
//! finished run is never repeated, an interrupted one continues where it stopped, and a changed recipe is another run.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::data::Located;
use super::plan::{Case, Net, Plan, Start};
use super::progress::Progress;
use super::recipe::{self, Placement};
use super::{RUNS, Say};
use crate::{
    error::{Result, StudyError},
    results,
    runner::{Failure, Run, Trained, Workers, train_all},
};

/// A case of a plan and the run that trains it.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) net: Net,
    pub(super) case: Case,
    /// The run, whose name is `data/net/method/seed`.
    pub(super) run: Run,
    /// The run that provides the initial weights, for [`Start::OwnPretraining`].
    start: Option<Run>,
    /// Cost of the run in gradients of a batch.
    pub(super) gradients: f64,
    pub(super) finished: bool,
}

/// The runs of a plan, in its order; `finished` as found on disk.
///
/// # Errors
/// A summary that cannot be read.
pub(super) fn prepare(plan: &Plan, located: &Located, out: &Path) -> Result<Vec<Planned>> {
    let mut runs = Vec::new();
    for &case in &plan.cases {
        let net = &plan.nets[case.net];
        let name = plan.name(&case);
        let folder = folder(out, &name, &recipe::identity(net, &case)?);
        let data = located.sets.get(&net.dataset).cloned().flatten();
        let start = match net.start {
            Start::OwnPretraining => Some(pretraining(net, data.as_deref(), out)?),
            Start::Random | Start::Weights(_) => None,
        };
        let weights = match net.start {
            Start::Weights(file) => located.weights.get(file).cloned(),
            _ => start.as_ref().map(|run| run.folder.join("checkpoints").join("last.safetensors")),
        };
        let place = Placement { data: data.as_deref(), weights: weights.as_deref() };
        let recipe = recipe::parsed(&name, &recipe::toml(net, &case, place)?)?;
        runs.push(Planned {
            finished: results::summary(&folder)?.is_some_and(|summary| summary.finished),
            net: net.clone(),
            case,
            run: Run { name, folder, recipe, cost: plan.cost(&case) },
            start,
            gradients: plan.gradients(&case),
        });
    }
    Ok(runs)
}

fn folder(out: &Path, name: &str, identity: &str) -> PathBuf {
    out.join(RUNS).join(format!("{}-{:016x}", name.replace('/', "-"), fnv1a(identity)))
}

/// The run whose weights a net starts from.
fn pretraining(net: &Net, data: Option<&Path>, out: &Path) -> Result<Run> {
    let name = format!("{}/pretraining", net.slug());
    let folder = folder(out, &name, &recipe::pretraining(net, Placement::default())?);
    let text = recipe::pretraining(net, Placement { data, weights: None })?;
    Ok(Run { recipe: recipe::parsed(&name, &text)?, name, folder, cost: 1.0 })
}

/// Trains every run that is not finished, and returns those that failed.
///
/// # Errors
/// A full disk; a run that others start from and that fails; [`StudyError::Interrupted`].
pub(super) fn train(
    runs: &[Planned],
    workers: Workers,
    say: Say<'_>,
    stop: &AtomicBool,
) -> Result<Vec<Failure>> {
    let mut queue: Vec<&Planned> = runs.iter().filter(|planned| !planned.finished).collect();
    say(&format!(
        "{} runs: {} finished before, {} to train, {} at a time on {} {}",
        runs.len(),
        runs.len() - queue.len(),
        queue.len(),
        workers.jobs,
        workers.threads,
        if workers.threads == 1 { "thread each" } else { "threads each" },
    ));
    let mut starts: Vec<Run> = Vec::new();
    for start in queue.iter().filter_map(|planned| planned.start.as_ref()) {
        if starts.iter().all(|known| known.folder != start.folder) {
            starts.push(start.clone());
        }
    }
    if let Some(failure) = watched(&starts, workers, say, stop)?.first() {
        return Err(StudyError::Request(format!(
            "{}, which others start from, failed: {}",
            failure.name, failure.reason
        )));
    }
    longest_first(&mut queue);
    let queue: Vec<Run> = queue.into_iter().map(|planned| planned.run.clone()).collect();
    watched(&queue, workers, say, stop)
}

fn watched(runs: &[Run], workers: Workers, say: Say<'_>, stop: &AtomicBool) -> Result<Vec<Failure>> {
    let mut progress = Progress::new(runs, workers.jobs, say);
    match train_all(runs, workers, &mut progress, stop) {
        Ok(Trained::All(failures)) => Ok(failures),
        Ok(Trained::Interrupted) => {
            progress.interrupted();
            Err(StudyError::Interrupted)
        }
        Err(error) => {
            progress.disk_refused();
            Err(error)
        }
    }
}

/// Sorts the runs of a seed by falling cost, because a long run that comes last keeps a single core busy. Seeds stay in
/// their order, so that an interrupted reproduction has whole comparisons.
fn longest_first(queue: &mut [&Planned]) {
    queue.sort_by(|a, b| a.case.seed.cmp(&b.case.seed).then(b.run.cost.total_cmp(&a.run.cost)));
}

/// FNV-1a, 64 bits: an address that is the same on every machine and compiler (`DefaultHasher` does not promise that).
pub(super) fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Scale, Table};
    use super::*;

    #[test]
    fn addresses_are_fnv1a() {
        // Published test vectors.
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }

    /// A folder's name is the address of finished work: it must not change from version to version.
    #[test]
    fn addresses_stay() {
        for (table, scale, expect) in [
            (Table::One, Scale::Smoke, "digits-resnet8-w8-sgd-0-0f2e07acb91c4946"),
            (Table::Two, Scale::Smoke, "digits-lenet-sgd-0-9b4e983a03e0ca39"),
            (Table::Three, Scale::Smoke, "digits-mlp-w64-sgd-0-7055cff5e641dcfa"),
            (Table::Four, Scale::Smoke, "digits-mlp-w64-sgd-0-289570cc6009f35f"),
            (Table::One, Scale::Small, "cifar10-jpeg-resnet20-sgd-0-a3b1158d724dfcec"),
            (Table::Three, Scale::Small, "cifar10-jpeg-efficientnet_lite0-sgd-0-9ef5573a8827e2fa"),
            (Table::One, Scale::Paper, "cifar10-resnet18-sgd-0-9998bc365947e847"),
            (Table::Two, Scale::Paper, "imagenet-resnet50-sgd-0-9a56e5ed5d573cc7"),
            (Table::Three, Scale::Paper, "stanford-cars-efficientnet_b0-sgd-0-582c16e52314212d"),
        ] {
            let plan = Plan::table(table, scale, 1);
            let runs = prepare(&plan, &Located::default(), Path::new("out")).unwrap();
            assert_eq!(runs[0].run.folder, Path::new("out/runs").join(expect), "{table:?} {scale}");
        }
    }

    #[test]
    fn a_run_of_two_tables_is_one_run() {
        let folders = |table| -> Vec<PathBuf> {
            let plan = Plan::table(table, Scale::Small, 1);
            let runs = prepare(&plan, &Located::default(), Path::new("out")).unwrap();
            runs.into_iter().map(|planned| planned.run.folder).collect()
        };
        let (one, four) = (folders(Table::One), folders(Table::Four));
        let shared = four.iter().filter(|folder| one.contains(folder)).count();
        assert_eq!(shared, 2 * 4, "of both nets, SGD and SAM, without GNR and with it on every step");
    }

    #[test]
    fn the_longest_of_a_seed_is_first() {
        let plan = Plan::table(Table::Four, Scale::Smoke, 2);
        let runs = prepare(&plan, &Located::default(), Path::new("out")).unwrap();
        let mut queue: Vec<&Planned> = runs.iter().collect();
        longest_first(&mut queue);
        let half = queue.len() / 2;
        assert!(queue[..half].iter().all(|planned| planned.case.seed == 0));
        assert!(queue[..half].is_sorted_by(|a, b| a.run.cost >= b.run.cost));
    }
}
