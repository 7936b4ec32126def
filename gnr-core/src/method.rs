//! One step of training: base direction, regularisers, clipping, optimiser; of a batch, or of its groups.

use crate::{
    Change, Ending, Error, Evaluation, GradOracle, Optimizer, Pass, Penalty, Quantity, Regularizer, Result,
    Schedule, StepContext, Vector,
    collective::{Pack, Packed, Shares, agree},
    error::finite,
    finite_gradient,
    schedule::validate_constant,
};

/// Bounds on the direction's norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// No bound: the direction stays.
    None,
    /// The direction is scaled down to this norm when it is longer.
    Norm(f64),
}

impl Clip {
    /// A checked [`Clip::Norm`] of bound `max`.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) unless `max` > 0 and finite.
    pub fn norm(max: f64) -> Result<Self> {
        validate_constant("clip", max, |x| x > 0.0, "the largest norm must be positive and finite")?;
        Ok(Self::Norm(max))
    }
}

/// A training method as a value: regulariser, optimiser, learning-rate schedule, clipping.
///
/// ```
/// # fn main() -> gnr_core::Result<()> {
/// use gnr_core::{Clip, Cosine, Every, Gnr, Method, Sam, Sgd};
/// let method = Method {
///     regularizer: (Sam::new(0.05)?, Every::new(Gnr::new(0.1, 0.1)?, 10)?),
///     optimizer: Sgd::<Vec<f32>>::new().with_momentum(0.9)?.with_weight_decay(5e-4)?,
///     learning_rate: Cosine::new(0.1, 200, 0.0)?,
///     clip: Clip::norm(5.0)?,
/// };
/// # let _ = method;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Method<R, P, S> {
    /// Adds to ∇L̂(θ_t); `()` for plain training.
    pub regularizer: R,
    /// Moves θ along the direction.
    pub optimizer: P,
    /// The learning rate η_t over the steps.
    pub learning_rate: S,
    /// Bounds the norm of the final direction, regularisers included.
    pub clip: Clip,
}

/// Measurements of a step. After [`Method::step_groups`] the loss is the mean of the groups' losses, and the norms are
/// those of the mean gradient and the mean direction. The penalties are means of the groups' penalties.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// L̂(θ_t) before the step.
    pub loss: f64,
    /// The gradient norm ‖∇L̂(θ_t)‖.
    pub grad_norm: f64,
    /// The direction's norm, before clipping.
    pub direction_norm: f64,
    /// The learning rate η_t of the step.
    pub learning_rate: f64,
    /// One entry for each regulariser that acted in this step.
    pub penalties: Vec<(&'static str, Penalty)>,
}

impl<R, P, S: Schedule> Method<R, P, S> {
    /// Makes step `t` on one mini-batch: one [`Pass::Commit`] evaluation at θ_t, then one change of θ.
    ///
    /// # Errors
    /// [`Error::InvalidHyperparameter`](crate::Error::InvalidHyperparameter) for a learning rate that is negative or
    /// not finite; the errors of the oracle, the regularisers and the optimiser. θ is unchanged unless the optimiser
    /// itself failed, and the state of the regularisers is that before the step.
    pub fn step<O>(&mut self, t: u64, theta: &mut O::Vector, oracle: &mut O) -> Result<StepReport>
    where
        O: GradOracle,
        R: Regularizer<O>,
        P: Optimizer<O::Vector>,
    {
        let learning_rate = self.rate(t)?;
        let stepped = self.look(t, theta, oracle).and_then(|look| {
            let Look { loss, grad, grad_norm, change } = look;
            drop(grad);
            self.follow(theta, change, loss, grad_norm, learning_rate)
        });
        self.end_step::<O>(&stepped);
        stepped
    }

