//! Common part of the optimisers that scale by the diagonal of the Hessian: a momentum, and an average of Hutchinson's
//! estimates.

use super::state::State;
use crate::{
    Elementwise, Leaf, Map, Result, StateSink, StateSource, Vector,
    checkpoint::{bad_leaf, optional_vector, required_count},
    vector::same_dim,
};

/// The momentum m and the average D of the estimates that [`Optimizer::curvature`](super::Optimizer::curvature) was
/// given.
#[derive(Clone, Debug)]
pub(super) struct Curved<V> {
    /// The name of D in checkpoints.
    name: &'static str,
    momentum: State<V, 1>,
    heard: Option<Heard<V>>,
}

/// The average D of the estimates, with their number and the step of the last one.
#[derive(Clone, Debug)]
pub(super) struct Heard<V> {
    /// The running average D, which starts at 0.
    pub(super) mean: V,
    /// Number of estimates so far, at least 1.
    pub(super) count: u64,
    /// The step of the last estimate, from 1.
    pub(super) last: u64,
}

impl<V> Curved<V> {
    /// The state before the first step and the first estimate.
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, momentum: State::new(["exp_avg"]), heard: None }
    }
}

impl<V: Vector> Curved<V> {
    /// Counts an estimate for the next step. Returns D, which is 0 at first, for the caller to average the estimate
    /// into.
    pub(super) fn hear(&mut self, operation: &'static str, diagonal: &V) -> Result<&mut V> {
        self.check(operation, diagonal, diagonal)?;
        let heard = match &mut self.heard {
            Some(heard) => heard,
            none => {
                let mut mean = diagonal.clone();
                mean.scale(0.0)?;
                none.insert(Heard { mean, count: 0, last: 0 })
            }
        };
        heard.count += 1;
        heard.last = self.momentum.steps() + 1;
        Ok(&mut heard.mean)
    }

    /// Checks, before anything changes, that θ, direction, m and D have one dimension.
    pub(super) fn check(&self, operation: &'static str, theta: &V, direction: &V) -> Result<()> {
        self.momentum.check(operation, theta, direction)?;
        self.heard.as_ref().map_or(Ok(()), |heard| same_dim(operation, theta.dim(), heard.mean.dim()))
    }

    /// Begins a step. Returns its number t, from 1, and m and D.
    pub(super) fn begin(&mut self, direction: &V) -> Result<(u64, &mut V, Option<&Heard<V>>)> {
        let (t, [m]) = self.momentum.begin(direction)?;
        Ok((t, m, self.heard.as_ref()))
    }

    pub(super) fn save(&self, sink: &mut dyn StateSink<V>) -> Result<()> {
        self.momentum.save(sink)?;
        let (count, last) = self.heard.as_ref().map_or((0, 0), |heard| (heard.count, heard.last));
        sink.put(COUNT, Leaf::Count(count))?;
        sink.put(LAST, Leaf::Count(last))?;
        self.heard.as_ref().map_or(Ok(()), |heard| sink.put(self.name, Leaf::Vector(&heard.mean)))
    }

    pub(super) fn load(&mut self, source: &mut dyn StateSource<V>) -> Result<()> {
        let mut momentum = State::new(["exp_avg"]);
        momentum.load(source)?;
        let (count, last) = (required_count(source, COUNT)?, required_count(source, LAST)?);
        let due = momentum.steps().saturating_add(1);
        if last > due || (last == 0) != (count == 0) {
            return Err(bad_leaf(LAST, format!("{last}, after {count} estimates and before step {due}")));
        }
        let heard = match optional_vector(source, self.name)? {
            Some(_) if count == 0 => {
                return Err(bad_leaf(COUNT, format!("0, but {} is present", self.name)));
            }
            None if count > 0 => {
                return Err(bad_leaf(self.name, format!("missing after {count} estimates")));
            }
            Some(mean) => {
                if let Some(dim) = momentum.dim().filter(|dim| *dim != mean.dim()) {
                    let problem = format!("dimension {}, but exp_avg has {dim}", mean.dim());
                    return Err(bad_leaf(self.name, problem));
                }
                Some(Heard { mean, count, last })
            }
            None => None,
        };
        (self.momentum, self.heard) = (momentum, heard);
        Ok(())
    }
}

/// The leaf of [`Heard::count`], 0 before the first estimate.
const COUNT: &str = "hessian_count";
/// The leaf of [`Heard::last`], 0 before the first estimate.
const LAST: &str = "hessian_step";

/// A step along a momentum, scaled by a power of a diagonal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaled {
    /// The size a of the step.
    pub(super) size: f64,
    /// The factor c that corrects the bias of the diagonal.
    pub(super) correction: f64,
    /// The power p of the corrected diagonal.
    pub(super) power: f64,
    /// The constant ε added to the power.
    pub(super) eps: f64,
}

impl Scaled {
    /// Makes the step θ ← θ − a·m ⊘ ((c·D)ᵖ + ε).
    pub(super) fn step<V: Elementwise>(self, theta: &mut V, m: &V, diagonal: &V) -> Result<()> {
        let Self { size, correction, power, eps } = self;
        if power == 0.5 {
            return theta.addcdiv_sqrt(-size, m, correction, diagonal, eps);
        }
        let mut factors = diagonal.clone();
        factors.scale(correction)?;
        for f in [Map::Power(power), Map::Add(eps), Map::Recip] {
            factors.map(f)?;
        }
        theta.addcmul(-size, &factors, m)
    }
}
