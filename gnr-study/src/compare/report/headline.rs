//! The words of a comparison's report that rank its methods: the headline, and whether flatter is better.

use std::collections::BTreeSet;

use super::{interval, work};
use crate::{
    compare::outcome::{ArmResult, Comparison, RunResult},
    report::several,
    statistics::{Summary, Verdict},
};

/// Values that differ by less are equal: sums of equal accuracies may differ in their last bits.
const EQUAL: f64 = 1e-9;

impl Comparison {
    /// One sentence that says which method is ahead, by how much, how surely and at what cost. Methods are ranked by
    /// the seeds that all of them have finished. Further sentences follow if seeds failed, if the base method was tuned
    /// less, or if the methods were tuned in another comparison.
    pub fn headline(&self) -> String {
        let seeds = self.shared(|_| true);
        let of = |arm: &ArmResult| over(arm, &seeds, |run| Some(100.0 * run.test_accuracy));
        let means: Vec<(usize, Summary)> =
            self.arms.iter().enumerate().filter_map(|(i, arm)| Some((i, of(arm)?))).collect();
        if means.is_empty() {
            return match self.arms.iter().any(|arm| !arm.runs.is_empty()) {
                true => format!("No seed was finished by every method.{}", self.unfinished(&seeds)),
                false => "No run is finished.".into(),
            };
        }
        let (highest, equals) = foremost(&means, |summary| summary.mean);
        let (best, accuracy) = highest;
        let (arm, base) = (&self.arms[best], &self.arms[0]);
        let place = if self.arms.len() == 1 {
            format!("{} reaches {accuracy:.1} % test accuracy; it was compared with no other.", base.title)
        } else if means.len() == 1 {
            format!("{} reaches {accuracy:.1} % test accuracy.", arm.title)
        } else if equals.len() > 1 {
            self.shared_place(&equals, accuracy)
        } else if best == 0 {
            format!(
                "{} has the highest mean test accuracy, {accuracy:.1} %; no other method helps here.",
                base.title
            )
        } else {
            self.ahead(best, accuracy, seeds.len())
        };
        let tries = |arm: &ArmResult| {
            let tuned = self.tuning.iter().find(|tuned| tuned.arm == arm.name);
            tuned.map_or(0, |tuned| tuned.tries.len())
        };
        let effort = if best == 0 {
            String::new()
        } else if self.tuned_in.is_some() {
            " Learning rate, weight decay and strengths were chosen in another comparison.".into()
        } else if tries(arm) > tries(base) {
            format!(" {} was tuned less: it had {} of {} tries.", base.title, tries(base), tries(arm))
        } else {
            String::new()
        };
        format!("{place}{}{effort}", self.unfinished(&seeds))
    }

    /// The sentence about a method other than the first whose mean over the `shared` seeds is the highest.
    fn ahead(&self, best: usize, accuracy: Summary, shared: usize) -> String {
        let (arm, base) = (&self.arms[best], &self.arms[0]);
        let differences = self.differences();
        let difference = differences.iter().find(|difference| difference.arm == best);
        let told = difference.map_or_else(String::new, |difference| {
            let interval = interval(&difference.points);
            let over = match difference.points.n {
                n if n == shared => String::new(),
                n => format!(" over the {} of both", several(n as u64, "seed")),
            };
            format!(
                ", {:+.1} points over {}{over} ({}; {})",
                difference.points.mean,
                base.title,
                match (interval.as_str(), difference.points.n) {
                    ("–", 1) => "one seed: no interval".into(),
                    ("–", _) => "equal differences: no interval".into(),
                    (interval, _) => format!("95 % interval {interval}"),
                },
                difference.verdict
            )
        });
        let cost = work(arm).zip(work(base)).map_or_else(String::new, |(own, base)| {
            format!(", at {:.1} times the seconds", own[2] / base[2].max(1e-9))
        });
        let ahead = matches!(
            difference.map(|difference| difference.verdict),
            Some(Verdict::Better | Verdict::BetterAlone)
        );
        let place = if ahead {
            format!("is ahead with {accuracy:.1} % test accuracy")
        } else {
            format!("has the highest mean test accuracy, {accuracy:.1} %")
        };
        format!("{} {place}{told}{cost}.", arm.title)
    }

    /// The sentence about several methods whose means are equal, and higher than those of the others.
    fn shared_place(&self, equals: &[usize], accuracy: Summary) -> String {
        let titles = self.titles(equals);
        let place = format!("{titles} have the same mean test accuracy, {:.1} %", accuracy.mean);
        match equals {
            _ if equals.len() == self.arms.len() => format!("{place}."),
            [0, ..] => format!("{place}; no method has a higher one than {}.", self.arms[0].title),
            _ => format!("{place}; no method has a higher one."),
        }
    }

