//! `--shard i/n`: a study over several machines that do not talk to each other.

use std::fmt;
use std::str::FromStr;

use crate::runner::Run;

/// Part `index` (from 1) of the `of` parts of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err("expected i/n with 1 ≤ i ≤ n, as in 3/8".into()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-of-{}", self.index, self.of)
    }
}

impl Shard {
    /// The runs of this part, in their order. The choice does not depend on what is finished, so that every machine
    /// sees the same parts. Runs are assigned by falling cost, each to the part with the least cost so far, so that all
    /// parts take about as long.
    pub fn of(self, runs: &[Run]) -> Vec<Run> {
        let mut order: Vec<usize> = (0..runs.len()).collect();
        order.sort_by(|&a, &b| runs[b].cost.total_cmp(&runs[a].cost));
        let mut load = vec![0.0_f64; self.of];
        let mut mine = Vec::new();
        for run in order {
            let least = (0..self.of).min_by(|&a, &b| load[a].total_cmp(&load[b])).unwrap_or_default();
            load[least] += runs[run].cost;
            if least + 1 == self.index {
                mine.push(run);
            }
        }
        mine.sort_unstable();
        mine.into_iter().map(|run| runs[run].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf};

    use gnr_train::Recipe;

    use super::*;

    #[test]
    fn parts_cover_everything_once_and_cost_about_the_same() {
        // Costs from 1 to 7, every one of a hundred runs its own.
        let run = |i: usize| Run {
            name: i.to_string(),
            folder: PathBuf::from(i.to_string()),
            recipe: Recipe::default(),
            cost: 1.0 + ((i * 37) % 100) as f64 * 0.06,
        };
        let runs: Vec<Run> = (0..100).map(run).collect();
        let parts: Vec<Vec<Run>> = (1..=7).map(|index| Shard { index, of: 7 }.of(&runs)).collect();
        let names: BTreeSet<&str> = parts.iter().flatten().map(|run| run.name.as_str()).collect();
        assert_eq!((names.len(), parts.iter().map(Vec::len).sum::<usize>()), (100, 100));
        let costs = || parts.iter().map(|part| part.iter().map(|run| run.cost).sum::<f64>());
        let (low, high) = costs().fold((f64::MAX, 0.0_f64), |(l, h), c| (c.min(l), c.max(h)));
        assert!(high / low < 1.1, "{low} to {high}");
    }

    #[test]
    fn notation() {
        assert_eq!("3/8".parse(), Ok(Shard { index: 3, of: 8 }));
        for wrong in ["0/8", "9/8", "3", "a/b", "-1/2", "1/0"] {
            assert!(wrong.parse::<Shard>().unwrap_err().contains("3/8"), "{wrong}");
        }
    }
}
