//! Groups of leaves with an optimiser and a learning rate each.

use super::Optimizer;
use crate::{
    Checkpoint, Error, Leaf, Leaves, Partition, Result, StateSink, StateSource, checkpoint::bad_leaf,
    schedule::validate_constant, vector::same_dim,
};

/// Parameter groups, as PyTorch's optimisers have them: each leaf of θ belongs to one group. Each group has an
/// optimiser of its own (with other weight decay, say), which gets the learning rate times a factor.
///
/// The state is saved as that of one optimiser over the whole of θ. A checkpoint therefore does not depend on the
/// groups, and a resumed run may have other groups. (A count that differs between groups is saved for each, as
/// `NAME.0`, `NAME.1`, …; those groups cannot be rearranged.) One group with factor 1 equals its optimiser, bit for
/// bit.
///
/// # Cost
/// The cost of the optimisers, and a temporary copy of the direction. The leaves of θ are moved out and back, not
/// copied, where the vector can do so.
///
/// ```
/// # fn main() -> gnr_core::Result<()> {
/// use gnr_core::{Grouped, Optimizer, Sgd};
/// // The first leaf learns ten times as fast, the second is decayed.
/// let groups = vec![(Sgd::new(), 10.0), (Sgd::new().with_weight_decay(0.5)?, 1.0)];
/// let mut optimizer = Grouped::new(groups, vec![0, 1])?;
/// let mut theta: Vec<f64> = vec![1.0, 1.0];
/// optimizer.step(&mut theta, &vec![1.0, 1.0], 0.01)?;
/// assert!((theta[0] - 0.9).abs() < 1e-15 && (theta[1] - 0.985).abs() < 1e-15);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Grouped<P> {
    groups: Vec<(P, f64)>,
    /// The index of the group of each leaf.
    of: Vec<usize>,
}

impl<P> Grouped<P> {
    /// Makes groups from optimisers with the factors of their learning rates, and from the group of each leaf.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`] for a factor that is negative or not finite, for a leaf whose group does not
    /// exist, and for a group without leaves.
    pub fn new(groups: Vec<(P, f64)>, of: Vec<usize>) -> Result<Self> {
        for (_, scale) in &groups {
            validate_constant("lr_scale", *scale, |x| x >= 0.0, "must not be negative")?;
        }
        let refuse = |group: usize, requirement| Error::InvalidHyperparameter {
            name: "group",
            value: group as f64,
            requirement,
        };
        if let Some(&group) = of.iter().find(|group| **group >= groups.len()) {
            return Err(refuse(group, "there are not so many groups"));
        }
        match (0..groups.len()).find(|group| !of.contains(group)) {
            Some(group) => Err(refuse(group, "a group needs at least one leaf")),
            None => Ok(Self { groups, of }),
        }
    }
}

impl<V: Partition, P: Optimizer<V>> Optimizer<V> for Grouped<P> {
    fn step(&mut self, theta: &mut V, direction: &V, lr: f64) -> Result<()> {
        same_dim("grouped step", theta.dim(), direction.dim())?;
        let directions = direction.clone().split(&self.of, self.groups.len())?;
        let mut parts = theta.split(&self.of, self.groups.len())?;
        let groups = self.groups.iter_mut().zip(parts.iter_mut().zip(&directions));
        let stepped = groups
            .map(|((optimizer, scale), (part, direction))| optimizer.step(part, direction, lr * *scale))
            .find(Result::is_err);
        // θ gets its leaves back on an error, too.
        theta.join(&self.of, parts)?;
        stepped.unwrap_or(Ok(()))
    }

    fn curvature(&mut self, diagonal: &V) -> Result<()> {
        let parts = diagonal.clone().split(&self.of, self.groups.len())?;
        self.groups.iter_mut().zip(&parts).try_for_each(|((optimizer, _), part)| optimizer.curvature(part))
    }

    fn solution(&self, theta: &V) -> Result<Option<V>> {
        let mut whole = theta.clone();
        let mut parts = whole.split(&self.of, self.groups.len())?;
        let mut other = false;
        for ((optimizer, _), part) in self.groups.iter().zip(&mut parts) {
            if let Some(solution) = optimizer.solution(part)? {
                (*part, other) = (solution, true);
            }
        }
        whole.join(&self.of, parts)?;
        Ok(other.then_some(whole))
    }
}

