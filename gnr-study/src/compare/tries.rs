//! The tries of a tuning as runs: planned, trained and judged by held-out images.

use std::{ops::Range, sync::atomic::AtomicBool};

use gnr_train::{Recipe, RecipeError};

use super::{
    Compare, CompareObserver, CompareOutcome, Phase, Planned,
    outcome::Tuned,
    tune::{self, FIRST_SEED, Finalists, HALVES, Half, Try, Tuning},
};
use crate::{
    error::Result,
    results::{finished_summary, is_finished},
    runner::Run,
};

/// A try and its place: number `number` of a half, number `index` of all tries of the method `arm`.
#[derive(Clone, Copy)]
struct Candidate {
    arm: usize,
    index: usize,
    half: Half,
    number: usize,
}

impl<L: Fn(&[String]) -> Result<Recipe, RecipeError>> Compare<L> {
    /// Tunes every method: both halves of the tries, and further seeds of the best tries. The inner error is an outcome
    /// that ends the comparison for now.
    pub(super) fn tune(
        &self,
        tuning: &Tuning,
        observer: &mut (dyn CompareObserver + Send),
        stop: &AtomicBool,
    ) -> Result<Result<Vec<Tuned>, CompareOutcome>> {
        let mut tuned: Vec<Tuned> = self.request.arms.iter().map(|arm| Tuned::new(&arm.name)).collect();
        let mut all: Vec<Candidate> = Vec::new();
        for half in HALVES {
            let phase = match half {
                Half::Method => Phase::TuningMethods,
                Half::Optimizer => Phase::TuningOptimizers,
            };
            let first = all.len();
            for (arm, (over, tuned)) in self.over.iter().zip(&mut tuned).enumerate() {
                for (number, words) in tuning.tries(half, over, tuned, &self.load)?.into_iter().enumerate() {
                    all.push(Candidate { arm, index: tuned.tries.len(), half, number });
                    tuned.tries.push(Try::new(words));
                }
            }
            let judged =
                self.judge(tuning, (phase, &all[first..]), 0..tuning.seeds, &mut tuned, observer, stop)?;
            if let Err(outcome) = judged {
                return Ok(Err(outcome));
            }
        }
        if let Some(finalists) = tuning.finalists {
            let judged = self.again(tuning, finalists, &all, &mut tuned, observer, stop)?;
            if let Err(outcome) = judged {
                return Ok(Err(outcome));
            }
        }
        for (over, tuned) in self.over.iter().zip(&mut tuned).filter(|(_, tuned)| tuned.failure.is_none()) {
            let recipe = (self.load)(over)?;
            let mut axes: Vec<_> = HALVES.iter().flat_map(|&half| tuning.axes(&recipe, half)).collect();
            axes.dedup();
            let chosen = (self.load)(&[over.as_slice(), &tuned.chosen()].concat())?;
            tuned.at_edge = tune::at_edge(&axes, &chosen);
            tuned.at_edge.dedup();
        }
        Ok(Ok(tuned))
    }

    /// Trains the best tries of each method with further seeds. Where one of them fails, the next best one follows. If
    /// only one try of a method can be trained, there is no choice, and no try is trained again.
    fn again(
        &self,
        tuning: &Tuning,
        finalists: Finalists,
        all: &[Candidate],
        tuned: &mut [Tuned],
        observer: &mut (dyn CompareObserver + Send),
        stop: &AtomicBool,
    ) -> Result<Result<(), CompareOutcome>> {
        let seeds = tuning.seeds..tuning.seeds + finalists.seeds;
        let order: Vec<Vec<usize>> =
            tuned.iter().map(|tuned| tune::foremost(&tuned.tries, tuned.tries.len())).collect();
        loop {
            let mut next = Vec::new();
            for (arm, (order, tuned)) in order.iter().zip(&mut *tuned).enumerate() {
                let whole =
                    tuned.finalists.iter().filter(|index| tuned.tries[**index].mean().is_some()).count();
                let begun = tuned.finalists.len();
                let more = order[begun..].iter().take(finalists.count - whole).filter(|_| order.len() > 1);
                let more: Vec<usize> = more.copied().collect();
                tuned.finalists.extend(&more);
                next.extend(all.iter().filter(|other| other.arm == arm && more.contains(&other.index)));
            }
            if next.is_empty() {
                return Ok(Ok(()));
            }
            let phase = (Phase::TuningFinalists, &next[..]);
            if let Err(outcome) = self.judge(tuning, phase, seeds.clone(), tuned, observer, stop)? {
                return Ok(Err(outcome));
            }
        }
    }

    /// Trains tries with these seeds, adds their accuracies, and finds the best try of each method.
    fn judge(
        &self,
        tuning: &Tuning,
        (phase, candidates): (Phase, &[Candidate]),
        seeds: Range<u64>,
        tuned: &mut [Tuned],
        observer: &mut (dyn CompareObserver + Send),
        stop: &AtomicBool,
    ) -> Result<Result<(), CompareOutcome>> {
        let mut runs = Vec::new();
        for candidate in candidates {
            let words = &tuned[candidate.arm].tries[candidate.index].assignments;
            for seed in seeds.clone() {
                runs.push((self.one_try(tuning, candidate, words, FIRST_SEED + seed)?, *candidate));
            }
        }
        let mut by_cost: Vec<&(Run, Candidate)> = runs.iter().collect();
        by_cost.sort_by(|(a, _), (b, _)| b.cost.total_cmp(&a.cost));
        let planned = Planned {
            runs: by_cost.iter().map(|(run, _)| run.clone()).collect(),
            arms: by_cost.iter().map(|(_, candidate)| candidate.arm).collect(),
        };
        let failures = match self.train(phase, &planned, &(), observer, stop)? {
            Ok(failures) => failures,
            Err(outcome) => return Ok(Err(outcome)),
        };
        for (run, candidate) in &runs {
            if is_finished(&run.folder) {
                let summary = finished_summary(&run.folder)?;
                let one = &mut tuned[candidate.arm].tries[candidate.index];
                one.val_accuracies.extend(summary.held_out_accuracy());
                one.collapsed |= summary.collapsed_at_epoch.is_some();
            }
        }
        for candidate in candidates {
            let one = &mut tuned[candidate.arm].tries[candidate.index];
            // A try that diverges once is not chosen.
            if (one.val_accuracies.len() as u64) < seeds.end {
                one.val_accuracies.clear();
            }
        }
        for (arm, tuned) in tuned.iter_mut().enumerate() {
            let first = failures.iter().find(|failure| planned.arms[failure.run] == arm);
            tuned.judged(first.map(|failure| failure.reason.as_str()));
        }
        Ok(Ok(()))
    }

    /// One try on the images that are not held out. Held-out images have noisy labels where training images have them,
    /// because tuning has no clean labels to choose by.
    fn one_try(&self, tuning: &Tuning, candidate: &Candidate, words: &[String], seed: u64) -> Result<Run> {
        let Candidate { arm, half, number, .. } = *candidate;
        let all = [self.over[arm].as_slice(), words].concat();
        let mut recipe = (self.load)(&all)?;
        if recipe.data.validation == 0.0 {
            recipe.data.validation = tuning.validation;
        }
        if let Some(noise) = &mut recipe.data.label_noise {
            noise.validation = true;
        }
        recipe.train.seed = seed;
        recipe.train.test_only_at_end = true;
        recipe.train.stop_when_collapsed = true;
        let half = if half == Half::Method { "a" } else { "b" };
        let name = format!("{}-{half}{number:03}-{}", self.request.arms[arm].name, seed - FIRST_SEED);
        self.at("tuning", name, recipe)
    }
}