    /// Makes step `t` on one mini-batch in groups of examples, each an oracle with its number of examples n_g.
    ///
    /// The direction is Σ (n_g/n)·h_g, where h_g is the direction that [`step`](Self::step) would follow on group g
    /// alone. All of them are taken at θ_t; the sum is clipped and followed once.
    ///
    /// Each group is perturbed along its own gradient, as where every device of a data-parallel run perturbs its share
    /// of the batch. SAM and GNR of groups of m examples ("m-sharpness") have another objective than those of the
    /// batch. Without regularisers, and where L̂ does not depend on its batch as a whole (BatchNorm), the step equals
    /// that on the batch. With one group it is [`step`](Self::step), bit for bit.
    ///
    /// Each group has its [`Pass::Commit`] evaluation, in turn: running statistics move once a group, as those of
    /// micro-batches do. A regulariser on a sample ([`OnSample`](crate::OnSample)) takes equal positions of each group.
    ///
    /// # Errors
    /// The errors of [`step`](Self::step); [`Error::Oracle`] when there is no group or one is empty. θ is unchanged
    /// unless the optimiser itself failed.
    ///
    /// # Cost
    /// As many gradients and products of all examples as [`step`](Self::step) on the batch, in smaller pieces:
    /// evaluations and products of a group are of its examples alone. Memory of one group's record, and two more
    /// vectors: the mean gradient and the mean direction.
    ///
    /// # References
    /// Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021, Section 4.1
    /// (m-sharpness); Andriushchenko and Flammarion, "Towards Understanding Sharpness-Aware Minimization", ICML 2022.
    pub fn step_groups<O>(
        &mut self,
        t: u64,
        theta: &mut O::Vector,
        groups: impl IntoIterator<Item = (O, usize)>,
    ) -> Result<StepReport>
    where
        O: GradOracle,
        R: Regularizer<O>,
        P: Optimizer<O::Vector>,
    {
        let mut groups = checked(groups)?;
        if let [(whole, _)] = &mut groups[..] {
            return self.step(t, theta, whole);
        }
        let learning_rate = self.rate(t)?;
        let stepped = self.mean_look(t, theta, groups).and_then(|look| {
            let Look { loss, grad, grad_norm, change } = look;
            drop(grad);
            self.follow(theta, change, loss, grad_norm, learning_rate)
        });
        self.end_step::<O>(&stepped);
        stepped
    }

    /// Lets the regularisers keep what they recorded in a step that moved θ, and discard what they recorded in one that
    /// failed.
    fn end_step<O: GradOracle>(&mut self, stepped: &Result<StepReport>)
    where
        R: Regularizer<O>,
    {
        self.regularizer.end_step(if stepped.is_ok() { Ending::Moved } else { Ending::Failed });
    }

    /// Makes step `t` over the groups of all ranks, as [`step_groups`](Self::step_groups): `groups` are those of this
    /// rank, and together have as many examples as the rank's share.
    ///
    /// Every rank perturbs its own groups. The mean of the directions over the ranks is clipped and followed by each
    /// rank, to the same bits. With one group a rank this equals `step_groups` of one process with as many groups, to
    /// rounding.
    ///
    /// The report's `grad_norm` is √(Σᵣ nᵣ/n·‖gᵣ‖²), where gᵣ is the mean gradient of rank r. The norm of the mean
    /// would take the reduction of another vector.
    ///
    /// # Errors
    /// The errors of [`step_groups`](Self::step_groups), equal on every rank; [`Error::Rank`].
    ///
    /// # Cost
    /// Gradients and products of this rank's examples. One reduction of a vector (two where a regulariser estimates the
    /// diagonal of the Hessian) and two of a few scalars.
    pub fn step_ranks<O>(
        &mut self,
        t: u64,
        theta: &mut O::Vector,
        groups: impl IntoIterator<Item = (O, usize)>,
        shares: &Shares,
    ) -> Result<StepReport>
    where
        O: GradOracle,
        O::Vector: Pack,
        R: Regularizer<O>,
        P: Optimizer<O::Vector>,
    {
        if shares.ranks().size() == 1 {
            return self.step_groups(t, theta, groups);
        }
        let stepped = self.follow_ranks(t, theta, groups, shares);
        self.end_step::<O>(&stepped);
        stepped
    }