impl<V: Partition, P: Checkpoint<V>> Checkpoint<V> for Grouped<P> {
    fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        let mut states = self.states()?.into_iter();
        let mut first = states.next().unwrap_or_default();
        let mut others: Vec<_> = states.collect();
        for (name, leaf) in std::mem::take(&mut first) {
            let theirs: Vec<_> = others.iter_mut().filter_map(|state| state.remove(&name)).collect();
            if theirs.len() != others.len() {
                return Err(bad_leaf(&name, "not every group has it"));
            }
            match leaf {
                Leaf::Count(count) => {
                    let mut counts = vec![count];
                    for other in theirs {
                        match other {
                            Leaf::Count(n) => counts.push(n),
                            other => {
                                let other = other.kind();
                                return Err(bad_leaf(
                                    &name,
                                    format!("a count in one group, {other} in another"),
                                ));
                            }
                        }
                    }
                    if counts.iter().all(|n| *n == count) {
                        sink.put(&name, Leaf::Count(count))?;
                    } else {
                        // Counts that depend on the group's learning rate, such as the weights of schedule-free
                        // methods, are saved for each group.
                        for (group, n) in counts.into_iter().enumerate() {
                            sink.put(&of_group(&name, group), Leaf::Count(n))?;
                        }
                    }
                }
                Leaf::Vector(part) => {
                    let mut whole = part.clone();
                    let mut parts = vec![part];
                    for other in theirs {
                        match other {
                            Leaf::Vector(part) => parts.push(part),
                            other => {
                                let other = other.kind();
                                return Err(bad_leaf(
                                    &name,
                                    format!("a vector in one group, {other} in another"),
                                ));
                            }
                        }
                    }
                    whole.join(&self.of, parts)?;
                    sink.put(&name, Leaf::Vector(&whole))?;
                }
                // A table has not the shape of θ, so groups have no parts of it.
                Leaf::Table(_) => return Err(bad_leaf(&name, "a table cannot be divided into groups")),
            }
        }
        match others.iter().find_map(|state| state.keys().next()) {
            Some(name) => Err(bad_leaf(name, "not every group has it")),
            None => Ok(()),
        }
    }

    fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        let mut before = self.states()?;
        let count = self.groups.len();
        for index in 0..count {
            let mut part = PartSource { whole: source, of: &self.of, index, count };
            if let Err(error) = self.groups[index].0.load(&mut part) {
                // The groups before the one that failed have changed: each loads the state that it saved a moment ago.
                for ((group, _), state) in self.groups.iter_mut().zip(&mut before).take(index) {
                    group.load(state)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

impl<P> Grouped<P> {
    /// The state of each group, as leaves in memory.
    fn states<V: Partition>(&self) -> Result<Vec<Leaves<V>>>
    where
        P: Checkpoint<V>,
    {
        let state = |(optimizer, _): &(P, f64)| {
            let mut leaves = Leaves::new();
            optimizer.save(&mut leaves).map(|()| leaves)
        };
        self.groups.iter().map(state).collect()
    }
}

/// The part of a state of the whole θ that one group loads.
struct PartSource<'a, V> {
    whole: &'a mut dyn StateSource<V>,
    of: &'a [usize],
    index: usize,
    count: usize,
}

impl<V: Partition> StateSource<V> for PartSource<'_, V> {
    fn get(&mut self, name: &str) -> Result<Option<Leaf<V>>> {
        match self.whole.get(name)? {
            Some(Leaf::Vector(mut whole)) => {
                let found = whole.num_leaves();
                let split = whole.split(self.of, self.count);
                let part = split.ok().and_then(|parts| parts.into_iter().nth(self.index));
                let problem = || format!("{found} leaves, the groups have {}", self.of.len());
                part.map(|part| Some(Leaf::Vector(part))).ok_or_else(|| bad_leaf(name, problem()))
            }
            None => match self.whole.get(&of_group(name, self.index))? {
                Some(Leaf::Vector(_)) => {
                    Err(bad_leaf(&of_group(name, self.index), "expected a count, found a vector"))
                }
                count => Ok(count),
            },
            count => Ok(count),
        }
    }
}

/// The name of a count of one group, where groups have different counts.
fn of_group(name: &str, group: usize) -> String {
    format!("{name}.{group}")
}