    /// Says which methods lack seeds, and how many seeds the ranking is over; empty if every method has every seed.
    fn unfinished(&self, shared: &BTreeSet<u64>) -> String {
        let all: BTreeSet<u64> = self.arms.iter().flat_map(|arm| &arm.runs).map(|run| run.seed).collect();
        let mut words = String::new();
        for arm in self.arms.iter().filter(|arm| arm.runs.is_empty()) {
            words += &format!(" Of {} no seed was trained to its end.", arm.title);
        }
        let lacks = |arm: &&ArmResult| !arm.runs.is_empty() && arm.runs.len() < all.len();
        let lacking: Vec<String> = (self.arms.iter().filter(lacks))
            .map(|arm| format!("{} has {} of {}", arm.title, arm.runs.len(), all.len()))
            .collect();
        if !lacking.is_empty() {
            words += &format!(
                " Not every seed was trained to its end ({}): methods are ranked by the {} that they share.",
                lacking.join(", "),
                several(shared.len() as u64, "seed")
            );
        }
        if words.is_empty() && !self.failures.is_empty() {
            words = format!(" Failed: {}.", several(self.failures.len() as u64, "run"));
        }
        words
    }

    /// The seeds that all methods with a finished run share, of runs for which `of` holds.
    fn shared(&self, of: impl Fn(&RunResult) -> bool) -> BTreeSet<u64> {
        let seeds = |arm: &ArmResult| -> BTreeSet<u64> {
            arm.runs.iter().filter(|run| of(run)).map(|run| run.seed).collect()
        };
        let sets = self.arms.iter().filter(|arm| !arm.runs.is_empty()).map(seeds);
        sets.reduce(|all, own| &all & &own).unwrap_or_default()
    }

    /// The titles of several methods as a list in words.
    fn titles(&self, arms: &[usize]) -> String {
        let titles: Vec<&str> = arms.iter().map(|&arm| self.arms[arm].title.as_str()).collect();
        match titles.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} and {last}", others.join(", ")),
            None => String::new(),
        }
    }

    /// Whether the flattest method is also the most accurate, over the seeds of which every method has a measurement.
    /// `None` if there is nothing to compare.
    pub(super) fn flatter(&self) -> Option<String> {
        let seeds = self.shared(|run| run.sharpness.is_some_and(|found| !found.lambda_max.is_nan()));
        let of = |arm: &ArmResult| {
            let lambda = over(arm, &seeds, |run| Some(run.sharpness?.lambda_max))?;
            Some([-lambda.mean, over(arm, &seeds, |run| Some(100.0 * run.test_accuracy))?.mean])
        };
        let values: Vec<(usize, [f64; 2])> =
            self.arms.iter().enumerate().filter_map(|(i, arm)| Some((i, of(arm)?))).collect();
        if values.len() < 2 {
            return None;
        }
        let [flattest, ahead] = [0, 1].map(|index| foremost(&values, |values| values[index]).1);
        let title = |arms: &[usize]| self.titles(arms);
        Some(match (&flattest[..], &ahead[..]) {
            ([flat], [best]) if flat == best => {
                format!("{} has both the smallest λ₁ and the highest accuracy.", title(&[*best]))
            }
            ([flat], [best]) => format!(
                "Flatter is not better here: {} has the smallest λ₁, {} the highest accuracy.",
                title(&[*flat]),
                title(&[*best])
            ),
            ([flat], ahead) => {
                format!("{} has the smallest λ₁; {} are equally accurate.", title(&[*flat]), title(ahead))
            }
            (flattest, _) => format!("{} are equally flat by λ₁.", title(flattest)),
        })
    }
}

/// Summarises the value of an arm's runs of these seeds.
fn over(
    arm: &ArmResult,
    seeds: &BTreeSet<u64>,
    value: impl Fn(&RunResult) -> Option<f64>,
) -> Option<Summary> {
    arm.over_seeds(|run| seeds.contains(&run.seed).then(|| value(run))?)
}

/// The first of the methods with the highest value, and the indices of all that have it. `values` is not empty.
fn foremost<T: Copy>(values: &[(usize, T)], of: impl Fn(&T) -> f64) -> ((usize, T), Vec<usize>) {
    let highest = values.iter().map(|(_, value)| of(value)).fold(f64::NEG_INFINITY, f64::max);
    let equals: Vec<&(usize, T)> =
        values.iter().filter(|(_, value)| highest - of(value) < EQUAL || of(value) == highest).collect();
    let first = equals.first().copied().copied().unwrap_or(values[0]);
    (first, equals.iter().map(|(index, _)| *index).collect())
}