    fn follow_ranks<O>(
        &mut self,
        t: u64,
        theta: &mut O::Vector,
        groups: impl IntoIterator<Item = (O, usize)>,
        shares: &Shares,
    ) -> Result<StepReport>
    where
        O: GradOracle,
        O::Vector: Pack,
        R: Regularizer<O>,
        P: Optimizer<O::Vector>,
    {
        let ranks = shares.ranks().as_ref();
        let learning_rate = self.rate(t)?;
        let look = checked(groups).and_then(|groups| self.mean_look(t, theta, groups));
        let (look, acted) = match look {
            Ok(look) => {
                let acted = Ok(look.change.log.len() as f64);
                (Some(look), acted)
            }
            Err(error) => (None, Err(error)),
        };
        let acted = agree(ranks, acted)?;
        let Some(look) = look else {
            return Err(Error::Oracle("ranks agreed on an error as success".into()));
        };
        let Look { loss, grad_norm, change: Change { direction, mut log, diagonal }, .. } = look;
        // Regularisers act on equal steps in every group; the report has those that acted on every rank.
        log.truncate(acted.iter().fold(f64::INFINITY, |least, acted| least.min(*acted)) as usize);
        let weights = shares.weights();
        let mut scalars = vec![loss, grad_norm * grad_norm];
        scalars.extend(log.iter().flat_map(|(_, penalty)| [penalty.value, penalty.added_norm]));
        let scalars = ranks.mean(Packed::Double(scalars), &weights)?.doubles()?;
        let mean = |own: O::Vector| own.unpack(ranks.mean(own.pack()?, &weights)?);
        let (direction, diagonal) = (mean(direction)?, diagonal.map(mean).transpose()?);
        for ((_, penalty), mean) in log.iter_mut().zip(scalars[2..].chunks(2)) {
            *penalty = Penalty { value: mean[0], added_norm: mean[1] };
        }
        let (loss, grad_norm) =
            (finite(Quantity::Loss, scalars[0])?, finite(Quantity::GradientNorm, scalars[1].sqrt())?);
        self.follow(theta, Change { direction, log, diagonal }, loss, grad_norm, learning_rate)
    }

    /// The mean over the groups of what [`look`](Self::look) finds at θ_t.
    fn mean_look<O>(&mut self, t: u64, theta: &O::Vector, groups: Vec<(O, usize)>) -> Result<Look<O::Vector>>
    where
        O: GradOracle,
        R: Regularizer<O>,
    {
        let (n, several): (usize, _) = (groups.iter().map(|(_, n)| n).sum(), groups.len() > 1);
        let mut mean: Option<Look<O::Vector>> = None;
        for (mut group, n_g) in groups {
            let look = self.look(t, theta, &mut group)?;
            let weight = n_g as f64 / n as f64;
            match &mut mean {
                Some(mean) => mean.add(weight, look)?,
                none => {
                    let first = none.insert(look);
                    if several {
                        first.scale(weight)?;
                    }
                }
            }
        }
        let mut mean = mean.ok_or_else(|| Error::Oracle("a step needs at least one group".into()))?;
        if several {
            mean.grad_norm = finite_gradient(mean.loss, &mean.grad)?;
        }
        Ok(mean)
    }

    /// The learning rate η_t; an error unless it is finite and not negative.
    fn rate(&self, t: u64) -> Result<f64> {
        let rate = self.learning_rate.at(t);
        validate_constant("learning_rate", rate, |x| x >= 0.0, "must be finite and not negative")?;
        Ok(rate)
    }

