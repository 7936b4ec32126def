//! `--shard i/n`: a table over several machines, without their talking to each other.

use std::fmt;
use std::str::FromStr;

use super::runner::Run;

/// Part `index` (from 1) of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
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
    /// The runs of this part. It does not depend on what is finished, so that every machine sees the same parts; the dearest
    /// run first to whoever has least, so that the parts take about as long.
    pub(super) fn of(self, runs: &[Run]) -> Vec<Run> {
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
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::data::Located;
    use super::super::plan::{Plan, Scale, Table};
    use super::super::runner;
    use super::*;

    #[test]
    fn parts_cover_everything_once_and_cost_about_the_same() {
        let plan = Plan::table(Table::One, Scale::Paper, 5);
        let runs = runner::prepare(&plan, &Located::default(), Path::new("out")).unwrap();
        let parts: Vec<Vec<Run>> = (1..=7).map(|index| Shard { index, of: 7 }.of(&runs)).collect();
        let names: BTreeSet<&str> = parts.iter().flatten().map(|run| run.name.as_str()).collect();
        assert_eq!((names.len(), parts.iter().map(Vec::len).sum::<usize>()), (runs.len(), runs.len()));
        let cost = |part: &Vec<Run>| part.iter().map(|run| run.cost).sum::<f64>();
        let costs: Vec<f64> = parts.iter().map(cost).collect();
        let (low, high) = costs.iter().fold((f64::MAX, 0.0), |(l, h), &c| (c.min(l), c.max(h)));
        assert!(high / low < 1.1, "{costs:?}");
    }

    #[test]
    fn notation() {
        assert_eq!("3/8".parse(), Ok(Shard { index: 3, of: 8 }));
        for wrong in ["0/8", "9/8", "3", "a/b", "-1/2", "1/0"] {
            assert!(wrong.parse::<Shard>().unwrap_err().contains("3/8"), "{wrong}");
        }
    }
}