    /// Evaluates one oracle at θ_t and lets the regularisers change the direction; clips nothing.
    fn look<O>(&mut self, t: u64, theta: &O::Vector, oracle: &mut O) -> Result<Look<O::Vector>>
    where
        O: GradOracle,
        R: Regularizer<O>,
    {
        let needs = self.regularizer.needs(t, oracle);
        let here = oracle.evaluate(theta, Pass::Commit, needs.order)?;
        let mut change = Change::new(here.grad.clone());
        self.regularizer.add_gradient(&mut StepContext::new(t, &here, oracle, needs, &mut change))?;
        let Evaluation { loss, grad, grad_norm, .. } = here;
        Ok(Look { loss, grad, grad_norm, change })
    }

    /// Clips the direction and moves θ along it.
    fn follow<V>(
        &mut self,
        theta: &mut V,
        change: Change<V>,
        loss: f64,
        grad_norm: f64,
        learning_rate: f64,
    ) -> Result<StepReport>
    where
        V: Vector,
        P: Optimizer<V>,
    {
        let Change { mut direction, log: penalties, diagonal } = change;
        let direction_norm = finite(Quantity::DirectionNorm, direction.dot(&direction)?.sqrt())?;
        if let Clip::Norm(max) = self.clip
            && direction_norm > max
        {
            direction.scale(max / direction_norm)?;
        }
        if let Some(diagonal) = diagonal {
            self.optimizer.curvature(&diagonal)?;
        }
        self.optimizer.step(theta, &direction, learning_rate)?;
        Ok(StepReport { loss, grad_norm, direction_norm, learning_rate, penalties })
    }
}

/// The groups with their numbers of examples; an error if there is none or one is empty.
fn checked<O>(groups: impl IntoIterator<Item = (O, usize)>) -> Result<Vec<(O, usize)>> {
    let groups: Vec<_> = groups.into_iter().collect();
    match groups.iter().position(|(_, n)| *n == 0) {
        Some(empty) => Err(Error::Oracle(format!("group {empty} has no examples"))),
        None => Ok(groups),
    }
}

/// The loss, the gradient norm and the changed direction of one oracle at θ_t.
struct Look<V> {
    loss: f64,
    grad: V,
    grad_norm: f64,
    change: Change<V>,
}

impl<V: Vector> Look<V> {
    /// Multiplies with the share of the first group. The gradient norm is left alone: the norm of a mean is computed
    /// once the mean is complete.
    fn scale(&mut self, weight: f64) -> Result<()> {
        self.loss *= weight;
        self.grad.scale(weight)?;
        self.change.direction.scale(weight)?;
        if let Some(diagonal) = &mut self.change.diagonal {
            diagonal.scale(weight)?;
        }
        self.change.log.iter_mut().for_each(|(_, penalty)| *penalty = penalty.scaled(weight));
        Ok(())
    }

    /// Adds the share of another group.
    fn add(&mut self, weight: f64, other: Self) -> Result<()> {
        self.loss += weight * other.loss;
        self.grad.axpy(weight, &other.grad)?;
        let (change, other) = (&mut self.change, other.change);
        change.direction.axpy(weight, &other.direction)?;
        // Regularisers act on equal steps in every group.
        if let (Some(diagonal), Some(share)) = (&mut change.diagonal, &other.diagonal) {
            diagonal.axpy(weight, share)?;
        }
        for (k, (name, penalty)) in other.log.into_iter().enumerate() {
            let penalty = penalty.scaled(weight);
            match change.log.get_mut(k) {
                Some((known, sum)) if *known == name => {
                    sum.value += penalty.value;
                    sum.added_norm += penalty.added_norm;
                }
                // This regulariser acted on this group and on none before it.
                _ => change.log.insert(k.min(change.log.len()), (name, penalty)),
            }
        }
        Ok(())
    }
}

impl Penalty {
    fn scaled(self, weight: f64) -> Self {
        Self { value: weight * self.value, added_norm: weight * self.added_norm }
    }
}
